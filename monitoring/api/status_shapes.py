"""Statuses, their history and the thresholds behind them, as the API gives and takes them."""

from __future__ import annotations

from rest_framework import serializers

from monitoring.api.base import Word
from monitoring.api.incident_shapes import NearIncidentShape
from monitoring.choices import Condition
from monitoring.services.threshold_words import THRESHOLDS, Threshold
from syncs.choices import SyncStatus
from syncs.rest.shapes import Shape, StrictInteger, StrictNumber


class StatusShape(Shape):
    sync_id = serializers.IntegerField(source="pk")
    sync = serializers.CharField(source="name")
    status = Word(SyncStatus)
    reason = serializers.CharField(source="status_reason")
    since = serializers.DateTimeField(source="status_since")


class StatusFindingShape(Shape):
    condition = Word(Condition)
    level = serializers.ChoiceField(choices=["warn", "fail"], help_text="`warn` makes a sync degraded, `fail` failing.")
    text = serializers.CharField(help_text="What was measured, and the limit.")
    advice = serializers.CharField(default="", help_text="What to do next.")
    value = serializers.FloatField(allow_null=True, default=None)
    limit = serializers.FloatField(allow_null=True, default=None)
    run_id = serializers.IntegerField(allow_null=True, default=None)
    group_id = serializers.IntegerField(allow_null=True, default=None)


class StatusShareShape(Shape):
    status = Word(SyncStatus)
    percent = serializers.FloatField(help_text="Of the time.")


class SyncStatusNowShape(Shape):
    sync_id = serializers.IntegerField(source="sync.pk")
    sync = serializers.CharField(source="sync.name")
    status = Word(SyncStatus, source="sync.status")
    reason = serializers.CharField(source="sync.status_reason")
    since = serializers.DateTimeField(source="sync.status_since")
    judged_at = serializers.DateTimeField(allow_null=True)
    findings = StatusFindingShape(many=True, help_text="What spoke against it then, most urgent first.")
    incidents = NearIncidentShape(many=True, help_text="That affect it now; none for who may not see incidents.")
    shares = StatusShareShape(many=True, help_text="Of the last 30 days, longest first.")
    history = serializers.CharField(help_text="The address of its status changes.")


class StatusChangeShape(Shape):
    id = serializers.IntegerField()
    sync_id = serializers.IntegerField()
    sync = serializers.CharField(source="sync.name")
    at = serializers.DateTimeField()
    before = Word(SyncStatus)
    after = Word(SyncStatus)
    reason = serializers.CharField()
    conditions = serializers.ListField(child=Word(Condition), help_text="What it rested on.")
    run_id = serializers.IntegerField(allow_null=True)


# --- thresholds


class ThresholdValuesShape(Shape):
    """What somebody set; null: the default."""

    def get_fields(self) -> dict[str, serializers.Field[object, object, object, object]]:
        return {one.name: _number(one) for one in THRESHOLDS.values()}


def _number(one: Threshold) -> serializers.Field[object, object, object, object]:
    text = f"{one.label} ({one.unit})." + (f" 0: {one.off}." if one.off else "")
    kind = StrictNumber if one.places else StrictInteger
    return kind(min_value=one.least, max_value=one.most, allow_null=True, required=False, help_text=text)  # type: ignore[return-value]


class EditedThresholdsShape(Shape):
    values = ThresholdValuesShape()


class ThresholdShape(Shape):
    name = serializers.CharField(source="threshold.name")
    title = serializers.CharField(source="threshold.label")
    meaning = serializers.CharField(source="threshold.meaning")
    unit = serializers.CharField(source="threshold.unit")
    least = serializers.IntegerField(source="threshold.least")
    most = serializers.IntegerField(source="threshold.most")
    places = serializers.IntegerField(source="threshold.places", help_text="Decimal places that it may have.")
    zero_means = serializers.CharField(source="threshold.off", help_text="Empty: 0 means nothing special, or is not allowed.")
    default_text = serializers.CharField(source="default", help_text="What stands for null, in words.")


class StatusWeekShape(Shape):
    """What the thresholds would have made of the last 7 days."""

    since = serializers.DateTimeField()
    shares = StatusShareShape(many=True)
    turn_count = serializers.IntegerField(help_text="How often the status would have changed.")


class ThresholdsShape(Shape):
    sync_id = serializers.IntegerField()
    values = ThresholdValuesShape()
    about = ThresholdShape(many=True)
    past = StatusWeekShape(allow_null=True, help_text="Null: nothing is known of the past.")
    updated_at = serializers.DateTimeField(allow_null=True, help_text="Null: nobody has set any.")
    updated_by = serializers.CharField(allow_null=True)


class TriedThresholdsShape(Shape):
    past = StatusWeekShape(allow_null=True, help_text="With what is saved.")
    tried = StatusWeekShape(allow_null=True, help_text="With what was sent; null: that is what is saved, or nothing is known.")
