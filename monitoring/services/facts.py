"""Reads what a judgement of one sync rests on: about ten small queries, whatever the number of runs and dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any

from django.db.models import Exists, OuterRef

from dlq.choices import LIVE, GroupState
from dlq.models import DLQEntry, ErrorGroup
from monitoring.judging import timing
from monitoring.judging.facts import (
    ChangeFact,
    ConnectionFact,
    DepthFact,
    Facts,
    GroupFact,
    HourFact,
    OpenErrors,
    RunFact,
)
from monitoring.models import DepthHour, StatusChange
from syncs.choices import RunStatus, ScheduleKind, Trigger
from syncs.errors import ConfigError
from syncs.models import Connection, FieldMapping, Run, RunPeriod, Sync, SyncDay, SyncHour
from syncs.services import schedules

ENDED = (RunStatus.SUCCEEDED, RunStatus.PARTIAL, RunStatus.FAILED)  # a cancelled or skipped run says nothing about the sync
_WELL = (RunStatus.SUCCEEDED, RunStatus.PARTIAL)
NARROW = {"keys", "limit", "selection"}  # options of a run of chosen rows
RUNS_MOST = 1_500
HISTORY = timedelta(days=63)  # what seasonal baselines look back
WITH_ERRORS = 10  # newest runs whose errors are read
GROUP_DAYS = 7
CHANGES = 20
_WEEK = timedelta(days=7)
_RUN = (
    *("id", "status", "trigger", "options", "queued_at", "started_at", "finished_at"),
    *("read_count", "vanished_count", "accepted_count", "unchanged_count", "dead_lettered_count", "pending_count"),
    *("failure_type", "failure_code", "failure_message", "failure_role", "reason"),
)


def load(sync_id: int, now: datetime, *, past: timedelta | None = None) -> Facts | None:
    """The sync at ``now``; None for one that is archived or gone. ``past``: with what ``Facts.as_of`` needs so far back: hours,
    depths, and groups that are settled since."""
    own = Sync.objects.active().filter(pk=sync_id).select_related("source", "destination")
    mapped = Exists(FieldMapping.objects.filter(sync=OuterRef("pk")))
    # Secrets are not to be decrypted for this.
    deferred = [f"{role}__{name}" for role in ("source", "destination") for name in ("secrets", "config")]
    sync = own.defer("query", "destination_options", *deferred).annotate(is_mapped=mapped).first()
    if sync is None:
        return None
    runs = _runs(sync_id, now, past)
    facts = replace(_of_sync(sync, now), runs=runs, has_worked=_has_worked(sync_id, runs))
    facts = _with_dead_letters(facts, past)
    facts = _with_history(facts, past)
    waiting, running = _live_runs(sync_id, now)
    facts = replace(facts, waiting_since=waiting, is_running_since=running)
    return replace(facts, third_slot_at=_third_slot(sync, facts))


def _of_sync(sync: Any, now: datetime) -> Facts:
    return Facts(
        sync_id=sync.pk,
        name=sync.name,
        now=now,
        created_at=sync.created_at,
        source=_connection(sync.source),
        destination=_connection(sync.destination),
        tags=frozenset(sync.tags.values_list("name", flat=True)),
        is_paused=sync.is_paused,
        pause_reason=sync.pause_reason,
        period_seconds=_period(sync, now),
        next_run_at=sync.next_run_at,
        drift_since=sync.drift_since,
        drift_reason=sync.drift_reason,
        setup_problem=_setup_problem(sync),
        status=sync.status,
        status_reason=sync.status_reason,
        status_since=sync.status_since,
    )


def _connection(one: Connection) -> ConnectionFact:
    return ConnectionFact(one.pk, one.name, one.role, one.state, one.state_message, one.credential_expires_at)


def _setup_problem(sync: Any) -> str:
    if not sync.is_mapped:
        return "No fields are mapped, so nothing can be sent. Map the first field."
    if sync.schedule_kind != ScheduleKind.MANUAL and sync.next_run_at is None and not sync.is_paused:
        return "The schedule has no next slot, so no run starts by itself. Save the schedule again."
    return ""


def _period(sync: Sync, now: datetime) -> float | None:
    """The longest usual time between two slots, in seconds."""
    if sync.schedule_kind == ScheduleKind.INTERVAL and sync.interval_minutes:
        return sync.interval_minutes * 60.0
    if sync.schedule_kind == ScheduleKind.CRON:
        return _cron_period(sync.cron, sync.timezone, now.date().isoformat())
    return None


@lru_cache(maxsize=2_000)
def _cron_period(cron: str, zone: str, day: str) -> float | None:
    sync = Sync(schedule_kind=ScheduleKind.CRON, cron=cron, timezone=zone)
    try:
        slots = schedules.firings(sync, after=datetime.fromisoformat(day).replace(tzinfo=UTC), count=9)
    except ConfigError:
        return None
    return max(((b - a).total_seconds() for a, b in pairwise(slots)), default=None)


def _third_slot(sync: Sync, facts: Facts) -> datetime | None:
    since = timing.fresh_since(facts)
    if since is None or sync.schedule_kind == ScheduleKind.MANUAL:
        return None
    if sync.schedule_kind == ScheduleKind.INTERVAL:
        return since + timing.STALE_SLOTS * timedelta(minutes=sync.interval_minutes or 0)
    try:
        slots = schedules.firings(sync, after=since, count=timing.STALE_SLOTS)
    except ConfigError:
        return None
    return slots[-1] if len(slots) == timing.STALE_SLOTS else None


# --- runs


def _runs(sync_id: int, now: datetime, past: timedelta | None) -> tuple[RunFact, ...]:
    ended = Run.objects.filter(sync=sync_id, status__in=ENDED).order_by("-id")
    most = RUNS_MOST if past is None else RUNS_MOST * 3
    found = list(ended.values_list(*_RUN)[:most])
    oldest = now - HISTORY - (past or timedelta())
    kept = [row for number, row in enumerate(found) if number < CHANGES or (row[6] is not None and row[6] > oldest)]
    with_errors = [row[0] for row in kept[: WITH_ERRORS if past is None else most] if row[11]]
    summaries = _summaries(with_errors)
    return tuple(_run(row, summaries.get(row[0], ())) for row in kept)


def _summaries(ids: Sequence[int]) -> dict[int, tuple[tuple[str, str, str, str, int], ...]]:
    if not ids:
        return {}
    stored = Run.objects.filter(pk__in=ids[:500]).values_list("pk", "error_summary")
    return {
        pk: tuple((one["type"], one["code"], one["field"], one["message"], one["count"]) for one in lines[:5])
        for pk, lines in stored
    }


def _run(row: tuple[Any, ...], errors: tuple[tuple[str, str, str, str, int], ...]) -> RunFact:
    pk, status, trigger, options, queued_at, started_at, finished_at, *counts = row
    read, vanished, accepted, unchanged, dead_lettered, pending, kind, code, message, role, reason = counts
    return RunFact(
        id=pk,
        status=status,
        is_regular=trigger != Trigger.REPROCESS and not NARROW & options.keys(),
        queued_at=queued_at,
        started_at=started_at,
        finished_at=finished_at,
        read=read,
        vanished=vanished,
        accepted=accepted,
        unchanged=unchanged,
        dead_lettered=dead_lettered,
        pending=pending,
        failure_type=kind,
        failure_code=code,
        failure_message=message,
        failure_role=role,
        reason=reason,
        errors=errors,
    )


def _has_worked(sync_id: int, runs: Sequence[RunFact]) -> bool:
    if any(run.is_well for run in runs):
        return True
    return len(runs) >= CHANGES and Run.objects.filter(sync=sync_id, status__in=_WELL).exists()


def _live_runs(sync_id: int, now: datetime) -> tuple[datetime | None, datetime | None]:
    """(since when one could have started and waits, since when one is running)"""
    waiting: list[datetime] = []
    running: list[datetime] = []
    columns = ("status", "queued_at", "not_before", "started_at")
    for status, queued_at, not_before, started_at in Run.objects.active().filter(sync=sync_id).values_list(*columns):
        if status == RunStatus.RUNNING:
            running.append(started_at or queued_at)
        elif started_at is None and (not_before is None or not_before <= now):
            waiting.append(max(queued_at, not_before or queued_at))
    return min(waiting, default=None), min(running, default=None)


# --- dead letters


def _with_dead_letters(facts: Facts, past: timedelta | None) -> Facts:
    mine = ErrorGroup.objects.filter(sync=facts.sync_id)
    columns = ("pk", "error_type", "field", "open_count", "state", "first_seen_at", "state_changed_at")
    live = list(mine.filter(open_count__gt=0).order_by("-open_count", "pk").values_list(*columns))
    depth = sum(row[3] for row in live)
    since = facts.now - timedelta(days=GROUP_DAYS) - (past or timedelta())
    if past is None:
        recent = [row[0] for row in live if _is_news(row[4], row[5], row[6], since)]
    else:
        recent = list(mine.filter(last_seen_at__gt=since).values_list("pk", flat=True)[:500])
    oldest = DLQEntry.objects.filter(sync=facts.sync_id, status__in=LIVE).order_by("first_failed_at")
    return replace(
        facts,
        depth=depth,
        open_errors=_by_type(live),
        oldest_failed_at=oldest.values_list("first_failed_at", flat=True).first() if depth else None,
        groups=tuple(_groups(recent, since)) if recent else (),
    )


def _is_news(state: str, first_seen_at: datetime, changed_at: datetime | None, since: datetime) -> bool:
    if state == GroupState.REGRESSED:
        return changed_at is not None and changed_at > since
    return state == GroupState.OPEN and first_seen_at > since


def _by_type(live: Iterable[tuple[Any, ...]]) -> tuple[OpenErrors, ...]:
    """The rows come with the largest group first: it names the field."""
    found: dict[str, OpenErrors] = {}
    for pk, error_type, field, count, *_rest in live:
        known = found.get(error_type)
        found[error_type] = (
            replace(known, count=known.count + count) if known else OpenErrors(error_type, count, field, group_id=pk)
        )
    return tuple(sorted(found.values(), key=lambda one: -one.count))


def _groups(ids: Sequence[int], since: datetime) -> Iterable[GroupFact]:
    for group in ErrorGroup.objects.filter(pk__in=ids).order_by("pk"):
        if group.state == GroupState.REGRESSED and group.state_changed_at is not None and group.state_changed_at > since:
            kind, at, run_id = "regressed", group.state_changed_at, group.last_run_id
        elif group.first_seen_at > since:
            kind, at, run_id = "new", group.first_seen_at, group.first_run_id
        else:
            continue
        yield GroupFact(group.pk, kind, at, group.headline, group.error_type, run_id)


# --- history


def _with_history(facts: Facts, past: timedelta | None) -> Facts:
    midnight = facts.now.replace(hour=0, minute=0, second=0, microsecond=0)
    begin = midnight - (past or timedelta())
    changes = StatusChange.objects.filter(sync=facts.sync_id).values_list("at", "before", "after")[:CHANGES]
    return replace(
        facts,
        hours=_periods(SyncHour, facts.sync_id, begin),
        days=_periods(SyncDay, facts.sync_id, begin - timedelta(days=31), midnight),
        depths=_depths(facts.sync_id, facts.now - past) if past is not None else (),
        changes=tuple(ChangeFact(*row) for row in changes),
    )


def _periods(model: type[RunPeriod], sync_id: int, begin: datetime, end: datetime | None = None) -> tuple[HourFact, ...]:
    columns = ("starts_at", "run_count", "failed_count", "read_count", "accepted_count", "dead_lettered_count")
    found = model._default_manager.filter(sync=sync_id, starts_at__gte=begin, **({"starts_at__lt": end} if end else {}))
    return tuple(HourFact(*row) for row in found.order_by("starts_at").values_list(*columns))


def _depths(sync_id: int, since: datetime) -> tuple[DepthFact, ...]:
    kept = DepthHour.objects.filter(sync=sync_id, hour__gte=since).order_by("hour")
    return tuple(DepthFact(*row) for row in kept.values_list("hour", "open_count", "oldest_failed_at"))
