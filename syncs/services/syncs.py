"""Acts on a sync: pause, resume, approve deletes; and what can be known before it runs: validation and preview."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from syncs.choices import RunStatus, SyncMode
from syncs.errors import ConfigError
from syncs.models import Run, Sync
from syncs.services import audit, schedules, touches
from syncs.services.doorbell import ring_next
from syncs.services.ledger import DatabaseLedger
from syncs.services.previews import Preview, PreviewRow, Verdict, preview
from syncs.services.validation import validate
from syncs.signals import sync_switched

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

__all__ = ["Preview", "PreviewRow", "Verdict", "approve_deletes", "pause", "preview", "resume", "validate"]


def pause(sync: Sync, *, by: User | None, reason: str = "", door: str = "system") -> bool:
    """No run starts until someone resumes it; a running one stops after its batches in flight and waits in the queue.

    False: it was paused already, and keeps its reason. Raises ``ConfigError`` for an archived sync.
    """
    _refuse_archived(sync)
    who = by.get_username() if by else "the command line"
    values: dict[str, Any] = {
        "is_paused": True,
        "paused_at": timezone.now(),
        "pause_reason": (reason or f"Paused by {who}.")[:255],
    }
    with transaction.atomic():
        paused = Sync.objects.filter(pk=sync.pk, is_paused=False, is_archived=False).update(next_run_at=None, **values)
        if paused == 1:
            audit.record("paused", sync, by=by, door=door, detail={"reason": values["pause_reason"]})
        _tell(sync, is_told=paused == 1)
    sync.refresh_from_db(fields=["is_paused", "paused_at", "pause_reason", "next_run_at"])
    return paused == 1


def resume(sync: Sync, *, by: User | None, door: str = "system") -> bool:
    """Runs that wait go on, and the schedule counts from now. False: it was not paused."""
    _refuse_archived(sync)
    with transaction.atomic():
        resumed = Sync.objects.filter(pk=sync.pk, is_paused=True, is_archived=False).update(
            is_paused=False, paused_at=None, pause_reason=""
        )
        if resumed == 1:
            schedules.reschedule(sync)
            ring_next(sync.pk)
            audit.record("resumed", sync, by=by, door=door)
        _tell(sync, is_told=resumed == 1)
    sync.refresh_from_db(fields=["is_paused", "paused_at", "pause_reason", "next_run_at"])
    return resumed == 1


def _tell(sync: Sync, *, is_told: bool) -> None:
    if is_told:
        touches.touch(sync.pk)
        transaction.on_commit(lambda: sync_switched.send_robust(sender=Sync, sync_id=sync.pk) and None)


def _refuse_archived(sync: Sync) -> None:
    if Sync.objects.filter(pk=sync.pk, is_archived=True).exists():
        raise ConfigError(f"“{sync.name}” is archived and runs no more.", field="is_archived")


def approve_deletes(sync: Sync, *, by: User | None, door: str = "system") -> int:
    """Let the next run of a mirror delete as many rows as its last one was stopped for. Returns that number.

    Raises ``ConfigError`` when the last run was not stopped by the delete guard.
    """
    if sync.mode != SyncMode.MIRROR:
        raise ConfigError(f"“{sync.name}” is not in mirror mode: it deletes nothing.", field="mode")
    ended = Run.objects.filter(sync=sync, finished_at__isnull=False).exclude(status=RunStatus.SKIPPED)
    last = ended.order_by("-id").first()
    if last is None or last.status != RunStatus.FAILED or last.failure_code != "delete_guard":
        raise ConfigError(f"The last run of “{sync.name}” was not stopped by the delete guard: there is nothing to approve.")
    allowed, _ = DatabaseLedger(sync_id=sync.pk, run_id=last.pk).count_vanished()
    with transaction.atomic():
        Sync.objects.filter(pk=sync.pk).update(approved_delete_count=allowed)
        audit.record("approved", sync, by=by, door=door, detail={"deletes": allowed, "run": last.pk})
    sync.approved_delete_count = allowed
    who = by.get_username() if by else "the command line"
    logger.info("Sync “%s”: %s approved %s deletes that run %s was stopped for.", sync.name, who, allowed, last.pk)
    return allowed
