"""Signs of life: every part that must go on notes when it last did, so that others can tell when it stopped.

Parts: ``tick`` (of any worker), ``worker:<host>:<pid>``, ``cluster:<queue>`` (a task was answered), ``alerts`` (syncs were
judged), ``queue:<queue>``, which remembers since when the same run stands at the head of a queue, and ``sweep``.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import IntegrityError, transaction

from syncs.models import Heartbeat
from syncs.querysets import database_now

TICK = "tick"
ALERTS = "alerts"
WORKER = "worker:"
CLUSTER = "cluster:"
QUEUE = "queue:"
SWEEP = "sweep"
KEPT = timedelta(days=1)  # a worker that was killed leaves its row behind


def beat(name: str, *, note: str = "") -> None:
    """By the database's clock. Any number of processes may beat for the same part at once."""
    now = database_now()
    if Heartbeat.objects.filter(name=name).update(at=now, note=note[:255]):
        return
    try:
        with transaction.atomic():
            Heartbeat.objects.create(name=name, at=now, started_at=now, note=note[:255])
    except IntegrityError:
        pass  # another process was first, which is as good


def take_turn(name: str, every: timedelta) -> bool:
    """Whether this process is the one to do what is done once in so long; of two at the same moment one is."""
    now = database_now()
    last = Heartbeat.objects.filter(name=name).values_list("at", flat=True).first()
    if last is not None:
        return last <= now - every and Heartbeat.objects.filter(name=name, at=last).update(at=now) == 1
    try:
        with transaction.atomic():
            Heartbeat.objects.create(name=name, at=now, started_at=now)
    except IntegrityError:
        return False
    return True


def forget(name: str) -> None:
    """A part that ended as it should is not missed."""
    Heartbeat.objects.filter(name=name).delete()


def forget_old_workers() -> int:
    gone, _ = Heartbeat.objects.filter(name__startswith=WORKER, at__lt=database_now() - KEPT).delete()
    return gone
