"""Tags of syncs."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.choices import Scope
from syncs.models import Tag
from syncs.rest import etags
from syncs.rest.operations import operation
from syncs.rest.problems import RefusedError
from syncs.rest.resources import Resource, user_of
from syncs.rest.shapes import Shape, StrictText
from syncs.services import tags

API = "api"


class NewTagShape(Shape):
    name = StrictText(max_length=40, validators=list(Tag._meta.get_field("name").validators))


class TagShape(Shape):
    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)


def etag_of(tag: Tag) -> str:
    return etags.of({"name": tag.name})


class Tags(Resource):
    tag = "Tags"

    @operation("Tags, by name", scope=Scope.READ, permission="syncs.view_tag", shape=TagShape, is_page=True)
    def list(self, request: Request) -> Response:
        return self.paged(request, Tag.objects.all(), order=("name", "id"))

    @operation(
        "Name a tag",
        scope=Scope.WRITE,
        permission="syncs.add_tag",
        takes=NewTagShape,
        shape=TagShape,
        status=201,
        can_refuse=True,
        example={"name": "finance"},
    )
    def create(self, request: Request) -> Response:
        try:
            with transaction.atomic():
                tag = Tag.objects.create(name=self.given["name"])
                tags.saved(tag, before="", by=user_of(request), door=API)
        except IntegrityError:
            raise RefusedError(f"There is a tag “{self.given['name']}” already.") from None
        return self.one(request, tag, etag=etag_of(tag), location=f"/api/v1/tags/{tag.pk}")

    @operation("One tag", scope=Scope.READ, permission="syncs.view_tag", shape=TagShape, has_etag=True)
    def retrieve(self, request: Request, id: str) -> Response:
        tag = self.find(Tag.objects.all(), id)
        return self.one(request, tag, etag=etag_of(tag))

    @operation(
        "Rename a tag",
        scope=Scope.WRITE,
        permission="syncs.change_tag",
        takes=NewTagShape,
        shape=TagShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
    )
    def partial_update(self, request: Request, id: str) -> Response:
        try:
            with self.edited(request, Tag.objects.all(), id, etag_of) as tag:
                self._demand_all_seen(request, tag)
                before, tag.name = tag.name, self.given.get("name", tag.name)
                tag.save(update_fields=["name"])
                tags.saved(tag, before=before, by=user_of(request), door=API)
        except IntegrityError:
            raise RefusedError(f"There is a tag “{self.given['name']}” already.") from None
        return self.one(request, tag, etag=etag_of(tag))

    @operation("Delete a tag", scope=Scope.WRITE, permission="syncs.delete_tag", status=204, needs_match=True, can_refuse=True)
    def destroy(self, request: Request, id: str) -> Response:
        try:
            with self.edited(request, Tag.objects.all(), id, etag_of) as tag:
                self._demand_all_seen(request, tag)
                tags.delete(tag, by=user_of(request), door=API)
        except ProtectedError:
            raise RefusedError("An alert rule is about this tag. Change the rule first.") from None
        return self.nothing()

    def _demand_all_seen(self, request: Request, tag: Any) -> None:
        if not tags.may_touch(user_of(request), tag):
            raise RefusedError("Syncs of other teams have this tag; who sees them all can change it.")
