"""Waking workers. A message says "look at run 17" and may be lost or doubled: what is true stands in the run."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from django_q.models import OrmQ
from django_q.tasks import async_task

from syncs.choices import RunStatus
from syncs.models import Run
from syncs.querysets import database_now

WORK = "syncs.tasks.work"
FAST_CLUSTER = "fast"


def ring(run: Run) -> None:
    """Wake a worker. The message is a hint that may be lost or doubled; claims decide."""
    # The cluster is always named: without a name, q2 takes the one of the process that rings.
    async_task(WORK, run.pk, cluster=FAST_CLUSTER if run.is_short else settings.Q_CLUSTER["name"])


def ring_lost(*, older_than: timedelta = timedelta(seconds=20)) -> int:
    """Ring again for runs that could start, have waited, and for which too few messages are in the queue."""
    now = database_now()
    rung = 0
    for is_short, cluster in ((False, settings.Q_CLUSTER["name"]), (True, FAST_CLUSTER)):
        waiting = Run.objects.claimable(now).filter(is_short=is_short, queued_at__lt=now - older_than).order_by("id")
        # Messages a cluster has taken are locked far into the future; only the others will still wake somebody.
        missing = waiting.count() - OrmQ.objects.filter(key=cluster, lock__lte=timezone.now()).count()
        for run in waiting[: max(0, missing)]:
            ring(run)
            rung += 1
    return rung


def ring_next(sync_id: int, *, after: int | None = None) -> None:
    """A run that had to wait for this one may start now."""
    waiting = Run.objects.filter(sync_id=sync_id, status=RunStatus.QUEUED).exclude(pk=after or 0).order_by("queued_at", "id")
    for run in waiting[:1]:
        ring(run)
