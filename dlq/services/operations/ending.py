"""The end of a bulk operation: finished, cancelled or failed. Its counts balance; the database checks that they do."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F

from dlq.choices import ItemOutcome, OperationKind, OperationStatus
from dlq.models import BulkItem, BulkOperation
from dlq.services import moves
from dlq.services.operations import ownership
from dlq.services.operations.ownership import Claim

_CHUNK = 50_000  # items a statement


def finish(operation: BulkOperation, at: datetime, *, status: str = OperationStatus.FINISHED) -> None:
    """Within a slice that holds it: nothing is pending any more."""
    values: dict[str, object] = {"status": status, "finished_at": at, "progress_at": at, "lease_until": None, "worker": ""}
    if status == OperationStatus.FINISHED:
        values["message"] = ""
    if operation.kind == OperationKind.DISCARD and operation.done_count:
        values["undo_until"] = at + timedelta(days=settings.RETL["UNDO_DAYS"])
    BulkOperation.objects.filter(pk=operation.pk).update(**values)


def fail(claim: Claim, message: str) -> bool:
    """It cannot go on; what it did stands. Returns whether there is an end to bring about."""
    mine = BulkOperation.objects.filter(pk=claim.operation_id, fence=claim.fence, ends_as="")
    return bool(mine.update(ends_as=OperationStatus.FAILED, message=message))


def drain(claim: Claim, ends_as: str) -> bool:
    """Mark the next of the members that were not reached; once there are none, end. Returns that there is more to do."""

    def work(at: datetime) -> bool:
        operation = ownership.hold(claim, ends_as=ends_as, only_working=False)
        pending = BulkItem.objects.filter(operation=operation, outcome=ItemOutcome.PENDING)
        last = pending.order_by("pk").values_list("pk", flat=True)[_CHUNK - 1 : _CHUNK].first()
        chosen = pending if last is None else pending.filter(pk__lte=last)
        count = chosen.update(outcome=ItemOutcome.NOT_REACHED, note="")
        if not count:
            finish(operation, at, status=ends_as)
            return False
        BulkOperation.objects.filter(pk=operation.pk).update(not_reached_count=F("not_reached_count") + count, progress_at=at)
        return True

    return moves.in_transaction(work)
