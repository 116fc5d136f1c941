"""The status of a sync, with its reason and since when: worked out from its runs, and written here only."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from syncs.choices import RunStatus, SyncStatus, Trigger
from syncs.models import Run, Sync

_ENDED = (RunStatus.SUCCEEDED, RunStatus.PARTIAL, RunStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Health:
    status: SyncStatus
    reason: str


def of(sync: Sync) -> Health:
    """What the sync's own state and its last run that came to an end say. A cancelled or skipped run says nothing.

    A reprocess touches chosen rows only, so it tells whether the sync fails, but not that all is well.
    """
    if sync.is_paused:
        return Health(SyncStatus.PAUSED, sync.pause_reason)
    ended = Run.objects.filter(sync=sync, status__in=_ENDED).order_by("-id")
    last = ended.exclude(Q(trigger=Trigger.REPROCESS), ~Q(status=RunStatus.FAILED)).first()
    if last is None:
        return Health(SyncStatus.UNCONFIGURED, "Never ran.")
    if last.status == RunStatus.FAILED:
        return Health(SyncStatus.FAILING, last.failure_message or f"Run {last.pk} failed.")
    if last.status == RunStatus.PARTIAL:
        rows = last.dead_lettered_count
        text = f"{rows:,} of {last.read_count:,} rows of run {last.pk} {'was' if rows == 1 else 'were'} dead-lettered."
        return Health(SyncStatus.DEGRADED, text)
    return Health(SyncStatus.HEALTHY, "")


def refresh(sync_id: int) -> bool:
    """Write the status where it differs; ``status_since`` moves only with the status itself. False: nothing to write."""
    sync = Sync.objects.filter(pk=sync_id).first()
    if sync is None:
        return False
    health = of(sync)
    stale = Sync.objects.filter(pk=sync_id, is_paused=sync.is_paused).exclude(status=health.status, status_reason=health.reason)
    since = Case(When(status=health.status, then=F("status_since")), default=Value(timezone.now()))
    return bool(stale.update(status=health.status, status_reason=health.reason, status_since=since))
