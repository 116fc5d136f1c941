"""Corrections by a file: looked at as a difference, then kept; nothing is sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dlq.choices import Door
from dlq.services import import_files, import_keeping, imports
from dlq.services.export_plan import ExportFormat
from dlq.services.imports import Correction, Proposal
from dlq.services.moves import REASON_MAX, ActRefusedError
from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.rest.operations import operation
from syncs.rest.parsing import StrictJSONParser, UploadParser
from syncs.rest.problems import InvalidError
from syncs.rest.resources import Resource, user_of
from syncs.rest.rights import demand
from syncs.rest.shapes import Shape, StrictText

EDIT = "dlq.edit_dlqentry"
CSV, XLSX = (one.content_type.partition(";")[0] for one in (ExportFormat.CSV, ExportFormat.XLSX))
SHOWN = 500  # corrections, and refused lines, in an answer


class CsvParser(UploadParser):
    media_type, most = CSV, import_files.MAX_BYTES


class XlsxParser(UploadParser):
    media_type, most = XLSX, import_files.MAX_BYTES


class FileFieldChangeShape(Shape):
    field = serializers.CharField()
    before = serializers.CharField(allow_null=True, help_text="JSON, hidden values masked; null: it was not there.")
    after = serializers.CharField(allow_null=True, help_text="JSON; null: it is taken away.")


class FileCorrectionShape(Shape):
    line = serializers.IntegerField(help_text="Of the file; the heading is 1.")
    entry_id = serializers.IntegerField()
    row_key = serializers.CharField()
    sync_id = serializers.IntegerField()
    changes = FileFieldChangeShape(many=True)


class RefusedLineShape(Shape):
    line = serializers.IntegerField()
    field = serializers.CharField(help_text="The column.")
    reason = serializers.CharField()


class ImportShape(Shape):
    """What a file would change."""

    confirm = serializers.CharField(allow_null=True, help_text="Send it to keep the corrections; null: there are none.")
    confirm_until = serializers.DateTimeField(allow_null=True)
    correction_count = serializers.IntegerField()
    refused_count = serializers.IntegerField(help_text="Lines that cannot be taken; the others can be kept without them.")
    unchanged_count = serializers.IntegerField()
    corrections = FileCorrectionShape(many=True, help_text=f"The first {SHOWN}.")
    refused = RefusedLineShape(many=True, help_text=f"The first {SHOWN}.")
    ignored_columns = serializers.ListField(child=serializers.CharField(), help_text="Columns that an import does not read.")


class KeepShape(Shape):
    confirm = StrictText(max_length=10_000, help_text="Of the file that was looked at.")
    reason = StrictText(max_length=REASON_MAX, help_text="Kept with each dead letter.")


class KeptShape(Shape):
    kept_count = serializers.IntegerField()
    entry_ids = serializers.ListField(
        child=serializers.IntegerField(), help_text="Plan a reprocess of these, and begin it with the mode `edited`."
    )


class Imports(Resource):
    tag = "Imports"
    parser_classes = (StrictJSONParser, CsvParser, XlsxParser)

    @operation(
        "Look at a file of corrections",
        scope=Scope.DLQ_ACT,
        permission=EDIT,
        upload=(CSV, XLSX),
        shape=ImportShape,
        description="The body is an export with its payload columns corrected, as CSV or XLSX. Nothing is kept yet. Needs the "
        f"scope `dlq:raw`, too. At most {import_files.MAX_ROWS:,} rows and {import_files.MAX_BYTES:,} bytes.",
    )
    def create(self, request: Request) -> Response:
        demand(request, EDIT, Scope.DLQ_RAW)
        user, raw = user_of(request), self.given["file"]
        name = "upload.xlsx" if (request.content_type or "").startswith(XLSX) else "upload.csv"
        proposal = imports.propose(raw, name, by=user, is_masked=True)
        token = import_keeping.store(raw, name, proposal, by=user) if proposal.corrections else ""
        return self.one(request, _shown(proposal, token, timezone.now() + import_keeping.MAX_AGE))

    @action(detail=False, methods=["post"])
    @operation(
        "Keep the corrections of a file",
        scope=Scope.DLQ_ACT,
        permission=EDIT,
        takes=KeepShape,
        shape=KeptShape,
        description="All of them or none; nothing is sent yet. Needs the scope `dlq:raw`, too.",
        example={"confirm": "eyJ...", "reason": "REV-218: cities corrected"},
    )
    def keep(self, request: Request) -> Response:
        demand(request, EDIT, Scope.DLQ_RAW)
        user = user_of(request)
        try:
            waiting = import_keeping.load(self.given["confirm"], by=user)
        except ActRefusedError as refusal:
            raise InvalidError([Issue("confirm", str(refusal))]) from None
        proposal = import_keeping.finish(waiting, reason=self.given["reason"], by=user, door=Door.API)
        ids = [one.entry.pk for one in proposal.corrections]
        return self.one(request, {"kept_count": len(ids), "entry_ids": ids})


def _shown(proposal: Proposal, token: str, until: datetime) -> dict[str, Any]:
    return {
        "confirm": token or None,
        "confirm_until": until if token else None,
        "correction_count": len(proposal.corrections),
        "refused_count": len(proposal.refused),
        "unchanged_count": proposal.unchanged_count,
        "corrections": [_correction(one) for one in proposal.corrections[:SHOWN]],
        "refused": [{"line": one.number, "field": one.field, "reason": one.reason} for one in proposal.refused[:SHOWN]],
        "ignored_columns": list(proposal.ignored),
    }


def _correction(one: Correction) -> dict[str, Any]:
    return {
        "line": one.number,
        "entry_id": one.entry.pk,
        "row_key": one.entry.row_key,
        "sync_id": one.entry.sync_id,
        "changes": one.shown,
    }
