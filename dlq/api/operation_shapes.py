"""What a bulk operation is given as, and what begins one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rest_framework import serializers

from dlq.api import selections
from dlq.api.selections import EntryFilterShape
from dlq.choices import Door, ItemOutcome, OperationKind, OperationStatus, ReprocessMode
from dlq.models import BulkOperation
from dlq.services import operations
from dlq.services.moves import REASON_MAX
from dlq.services.operations import verdict
from dlq.services.operations.creation import RATE_MAX, WAVE_MAX, WAVES_MAX
from syncs.rest.shapes import Id, Shape, StrictBoolean, StrictInteger, StrictText

PHASES = ("freezing", "acting", "waiting", "resting", "ending", "over")


def reason(**about: Any) -> StrictText:
    return StrictText(max_length=REASON_MAX, required=False, allow_blank=True, **about)


class NewOperationShape(Shape):
    """``mode`` to ``acknowledged`` are for a reprocess, ``owner_id`` is for assign."""

    confirm = StrictText(max_length=200_000, help_text="Of the plan.")
    expected_count = StrictInteger(
        min_value=0, required=False, help_text="The `count` of the plan; a must where the plan says so, held against it always."
    )
    reason = reason(help_text="Kept with each dead letter; a must for a discard, and for a large reprocess.")
    mode = serializers.ChoiceField(list(ReprocessMode), required=False, help_text="What is sent; `current` if left out.")
    waves = serializers.ListField(
        child=StrictInteger(min_value=1, max_value=WAVE_MAX),
        required=False,
        min_length=1,
        max_length=WAVES_MAX,
        help_text="Rows in each wave; the last size repeats. Left out: 1, 10, 100, 1,000, 10,000.",
    )
    rows_per_minute = StrictInteger(min_value=1, max_value=RATE_MAX, required=False, help_text="Left out: no limit.")
    halt_percent = StrictInteger(
        min_value=1,
        max_value=100,
        required=False,
        help_text="It halts when so many fail with the same error; 100 if left out.",
    )
    acknowledged = StrictBoolean(required=False, help_text="A must where the plan's mode says `needs_acknowledgement`.")
    owner_id = Id(required=False, allow_null=True, help_text="Who gets the dead letters; null: nobody.")


class ReasonShape(Shape):
    reason = reason(help_text="Kept with each dead letter.")


class OutcomeCountsShape(Shape):
    pending = serializers.IntegerField()
    sent = serializers.IntegerField(help_text="In a wave whose run has not ended yet.")
    done = serializers.IntegerField(help_text="Discarded, reopened, assigned, checked; of a reprocess: resolved.")
    refused = serializers.IntegerField(help_text="Refused again.")
    gone = serializers.IntegerField(help_text="The warehouse has no such row any more.")
    left_out = serializers.IntegerField(help_text="Changed since the confirmation; each outcome says how.")
    not_reached = serializers.IntegerField(help_text="It ended before.")


class OperationLineShape(Shape):
    """A bulk operation, as the list has it."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(list(OperationKind))
    status = serializers.ChoiceField(list(OperationStatus))
    is_over = serializers.BooleanField()
    mode = serializers.ChoiceField(list(ReprocessMode), allow_null=True, help_text="Of a reprocess: what it sends.")
    reason = serializers.CharField()
    created_by_id = serializers.IntegerField(allow_null=True)
    created_by = serializers.CharField(allow_null=True, help_text="The name to sign in with.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    expected_count = serializers.IntegerField(help_text="Confirmed for so many.")
    total_count = serializers.IntegerField(help_text="Those it has; `expected_count` while they are being listed.")
    settled_count = serializers.IntegerField()
    counts = OutcomeCountsShape()
    headline = serializers.CharField(help_text="Where it stands, in a sentence.")
    advice = serializers.CharField(help_text="What to know or to do about it; may be empty.")
    message = serializers.CharField(help_text="Why it rests, failed or was cancelled.")


class WaveShape(Shape):
    number = serializers.IntegerField()
    sent = serializers.IntegerField()
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    done = serializers.IntegerField()
    refused = serializers.IntegerField()
    same = serializers.IntegerField(help_text="Of the refused, with the error they had.")
    gone = serializers.IntegerField()
    left_out = serializers.IntegerField()
    returned = serializers.IntegerField(help_text="Put back unsent.")


class OperationShape(OperationLineShape):
    door = serializers.ChoiceField(list(Door))
    as_of = serializers.DateTimeField(help_text="What arrived or changed after this moment is not touched.")
    filter = EntryFilterShape(
        allow_null=True,
        help_text="null: chosen by ids, or by somebody whose syncs you do not all see.",
    )
    chosen_count = serializers.IntegerField(allow_null=True, help_text="Of dead letters that were chosen by their ids.")
    undoes_id = serializers.IntegerField(allow_null=True, help_text="The discard that this operation undoes.")
    undone_by_id = serializers.IntegerField(allow_null=True, help_text="The operation that undoes this discard.")
    undo_until = serializers.DateTimeField(allow_null=True)
    owner_id = serializers.IntegerField(allow_null=True, help_text="Of an assignment: who gets them.")
    wave_sizes = serializers.ListField(child=serializers.IntegerField())
    halt_percent = serializers.IntegerField()
    rows_per_minute = serializers.IntegerField(allow_null=True)
    phase = serializers.ChoiceField(list(PHASES))
    percent = serializers.IntegerField()
    rows_per_second = serializers.FloatField(allow_null=True)
    eta_seconds = serializers.IntegerField(allow_null=True)
    next_wave_at = serializers.DateTimeField(allow_null=True)
    waves = WaveShape(many=True)
    run_ids = serializers.ListField(child=serializers.IntegerField(), help_text="Runs of the newest wave.")


class OutcomeShape(Shape):
    entry_id = serializers.IntegerField()
    row_key = serializers.CharField(source="entry.row_key")
    sync_id = serializers.IntegerField(source="entry.sync_id")
    sync = serializers.CharField(source="entry.sync.name")
    outcome = serializers.ChoiceField(list(ItemOutcome))
    note = serializers.CharField(help_text="What happened, where there is more to say.")
    wave = serializers.IntegerField(allow_null=True)
    run_id = serializers.IntegerField(allow_null=True)


class OutcomesOfShape(Shape):
    outcome = serializers.ChoiceField(list(ItemOutcome), required=False, help_text="Only these.")


def line(operation: BulkOperation) -> dict[str, Any]:
    """No query of its own."""
    return _line(operation, operations.progress(operation, has_runs=False))


def _line(operation: BulkOperation, progress: operations.Progress) -> dict[str, Any]:
    said = verdict.verdict(operation, progress)
    return {
        "id": operation.pk,
        "kind": operation.kind,
        "status": operation.status,
        "is_over": operation.is_over,
        "mode": operation.mode or None,
        "reason": operation.reason,
        "created_by_id": operation.created_by_id,
        "created_by": operation.created_by.get_username() if operation.created_by else None,
        "created_at": operation.created_at,
        "started_at": operation.started_at,
        "finished_at": operation.finished_at,
        "expected_count": operation.expected_count,
        "total_count": progress.total,
        "settled_count": progress.settled,
        "counts": {outcome.value: count for outcome, count in progress.counts.items()},
        "headline": said.headline,
        "advice": said.advice,
        "message": operation.message,
    }


def whole(operation: BulkOperation, *, is_filter_shown: bool, sync_ids: Collection[int] | None) -> dict[str, Any]:
    """Two queries at most. ``sync_ids``: those that the caller sees; None: all."""
    progress = operations.progress(operation)
    by_filter = operation.ids is None and operation.of_operation_id is None
    runs = [run.pk for run in progress.runs if sync_ids is None or run.sync_id in sync_ids]
    return {
        **_line(operation, progress),
        "door": operation.door,
        "as_of": operation.as_of,
        "filter": selections.shown(operation.query) if by_filter and is_filter_shown else None,
        "chosen_count": None if operation.ids is None else len(operation.ids),
        "undoes_id": operation.of_operation_id,
        "undone_by_id": operations.undone_by(operation),
        "undo_until": operation.undo_until,
        "owner_id": operation.options.get("owner"),
        "wave_sizes": operation.wave_sizes,
        "halt_percent": operation.halt_percent,
        "rows_per_minute": operation.rows_per_minute,
        "phase": progress.phase,
        "percent": progress.percent,
        "rows_per_second": progress.rate,
        "eta_seconds": progress.eta_seconds,
        "next_wave_at": progress.next_wave_at,
        "waves": progress.waves,
        "run_ids": runs,
    }
