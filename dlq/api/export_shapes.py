"""What an export is given as, and what asks for one."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from dlq.api import selections
from dlq.api.operation_shapes import reason
from dlq.api.plan_shapes import SelectionShape
from dlq.api.selections import ChosenShape, EntryFilterShape
from dlq.choices import ExportStatus
from dlq.models import Export
from dlq.services import exports
from dlq.services.export_plan import ExportFormat, all_columns
from syncs.rest.shapes import Shape, StrictBoolean, StrictText

FILE_TYPES = tuple(one.content_type.partition(";")[0] for one in ExportFormat)
COLUMNS = all_columns()


class NewExportShape(ChosenShape):
    """Which dead letters: ``filter``, ``ids``, or the ``confirm`` of an export's plan."""

    NAMES: ClassVar[tuple[str, ...]] = ("filter", "ids", "confirm")

    confirm = StrictText(max_length=200_000, required=False, help_text="Of the plan of an export.")
    format = serializers.ChoiceField(list(ExportFormat))
    columns = serializers.ListField(
        child=serializers.ChoiceField(COLUMNS),
        required=False,
        min_length=1,
        max_length=len(COLUMNS),
        help_text="In this order; left out: all.",
    )
    is_flat = StrictBoolean(default=False, help_text="Fields of the payload as columns of their own.")
    is_raw = StrictBoolean(
        default=False, help_text="Values as they are stored: needs the scope `dlq:raw`, `dlq.exportraw_dlqentry` and a reason."
    )
    reason = reason(help_text="Kept with each dead letter; a must for an unmasked one.")


class ExportPlanShape(SelectionShape):
    is_large = serializers.BooleanField(help_text="Too many for `POST /api/v1/exports/download`.")
    most_at_once = serializers.IntegerField(help_text="So many dead letters are downloaded at once.")


class ExportLineShape(Shape):
    """An export, as the list has it."""

    id = serializers.IntegerField()
    status = serializers.ChoiceField(list(ExportStatus))
    is_over = serializers.BooleanField()
    format = serializers.ChoiceField(list(ExportFormat))
    is_flat = serializers.BooleanField()
    is_raw = serializers.BooleanField()
    reason = serializers.CharField()
    expected_count = serializers.IntegerField(help_text="Dead letters that were chosen.")
    row_count = serializers.IntegerField(help_text="Written so far; what was deleted since it was asked for is left out.")
    byte_count = serializers.IntegerField()
    sha256 = serializers.CharField(allow_null=True, help_text="Of the file, once it is ready.")
    file = serializers.CharField(allow_null=True, help_text="Address of the file, while you can have it.")
    created_by_id = serializers.IntegerField(allow_null=True)
    created_by = serializers.CharField(allow_null=True, help_text="The name to sign in with.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="When the file is or was deleted.")
    message = serializers.CharField(help_text="Why it failed, or who ended it.")


class ExportShape(ExportLineShape):
    columns = serializers.ListField(child=serializers.CharField())
    as_of = serializers.DateTimeField(help_text="What arrived or changed after this moment is not in it.")
    filter = EntryFilterShape(allow_null=True, help_text="null: chosen by their ids.")
    chosen_count = serializers.IntegerField(allow_null=True, help_text="Of dead letters that were chosen by their ids.")


def line(made: Export, *, may_fetch: bool) -> dict[str, Any]:
    """No query of its own."""
    is_there = made.status == ExportStatus.READY and may_fetch
    return {
        "id": made.pk,
        "status": made.status,
        "is_over": made.status not in exports.WORKING,
        "format": made.format,
        "is_flat": made.is_flat,
        "is_raw": made.is_raw,
        "reason": made.reason,
        "expected_count": made.expected_count,
        "row_count": made.row_count,
        "byte_count": made.byte_count,
        "sha256": made.sha256 or None,
        "file": f"/api/v1/exports/{made.pk}/file" if is_there else None,
        "created_by_id": made.created_by_id,
        "created_by": made.created_by.get_username() if made.created_by else None,
        "created_at": made.created_at,
        "started_at": made.started_at,
        "finished_at": made.finished_at,
        "expires_at": made.expires_at,
        "message": made.message,
    }


def whole(made: Export, *, may_fetch: bool) -> dict[str, Any]:
    return {
        **line(made, may_fetch=may_fetch),
        "columns": made.columns or list(COLUMNS),
        "as_of": made.as_of,
        "filter": selections.shown(made.query) if made.ids is None else None,
        "chosen_count": None if made.ids is None else len(made.ids),
    }
