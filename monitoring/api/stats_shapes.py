"""Figures as the API gives them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rest_framework import serializers

from dlq.choices import EntryStatus
from monitoring.choices import IncidentState, Severity
from monitoring.services import stats
from monitoring.services.dashboard import Dashboard
from monitoring.services.open_incidents import IncidentLine
from monitoring.services.series import Figures
from monitoring.services.spans import DEFAULT, SPANS
from monitoring.services.sync_lines import SyncLine
from syncs.choices import SyncStatus
from syncs.errors import ErrorType
from syncs.rest.shapes import Id, Shape

_MOST = 50  # values of one filter


class StatsQueryShape(Shape):
    period = serializers.ChoiceField(
        list(SPANS), default=DEFAULT, help_text="Whole hours, days or weeks in UTC up to now; the last step is not over."
    )
    sync = serializers.ListField(child=Id(), max_length=_MOST, required=False, help_text="Only these syncs.")
    tag = serializers.ListField(
        child=serializers.CharField(max_length=40), max_length=_MOST, required=False, help_text="With any of these tags."
    )
    owner = serializers.ListField(
        child=serializers.RegexField(r"^(none|[1-9][0-9]{0,17})$"),
        required=False,
        help_text="Of these people; `none`: nobody's.",
    )
    connection = serializers.ListField(
        child=Id(), max_length=_MOST, required=False, help_text="That read from or write to any of these."
    )
    top = serializers.IntegerField(
        min_value=1, max_value=500, default=50, help_text="How many syncs are named, those with the most trouble first."
    )


class StatsSyncShape(Shape):
    id = serializers.IntegerField()
    name = serializers.CharField()


class StatsWindowShape(Shape):
    period = serializers.ChoiceField(list(SPANS))
    starts_at = serializers.DateTimeField(help_text="Where the first step begins.")
    ends_at = serializers.DateTimeField(help_text="Now.")
    step_seconds = serializers.IntegerField()


# --- runs


class RunFiguresShape(Shape):
    run_count = serializers.IntegerField(source="runs")
    failed_run_count = serializers.IntegerField(source="failed")
    read_count = serializers.IntegerField(source="read")
    accepted_count = serializers.IntegerField(source="accepted")
    dead_lettered_count = serializers.IntegerField(source="dead_lettered")
    error_rate = serializers.FloatField(help_text="Share of the rows read that were dead-lettered.")


class RunStepFiguresShape(RunFiguresShape):
    at = serializers.DateTimeField(help_text="Where the step begins.")
    usual_row_count = serializers.FloatField(
        allow_null=True,
        help_text="Rows accepted and dead-lettered in the steps it is compared with; null: too little is known.",
    )


class RunSyncFiguresShape(RunFiguresShape):
    sync = StatsSyncShape()


class RunStatsShape(Shape):
    window = StatsWindowShape()
    totals = RunFiguresShape()
    series = RunStepFiguresShape(many=True)
    by_sync = RunSyncFiguresShape(many=True)


# --- dead letters


class EntryCountsShape(Shape):
    open = serializers.IntegerField()
    queued = serializers.IntegerField()
    inflight = serializers.IntegerField()
    resolved = serializers.IntegerField()
    discarded = serializers.IntegerField()
    superseded = serializers.IntegerField()


class DeadLetterTypeStatsShape(Shape):
    error_type = serializers.ChoiceField([one.value for one in ErrorType])
    title = serializers.CharField()
    open_count = serializers.IntegerField(help_text="Live now: open, queued or in flight.")
    counts = EntryCountsShape()
    failed_count = serializers.IntegerField(help_text="Rows refused within the period, each time they were.")


class DeadLetterSyncStatsShape(Shape):
    sync = StatsSyncShape()
    open_count = serializers.IntegerField(help_text="Live now: open, queued or in flight.")
    oldest_failed_at = serializers.DateTimeField(allow_null=True)
    counts = EntryCountsShape()


class DeadLetterStepShape(Shape):
    at = serializers.DateTimeField(help_text="Where the step begins.")
    open_count = serializers.IntegerField(help_text="Live at that moment.")
    oldest_failed_at = serializers.DateTimeField(allow_null=True)
    failed_count = serializers.IntegerField(help_text="Rows refused within the step.")
    failed = serializers.DictField(
        child=serializers.IntegerField(), help_text="The same by error type; only types that failed."
    )


class DeadLetterStatsShape(Shape):
    window = StatsWindowShape()
    open_count = serializers.IntegerField(help_text="Live now: open, queued or in flight.")
    oldest_failed_at = serializers.DateTimeField(allow_null=True)
    counts = EntryCountsShape(help_text="All that are kept, whatever the period.")
    failed_count = serializers.IntegerField(help_text="Rows refused within the period, each time they were.")
    by_type = DeadLetterTypeStatsShape(many=True)
    by_sync = DeadLetterSyncStatsShape(many=True)
    series = DeadLetterStepShape(many=True)


def entry_counts(found: Counter[str]) -> dict[str, int]:
    return {status.value: found.get(status.value, 0) for status in EntryStatus}


def run_stats(made: stats.RunStats, top: int) -> dict[str, Any]:
    names = made.asked.names
    return {
        "window": made.asked.window,
        "totals": made.totals,
        "series": [
            _figures(one) | {"at": at, "usual_row_count": usual}
            for (at, one), usual in zip(made.steps, made.usual, strict=True)
        ],
        "by_sync": [_figures(one) | {"sync": {"id": pk, "name": names[pk]}} for pk, one in made.by_sync[:top]],
    }


def _figures(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("runs", "failed", "read", "accepted", "dead_lettered", "error_rate")}


def dead_letter_stats(made: stats.DeadLetterStats, top: int) -> dict[str, Any]:
    return {
        "window": made.asked.window,
        "open_count": made.open_count,
        "oldest_failed_at": made.oldest_failed_at,
        "counts": entry_counts(made.statuses),
        "failed_count": sum(made.failed.values()),
        "by_type": [
            {
                "error_type": kind.value,
                "title": kind.info.label,
                "open_count": stats.live(of_type),
                "counts": entry_counts(of_type),
                "failed_count": made.failed.get(kind, 0),
            }
            for kind in made.types
            for of_type in [made.by_type.get(kind, Counter())]
        ],
        "by_sync": [
            {
                "sync": {"id": line.pk, "name": line.name},
                "open_count": stats.live(found),
                "oldest_failed_at": line.oldest_failed_at,
                "counts": entry_counts(found),
            }
            for line, found in made.syncs[:top]
        ],
        "series": [
            {
                "at": step.at,
                "open_count": step.open_count,
                "oldest_failed_at": step.oldest_failed_at,
                "failed_count": sum(step.failed.values()),
                "failed": step.failed,
            }
            for step in made.steps
        ],
    }


# --- the whole


class OverviewSyncShape(Shape):
    id = serializers.IntegerField()
    name = serializers.CharField()
    status = serializers.ChoiceField([one.value for one in SyncStatus])
    reason = serializers.CharField()
    since = serializers.DateTimeField()
    owner = serializers.CharField(help_text="Empty: nobody.")
    open_count = serializers.IntegerField(help_text="Live dead letters; 0 for who may not see them.")
    behind = serializers.CharField(help_text="Why it is late or stale; empty where it is neither.")
    last_well_at = serializers.DateTimeField(allow_null=True, help_text="When a scheduled run last came through.")


class OverviewStatusesShape(Shape):
    healthy = serializers.IntegerField()
    degraded = serializers.IntegerField()
    failing = serializers.IntegerField()
    paused = serializers.IntegerField()
    unconfigured = serializers.IntegerField()


class OverviewIncidentShape(Shape):
    id = serializers.IntegerField()
    title = serializers.CharField()
    severity = serializers.ChoiceField([one.value for one in Severity])
    state = serializers.ChoiceField([one.value for one in IncidentState])
    opened_at = serializers.DateTimeField()
    owner = serializers.CharField(help_text="Empty: nobody.")
    sync_ids = serializers.ListField(child=serializers.IntegerField())


class OverviewShape(Shape):
    """What the console's first page says. null: the caller may not see that kind of thing."""

    window = StatsWindowShape()
    sync_count = serializers.IntegerField(allow_null=True, help_text="Without archived ones.")
    statuses = OverviewStatusesShape(allow_null=True)
    attention = OverviewSyncShape(many=True, allow_null=True, help_text="Failing and degraded syncs, the most urgent first.")
    behind = OverviewSyncShape(many=True, allow_null=True, help_text="Late or stale syncs, the longest first.")
    incidents = OverviewIncidentShape(many=True, allow_null=True, help_text="Not resolved, the gravest first.")
    open_count = serializers.IntegerField(allow_null=True, help_text="Live dead letters.")
    oldest_failed_at = serializers.DateTimeField(allow_null=True)
    runs = RunFiguresShape(allow_null=True, help_text="Within the period.")


def overview(asked: stats.Asked, made: Dashboard, runs: Figures | None, top: int) -> dict[str, Any]:
    sight = made.sight
    return {
        "window": asked.window,
        "sync_count": len(made.active) if sight.syncs else None,
        "statuses": {one.value: made.statuses.get(one, 0) for one in SyncStatus} if sight.syncs else None,
        "attention": [_line(line, made, "") for line in made.attention[:top]] if sight.syncs else None,
        "behind": [_line(line, made, text) for line, text in made.behind[:top]] if sight.syncs else None,
        "incidents": [_incident(one) for one in made.incidents[:top]] if sight.incidents else None,
        "open_count": made.open_count if sight.entries else None,
        "oldest_failed_at": made.oldest_failed_at if sight.entries else None,
        "runs": runs,
    }


def _line(line: SyncLine, made: Dashboard, behind: str) -> dict[str, Any]:
    names = ("name", "status", "reason", "since", "owner", "last_well_at")
    return {
        **{name: getattr(line, name) for name in names},
        "id": line.pk,
        "open_count": line.open_count if made.sight.entries else 0,
        "behind": behind or line.behind(made.now),
    }


def _incident(one: IncidentLine) -> dict[str, Any]:
    names = ("title", "severity", "state", "opened_at", "owner")
    return {**{name: getattr(one, name) for name in names}, "id": one.pk, "sync_ids": sorted(one.sync_ids)}
