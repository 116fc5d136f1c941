"""Saved views: filters of the list of dead letters under a name."""

from __future__ import annotations

from typing import Any

import django_filters as df
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from dlq.api import selections
from dlq.api.selections import EntryFilterShape
from dlq.choices import Door
from dlq.models import SavedView
from dlq.services import views
from syncs.choices import Scope
from syncs.rest import etags, paging
from syncs.rest.filters import FlagFilter, StrictFilterSet
from syncs.rest.operations import operation
from syncs.rest.problems import Problem
from syncs.rest.resources import Resource, user_of
from syncs.rest.rights import demand
from syncs.rest.shapes import Shape, StrictBoolean, StrictText

SEE = "dlq.view_dlqentry"


class NewSavedViewShape(Shape):
    name = StrictText(max_length=views.NAME_MAX)
    filter = EntryFilterShape(help_text="Kept as it is written: `24h` are those before each look, `me` is who looks.")
    is_shared = StrictBoolean(default=False, help_text="Shown to everybody who may see the list; needs `dlq.add_savedview`.")


class SavedViewShape(Shape):
    id = serializers.IntegerField()
    name = serializers.CharField()
    filter = EntryFilterShape()
    query = serializers.CharField(help_text="The same as the address of the list has it.")
    is_shared = serializers.BooleanField()
    is_mine = serializers.BooleanField()
    may_change = serializers.BooleanField()
    owner_id = serializers.IntegerField()
    owner = serializers.CharField(help_text="The name to sign in with.")
    missing = serializers.CharField(allow_null=True, help_text="What it names that is not there any more, or not for you.")
    created_at = serializers.DateTimeField()


class SavedViewFilters(StrictFilterSet):
    who = df.ChoiceFilter(choices=[("me", "me")], method="of_owner", help_text="Only your own.")
    is_shared = FlagFilter(field_name="is_shared", help_text="Only shared ones, or only private ones.")

    def of_owner(self, rows: QuerySet[SavedView], _name: str, _value: str) -> QuerySet[SavedView]:
        return rows.filter(owner=self.user)


def etag_of(view: SavedView) -> str:
    return etags.of({"name": view.name, "query": view.query, "is_shared": view.is_shared})


class SavedViews(Resource):
    tag = "Saved views"

    @operation(
        "Saved views, your own and shared ones, by name", scope=Scope.READ, permission=SEE, shape=SavedViewShape, is_page=True,
        filters=SavedViewFilters,
    )  # fmt: skip
    def list(self, request: Request) -> Response:
        user = user_of(request)
        asked = paging.wanted(request)
        rows = SavedViewFilters.of(request.query_params, views.visible(user), user=user)
        found = paging.page(rows, ("name", "id"), asked)
        gone = views.gone(found.rows, user)
        shown = [_shown(view, request, gone.get(view.pk)) for view in found.rows]
        return self.page_of(request, paging.Page(shown, found.next), asked.limit)

    @operation(
        "Save a view", scope=Scope.WRITE, permission=SEE, takes=NewSavedViewShape, shape=SavedViewShape, status=201,
        has_etag=True, example={"name": "New today", "filter": {"status": ["open"], "failed": "24h", "owner": "none"}},
    )  # fmt: skip
    def create(self, request: Request) -> Response:
        user = user_of(request)
        if self.given["is_shared"]:
            demand(request, views.SHARE)
        query = selections.read(self.given["filter"], user=user).query()
        view = views.save(owner=user, name=self.given["name"], query=query, is_shared=self.given["is_shared"], door=Door.API)
        return self._answer(request, view, status=201)

    @operation("One saved view", scope=Scope.READ, permission=SEE, shape=SavedViewShape, has_etag=True)
    def retrieve(self, request: Request, id: str) -> Response:
        return self._answer(request, self.find(views.visible(user_of(request)), id, "No saved view of that number"))

    @operation(
        "Change a saved view", scope=Scope.WRITE, permission=SEE, takes=NewSavedViewShape, shape=SavedViewShape, has_etag=True,
        needs_match=True, can_refuse=True, description="Its name, its filter as a whole, whether it is shared.",
    )  # fmt: skip
    def partial_update(self, request: Request, id: str) -> Response:
        user = user_of(request)
        with self.edited(request, views.visible(user), id, etag_of) as view:
            _demand_change(request, view)
            given = dict(self.given)
            if given.get("is_shared") and not view.is_shared:
                demand(request, views.SHARE)
            if "filter" in given:
                given["query"] = selections.read(given.pop("filter"), user=user).query()
            views.change(view, by=user, door=Door.API, **given)
        return self._answer(request, view)

    @operation("Delete a saved view", scope=Scope.WRITE, permission=SEE, status=204, needs_match=True)
    def destroy(self, request: Request, id: str) -> Response:
        user = user_of(request)
        with self.edited(request, views.visible(user), id, etag_of) as view:
            _demand_change(request, view)
            views.delete(view, by=user, door=Door.API)
        return self.nothing()

    def _answer(self, request: Request, view: SavedView, *, status: int = 200) -> Response:
        shown = _shown(view, request, views.gone([view], user_of(request)).get(view.pk))
        location = f"/api/v1/saved-views/{view.pk}" if status == 201 else ""
        return self.one(request, shown, etag=etag_of(view), location=location)


def _demand_change(request: Request, view: SavedView) -> None:
    if not views.may_change(view, user_of(request)):
        raise Problem(403, "forbidden", "This view is somebody else's. Save one of your own.")


def _shown(view: SavedView, request: Request, missing: str | None) -> dict[str, Any]:
    user = user_of(request)
    return {
        "id": view.pk,
        "name": view.name,
        "filter": selections.shown(view.query),
        "query": view.query,
        "is_shared": view.is_shared,
        "is_mine": view.owner_id == user.pk,
        "may_change": views.may_change(view, user),
        "owner_id": view.owner_id,
        "owner": view.owner.get_username(),
        "missing": missing or None,
        "created_at": view.created_at,
    }
