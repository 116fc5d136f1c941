"""Metrics of syncs: from the syncs, their counters by day, and their last runs. No look at a dead letter, none at old runs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum

from dlq.models import ErrorGroup
from monitoring.models import SyncWatch
from monitoring.services.metrics import names
from monitoring.services.metrics.samples import Samples
from syncs.choices import RunStatus, SyncStatus
from syncs.models import Run, Sync
from syncs.models.periods import SyncDay

_RUNS = {
    RunStatus.SUCCEEDED: "succeeded_count",
    RunStatus.PARTIAL: "partial_count",
    RunStatus.FAILED: "failed_count",
    RunStatus.CANCELLED: "cancelled_count",
    RunStatus.SKIPPED: "skipped_run_count",
}
_OUTCOMES = ("accepted", "unchanged", "skipped", "dead_lettered", "pending")
_SINGLE = {
    "read_count": names.SYNC_READ,
    "request_count": names.SYNC_REQUESTS,
    "retry_count": names.SYNC_RETRIES,
    "bytes_sent": names.SYNC_BYTES,
}
_SUMMED = (*_RUNS.values(), *(f"{name}_count" for name in _OUTCOMES), *_SINGLE, "milliseconds")
_ENDED = (RunStatus.SUCCEEDED, RunStatus.PARTIAL, RunStatus.FAILED, RunStatus.CANCELLED)
_WELL = (RunStatus.SUCCEEDED, RunStatus.PARTIAL)


@dataclass(frozen=True, slots=True)
class _LastRun:
    status: str
    started_at: datetime | None
    finished_at: datetime | None


def add(samples: Samples, now: datetime) -> None:
    syncs = _syncs()
    runs = _last_runs(syncs)
    sums = _sums(now)
    oldest = dict(SyncWatch.objects.filter(oldest_failed_at__isnull=False).values_list("sync_id", "oldest_failed_at"))
    depths = _dead_letters(samples)
    for sync in syncs:
        labels = (sync.pk, sync.name)
        _add_state(samples, sync, labels)
        samples.add(names.SYNC_OPEN, depths.get(sync.pk, 0), *labels)
        if depths.get(sync.pk):
            samples.add_moment(names.SYNC_OLDEST, oldest.get(sync.pk), *labels)
        _add_runs(samples, runs, sync, labels)
        _add_sums(samples, sums.get(sync.pk) or dict.fromkeys(_SUMMED, 0), labels)


def _syncs() -> list[Any]:
    runs = Run.objects.filter(sync=OuterRef("pk")).order_by("-id").values("pk")
    found = Sync.objects.active().select_related("source", "destination", "team", "owner").order_by("pk")
    narrow = found.only(
        *("name", "status", "status_since", "next_run_at", "is_paused", "destination_object"),
        *("source__name", "destination__name", "team__name", "owner__username"),
    )
    return list(
        narrow.annotate(
            last_id=Subquery(runs.filter(status__in=_ENDED)[:1]), well_id=Subquery(runs.filter(status__in=_WELL)[:1])
        )
    )


def _last_runs(syncs: list[Any]) -> dict[int, _LastRun]:
    ids = {pk for sync in syncs for pk in (sync.last_id, sync.well_id) if pk}
    rows = Run.objects.filter(pk__in=ids).order_by().values_list("pk", "status", "started_at", "finished_at")
    return {pk: _LastRun(status, began, ended) for pk, status, began, ended in rows}


_former: tuple[tuple[str, datetime], dict[int, list[int]]] | None = None


def _sums(now: datetime) -> dict[int, dict[str, int]]:
    """By sync. What ended before yesterday does not change any more and is added up once a day by each process."""
    global _former
    until = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    key = (str(connection.settings_dict["NAME"]), until)
    former = _former
    if former is None or former[0] != key:
        former = _former = (key, _added_up(SyncDay.objects.filter(starts_at__lt=until)))
    found = {sync_id: list(counts) for sync_id, counts in former[1].items()}
    for sync_id, counts in _added_up(SyncDay.objects.filter(starts_at__gte=until)).items():
        earlier = found.get(sync_id)
        found[sync_id] = [one + other for one, other in zip(earlier, counts, strict=True)] if earlier else counts
    return {sync_id: dict(zip(_SUMMED, counts, strict=True)) for sync_id, counts in found.items()}


def _added_up(days: QuerySet[SyncDay]) -> dict[int, list[int]]:
    sums = [Sum(name) for name in _SUMMED]
    names_of_sums = [f"{name}__sum" for name in _SUMMED]
    rows = days.order_by().values_list("sync_id").annotate(*sums).values_list("sync_id", *names_of_sums)
    return {sync_id: counts for sync_id, *counts in rows}


def _dead_letters(samples: Samples) -> dict[int, int]:
    """By sync. From the counters of the error groups: no count over the entries."""
    by_sync: dict[int, int] = defaultdict(int)
    by_type: dict[str, int] = defaultdict(int)
    groups: dict[str, int] = defaultdict(int)
    live = ErrorGroup.objects.filter(open_count__gt=0).order_by().values_list("sync_id", "error_type", "state")
    for sync_id, error_type, state, count, of_state in live.annotate(Sum("open_count"), n=Count("pk")):
        by_sync[sync_id] += count
        by_type[error_type] += count
        groups[state] += of_state
    for error_type, count in sorted(by_type.items()):
        samples.add(names.DEAD_LETTERS, count, error_type)
    for state, count in sorted(groups.items()):
        samples.add(names.GROUPS, count, state)
    return by_sync


def _add_state(samples: Samples, sync: Any, labels: tuple[int, str]) -> None:
    team, owner = sync.team.name if sync.team else "", sync.owner.username if sync.owner else ""
    about = (sync.source.name, sync.destination.name, sync.destination_object, team, owner)
    samples.add(names.SYNC_INFO, 1, *labels, *about)
    for status in SyncStatus:
        samples.add(names.SYNC_STATUS, sync.status == status, *labels, status.value)
    samples.add_moment(names.SYNC_SINCE, sync.status_since, *labels)
    if not sync.is_paused:
        samples.add_moment(names.SYNC_NEXT, sync.next_run_at, *labels)


def _add_runs(samples: Samples, runs: dict[int, _LastRun], sync: Any, labels: tuple[int, str]) -> None:
    last, well = runs.get(sync.last_id), runs.get(sync.well_id)
    if last is not None:
        samples.add_moment(names.SYNC_LAST, last.finished_at, *labels, last.status)
        if last.started_at and last.finished_at:
            samples.add(names.SYNC_LAST_SECONDS, (last.finished_at - last.started_at).total_seconds(), *labels)
    if well is not None:
        samples.add_moment(names.SYNC_WELL, well.finished_at, *labels)


def _add_sums(samples: Samples, sums: dict[str, int], labels: tuple[int, str]) -> None:
    for status, column in _RUNS.items():
        samples.add(names.SYNC_RUNS, sums[column], *labels, status.value)
    for outcome in _OUTCOMES:
        samples.add(names.SYNC_ROWS, sums[f"{outcome}_count"], *labels, outcome)
    for column, metric in _SINGLE.items():
        samples.add(metric, sums[column], *labels)
    samples.add(names.SYNC_SECONDS, sums["milliseconds"] / 1000, *labels)
