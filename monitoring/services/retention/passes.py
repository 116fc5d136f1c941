"""Purges: asked for by a person or by the day, looked after on the tick, one at a time.

Where no purge of a kind has come to its end yet, that of the day only looks: its figures stand on the page for a day before
anything is deleted.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from monitoring.choices import Retained
from monitoring.models import Purge
from monitoring.services.retention import rules, work
from monitoring.services.retention.rules import RetentionRefusedError
from monitoring.services.retention.work import Ended
from syncs.querysets import database_now
from syncs.services import audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SYSTEM = "system"
_STALE = timedelta(seconds=20)  # nobody has touched it for so long: ring again
_LISTED = timedelta(days=400)  # how long purges themselves are listed


def request(
    kind: Retained, *, by: User | None, door: str, is_dry_run: bool, days: int | None = None, now: datetime | None = None
) -> Purge:
    """Begin one. Work follows by ``start``. ``days``: another time than the rule's, for a dry run only.

    Raises ``RetentionRefusedError`` where the kind is kept for ever, or a purge of it goes on.
    """
    if days is not None and not is_dry_run:
        raise AssertionError("only a dry run takes another time than the rule's")
    kept = rules.days()[kind] if days is None else days
    if kept is None:
        raise RetentionRefusedError(
            f"{rules.name(kind)}: kept for ever, so there is nothing to purge. Set a number of days first."
        )
    now = now or timezone.now()
    try:
        with transaction.atomic():
            purge = Purge.objects.create(
                kind=kind, before=now - timedelta(days=kept), is_dry_run=is_dry_run, requested_by=by, door=door,
                started_at=now, touched_at=now,
            )  # fmt: skip
            if not is_dry_run and by is not None:
                audit.record("purge_asked", purge, by=by, door=door, detail={"older_than": purge.before.isoformat()})
    except IntegrityError:
        raise RetentionRefusedError(
            f"{rules.name(kind)}: a purge of these is going on already. Wait for its end, or stop it on its page."
        ) from None
    return purge


def start() -> None:
    """After the commit of a request: wake a worker, if none is at a purge."""
    ring_next()


def stop(purge: Purge, *, by: User | None, door: str) -> bool:
    """What it deleted stays deleted. False: it was over already."""
    who = by.get_username() if by else "the command line"
    now = timezone.now()
    going = Purge.objects.filter(pk=purge.pk, is_over=False)
    with transaction.atomic():
        if not going.update(is_over=True, lease_until=None, finished_at=now, touched_at=now, message=f"Stopped by {who}."):
            return False
        audit.record("purge_stopped", purge, by=by, door=door)
    return True


# --- By the day


def hour() -> int | None:
    """Hour of the day (UTC) from which the daily purge begins; None: there is none."""
    at: int | None = settings.RETL["PURGE_HOUR"]
    return at


def last_slot(now: datetime) -> datetime | None:
    """When the daily purge of now, or the last one before, was to begin."""
    at = hour()
    if at is None:
        return None
    today = now.replace(hour=at, minute=0, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)


def next_slot(now: datetime) -> datetime | None:
    slot = last_slot(now)
    return slot + timedelta(days=1) if slot else None


def start_due(now: datetime) -> list[Purge]:
    """Those of today that nobody has begun. Any number of workers may do this at once."""
    slot = last_slot(now)
    if slot is None:
        return []
    begun = set(Purge.objects.filter(door=SYSTEM, started_at__gte=slot).values_list("kind", flat=True))
    due = [kind for kind in Retained if kind.value not in begun]
    if not due:
        return []
    kept = rules.days()
    whole = Purge.objects.filter(kind__in=due, is_over=True, message="")
    known = set(whole.values_list("kind", flat=True).distinct())
    made = [
        Purge(
            kind=kind,
            before=now - timedelta(days=days),
            is_dry_run=kind.value not in known,
            door=SYSTEM,
            started_at=now,
            touched_at=now,
        )
        for kind in due
        if (days := kept[kind]) is not None
    ]
    if made:
        Purge.objects.filter(is_over=True, started_at__lt=now - _LISTED).delete()
        Purge.objects.bulk_create(made, ignore_conflicts=True)
    return made


# --- On the tick


def look_after(now: datetime | None = None) -> None:
    """Begin what is due by the day, and wake a worker for the oldest purge that nobody works on."""
    start_due(now or timezone.now())
    ring_next(stale=_STALE)


def ring_next(*, stale: timedelta = timedelta()) -> int | None:
    """One at a time: nothing while a worker holds any. Returns the purge that was rung for."""
    going = Purge.objects.filter(is_over=False)
    if going.filter(lease_until__gt=database_now()).exists():
        return None
    idle = going.filter(touched_at__lte=timezone.now() - stale)
    chosen = idle.order_by("touched_at", "pk").values_list("pk", flat=True).first()
    if chosen is None or not idle.filter(pk=chosen).update(touched_at=timezone.now()):
        return None
    work.ring(chosen)
    return chosen


def answer(purge_id: int) -> None:
    """What the doorbell calls: a stretch of this purge; after its end the next one's turn."""
    ended = work.advance(purge_id, seconds=work.MESSAGE_SECONDS)
    if ended is Ended.TIME:
        work.ring(purge_id)
    elif ended is Ended.OVER:
        ring_next()
    elif ended is Ended.WAITS:
        ring_next(stale=_STALE)


def advance_here() -> bool:
    """For a process that works until nothing is left: do what waits. Returns whether there was anything that could be done."""
    waiting = list(Purge.objects.filter(is_over=False).order_by("pk").values_list("pk", flat=True))
    ended = [work.advance(pk, seconds=None) for pk in waiting]
    return Ended.OVER in ended
