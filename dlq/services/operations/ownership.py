"""Who works on a bulk operation. The lease is by the database's clock; each slice checks the fence under the row's lock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from dlq.choices import OPERATION_ACTIVE, ItemOutcome
from dlq.models import BulkItem, BulkOperation
from dlq.services.operations.control import WORKING
from syncs.choices import RUN_ACTIVE
from syncs.querysets import database_now
from syncs.services.leases import lease_seconds
from syncs.services.worker import worker_name


@dataclass(frozen=True, slots=True)
class Claim:
    """A bulk operation held by this process, as long as it still carries ``fence``."""

    operation_id: int
    fence: int


class StoppedError(Exception):
    """Another worker holds the operation now, or a person paused or cancelled it. The slice was rolled back."""


def due(now: datetime) -> QuerySet[BulkOperation]:
    """Those with something to do now that nobody holds. Waiting for a run, for a minute to pass or for a person is nothing
    to do; a wave that has come back is settled even while the operation is paused."""
    sent = BulkItem.objects.filter(operation=OuterRef("pk"), outcome=ItemOutcome.SENT)
    # A run that is to be cancelled has to be told so before it is waited for.
    told = Q(operation__ends_as="") | Q(run__cancel_requested_at__isnull=False)
    under_way = sent.filter(told, run__status__in=RUN_ACTIVE)
    may_act = Q(status__in=WORKING) & (Q(next_wave_at__isnull=True) | Q(next_wave_at__lte=now))
    return BulkOperation.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=now),
        Exists(sent) | ~Q(ends_as="") | may_act,
        ~Exists(under_way),
        status__in=OPERATION_ACTIVE,
    )


def claim(operation_id: int) -> Claim | None:
    """Take it if it has something to do. The fence moves on, so a former owner can write nothing more."""
    now = database_now()
    fence = due(now).filter(pk=operation_id).values_list("fence", flat=True).first()
    if fence is None:
        return None
    free = BulkOperation.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=now), pk=operation_id, fence=fence, status__in=OPERATION_ACTIVE
    )
    taken = free.update(
        fence=fence + 1,
        lease_until=now + timedelta(seconds=lease_seconds()),
        worker=worker_name()[:120],
        started_at=Coalesce(F("started_at"), now),
    )
    return Claim(operation_id, fence + 1) if taken else None


def look(claim: Claim) -> BulkOperation | None:
    """The operation as it is now; None when it is over or somebody else's."""
    return BulkOperation.objects.filter(pk=claim.operation_id, fence=claim.fence, status__in=OPERATION_ACTIVE).first()


def hold(claim: Claim, *, ends_as: str = "", only_working: bool = True) -> BulkOperation:
    """Within a slice's transaction: lock the operation, check that it is ours and may go on, renew the lease.

    Raises ``StoppedError``.
    """
    mine = BulkOperation.objects.filter(
        pk=claim.operation_id, fence=claim.fence, status__in=WORKING if only_working else OPERATION_ACTIVE, ends_as=ends_as
    )
    if not mine.update(lease_until=database_now() + timedelta(seconds=lease_seconds())):
        raise StoppedError
    return mine.get()


def renew(claim: Claim, *, seconds: float) -> None:
    """Before something slow outside a transaction. Raises ``StoppedError``."""
    until = database_now() + timedelta(seconds=seconds)
    if not BulkOperation.objects.filter(pk=claim.operation_id, fence=claim.fence).update(lease_until=until):
        raise StoppedError


def give_back(claim: Claim) -> None:
    BulkOperation.objects.filter(pk=claim.operation_id, fence=claim.fence, status__in=OPERATION_ACTIVE).update(
        lease_until=None, worker=""
    )
