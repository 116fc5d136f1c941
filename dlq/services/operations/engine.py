"""What a worker does with a bulk operation: take it, do slices until it has to wait or its time is up, give it back."""

from __future__ import annotations

import contextlib
import logging
import time

from django.db import DatabaseError

from dlq.choices import OPERATION_ACTIVE, ItemOutcome, OperationKind
from dlq.models import BulkItem, BulkOperation
from dlq.services.moves import ActRefusedError
from dlq.services.operations import acting, checking, doorbell, ending, members, ownership, waves
from dlq.services.operations.control import WORKING
from dlq.services.operations.ownership import Claim, StoppedError
from syncs.models import Run
from syncs.querysets import database_now

logger = logging.getLogger(__name__)

BUDGET_SECONDS = 20.0
_DUE_AT_ONCE = 100


def advance(operation_id: int, *, budget_seconds: float = BUDGET_SECONDS) -> bool:
    """Do what can be done now, for so many seconds. True: there is more to do at once.

    Any number of processes may call it: one holds the operation, the others find nothing to do. Killed at any moment, the next
    one goes on from the last commit once the lease has run out.
    """
    claim = ownership.claim(operation_id)
    if claim is None:
        return False
    until = time.monotonic() + budget_seconds
    try:
        while _step(claim):
            if time.monotonic() >= until:
                return True
        return False
    finally:
        with contextlib.suppress(DatabaseError):  # the lease runs out by itself
            ownership.give_back(claim)


def _step(claim: Claim) -> bool:
    operation = ownership.look(claim)
    if operation is None:
        return False
    try:
        return _next(claim, operation)
    except StoppedError:
        return True  # paused, cancelled or taken over: look again
    except ActRefusedError as refusal:
        return ending.fail(claim, str(refusal))
    except DatabaseError:
        raise  # the lease ends by itself, and the operation goes on when the database does
    except Exception as error:
        logger.exception("Bulk operation %s stopped by an error that nobody foresaw.", claim.operation_id)
        sentence = f"An unforeseen error stopped it ({type(error).__name__}). The worker's log has the details."
        return ending.fail(claim, sentence)


def _next(claim: Claim, operation: BulkOperation) -> bool:
    is_reprocess = operation.kind == OperationKind.REPROCESS
    if is_reprocess and BulkItem.objects.filter(operation=operation, outcome=ItemOutcome.SENT).exists():
        return waves.come_back(claim, operation)
    if operation.ends_as:
        return ending.drain(claim, operation.ends_as)
    if operation.status not in WORKING:
        return False
    if not operation.is_frozen:
        return members.freeze(claim)
    if is_reprocess:
        return waves.send(claim)
    if operation.kind == OperationKind.CHECK:
        return checking.check(claim)
    return acting.act(claim)


def work(operation_id: int) -> None:
    """Answer one doorbell. What is left goes to the end of the queue, so that short runs get their turn."""
    if advance(operation_id):
        doorbell.ring(operation_id)


def advance_due() -> int:
    """Wake a worker for each operation that has something to do and that nobody holds. Returns how many were rung for.

    One query when no operation is active.
    """
    if not BulkOperation.objects.filter(status__in=OPERATION_ACTIVE).exists():
        return 0
    due = list(ownership.due(database_now()).order_by("pk").values_list("pk", flat=True)[:_DUE_AT_ONCE])
    missing = max(0, len(due) - doorbell.waiting_messages()) if due else 0
    for operation_id in due[:missing]:
        doorbell.ring(operation_id)
    return missing


def advance_here() -> bool:
    """Do in this process what can be done now, for every operation. True: something was done, and runs may wait for it."""
    due = list(ownership.due(database_now()).order_by("pk").values_list("pk", flat=True)[:_DUE_AT_ONCE])
    for operation_id in due:
        while advance(operation_id):
            pass
    return bool(due)


def on_run_finished(run_id: int) -> None:
    """A run ended: if it was a wave, its operation has something to do."""
    options = Run.objects.filter(pk=run_id).values_list("options", flat=True).first()
    operation_id = (options or {}).get("operation")
    if operation_id is not None:
        doorbell.ring(operation_id)
