"""Applying the error rules of today to open dead letters: in slices, from where it stood, by anybody, while runs write.

The row lock of ``Reclassification`` lets one worker at a time do a slice; entries, groups, ledger, events and the position
after them are one transaction. A rule that turns a failure transient lets go of the row: the next run tries it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone

from dlq.choices import Door, EntryStatus
from dlq.models import Reclassification
from dlq.services import moves, reclassify_slice, ruled_entries, walks
from dlq.services.moves import ActRefusedError
from syncs.models import Connection
from syncs.services import audit, error_rules
from syncs.services.error_rules import Place

if TYPE_CHECKING:
    from django.contrib.auth.models import User

AT_ONCE = 5_000  # open entries that are done while the person waits
_WAIT_SECONDS = 5.0  # while a person waits


def request(place: Place, *, by: User | None, door: Door, reason: str = "") -> Reclassification:
    """Begin. Work follows by ``start``, after the commit. Raises ``ActRefusedError`` where one goes on for this place, or no
    sync delivers there."""
    reason = moves.checked_reason(reason, is_required=False)
    found = ruled_entries.reach(place, user=by)
    if not found.syncs:
        raise ActRefusedError(f"No sync that you may see delivers to {place.name}: there is no dead letter to apply rules to.")
    now = timezone.now()
    try:
        with transaction.atomic():
            job = Reclassification.objects.create(
                connection=place.connection,
                kind=place.kind,
                place=place_key(place),
                sync_ids=sorted(found.syncs),
                requested_by=by,
                requested_at=now,
                touched_at=now,
                door=door,
                reason=reason,
            )
            _audit(job, "applying rules", {"syncs": len(found.syncs), "reason": reason})
    except IntegrityError:
        raise ActRefusedError(
            f"The rules for {place.name} are being applied already. Wait for that to end; it reads the rules as they are now."
        ) from None
    return job


def start(job: Reclassification) -> bool:
    """Do it now where there are few entries; else wake a worker. Returns whether it is over."""
    found = ruled_entries.reach(place_of(job), sync_ids=job.sync_ids)
    few = found.entries().filter(status=EntryStatus.OPEN).order_by()[: AT_ONCE + 1].count() <= AT_ONCE
    if few and not WALK.advance(job.pk, budget_seconds=_WAIT_SECONDS):
        return True
    WALK.ring(job.pk)
    return False


def place_of(job: Reclassification) -> Place:
    """A connection that was deleted meanwhile has no syncs, and so nothing is left to do."""
    return Place(job.connection, job.kind)


def cancel(job: Reclassification, *, by: User | None, door: Door | None = None) -> bool:
    """What was done stands. Returns whether it was still going on."""
    mine = Reclassification.objects.filter(pk=job.pk, is_over=False)
    with transaction.atomic():
        if not mine.update(is_over=True, is_cancelled=True, finished_at=timezone.now()):
            return False
        reclassify_slice.tell_groups(Reclassification.objects.get(pk=job.pk))
        _audit(Reclassification.objects.get(pk=job.pk), "applying rules stopped", by=by, door=door)
    return True


def _slice(job_id: int) -> bool:
    """Returns whether there may be more."""
    job = Reclassification.objects.select_for_update(of=("self",)).filter(pk=job_id, is_over=False).first()
    if job is None:
        return False
    found = ruled_entries.reach(place_of(job), sync_ids=job.sync_ids)
    rows = reclassify_slice.rows(job, found)
    if rows:
        done = reclassify_slice.apply(job, rows, found, error_rules.load(found.connections))
        looked = job.looked_count + (0 if job.is_second_look else len(rows))
        _save(job, position=rows[-1][0].pk, looked_count=looked, **done.columns(job))
        return True
    if not job.is_second_look:
        _save(job, position=0, is_second_look=True)
        return True
    _save(job, is_over=True, finished_at=timezone.now())
    job = Reclassification.objects.get(pk=job.pk)
    reclassify_slice.tell_groups(job)
    _audit(job, "rules applied")
    return False


WALK = walks.Walk(
    Reclassification, "pk", "dlq.tasks.reclassify", lambda job_id: moves.in_transaction(lambda _at: _slice(job_id))
)


def _save(job: Reclassification, **values: object) -> None:
    Reclassification.objects.filter(pk=job.pk).update(touched_at=timezone.now(), **values)


def _audit(
    job: Reclassification,
    act: str,
    detail: dict[str, object] | None = None,
    *,
    by: User | None = None,
    door: Door | None = None,
) -> None:
    target: Reclassification | Connection = job.connection or job
    told = {"of": job.place, "walk": job.pk, "looked_at": job.looked_count, "changed": job.changed_count, **(detail or {})}
    audit.record(act, target, by=by or job.requested_by, door=door or job.door, detail=told)


def place_key(place: Place) -> str:
    """How a walk names its place."""
    return f"connection:{place.connection.pk}" if place.connection is not None else f"kind:{place.kind}"
