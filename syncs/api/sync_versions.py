"""Versions of a sync: what runs used, and what differs between two of them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.sync_filters import seen
from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.models import Sync, SyncVersion
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError, NotFoundError
from syncs.rest.resources import Resource
from syncs.rest.shapes import Shape
from syncs.services import versions

_BIGGEST = 2_147_483_647


class SyncVersionRowShape(Shape):
    id = serializers.IntegerField(source="number", help_text="From 1, for each sync.")
    author_id = serializers.IntegerField(allow_null=True)
    author_name = serializers.SerializerMethodField(help_text="null: Redrive, or somebody who is gone.")
    note = serializers.CharField()
    created_at = serializers.DateTimeField()
    is_current = serializers.SerializerMethodField()

    def get_author_name(self, version: SyncVersion) -> str | None:
        return version.author.get_username() if version.author else None

    def get_is_current(self, version: SyncVersion) -> bool:
        return version.sync.current_version_id == version.pk


class SyncVersionShape(SyncVersionRowShape):
    snapshot = serializers.DictField(
        help_text="Everything that decides what a run sends: query, keys, mode, mapping, settings; connections by id and name."
    )


class VersionDiffQueryShape(Shape):
    before = serializers.IntegerField(min_value=1, max_value=_BIGGEST, help_text="The number of a version.")
    after = serializers.IntegerField(
        min_value=1, max_value=_BIGGEST, required=False, help_text="Of another; without it: the current one."
    )


class VersionChangeShape(Shape):
    path = serializers.CharField(help_text="`query`, `mappings.email`.")
    before = serializers.JSONField(allow_null=True, help_text="null: it was not there.")
    after = serializers.JSONField(allow_null=True, help_text="null: it is not there any more.")


class VersionDiffShape(Shape):
    before = serializers.IntegerField()
    after = serializers.IntegerField()
    changes = VersionChangeShape(many=True)


class SyncVersions(Resource):
    tag = "Syncs"

    @operation(
        "Versions of a sync, newest first",
        scope=Scope.READ,
        permission="syncs.view_sync",
        shape=SyncVersionRowShape,
        is_page=True,
        orders={"-id": ("-number",)},
    )
    def list(self, request: Request, sync_id: str) -> Response:
        return self.paged(request, self._of(request, sync_id).defer("snapshot"))

    @operation("One version", scope=Scope.READ, permission="syncs.view_sync", shape=SyncVersionShape)
    def retrieve(self, request: Request, sync_id: str, id: str) -> Response:
        return self.one(request, self._version(request, sync_id, int(id)))

    @action(detail=False, methods=["get"])
    @operation(
        "What differs between two versions",
        scope=Scope.READ,
        permission="syncs.view_sync",
        query=VersionDiffQueryShape,
        shape=VersionDiffShape,
    )
    def diff(self, request: Request, sync_id: str) -> Response:
        rows = self._of(request, sync_id)
        found = {name: rows.filter(number=number).first() for name, number in self.asked.items()}
        if "after" not in found:
            found["after"] = rows.order_by("-number").first()
        if lost := [name for name, version in found.items() if version is None]:
            raise InvalidError([Issue(name, "This sync has no version of that number.") for name in lost])
        one, other = found["before"], found["after"]
        changes = versions.differences(one.snapshot, other.snapshot)
        told = [{"path": path, "before": was, "after": now} for path, (was, now) in changes.items()]
        return self.one(request, {"before": one.number, "after": other.number, "changes": told})

    def _of(self, request: Request, sync_id: str) -> Any:
        sync: Sync = self.find(seen(request), sync_id, "No such sync")
        return SyncVersion.objects.filter(sync=sync).select_related("author", "sync")

    def _version(self, request: Request, sync_id: str, number: int) -> SyncVersion:
        found: SyncVersion | None = self._of(request, sync_id).filter(number=min(number, _BIGGEST)).first()
        if found is None:
            raise NotFoundError("No such version")
        return found
