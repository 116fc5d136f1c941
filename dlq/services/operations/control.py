"""What a person does to a bulk operation. Each is one conditional update; a worker obeys it before its next slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Case, Value, When

from dlq.choices import OPERATION_ACTIVE, Door, OperationStatus
from dlq.models import BulkOperation
from dlq.services.operations import doorbell
from syncs.services import audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

WORKING = (OperationStatus.QUEUED, OperationStatus.RUNNING)


def pause(operation: BulkOperation, *, by: User | None, door: Door | None = None) -> bool:
    """Stop before the next slice. A reprocess run that was requested goes on to its end. False: it is not working."""
    working = BulkOperation.objects.filter(pk=operation.pk, status__in=WORKING, ends_as="")
    with transaction.atomic():
        if not working.update(status=OperationStatus.PAUSED, message=f"Paused by {_name(by)}."):
            return False
        _note("paused", operation, by, door)
    return True


def resume(operation: BulkOperation, *, by: User | None, door: Door | None = None) -> bool:
    """Go on after a pause or a halt. False: it neither paused nor halted."""
    resting = BulkOperation.objects.filter(
        pk=operation.pk, status__in=(OperationStatus.PAUSED, OperationStatus.HALTED), ends_as=""
    )
    status = Case(When(is_frozen=True, then=Value(OperationStatus.RUNNING)), default=Value(OperationStatus.QUEUED))
    with transaction.atomic():
        if not resting.update(status=status, message=f"Resumed by {_name(by)}."):
            return False
        _note("resumed", operation, by, door)
        doorbell.ring(operation.pk)
    return True


def cancel(operation: BulkOperation, *, by: User | None, door: Door | None = None) -> bool:
    """End it: what was done stands, the rest is not reached. A worker brings it to its end; until then it ``is_ending``.
    False: it is over, or being ended already."""
    active = BulkOperation.objects.filter(pk=operation.pk, status__in=OPERATION_ACTIVE, ends_as="")
    with transaction.atomic():
        if not active.update(ends_as=OperationStatus.CANCELLED, message=f"Cancelled by {_name(by)}."):
            return False
        _note("cancelled", operation, by, door)
        doorbell.ring(operation.pk)
    return True


def _note(act: str, operation: BulkOperation, by: User | None, door: Door | None) -> None:
    audit.record(act, operation, by=by, door=door or (Door.ADMIN if by else Door.CLI))


def _name(by: User | None) -> str:
    return by.get_username() if by else "the command line"
