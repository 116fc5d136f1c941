"""What a plan of a bulk act says."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from dlq.api.selections import ChosenShape
from dlq.choices import OperationKind, ReprocessMode
from dlq.services import preflight
from dlq.services.plans import Plan
from syncs.errors import ErrorType
from syncs.rest.shapes import Shape, StrictBoolean


class NewPlanShape(ChosenShape):
    kind = serializers.ChoiceField(list(OperationKind), help_text="The act.")
    look = StrictBoolean(
        default=True, help_text="For a reprocess: read a sample of the warehouse rows, for some seconds at most, and compare."
    )


class LeftOutShape(Shape):
    count = serializers.IntegerField()
    reason = serializers.CharField(help_text="Why the act does not take them.")


class SyncShareShape(Shape):
    id = serializers.IntegerField()
    name = serializers.CharField()
    count = serializers.IntegerField()


class TypeShareShape(Shape):
    error_type = serializers.ChoiceField(list(ErrorType))
    count = serializers.IntegerField()


class CodeShareShape(Shape):
    http_status = serializers.IntegerField(allow_null=True, help_text="null: no response.")
    count = serializers.IntegerField()


class GroupShareShape(Shape):
    id = serializers.IntegerField()
    title = serializers.CharField()
    count = serializers.IntegerField()


class SelectionShape(Shape):
    """What was frozen: what arrives or changes later is not in it."""

    confirm = serializers.CharField(help_text="Send it to begin what was planned; it is good for you alone.")
    confirm_until = serializers.DateTimeField()
    as_of = serializers.DateTimeField()
    count = serializers.IntegerField(help_text="Dead letters that the act takes; send it as `expected_count`.")
    left_out = LeftOutShape(many=True)
    by_sync = SyncShareShape(many=True)
    by_error_type = TypeShareShape(many=True)
    by_http_status = CodeShareShape(many=True)
    by_group = GroupShareShape(many=True, help_text="The largest error groups.")
    group_count = serializers.IntegerField()
    first_failed_at = serializers.DateTimeField(allow_null=True, help_text="The oldest of them.")
    last_failed_at = serializers.DateTimeField(allow_null=True, help_text="The newest of them.")
    sample_size = serializers.IntegerField(
        help_text="0: exact. Else groups, times and versions were estimated from so many; all else is exact."
    )


class SyncChangesShape(Shape):
    """Of how many dead letters the set-up has changed since they were refused."""

    total = serializers.IntegerField()
    same = serializers.IntegerField()
    changed = serializers.IntegerField()
    unknown = serializers.IntegerField()
    parts = serializers.DictField(
        child=serializers.IntegerField(), help_text="What differs (`query`, `mapping`, `destination` ...), and for how many."
    )
    sentence = serializers.CharField()


class RowSampleShape(Shape):
    """A sample of the rows as they are in the warehouse now."""

    total = serializers.IntegerField()
    same = serializers.IntegerField()
    changed = serializers.IntegerField()
    gone = serializers.IntegerField()
    sentence = serializers.CharField()
    notes = serializers.ListField(child=serializers.CharField(), help_text="What could not be read, and why.")


class EstimateShape(Shape):
    calls = serializers.IntegerField(allow_null=True, help_text="Of the destination; null: no run tells.")
    seconds = serializers.IntegerField(allow_null=True)
    unknown = serializers.ListField(child=serializers.CharField(), help_text="Syncs whose runs tell nothing.")


class SendingShape(Shape):
    mode = serializers.ChoiceField(list(ReprocessMode))
    count = serializers.IntegerField(allow_null=True, help_text="Dead letters that have what it sends; null: all.")
    needs_acknowledgement = serializers.BooleanField(
        help_text="Nothing is known to have changed in what would be sent: send `acknowledged: true` if you know better."
    )


class HeldSyncShape(Shape):
    id = serializers.IntegerField()
    name = serializers.CharField()
    reason = serializers.CharField()


class PlanShape(SelectionShape):
    kind = serializers.ChoiceField(list(OperationKind))
    passing_count = serializers.IntegerField(help_text="Failed for a reason that passes by itself.")
    warnings = serializers.ListField(child=serializers.CharField())
    changes = SyncChangesShape(allow_null=True, help_text="For a reprocess.")
    rows = RowSampleShape(allow_null=True, help_text="For a reprocess that was looked into.")
    estimate = EstimateShape(allow_null=True, help_text="For a reprocess.")
    modes = SendingShape(many=True, help_text="What you may send; for a reprocess.")
    held = HeldSyncShape(many=True, help_text="Syncs whose destination has changed: a preview has to show first that rows fit.")
    needs_expected_count = serializers.BooleanField()
    needs_reason = serializers.BooleanField()


def selection(plan: Plan) -> dict[str, Any]:
    found = plan.summary
    return {
        "confirm": plan.snapshot.token(),
        "confirm_until": plan.until,
        "as_of": plan.snapshot.as_of,
        "count": found.count,
        "left_out": found.left_out,
        "by_sync": [{"id": line.of, "name": line.label, "count": line.count} for line in found.by_sync],
        "by_error_type": [{"error_type": line.of, "count": line.count} for line in found.by_type],
        "by_http_status": [{"http_status": line.of, "count": line.count} for line in found.by_code],
        "by_group": [{"id": line.of, "title": line.label, "count": line.count} for line in found.by_group],
        "group_count": found.group_count,
        "first_failed_at": found.oldest_at,
        "last_failed_at": found.newest_at,
        "sample_size": found.sample_size,
    }


def shown(plan: Plan) -> dict[str, Any]:
    return {
        **selection(plan),
        "kind": plan.snapshot.kind.value,
        "passing_count": plan.summary.passing_count,
        "warnings": plan.summary.warnings,
        "changes": _changes(plan),
        "rows": _rows(plan),
        "estimate": _estimate(plan),
        "modes": plan.modes,
        "held": [{"id": sync.pk, "name": sync.name, "reason": sync.drift_reason} for sync in plan.held],
        "needs_expected_count": plan.needs_number,
        "needs_reason": plan.needs_reason,
    }


def _changes(plan: Plan) -> dict[str, Any] | None:
    found = plan.changes
    if found is None:
        return None
    numbers = {"total": found.total, "same": found.same, "changed": found.changed, "unknown": found.unknown}
    return {**numbers, "parts": dict(found.parts), "sentence": preflight.sync_sentence(found)}


def _rows(plan: Plan) -> dict[str, Any] | None:
    found = plan.looked
    if found is None:
        return None
    numbers = {"total": found.total, "same": found.same, "changed": found.changed, "gone": found.gone}
    return {**numbers, "sentence": preflight.rows_sentence(found, plan.summary.count), "notes": list(found.notes)}


def _estimate(plan: Plan) -> dict[str, Any] | None:
    found = plan.summary.estimate
    if found is None:
        return None
    seconds = None if found.span is None else round(found.span.total_seconds())
    return {"calls": found.calls, "seconds": seconds, "unknown": list(found.unknown)}
