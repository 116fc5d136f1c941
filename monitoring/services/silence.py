"""Whether Redrive itself goes on: workers that give no sign of life, and runs that nobody takes although workers live.

Looked at by every tick, which can tell that a silence is over; and from outside (``manage.py watch``, the first page of the
console, /readyz, /metrics), which alone can tell that there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from monitoring.choices import Condition
from monitoring.judging.facts import Finding, Level
from syncs.console import formats
from syncs.models import Heartbeat, Run, Sync
from syncs.services import heartbeats
from syncs.services.doorbell import FAST_CLUSTER

WORKER_SILENT = "platform:worker_silent"
QUEUE_STUCK = "platform:queue_stuck"
LIVING = timedelta(seconds=60)  # a worker beats every few seconds
START = "Start it: python manage.py retl_worker. If it runs, its log says what keeps it from the database."
_ADVICE_STUCK = (
    "Look at the worker's log. A cluster that hangs is restarted by itself; if runs still wait, restart the worker. "
    "Where only “retl_worker --once” is used, call it more often."
)


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    at: datetime
    started_at: datetime
    note: str

    def age(self, now: datetime) -> timedelta:
        return max(timedelta(0), now - self.at)


@dataclass(frozen=True, slots=True)
class Pulse:
    """All signs of life at ``now``, by name."""

    now: datetime
    parts: Mapping[str, Part]

    @property
    def tick(self) -> Part | None:
        return self.parts.get(heartbeats.TICK)

    @property
    def is_silent(self) -> bool:
        """There was a tick once, and there is none any more."""
        return self.tick is not None and self.tick.age(self.now) > limit()

    @property
    def workers(self) -> list[Part]:
        """Those that live."""
        named = (part for name, part in self.parts.items() if name.startswith(heartbeats.WORKER))
        return [part for part in named if part.age(self.now) <= LIVING]


def limit() -> timedelta:
    return timedelta(seconds=settings.RETL["WORKER_SILENCE_SECONDS"])


def pulse(now: datetime) -> Pulse:
    """One query."""
    rows = Heartbeat.objects.order_by("name").values_list("name", "at", "started_at", "note")
    return Pulse(now, {row[0]: Part(*row) for row in rows})


def find(now: datetime) -> list[Finding]:
    """What is wrong with Redrive itself; three queries when all is well."""
    felt = pulse(now)
    stuck = _note_queues(felt)
    if felt.tick is None:
        waiting = _waiting_since(now)
        return [_never(waiting, now)] if waiting and now - waiting > limit() else []
    if felt.is_silent:
        return [_silent(felt, felt.tick)]
    return [_stuck(stuck, now)] if stuck else []


def _silent(felt: Pulse, tick: Part) -> Finding:
    age = tick.age(felt.now)
    return Finding(
        condition=Condition.WORKER_SILENT,
        level=Level.FAIL,
        cause=WORKER_SILENT,
        title="No worker gives a sign of life",
        text=(
            f"The last tick was {formats.span(age)} ago, the limit is {formats.span(limit())}. Nothing is started, "
            "rescued or judged meanwhile; rows and messages wait, and nothing is lost."
        ),
        advice=START,
        value=age.total_seconds(),
        limit=limit().total_seconds(),
        drivers=(("Last tick", f"{tick.at:%Y-%m-%d %H:%M:%S} UTC"), ("By worker", tick.note or "not known")),
    )


def _never(since: datetime, now: datetime) -> Finding:
    return Finding(
        condition=Condition.WORKER_SILENT,
        level=Level.FAIL,
        cause=WORKER_SILENT,
        title="No worker has run yet",
        text=f"Work has been waiting for {formats.span(now - since)}, and no worker has ever ticked.",
        advice=START,
        value=(now - since).total_seconds(),
        limit=limit().total_seconds(),
    )


def _waiting_since(now: datetime) -> datetime | None:
    """Since when the first run waits, or slot is due, that a worker would have taken."""
    queued = Run.objects.claimable(now).order_by("queued_at").values_list("queued_at", flat=True).first()
    due = Sync.objects.due(now).order_by("next_run_at").values_list("next_run_at", flat=True).first()
    return min((moment for moment in (queued, due) if moment is not None), default=None)


# -- queues


@dataclass(frozen=True, slots=True)
class Head:
    """The run that waits longest in a queue, and since when nobody takes it."""

    queue: str
    run_id: int
    since: datetime


def _note_queues(felt: Pulse) -> list[Head]:
    """Queues at whose head the same run has stood for too long while no run of their kind is being worked on.

    How long a run *could* have been taken stands nowhere: it may have been held back by another run, a pause or a wait. So the
    head of each queue is noted with the moment it was first seen there, and a queue that moves notes another one.
    """
    waiting = Run.objects.claimable(felt.now).order_by("queued_at", "id").values_list("pk", flat=True)
    found = []
    for is_short, queue in ((False, settings.Q_CLUSTER["name"]), (True, FAST_CLUSTER)):
        oldest = waiting.filter(is_short=is_short).first()
        since = _note_head(felt.parts.get(f"{heartbeats.QUEUE}{queue}"), queue, oldest, felt.now)
        if oldest and since and felt.now - since > timedelta(seconds=settings.RETL["QUEUE_WAIT_SECONDS"]):
            found.append((is_short, Head(queue, oldest, since)))
    if not found:
        return []
    busy = set(Run.objects.live().filter(lease_until__gt=felt.now).values_list("is_short", flat=True).distinct())
    return [head for is_short, head in found if is_short not in busy]


def _note_head(noted: Part | None, queue: str, run_id: int | None, now: datetime) -> datetime | None:
    """Since when this run stands at the head; None for an empty queue. Writes only when the head has changed."""
    name, text = f"{heartbeats.QUEUE}{queue}", str(run_id or "")
    if noted is not None and noted.note == text:
        return noted.started_at if run_id else None
    if noted is not None:
        Heartbeat.objects.filter(name=name, note=noted.note).update(note=text, at=now, started_at=now)
    elif run_id:
        try:
            with transaction.atomic():
                Heartbeat.objects.create(name=name, note=text, at=now, started_at=now)
        except IntegrityError:
            pass  # another tick was first
    return now if run_id else None


def _stuck(heads: list[Head], now: datetime) -> Finding:
    longest = min(heads, key=lambda head: head.since)
    seconds = (now - longest.since).total_seconds()
    bound = settings.RETL["QUEUE_WAIT_SECONDS"]
    return Finding(
        condition=Condition.QUEUE_STUCK,
        level=Level.FAIL,
        cause=QUEUE_STUCK,
        title="Runs wait, and no worker takes them",
        text=(
            f"Run {longest.run_id} has stood at the head of the queue “{longest.queue}” for "
            f"{formats.span(now - longest.since)} (limit {formats.span(timedelta(seconds=bound))}), though workers "
            "tick and none of them works on a run of this kind."
        ),
        advice=_ADVICE_STUCK,
        value=seconds,
        limit=float(bound),
        run_id=longest.run_id,
        drivers=tuple((f"Queue {head.queue}", f"run {head.run_id} since {head.since:%H:%M:%S} UTC") for head in heads),
    )
