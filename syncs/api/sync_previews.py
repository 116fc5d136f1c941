"""What a run would do with rows of a sync, and a few of them sent for real."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.sync_edits import API, OfSync
from syncs.api.sync_filters import seen
from syncs.choices import Scope
from syncs.errors import ErrorType
from syncs.models import Run, Sync
from syncs.records import Operation
from syncs.rest.numbers import json_numbers
from syncs.rest.operations import operation
from syncs.rest.resources import user_of
from syncs.rest.shapes import Shape, StrictBoolean, StrictText
from syncs.services import preview_words, previews, sends
from syncs.services.preview_rows import Act, Verdict
from syncs.services.previews import MOST_KEYS, Preview

_SEE, _RUN = "syncs.view_sync", "syncs.run_sync"
_NOTING = (_RUN, "dlq.reprocess_dlqentry")  # who runs the sync, or works off its dead letters: both wait for it
_LIMIT, _LONGEST_KEY = 20, 2_000


class PreviewQueryShape(Shape):
    limit = serializers.IntegerField(min_value=1, max_value=100, default=_LIMIT, help_text="The first so many rows.")
    keys = serializers.ListField(
        child=StrictText(max_length=_LONGEST_KEY, trim_whitespace=False),
        max_length=MOST_KEYS,
        default=list,
        help_text="Row keys: these rows instead of the first ones. Once for each.",
    )


class NewPreviewShape(Shape):
    limit = serializers.IntegerField(min_value=1, max_value=100, default=_LIMIT, help_text="The first so many rows.")
    keys = serializers.ListField(
        child=StrictText(max_length=_LONGEST_KEY, trim_whitespace=False),
        min_length=1,
        max_length=MOST_KEYS,
        required=False,
        help_text="Row keys: these rows instead of the first ones.",
    )


class RowErrorShape(Shape):
    type = serializers.ChoiceField(list(ErrorType))
    code = serializers.CharField()
    field = serializers.CharField()
    message = serializers.CharField()


class ViolationShape(Shape):
    field = serializers.CharField(help_text="Path in the payload.")
    issue = serializers.CharField()


class PreviewRowShape(Shape):
    """Sensitive values are masked, as on the console's pages."""

    key = serializers.CharField(allow_null=True, help_text="The row key; null: it has none.")
    values = serializers.DictField(help_text="By column of the query.")
    payload = serializers.DictField(allow_null=True, help_text="What would be sent; null where it cannot be mapped.")
    error = RowErrorShape(allow_null=True)
    verdict = serializers.ChoiceField(list(Verdict), help_text="Against what was accepted last.")
    act = serializers.ChoiceField(list(Act), help_text="What a run would do.")
    operation = serializers.ChoiceField(list(Operation))
    is_waiting = serializers.BooleanField(help_text="Refused, and a dead letter of this very content waits.")
    violations = ViolationShape(many=True, help_text="What the destination's fields would refuse.")


class PreviewMisfitShape(Shape):
    field = serializers.CharField()
    message = serializers.CharField()
    remedy = serializers.CharField()
    is_certain = serializers.BooleanField(help_text="Every row is concerned; else some may be.")


class PreviewShape(Shape):
    columns = serializers.ListField(child=serializers.CharField())
    rows = PreviewRowShape(many=True)
    has_more = serializers.BooleanField(help_text="The query has more rows than these.")
    missing = serializers.ListField(child=serializers.CharField(), help_text="Keys that the query has no row of.")
    vanished = serializers.ListField(child=serializers.CharField(), help_text="Those of them that a mirror would delete.")
    misfits = PreviewMisfitShape(many=True, help_text="What of the mapping the destination's fields break.")
    starts_over = serializers.BooleanField(help_text="A run would begin anew: the target is another one.")
    is_clean = serializers.BooleanField(help_text="At least one row could be sent, and nothing is known against any.")
    is_settled = serializers.BooleanField(help_text="This look released dead letters that a change of the destination held.")


class SendOfferShape(Shape):
    token = serializers.CharField(help_text="Confirms the sending within 15 minutes, by who asked, if the sync stays as it is.")
    preview = PreviewShape()


class NewSendOfferShape(Shape):
    keys = serializers.ListField(
        child=StrictText(max_length=_LONGEST_KEY, trim_whitespace=False), min_length=1, max_length=sends.MOST_ROWS
    )


class NewSendShape(Shape):
    token = StrictText(max_length=20_000)
    full = StrictBoolean(default=False, help_text="Rows that are known as unchanged too.")


class SentRunShape(Shape):
    run_id = serializers.IntegerField()


class SyncPreviews(OfSync):
    @action(detail=True, methods=["get"])
    @operation(
        "Look at the first rows, or at chosen ones",
        scope=Scope.READ,
        permission=_SEE,
        query=PreviewQueryShape,
        shape=PreviewShape,
        can_refuse=True,
        description="Reads the warehouse and writes nothing, here or there.",
    )
    def preview(self, request: Request, id: str) -> Response:
        found = previews.preview(self.find(seen(request), id), limit=self.asked["limit"], keys=self.asked["keys"] or None)
        return self.one(request, shown(found))

    @preview.mapping.post
    @operation(
        "Look at rows, and settle a change of the destination",
        name="syncs_preview_settle",
        scope=Scope.RUN,
        permission=_NOTING,
        takes=NewPreviewShape,
        shape=PreviewShape,
        can_refuse=True,
        description="As GET; a clean look also releases the dead letters that a change of the destination holds back.",
        example={"keys": ["17"]},
    )
    def note_preview(self, request: Request, id: str) -> Response:
        sync: Sync = self.find(seen(request), id)
        found = previews.preview(sync, limit=self.given["limit"], keys=self.given.get("keys"))
        is_settled = previews.note(sync, found, by=user_of(request), door=API)
        return self.one(request, {**shown(found), "is_settled": is_settled})

    @action(detail=True, methods=["post"], url_path="sends/offer")
    @operation(
        "Show rows that are to be sent by hand",
        name="syncs_sends_offer",
        scope=Scope.RUN,
        permission=_RUN,
        takes=NewSendOfferShape,
        shape=SendOfferShape,
        can_refuse=True,
        description=f"At most {sends.MOST_ROWS}. They are read once more; with the token exactly these are sent.",
        example={"keys": ["17"]},
    )
    def offer_send(self, request: Request, id: str) -> Response:
        offer = sends.offer(self.find(seen(request), id), self.given["keys"], by=user_of(request))
        return self.one(request, {"token": offer.token, "preview": shown(offer.found)})

    @action(detail=True, methods=["post"], url_path="sends")
    @operation(
        "Send the rows that were shown",
        name="syncs_sends_create",
        scope=Scope.RUN,
        permission=_RUN,
        takes=NewSendShape,
        shape=SentRunShape,
        status=202,
        can_refuse=True,
        description="Queues a run of exactly these rows; follow it under `Location`.",
        example={"token": "…"},
    )
    def send(self, request: Request, id: str) -> Response:
        sync: Sync = self.find(seen(request), id)
        run: Run = sends.send(sync, self.given["token"], by=user_of(request), is_full=self.given["full"], door=API)
        return self.one(request, {"run_id": run.pk}, location=f"/api/v1/runs/{run.pk}")


def shown(found: Preview) -> dict[str, Any]:
    return {
        "columns": found.columns,
        "rows": [_row(row) for row in preview_words.masked(found)],
        "has_more": found.has_more,
        "missing": found.missing,
        "vanished": found.vanished,
        "misfits": found.misfits,
        "starts_over": found.starts_over,
        "is_clean": found.is_clean,
        "is_settled": False,
    }


def _row(one: preview_words.MaskedRow) -> dict[str, Any]:
    row, error = one.row, one.row.error
    said = None
    if error is not None:
        said = {"type": error.type, "code": error.code, "field": error.field, "message": one.error}
    return {
        "key": row.key,
        "values": json_numbers(one.values),
        "payload": json_numbers(one.payload),
        "error": said,
        "verdict": row.verdict,
        "act": row.act,
        "operation": row.operation,
        "is_waiting": row.is_waiting,
        "violations": [{"field": field, "issue": issue} for field, issue in one.violations],
    }
