"""The correction of a payload: tried, kept, sent, withdrawn."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dlq.api.entry_acting import EntryActing, MaybeWhyShape
from dlq.api.entry_shapes import CorrectionShape, EntryActedShape, FieldChangeShape
from dlq.choices import Door, ReprocessMode
from dlq.models import DLQEntry
from dlq.services import edits, entry_detail, sight
from dlq.services.moves import REASON_MAX, ActRefusedError
from dlq.services.payloads import MAX_TYPED
from dlq.services.sight import Sight
from syncs.choices import Scope
from syncs.rest.operations import operation
from syncs.rest.problems import NotFoundError
from syncs.rest.resources import user_of
from syncs.rest.rights import demand
from syncs.rest.shapes import Shape, StrictText
from syncs.services import versions

EDIT, REVEAL = "dlq.edit_dlqentry", "dlq.reveal_dlqentry"
RIGHTS = (
    "Needs the scope `dlq:act` as well and, where values of the payload are masked, the right `dlq.reveal_dlqentry`, as in the "
    "console."
)
PAYLOAD = "The whole payload as JSON text, so that numbers stay exact; the key by which the destination finds it stays."


class TriedPayloadShape(Shape):
    payload = StrictText(max_length=MAX_TYPED, trim_whitespace=False, help_text=PAYLOAD)


class NewCorrectionShape(TriedPayloadShape):
    reason = StrictText(max_length=REASON_MAX, help_text="Kept in the history.")


class TriedCorrectionShape(Shape):
    """What would be another than in the payload that was refused."""

    changes = FieldChangeShape(many=True, read_only=True)
    byte_count = serializers.IntegerField(read_only=True, help_text="Of the payload as it would be sent.")


class WithdrawQueryShape(Shape):
    reason = serializers.CharField(max_length=REASON_MAX, required=False, default="", help_text="Kept in the history.")


class Correcting(EntryActing):
    @action(detail=True, methods=["get"], url_path="correction")
    @operation(
        "The correction that waits to be sent",
        scope=Scope.READ,
        permission="dlq.view_dlqentry",
        shape=CorrectionShape,
        has_etag=True,
        description="404 where none waits. Values of people are masked.",
    )
    def correction(self, request: Request, id: str) -> Response:
        entry = self.entry(request, id)
        return self._told(request, entry)

    @correction.mapping.put
    @operation(
        "Correct the payload",
        scope=Scope.DLQ_RAW,
        permission=EDIT,
        takes=NewCorrectionShape,
        shape=CorrectionShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        example={"payload": '{"id": 7, "email": "bo@example.test"}', "reason": "VEND-17"},
        description=f"Kept until it is sent. If-Match: the ETag of the dead letter that was looked at. {RIGHTS}",
    )
    def correct(self, request: Request, id: str) -> Response:
        self._demand(request, self.entry(request, id))
        with self.edited(request, self.rows(request), id, self.etag_of) as entry:
            edits.save(
                entry,
                text=self.given["payload"],
                reason=self.given["reason"],
                seen_failed_at=entry.last_failed_at,
                by=user_of(request),
                door=Door.API,
            )
        return self._told(request, self.entry(request, id))

    @correction.mapping.delete
    @operation(
        "Withdraw the correction",
        scope=Scope.DLQ_RAW,
        permission=EDIT,
        query=WithdrawQueryShape,
        status=204,
        needs_match=True,
        can_refuse=True,
        description="It stays in the history. Needs the scope `dlq:act` as well.",
    )
    def withdraw(self, request: Request, id: str) -> Response:
        demand(request, EDIT, Scope.DLQ_ACT)
        with self.edited(request, self.rows(request), id, self.etag_of) as entry:
            if not edits.withdraw(entry, by=user_of(request), door=Door.API, reason=self.asked["reason"]):
                raise ActRefusedError("No correction was waiting any more.")
        return self.nothing()

    @action(detail=True, methods=["post"], url_path="correction/check")
    @operation(
        "Try a correction without keeping it",
        scope=Scope.DLQ_RAW,
        permission=EDIT,
        takes=TriedPayloadShape,
        shape=TriedCorrectionShape,
        is_secret=True,
        description=f"What it changes, masked; 400 names what cannot be sent. {RIGHTS}",
    )
    def check_correction(self, request: Request, id: str) -> Response:
        entry = self.entry(request, id)
        self._demand(request, entry)
        body = edits.checked(entry, self.given["payload"])
        seen = Sight(entry, using=sight.masker())
        changes = seen.diff(edits.diff(entry.payload, body))
        seen.close()
        return self.one(request, {"changes": changes(), "byte_count": len(body.encode())})

    @action(detail=True, methods=["post"], url_path="correction/send")
    @operation(
        "Send the correction",
        scope=Scope.DLQ_RAW,
        permission=EDIT,
        takes=MaybeWhyShape,
        shape=EntryActedShape,
        status=202,
        has_etag=True,
        description="Asks for a run that sends the corrected payload; poll it. Needs the scope `dlq:act` as well.",
    )
    def send_correction(self, request: Request, id: str) -> Response:
        demand(request, EDIT, Scope.DLQ_ACT)
        return self._send(request, id, ReprocessMode.EDITED)

    def _demand(self, request: Request, entry: DLQEntry) -> None:
        """Whoever corrects a payload must be one who may see its true values."""
        demand(request, EDIT, Scope.DLQ_ACT)
        standing = edits.ready(entry)
        if sight.hides(entry.payload, standing.payload if standing else entry.payload):
            demand(request, REVEAL)

    def _told(self, request: Request, entry: DLQEntry) -> Response:
        etag = self.etag_of(entry)  # before what is shown: never newer than that
        found = entry_detail.detail(entry, now=versions.snapshot(entry.sync))
        edit = found.edit
        if edit is None:
            raise NotFoundError("No correction waits. Nothing of that kind")
        about = {name: getattr(edit, name) for name in ("id", "created_at", "created_by", "reason")}
        shown = {**about, "is_current": found.is_edit_current, "changes": found.edit_diff}
        return self.one(request, shown, etag=etag)
