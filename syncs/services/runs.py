"""Life of a run as its callers see it: request, cancel, claim, release, finish, reap. Every step is one conditional UPDATE."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from syncs.choices import RunStatus, Trigger
from syncs.errors import ConfigError
from syncs.models import Run, Sync
from syncs.services import versions
from syncs.services.doorbell import ring, ring_lost
from syncs.services.leases import Claim
from syncs.services.ownership import abandon, claim, end_queued, finish, reap, release

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["Claim", "abandon", "cancel", "claim", "finish", "reap", "release", "request", "ring", "ring_lost"]

_SINGLE = (Trigger.SCHEDULE, Trigger.REPROCESS, Trigger.BACKFILL)  # each request is a run of its own


def request(
    *,
    sync: Sync,
    trigger: Trigger,
    by: AbstractBaseUser | None = None,
    options: Mapping[str, Any] | None = None,
    detail: str = "",
    is_short: bool = False,
    scheduled_for: datetime | None = None,
    missed_count: int = 0,
) -> Run:
    """Queue a run with the sync's version of this moment and wake a worker, all in one commit.

    A person who asks twice gets the run that already waits, if it would do the same. Raises ``ConfigError`` for an archived
    sync, and for a paused one unless the run is a reprocess or backfill, which waits.
    """
    chosen = dict(options or {})
    with transaction.atomic():
        version = versions.pin(sync, author=by)
        _refuse_unready(sync, trigger)
        if trigger not in _SINGLE:
            waiting = Run.objects.filter(sync=sync, status=RunStatus.QUEUED, version=version).exclude(trigger__in=_SINGLE)
            for run in waiting.order_by("id"):
                if run.options == chosen:
                    return run
        run = Run.objects.create(
            sync=sync,
            version=version,
            trigger=trigger,
            trigger_detail=detail[:255],
            requested_by_id=getattr(by, "pk", None),
            options=chosen,
            is_short=is_short,
            scheduled_for=scheduled_for,
            missed_count=missed_count,
        )
        ring(run)
    return run


def _refuse_unready(sync: Sync, trigger: Trigger) -> None:
    state = Sync.objects.filter(pk=sync.pk).values("name", "is_paused", "is_archived").get()
    if state["is_archived"]:
        raise ConfigError(f"“{state['name']}” is archived and runs no more.", field="is_archived")
    if state["is_paused"] and trigger not in _SINGLE:
        raise ConfigError(f"“{state['name']}” is paused. Resume it, then run it.", field="is_paused")


def cancel(run: Run, *, by: AbstractBaseUser | None) -> bool:
    """A queued run ends at once; a running one is asked to end after its batches in flight. False: there was nothing to do."""
    by_id = by.pk if by else None
    who = by.get_username() if by else "the command line"
    for _ in range(2):  # it may be claimed or given back between the two updates
        with transaction.atomic():
            if end_queued(run, f"Cancelled by {who} while it waited.", by_id=by_id):
                return True
        asked = Run.objects.live().filter(pk=run.pk, cancel_requested_at__isnull=True)
        if asked.update(cancel_requested_at=timezone.now(), cancel_requested_by_id=by_id):
            return True
    return False
