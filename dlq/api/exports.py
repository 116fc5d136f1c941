"""Exports: asked for, watched, downloaded; small ones at once."""

from __future__ import annotations

from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dlq.api import export_shapes, plan_shapes, selections
from dlq.api.export_shapes import FILE_TYPES, ExportLineShape, ExportPlanShape, ExportShape, NewExportShape
from dlq.api.selections import ChosenShape
from dlq.choices import Door, ExportStatus
from dlq.models import Export
from dlq.services import export, export_files, exports, plans, snapshots
from dlq.services.export import Download
from dlq.services.moves import ActRefusedError
from dlq.services.snapshots import BulkKind, Snapshot
from syncs.choices import Scope, labelled
from syncs.connectors import Issue
from syncs.rest import paging
from syncs.rest.filters import StrictFilterSet, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError, Problem, RefusedError
from syncs.rest.resources import Resource, user_of
from syncs.rest.rights import demand, has_scope

EXPORT = "dlq.export_dlqentry"
_ASKED = {"filter": {"sync": [3], "status": ["open"]}, "format": "csv", "columns": ["id", "row_key", "message", "payload"]}


class ExportFilters(StrictFilterSet):
    status = WordsFilter(choices=labelled(ExportStatus), field_name="status", help_text="Any of these.")


class Exports(Resource):
    tag = "Exports"

    @operation(
        "Exports that you may see, the newest first", scope=Scope.READ, permission="dlq.view_export", shape=ExportLineShape,
        is_page=True, filters=ExportFilters,
    )  # fmt: skip
    def list(self, request: Request) -> Response:
        mine = exports.visible(user_of(request)).select_related("created_by").defer("ids", "query")
        asked = paging.wanted(request)
        found = paging.page(ExportFilters.of(request.query_params, mine), ("-id",), asked)
        rows = [export_shapes.line(one, may_fetch=_may_fetch(request, one)) for one in found.rows]
        return self.page_of(request, paging.Page(rows, found.next), asked.limit)

    @operation("One export", scope=Scope.READ, permission="dlq.view_export", shape=ExportShape)
    def retrieve(self, request: Request, id: str) -> Response:
        return self._answer(request, self._seen(request, id))

    @action(detail=False, methods=["post"])
    @operation(
        "Plan an export", scope=Scope.DLQ_ACT, permission=EXPORT, takes=ChosenShape, shape=ExportPlanShape,
        description="Freezes what is chosen and says what it is. Nothing is written until `confirm` is sent.",
        example={"filter": {"sync": [3]}},
    )  # fmt: skip
    def plan(self, request: Request) -> Response:
        snapshot = selections.take(BulkKind.EXPORT, self.given, user=user_of(request))
        made = plan_shapes.selection(plans.make(snapshot, may=lambda _word: False, is_looking=False))
        return self.one(request, {**made, "is_large": export.is_large(snapshot.count), "most_at_once": export.stream_rows()})

    @operation(
        "Export dead letters into a file", scope=Scope.DLQ_ACT, permission=EXPORT, takes=NewExportShape, shape=ExportShape,
        status=202, description="A worker writes it; ask for the export until it `is_over`, then download its `file`.",
        example=_ASKED,
    )  # fmt: skip
    def create(self, request: Request) -> Response:
        made = exports.create(self._snapshot(request), door=Door.API, by=user_of(request), **self._wishes(request))
        return self._answer(request, made, location=True)

    @action(detail=False, methods=["post"])
    @operation(
        "Download dead letters at once", scope=Scope.DLQ_ACT, permission=EXPORT, takes=NewExportShape, file=FILE_TYPES,
        can_refuse=True, description="For few; the plan says whether they are too many.", example=_ASKED,
    )  # fmt: skip
    def download(self, request: Request) -> HttpResponseBase:
        snapshot = self._snapshot(request)
        if export.is_large(snapshot.count):
            said = f"{snapshot.count:,} dead letters are more than {export.stream_rows():,}."
            raise RefusedError(f"{said} Have them written into a file: POST /api/v1/exports.")
        made = exports.start(snapshot, door=Door.API, by=user_of(request), **self._wishes(request))
        assert isinstance(made, Download)
        return export.answer(made.file, name=made.name, format=made.format)

    @action(detail=True, methods=["get"])
    @operation(
        "Download the file of an export", scope=Scope.READ, permission=EXPORT, file=FILE_TYPES, can_refuse=True,
        description="An unmasked one needs the scope `dlq:raw`, too. 409 while it is being written, 404 once it is deleted.",
    )  # fmt: skip
    def file(self, request: Request, id: str) -> HttpResponseBase:
        made = self._fetched(request, id)
        path = export_files.find(made.file_name) if made.status == ExportStatus.READY else None
        if path is None:
            raise _lost(made)
        return export.answer(path.open("rb"), name=export.file_name(made.format, made.created_at), format=made.format)

    @file.mapping.delete
    @operation(
        "Delete the file of an export", scope=Scope.DLQ_ACT, permission=EXPORT, status=204, can_refuse=True,
        description="The export stays in the list, as expired.",
    )  # fmt: skip
    def delete_file(self, request: Request, id: str) -> Response:
        made = self._fetched(request, id)
        if not exports.expire(made, by=user_of(request), door=Door.API):
            raise _lost(made)
        return self.nothing()

    @action(detail=True, methods=["post"])
    @operation("Cancel an export that is not ready yet", scope=Scope.DLQ_ACT, permission=EXPORT, shape=ExportShape)
    def cancel(self, request: Request, id: str) -> Response:
        made = self._seen(request, id)
        if not exports.cancel(made, by=user_of(request), door=Door.API):
            raise RefusedError("It is over already.")
        return self._answer(request, made)

    def _snapshot(self, request: Request) -> Snapshot:
        user = user_of(request)
        if "confirm" not in self.given:
            snapshot = selections.take(BulkKind.EXPORT, self.given, user=user)
        else:
            try:
                snapshot = snapshots.load(self.given["confirm"], BulkKind.EXPORT, user=user)
            except ActRefusedError as refusal:
                raise InvalidError([Issue("confirm", str(refusal))]) from None
        if not snapshot.count:
            raise RefusedError("No dead letter matches. Somebody else may have worked on them.")
        return snapshot

    def _wishes(self, request: Request) -> dict[str, Any]:
        if self.given["is_raw"]:
            demand(request, exports.RAW, Scope.DLQ_RAW)
        given = {"columns": (), "reason": "", **self.given}
        return {name: given[name] for name in ("format", "columns", "is_flat", "is_raw", "reason")}

    def _seen(self, request: Request, id: str) -> Export:
        mine = exports.visible(user_of(request)).select_related("created_by")
        found: Export = self.find(mine, id, "No export of that number")
        return found

    def _fetched(self, request: Request, id: str) -> Export:
        made = self._seen(request, id)
        if made.is_raw:
            demand(request, exports.RAW, Scope.DLQ_RAW)
        if not exports.may_fetch(made, user_of(request)):
            raise Problem(403, "forbidden", "This file is for who asked for it.")
        return made

    def _answer(self, request: Request, made: Export, *, location: bool = False) -> Response:
        now = Export.objects.select_related("created_by").get(pk=made.pk)
        shown = export_shapes.whole(now, may_fetch=_may_fetch(request, now))
        return self.one(request, shown, location=f"/api/v1/exports/{now.pk}" if location else "")


def _may_fetch(request: Request, made: Export) -> bool:
    return exports.may_fetch(made, user_of(request)) and (not made.is_raw or has_scope(request, Scope.DLQ_RAW))


def _lost(made: Export) -> Problem:
    why = exports.why_no_file(made)
    return RefusedError(why) if made.status in exports.WORKING else Problem(404, "not_found", why)
