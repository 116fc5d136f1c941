"""Runs and their steps: what is old, and who still needs it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from dlq.choices import LIVE, OPERATION_ACTIVE
from dlq.models import BulkItem, DLQEntry, DLQEvent
from monitoring.choices import IncidentState
from monitoring.models import Incident, IncidentEvent, IncidentSync
from monitoring.services.retention.parts import ById, delete_all
from syncs.choices import RUN_TERMINAL, RunStatus
from syncs.models import Run, Step

_ENDED_WELL = [RunStatus.SUCCEEDED, RunStatus.PARTIAL]


def _ended(before: datetime) -> QuerySet[Any]:
    # A run that ended long ago was queued longer ago still: the second condition lets the walk by id end early.
    return Run.objects.filter(status__in=RUN_TERMINAL, finished_at__lt=before, queued_at__lt=before)


def _of_incidents() -> Q:
    """Those that incidents which are not resolved name; there are few of these."""
    opened = Incident.objects.exclude(state=IncidentState.RESOLVED).values("pk")
    return (
        Q(pk__in=Incident.objects.filter(pk__in=opened, run__isnull=False).values("run_id"))
        | Q(pk__in=IncidentSync.objects.filter(incident_id__in=opened, run__isnull=False).values("run_id"))
        | Q(pk__in=IncidentEvent.objects.filter(incident_id__in=opened, run__isnull=False).values("run_id"))
    )


def _of_operations() -> Q:
    return Q(Exists(BulkItem.objects.filter(run_id=OuterRef("pk"), operation__status__in=OPERATION_ACTIVE)))


def _steps_needed(_now: datetime) -> Q:
    """The page of a live dead letter shows the calls of every run in its history."""
    mine = OuterRef("pk")
    live = DLQEntry.objects.filter(status__in=LIVE)
    named = DLQEvent.objects.filter(run_id=mine, entry__status__in=LIVE)
    return (
        Q(Exists(live.filter(run_id=mine)))
        | Q(Exists(live.filter(first_run_id=mine)))
        | Q(Exists(named))
        | _of_incidents()
        | _of_operations()
    )


def _run_needed(_now: datetime) -> Q:
    mine = OuterRef("pk")
    entries = DLQEntry.objects
    newer = Run.objects.filter(sync_id=OuterRef("sync_id"), pk__gt=mine, status__in=RUN_TERMINAL)
    newer_well = newer.filter(status__in=_ENDED_WELL)
    return (
        ~Q(Exists(newer))
        | (Q(status__in=_ENDED_WELL) & ~Q(Exists(newer_well)))
        | Q(Exists(entries.filter(run_id=mine)))
        | Q(Exists(entries.filter(first_run_id=mine)))
        | Q(Exists(entries.filter(reprocess_run_id=mine)))
        | Q(Exists(entries.filter(resolved_run_id=mine)))
        | Q(Exists(DLQEvent.objects.filter(run_id=mine)))
        | _of_incidents()
        | _of_operations()
    )


def _steps(run_ids: Sequence[int]) -> dict[int, int]:
    of_run = Step.objects.filter(run_id__in=run_ids).order_by().values("run_id").annotate(count=Count("pk"))
    return dict(of_run.values_list("run_id", "count"))


def _delete_steps(run_ids: Sequence[int]) -> None:
    Step.objects.filter(run_id__in=list(run_ids)).delete()


STEPS = ById(
    tables=(Step,), time="started_at", old=_ended, needed=_steps_needed, delete=_delete_steps, load=_steps, is_load=True
)
RUNS = ById(tables=(Run,), time="queued_at", old=_ended, needed=_run_needed, delete=delete_all(Run), load=_steps)
