"""Syncs: found, set up, changed, put away."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api import sync_shapes
from syncs.api.configuration import SyncYaml
from syncs.api.sync_acts import SyncActs
from syncs.api.sync_edits import API, edit, named, stamp
from syncs.api.sync_filters import ORDERS, SyncFilters, ordered, seen, with_all
from syncs.api.sync_mapping import SyncMapping
from syncs.api.sync_previews import SyncPreviews
from syncs.api.sync_shapes import NewSyncShape, SyncChangeShape, SyncRowShape, SyncShape
from syncs.choices import Scope
from syncs.rest.operations import operation
from syncs.rest.resources import user_of
from syncs.services import archives, sync_edits

EXAMPLE = {
    "name": "Contacts to CRM",
    "source_id": 1,
    "query": "SELECT id, email, city FROM contacts",
    "key_columns": ["id"],
    "destination_id": 2,
    "destination_object": "contacts",
    "mappings": [
        {"destination_field": "external_id", "column": "id", "type": "integer", "is_key": True},
        {"destination_field": "email", "column": "email"},
    ],
}


class Syncs(SyncActs, SyncPreviews, SyncMapping, SyncYaml):
    tag = "Syncs"

    @operation(
        "Syncs, the most urgent first",
        scope=Scope.READ,
        permission="syncs.view_sync",
        shape=SyncRowShape,
        is_page=True,
        filters=SyncFilters,
        orders=ORDERS,
    )
    def list(self, request: Request) -> Response:
        rows = SyncFilters.of(request.query_params, seen(request), user=request.user)
        return self.paged(request, ordered(with_all(rows)))

    @operation("One sync", scope=Scope.READ, permission="syncs.view_sync", shape=SyncShape, has_etag=True)
    def retrieve(self, request: Request, id: str) -> Response:
        return self.told(request, id)

    @operation(
        "Set up a sync",
        scope=Scope.WRITE,
        permission="syncs.add_sync",
        takes=NewSyncShape,
        shape=SyncShape,
        status=201,
        has_etag=True,
        example=EXAMPLE,
    )
    def create(self, request: Request) -> Response:
        wanted = sync_shapes.wanted(self.given)
        with named():
            sync = sync_edits.create(wanted, by=user_of(request), door=API, is_paused=self.given["is_paused"])
        return self.told(request, sync.pk, location=True)

    @operation(
        "Change settings of a sync",
        scope=Scope.WRITE,
        permission="syncs.change_sync",
        takes=SyncChangeShape,
        shape=SyncShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        example={"schedule_kind": "interval", "interval_minutes": 15},
    )
    def partial_update(self, request: Request, id: str) -> Response:
        return self._change(request, id)

    @operation(
        "Replace the settings of a sync",
        name="syncs_replace",
        scope=Scope.WRITE,
        permission="syncs.change_sync",
        takes=SyncChangeShape,
        shape=SyncShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        description="What is not named becomes what a new sync has.",
        example=EXAMPLE,
    )
    def update(self, request: Request, id: str) -> Response:
        return self._change(request, id)

    @operation(
        "Put a sync into the archive",
        scope=Scope.WRITE,
        permission="syncs.change_sync",
        status=204,
        needs_match=True,
        can_refuse=True,
        description="It is never deleted: its runs and dead letters stay. Refused while a run is live; see `archive`.",
    )
    def destroy(self, request: Request, id: str) -> Response:
        with self.edited(request, seen(request), id, lambda sync: stamp(sync_edits.digest(sync))) as sync:
            archives.archive(sync, by=user_of(request), door=API)
        return self.nothing()

    def _change(self, request: Request, id: str) -> Response:
        sync = self.find(seen(request), id)
        wanted, note = sync_shapes.wanted(self.given), self.given.get("note", "")

        def save(opened: str) -> None:
            sync_edits.change(sync, wanted, opened=opened, by=user_of(request), door=API, note=note)

        with named():
            edit(request, lambda: sync_edits.digest(sync), save)
        return self.told(request, sync.pk)
