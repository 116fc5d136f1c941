"""Archive a sync and take it out again. What it wrote stays: runs, versions, ledger and dead letters keep their pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from syncs.choices import RunStatus
from syncs.errors import ConfigError
from syncs.models import Run, Sync
from syncs.services import audit, runs, touches
from syncs.signals import sync_switched

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_ROUNDS = 3  # a slot may queue a run between the cancel and the look


def live_runs(sync: Sync) -> list[Run]:
    """Runs that wait or work and that nobody has asked to stop: they stand in the way of the archive."""
    return list(Run.objects.active().filter(sync=sync, cancel_requested_at__isnull=True).order_by("id"))


def archive(sync: Sync, *, by: User | None, door: str, is_cancelling: bool = False) -> bool:
    """From now on it neither runs nor is listed. False: it was archived already.

    ``is_cancelling``: its live runs are cancelled first; a running one ends after its batches in flight, and its rows not sent
    stay pending. Without it a live run refuses the act with ``ConfigError``.
    """
    cancelled: list[int] = []
    for _ in range(_ROUNDS):
        if is_cancelling:
            cancelled += [run.pk for run in live_runs(sync) if runs.cancel(run, by=by)]
        archived, live = _archive(sync, by=by, door=door, cancelled=cancelled)
        if archived or not live:
            sync.refresh_from_db(fields=["is_archived", "archived_at", "next_run_at"])
            return archived
        if not is_cancelling:
            break
    raise ConfigError(_refusal(sync, live[0]), field="is_archived")


@transaction.atomic
def _archive(sync: Sync, *, by: User | None, door: str, cancelled: list[int]) -> tuple[bool, list[Run]]:
    # A request for a run holds this lock until its run is written: after it, what is live can be seen.
    Sync.objects.select_for_update(no_key=True).only("pk").get(pk=sync.pk)
    if live := live_runs(sync):
        return False, live
    done = Sync.objects.filter(pk=sync.pk, is_archived=False).update(
        is_archived=True, archived_at=timezone.now(), next_run_at=None
    )
    if done == 1:
        audit.record("archived", sync, by=by, door=door, detail={"cancelled_runs": cancelled} if cancelled else {})
        _tell(sync)
    return done == 1, []


def _refusal(sync: Sync, run: Run) -> str:
    state = "is running" if run.status == RunStatus.RUNNING else "waits in the queue"
    return f"Run {run.pk} of “{sync.name}” {state}. Wait for its end, or cancel it, then archive the sync."


@transaction.atomic
def unarchive(sync: Sync, *, by: User | None, door: str) -> bool:
    """Back into the lists, paused: its schedule begins again when somebody resumes it. False: it was not archived."""
    who = by.get_username() if by else "the command line"
    done = Sync.objects.filter(pk=sync.pk, is_archived=True).update(
        is_archived=False,
        archived_at=None,
        is_paused=True,
        paused_at=timezone.now(),
        pause_reason=f"Taken out of the archive by {who}. Resume it when it is ready to run."[:255],
    )
    if done == 1:
        audit.record("unarchived", sync, by=by, door=door)
        _tell(sync)
    sync.refresh_from_db(fields=["is_archived", "archived_at", "is_paused", "paused_at", "pause_reason"])
    return done == 1


def _tell(sync: Sync) -> None:
    touches.touch(sync.pk)
    transaction.on_commit(lambda: sync_switched.send_robust(sender=Sync, sync_id=sync.pk) and None)
