"""What the runs of a sync came to, by hour and by day: added in the transaction that ends a run, so charts over a year read a
few hundred rows and never the runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection

from syncs.choices import RunStatus
from syncs.models import Run, RunPeriod, SyncDay, SyncHour

_OF_STATUS = {
    RunStatus.SUCCEEDED: "succeeded_count",
    RunStatus.PARTIAL: "partial_count",
    RunStatus.FAILED: "failed_count",
    RunStatus.CANCELLED: "cancelled_count",
}
_SUMMED = (
    *("read_count", "accepted_count", "unchanged_count", "skipped_count", "dead_lettered_count", "pending_count"),
    *("request_count", "retry_count", "bytes_sent"),
)
_ADDED = ("run_count", *_OF_STATUS.values(), "skipped_run_count", *_SUMMED, "milliseconds")


def add(run_id: int) -> int:
    """Count a run that has just ended, within the transaction that ended it: once. Returns the id of its sync."""
    run = Run.objects.only("sync_id", "status", "started_at", "finished_at", *_SUMMED).get(pk=run_id)
    if run.finished_at is None:
        raise AssertionError(f"run {run_id} has not ended")
    values = _values(run)
    hour = whole_hour(run.finished_at)
    _upsert(SyncHour, run.sync_id, hour, values)
    _upsert(SyncDay, run.sync_id, hour.replace(hour=0), values)
    return run.sync_id


def whole_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _values(run: Run) -> dict[str, int]:
    """One number for each column of ``_ADDED``. A skipped run did nothing: it is counted, and no more."""
    values = dict.fromkeys(_ADDED, 0)
    if run.status == RunStatus.SKIPPED:
        return values | {"skipped_run_count": 1}
    took = run.duration()
    milliseconds = max(0, round(took.total_seconds() * 1000)) if took else 0
    counted = {name: getattr(run, name) for name in _SUMMED}
    return values | counted | {"run_count": 1, _OF_STATUS[RunStatus(run.status)]: 1, "milliseconds": milliseconds}


def _upsert(model: type[RunPeriod], sync_id: int, starts_at: datetime, values: dict[str, int]) -> None:
    table = model._meta.db_table
    moment: Any = connection.ops.adapt_datetimefield_value(starts_at)
    raised = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in _ADDED)
    slowest = f"CASE WHEN excluded.slowest_ms > {table}.slowest_ms THEN excluded.slowest_ms ELSE {table}.slowest_ms END"
    columns = ("sync_id", "starts_at", "slowest_ms", *_ADDED)
    statement = (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "  # noqa: S608 - constants
        f"ON CONFLICT (sync_id, starts_at) DO UPDATE SET {raised}, slowest_ms = {slowest}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [sync_id, moment, values["milliseconds"], *(values[name] for name in _ADDED)])
