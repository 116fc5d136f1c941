"""When a sync runs: cron in its time zone, every N minutes, or by hand; and the tick that starts what is due."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from syncs.choices import OverlapPolicy, RunStatus, ScheduleKind, Trigger
from syncs.connectors import Issue
from syncs.errors import ConfigError
from syncs.models import Run, Sync
from syncs.querysets import database_now
from syncs.services import periods, runs, touches
from syncs.signals import run_finished

logger = logging.getLogger(__name__)

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
}
LONGEST_INTERVAL = 366 * 24 * 60
_COUNTED_SLOTS = 1000  # a longer backlog is folded as well, but not counted to the last slot
_TICK_SYNCS = 500
_NARROW = {"keys", "limit", "selection"}


def validate_schedule(kind: str, interval_minutes: int | None, cron: str, timezone: str) -> list[Issue]:
    """What is wrong with these settings, each with the field it stands in. Empty: the schedule will fire."""
    issues = []
    zone = _zone(timezone)
    if zone is None:
        issues.append(Issue("timezone", f"“{timezone}” is not an IANA time zone. Write it like Europe/Berlin or UTC."))
    if kind == ScheduleKind.INTERVAL and not (interval_minutes and 1 <= interval_minutes <= LONGEST_INTERVAL):
        issues.append(Issue("interval_minutes", f"Give the minutes between two runs, from 1 to {LONGEST_INTERVAL:,}."))
    if kind == ScheduleKind.CRON:
        problem = _cron_problem(cron, zone or ZoneInfo("UTC"))
        if problem:
            issues.append(Issue("cron", problem))
    if kind not in list(ScheduleKind):
        issues.append(Issue("schedule_kind", f"There is no schedule kind “{kind}”. Known: {', '.join(ScheduleKind)}."))
    return issues


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):  # unknown, a path outside the database, a folder of it
        return None


def _cron_problem(cron: str, zone: ZoneInfo) -> str:
    way_out = (
        "Write minute, hour, day of month, month, day of week, for example 15 6 * * 1-5, or @hourly, @daily, @weekly, @monthly."
    )
    expression = ALIASES.get(cron.strip().lower(), cron)
    fields = expression.split()
    if len(fields) != 5:
        return f"A cron expression has five fields, this one has {len(fields)}. {way_out}"
    try:
        if next(_cron_times(expression, zone, datetime.now(UTC)), None) is None:
            return f"This expression never comes true. {way_out}"
    except ConfigError as error:
        return f"{error.message} {way_out}"
    return ""


def _cron_times(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Firings later than ``after``, in UTC. A local time that DST skips fires once, right after the gap; a doubled one once."""
    expression = ALIASES.get(cron.strip().lower(), cron)
    try:
        # cronsim's own checks are assertions in places.
        times = CronSim(expression, after.astimezone(zone))
    except (CronSimError, AssertionError) as error:
        raise ConfigError(f"The cron expression “{cron}” cannot be read ({error}).", field="cron") from error
    last = after
    for local in times:
        moment = local.astimezone(UTC)
        # In the second of two doubled hours cronsim counts from the first one again.
        if moment > last:
            yield moment
            last = moment


def _times(sync: Sync, after: datetime) -> Iterator[datetime]:
    """Endless firings after this time. Raises ``ConfigError`` for settings that cannot be read."""
    if sync.schedule_kind == ScheduleKind.CRON:
        zone = _zone(sync.timezone)
        if zone is None:
            raise ConfigError(f"“{sync.timezone}” is not an IANA time zone.", field="timezone")
        if len(ALIASES.get(sync.cron.strip().lower(), sync.cron).split()) != 5:
            raise ConfigError(f"The cron expression “{sync.cron}” does not have five fields.", field="cron")
        yield from _cron_times(sync.cron, zone, after)
    elif sync.schedule_kind == ScheduleKind.INTERVAL:
        if not sync.interval_minutes or sync.interval_minutes > LONGEST_INTERVAL:
            raise ConfigError("The interval is empty or too long.", field="interval_minutes")
        step = timedelta(minutes=sync.interval_minutes)
        while True:
            after += step
            yield after


def firings(sync: Sync, *, after: datetime | None = None, count: int = 5) -> list[datetime]:
    """The next firings, in UTC; none for a manual sync. An interval counts on from the slot that is already set.

    Raises ``ConfigError`` naming the field where the schedule cannot be read.
    """
    start = after or timezone.now()
    if sync.schedule_kind == ScheduleKind.INTERVAL and sync.next_run_at and sync.next_run_at > start:
        return [sync.next_run_at, *islice(_times(sync, sync.next_run_at), count - 1)]
    return list(islice(_times(sync, start), count))


def reschedule(sync: Sync, *, now: datetime | None = None) -> datetime | None:
    """Set the next slot from now on: after the schedule was edited, and on resume. None: no slot (manual, paused, archived)."""
    fresh = Sync.objects.get(pk=sync.pk)
    slot = None
    if not (fresh.is_paused or fresh.is_archived):
        slot = next(_times(fresh, now or database_now()), None)
    still = Sync.objects.filter(pk=sync.pk, is_paused=fresh.is_paused, is_archived=fresh.is_archived)
    with transaction.atomic():
        if still.update(next_run_at=slot):
            touches.touch(sync.pk)
            sync.next_run_at = slot
    return slot


def start_due(*, now: datetime | None = None) -> list[Run]:
    """Queue a run for each sync whose slot has come; one transaction and one try per sync, so that none stops the others.

    Several schedulers may call this at once: the slot is taken by a conditional UPDATE, so each slot is handled once. Slots
    missed meanwhile are folded into one run. Returns the queued and the skipped runs.
    """
    now = now or database_now()
    started = []
    due = Sync.objects.due(now).order_by("next_run_at", "id").values_list("pk", "name", "next_run_at")
    for pk, name, slot in due[:_TICK_SYNCS]:
        assert slot is not None  # due() filters by it
        try:
            with transaction.atomic():
                run = _start_slot(pk, slot, now)
        except ConfigError as error:
            logger.error("Sync “%s” has a schedule that cannot be read and is not started any more: %s", name, error)
            Sync.objects.filter(pk=pk, next_run_at=slot).update(next_run_at=None)
        except Exception:
            logger.exception("Sync “%s” could not be started; the next tick tries again.", name)
        else:
            if run is not None:
                started.append(run)
    return started


def _start_slot(pk: int, slot: datetime, now: datetime) -> Run | None:
    sync = Sync.objects.get(pk=pk)
    upcoming, missed = _upcoming(sync, slot, now)
    taken = Sync.objects.due(now).filter(pk=pk, next_run_at=slot).update(next_run_at=upcoming)
    if taken != 1:
        return None
    try:
        with transaction.atomic():
            return _fill_slot(sync, slot, missed, now)
    except IntegrityError:  # run_slot_once: the slot was set again, by hand or by a clock that went back
        if Run.objects.filter(sync=sync, scheduled_for=slot).exists():
            return None
        raise


def _upcoming(sync: Sync, slot: datetime, now: datetime) -> tuple[datetime | None, int]:
    """The first slot after now, and how many between the due one and now were missed."""
    if sync.schedule_kind == ScheduleKind.INTERVAL and sync.interval_minutes:
        step = timedelta(minutes=sync.interval_minutes)
        missed = (now - slot) // step
        return slot + (missed + 1) * step, missed
    missed = 0
    for moment in islice(_times(sync, slot), _COUNTED_SLOTS):
        if moment > now:
            return moment, missed
        missed += 1
    return next(_times(sync, now), None), missed


def _fill_slot(sync: Sync, slot: datetime, missed: int, now: datetime) -> Run | None:
    # A run of a few chosen rows (reprocess, --keys, --limit) does not do a slot's work: the slot waits behind it.
    active = [run for run in Run.objects.active().filter(sync=sync).order_by("id") if not _NARROW & run.options.keys()]
    if active and sync.overlap_policy == OverlapPolicy.SKIP:
        return _skip(sync, slot, missed, now, active[0])
    if sync.overlap_policy == OverlapPolicy.QUEUE:
        active = [run for run in active if run.status == RunStatus.QUEUED]  # one waits already: no second one behind it
    for run in active[:1]:
        if Run.objects.active().filter(pk=run.pk).update(missed_count=F("missed_count") + missed + 1):
            return None
    return runs.request(sync=sync, trigger=Trigger.SCHEDULE, detail=_detail(sync), scheduled_for=slot, missed_count=missed)


def _detail(sync: Sync) -> str:
    if sync.schedule_kind == ScheduleKind.CRON:
        return f"{sync.cron} ({sync.timezone})"
    return f"every {sync.interval_minutes} minutes"


def _skip(sync: Sync, slot: datetime, missed: int, now: datetime, before: Run) -> Run:
    state = "was still running" if before.status == RunStatus.RUNNING else "was still waiting"
    run = Run.objects.create(
        sync=sync,
        status=RunStatus.SKIPPED,
        trigger=Trigger.SCHEDULE,
        trigger_detail=_detail(sync)[:255],
        scheduled_for=slot,
        missed_count=missed,
        queued_at=now,
        finished_at=now,
        reason=f"Run {before.pk} {state} when this slot came.",
    )
    periods.add(run.pk)
    transaction.on_commit(lambda: run_finished.send_robust(sender=Run, run_id=run.pk) and None)
    return run
