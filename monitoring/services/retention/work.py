"""Doing a purge: batch by batch, each in a transaction with the place after it, by whoever holds the lease.

Killed at any moment, the next worker goes on at that place: what was deleted is counted, and nothing is counted twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from django.conf import settings
from django.db import DatabaseError, IntegrityError
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from dlq.services import moves
from monitoring.choices import Retained
from monitoring.models import Purge
from monitoring.services.retention import of_entries, sizes
from monitoring.services.retention.catalogue import ENTRIES, PARTS
from monitoring.services.retention.places import Place
from syncs.querysets import database_now
from syncs.services import audit

logger = logging.getLogger(__name__)

TASK = "monitoring.tasks.purge"
LEASE = timedelta(seconds=60)
MESSAGE_SECONDS = 15.0  # of work for one message; then other work of the cluster gets its turn


class Ended(Enum):
    """Why a stretch of work stopped."""

    OVER = "over"
    TIME = "time"  # there is more to do
    WAITS = "waits"  # something is in the way, the purge's message says what
    LOST = "lost"  # somebody else has it, or it was stopped


class LostError(Exception):
    """The lease is somebody else's, or the purge was stopped: nothing of this batch is kept."""


@dataclass(slots=True)
class Claim:
    """``until``: end of the lease, and the token of who holds it."""

    purge_id: int
    until: datetime

    def mine(self) -> QuerySet[Purge]:
        return Purge.objects.filter(pk=self.purge_id, is_over=False, lease_until=self.until)


def ring(purge_id: int) -> None:
    """Wake a worker: of the main cluster, where nobody waits for a short answer."""
    async_task(TASK, purge_id, cluster=settings.Q_CLUSTER["name"])


def claim(purge_id: int) -> Claim | None:
    now = database_now()
    until = now + LEASE
    free = Purge.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=now), pk=purge_id, is_over=False)
    return Claim(purge_id, until) if free.update(lease_until=until, touched_at=timezone.now()) else None


def advance(purge_id: int, *, seconds: float | None) -> Ended:
    """Batches until it is over, something is in the way, or the time is up (None: as long as it takes)."""
    held = claim(purge_id)
    if held is None:
        return Ended.LOST
    try:
        return _work(held, seconds)
    except LostError:
        return Ended.LOST
    except IntegrityError as error:
        return _fail(held, error)
    except DatabaseError:
        raise  # the lease ends by itself, and the purge goes on when the database does
    except Exception as error:  # noqa: BLE001 - it would stop the purge of every day at the same place
        return _fail(held, error)


def _work(held: Claim, seconds: float | None) -> Ended:
    until = None if seconds is None else time.monotonic() + seconds
    kind = Retained(Purge.objects.values_list("kind", flat=True).get(pk=held.purge_id))
    row_bytes = {number: sizes.row_bytes(part.tables) for number, part in enumerate(PARTS[kind])}
    while True:
        ended = moves.in_transaction(lambda _at: _batch(held, row_bytes))
        if ended is not None:
            return ended
        if until is not None and time.monotonic() >= until:
            held.mine().update(lease_until=None, touched_at=timezone.now())
            return Ended.TIME


def _batch(held: Claim, row_bytes: Mapping[int, float]) -> Ended | None:
    """One batch and the place after it. None: there is more."""
    purge = held.mine().select_for_update().first()
    if purge is None:
        raise LostError
    now = timezone.now()
    waits = of_entries.waits_for() if purge.kind in ENTRIES else ""
    if waits:
        _save(held, until=None, message=waits)
        return Ended.WAITS
    parts, place = PARTS[Retained(purge.kind)], Place.of(purge)
    looked = parts[place.part].look(place, before=purge.before, now=now, is_dry_run=purge.is_dry_run)
    counts = {
        "deleted_count": F("deleted_count") + looked.deleted,
        "kept_count": F("kept_count") + looked.kept,
        "bytes_freed": F("bytes_freed") + round(looked.deleted * row_bytes[place.part]),
    }
    following = looked.place or Place(place.part + 1)
    if following.part < len(parts):
        _save(held, until=database_now() + LEASE, message="", **counts, **following.columns())
        return None
    _save(held, until=None, message="", is_over=True, finished_at=now, **counts)
    _note(Purge.objects.get(pk=purge.pk))
    return Ended.OVER


def _save(held: Claim, *, until: datetime | None, **values: object) -> None:
    if held.mine().update(lease_until=until, touched_at=timezone.now(), **values) != 1:
        raise LostError
    if until is not None:
        held.until = until


def _note(purge: Purge) -> None:
    """In the audit log: what a purge deleted. One that found nothing, or only looked, is in the list of purges alone."""
    if purge.is_dry_run or not purge.deleted_count:
        return
    told = {"deleted": purge.deleted_count, "kept": purge.kept_count, "older_than": purge.before.isoformat()}
    audit.record("purged", purge, by=purge.requested_by, door=purge.door, detail=told)


def _fail(held: Claim, error: Exception) -> Ended:
    logger.exception("Purge %s stopped by an error that nobody foresaw.", held.purge_id)
    text = (
        f"An unforeseen error stopped it ({type(error).__name__}); what it had deleted before stays deleted. The worker's log "
        "has the details. The next purge tries again."
    )
    held.mine().update(is_over=True, lease_until=None, finished_at=timezone.now(), touched_at=timezone.now(), message=text)
    purge = Purge.objects.get(pk=held.purge_id)
    _note(purge)
    return Ended.OVER
