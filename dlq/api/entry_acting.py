"""Acts on one dead letter. Of two callers one wins; the other is told so by a 409."""

from __future__ import annotations

from typing import Any

from django.http import FileResponse
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dlq.api.entry_resource import EntryResource
from dlq.api.entry_shapes import RESEND_MODES, EntryActedShape, RevealedShape
from dlq.choices import Door, ReprocessMode
from dlq.models import DLQEntry
from dlq.services import edits, entry_acts, evidence_bundle, live, people, reveals
from dlq.services.entry_acts import Done
from dlq.services.evidence import Scope as EvidenceScope
from dlq.services.moves import REASON_MAX
from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError
from syncs.rest.resources import user_of
from syncs.rest.rights import demand
from syncs.rest.shapes import Id, Shape, StrictText
from syncs.services import versions

NOTE_MAX = 10_000


class WhyShape(Shape):
    reason = StrictText(max_length=REASON_MAX, help_text="Kept in the history, for whoever asks later.")


class MaybeWhyShape(Shape):
    reason = StrictText(max_length=REASON_MAX, required=False, default="", allow_blank=True, help_text="Kept in the history.")


class ResendShape(MaybeWhyShape):
    mode = serializers.ChoiceField(
        RESEND_MODES,
        help_text="`stored`: the row as it was stored, mapped by today's mapping; `payload`: exactly what was sent.",
    )


class AssignShape(Shape):
    owner_id = Id(allow_null=True, help_text="Who is to work on it (see `people`); null: nobody.")


class NoteShape(Shape):
    note = StrictText(max_length=NOTE_MAX, allow_blank=True, help_text="Replaces the note; empty takes it away.")


class EntryActing(EntryResource):
    def acted(self, request: Request, done: Done, *, status: int | None = None) -> Response:
        run = done.run
        about = {"run_id": run.pk if run else None, "message": done.sentence}
        entry = done.entry
        fields = {name: getattr(entry, name) for name in ("id", "status", "owner", "note", "row_state")}
        return self.one(
            request,
            {**fields, **about},
            status=status,
            etag=self.etag_of(entry),
            location=f"/api/v1/runs/{run.pk}" if run else "",
        )

    def who(self, request: Request) -> dict[str, Any]:
        return {"by": user_of(request), "door": Door.API}

    @action(detail=True, methods=["post"], url_path="reprocess")
    @operation(
        "Reprocess with today's warehouse row",
        scope=Scope.DLQ_ACT,
        permission="dlq.reprocess_dlqentry",
        takes=MaybeWhyShape,
        shape=EntryActedShape,
        status=202,
        has_etag=True,
        example={"reason": "The address is corrected."},
        description="Asks for a run that reads the row again and sends it; poll the run in `Location`, or the dead letter.",
    )
    def reprocess(self, request: Request, id: str) -> Response:
        return self._send(request, id, ReprocessMode.CURRENT)

    @action(detail=True, methods=["post"], url_path="resend")
    @operation(
        "Send what is stored again",
        scope=Scope.DLQ_RAW,
        permission="dlq.resend_dlqentry",
        takes=ResendShape,
        shape=EntryActedShape,
        status=202,
        has_etag=True,
        example={"mode": "payload", "reason": "The destination was at fault."},
        description="Needs the scope `dlq:act` as well. Refused where a newer version of the row has landed since.",
    )
    def resend(self, request: Request, id: str) -> Response:
        demand(request, "dlq.resend_dlqentry", Scope.DLQ_ACT)
        return self._send(request, id, ReprocessMode(self.given["mode"]))

    @action(detail=True, methods=["post"], url_path="delete-at-destination")
    @operation(
        "Delete the record of a row that has left the warehouse",
        scope=Scope.DLQ_ACT,
        permission="dlq.resend_dlqentry",
        takes=WhyShape,
        shape=EntryActedShape,
        status=202,
        has_etag=True,
        example={"reason": "The customer has left."},
    )
    def delete_at_destination(self, request: Request, id: str) -> Response:
        done = entry_acts.delete_at_destination(self.entry(request, id), reason=self.given["reason"], **self.who(request))
        return self.acted(request, done)

    @action(detail=True, methods=["post"], url_path="discard")
    @operation(
        "Discard a dead letter",
        scope=Scope.DLQ_ACT,
        permission="dlq.discard_dlqentry",
        takes=WhyShape,
        shape=EntryActedShape,
        has_etag=True,
        example={"reason": "A test record."},
        description="The same content is not sent again; a changed row is. `reopen` undoes it.",
    )
    def discard(self, request: Request, id: str) -> Response:
        done = entry_acts.discard(self.entry(request, id), reason=self.given["reason"], **self.who(request))
        return self.acted(request, done)

    @action(detail=True, methods=["post"], url_path="reopen")
    @operation(
        "Reopen a discarded dead letter",
        scope=Scope.DLQ_ACT,
        permission="dlq.discard_dlqentry",
        takes=MaybeWhyShape,
        shape=EntryActedShape,
        has_etag=True,
    )
    def reopen(self, request: Request, id: str) -> Response:
        done = entry_acts.reopen(self.entry(request, id), reason=self.given["reason"], **self.who(request))
        return self.acted(request, done)

    @action(detail=True, methods=["post"], url_path="assign")
    @operation(
        "Give a dead letter to somebody",
        scope=Scope.DLQ_ACT,
        permission="dlq.annotate_dlqentry",
        takes=AssignShape,
        shape=EntryActedShape,
        has_etag=True,
        example={"owner_id": 7},
    )
    def assign(self, request: Request, id: str) -> Response:
        entry = self.entry(request, id)
        pk = self.given["owner_id"]
        owner = None if pk is None else people.assignee(str(pk))
        if pk is not None and owner is None:
            raise InvalidError([Issue("owner_id", "There is nobody of this number who may see dead letters.")])
        return self.acted(request, entry_acts.assign(entry, owner=owner, **self.who(request)))

    @action(detail=True, methods=["put"], url_path="note")
    @operation(
        "Write the note of a dead letter",
        scope=Scope.DLQ_ACT,
        permission="dlq.annotate_dlqentry",
        takes=NoteShape,
        shape=EntryActedShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        example={"note": "VEND-17: asked the vendor."},
        description="If-Match: the ETag of the dead letter. The history keeps each version.",
    )
    def note(self, request: Request, id: str) -> Response:
        with self.edited(request, self.rows(request), id, self.etag_of) as entry:
            return self.acted(request, entry_acts.note(entry, text=self.given["note"], **self.who(request)))

    @action(detail=True, methods=["post"], url_path="check-row")
    @operation(
        "Look up the warehouse row and remember what it is",
        scope=Scope.DLQ_ACT,
        permission="dlq.annotate_dlqentry",
        shape=EntryActedShape,
        has_etag=True,
        description="409 where the warehouse cannot be asked, in its own words.",
    )
    def check_row(self, request: Request, id: str) -> Response:
        entry = self.entry(request, id)
        found = live.check(entry, versions.snapshot(entry.sync)["mappings"], **self.who(request))
        return self.acted(request, Done(entry_acts.now(entry), live.SAID[found.state]))

    @action(detail=True, methods=["post"], url_path="reveal")
    @operation(
        "See the true values of a dead letter",
        scope=Scope.DLQ_RAW,
        permission="dlq.reveal_dlqentry",
        takes=WhyShape,
        shape=RevealedShape,
        is_secret=True,
        example={"reason": "VEND-17: the vendor asks for the exact value."},
        description="The history says who saw them and why. At most so many an hour for each person as the settings allow.",
    )
    def reveal(self, request: Request, id: str) -> Response:
        entry = self.entry(request, id)
        reveals.reveal(entry, reason=self.given["reason"], **self.who(request))
        edit = edits.standing(entry)
        names = ("id", "row_key", "source_row", "payload", "message", "response_excerpt", "request_id")
        return self.one(request, {**{name: getattr(entry, name) for name in names}, "correction": edit.payload if edit else ""})

    @action(detail=True, methods=["post"], url_path="evidence")
    @operation(
        "Evidence of a dead letter, for the vendor",
        scope=Scope.DLQ_ACT,
        permission="dlq.export_dlqentry",
        takes=MaybeWhyShape,
        file="application/zip",
        description="A ZIP with a summary to read, and JSON Lines of the dead letter, its steps and calls; masked, always.",
    )
    def evidence(self, request: Request, id: str) -> FileResponse:
        return bundle(request, EvidenceScope(entry=self.entry(request, id)), self.given["reason"])

    def _send(self, request: Request, pk: str, mode: ReprocessMode) -> Response:
        entry: DLQEntry = self.entry(request, pk)
        return self.acted(request, entry_acts.reprocess(entry, mode=mode, reason=self.given["reason"], **self.who(request)))


def bundle(request: Request, scope: EvidenceScope, reason: str) -> FileResponse:
    made = evidence_bundle.build(scope, by=user_of(request), reason=reason, door=Door.API)
    sent = FileResponse(made.file, as_attachment=True, filename=made.name, content_type="application/zip")
    sent["X-Content-Type-Options"] = "nosniff"
    return sent
