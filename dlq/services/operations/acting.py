"""Discard, reopen and assign: the next members in one transaction, each checked again as it is acted on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.contrib.auth.models import User
from django.db import IntegrityError, connection
from django.db.models import F, Q

from dlq.choices import Door, EntryStatus, ItemOutcome, OperationKind
from dlq.models import BulkOperation
from dlq.querysets import DLQEntryQuerySet
from dlq.services import moves, slices
from dlq.services.ids import AnyOf
from dlq.services.moves import Act, ActRefusedError
from dlq.services.operations import ending, members, outcomes, ownership
from dlq.services.operations.members import Part
from dlq.services.operations.ownership import Claim

SIZE = 5_000
_TRIES = 3


def act_of(operation: BulkOperation, **detail: object) -> Act:
    """Who and why, as each entry's history tells it."""
    return Act(
        by=operation.created_by,
        door=Door(operation.door),
        reason=operation.reason,
        detail={"operation": operation.pk, **detail},
    )


def act(claim: Claim) -> bool:
    """One slice. Returns that there is more to do."""

    def work(at: datetime) -> bool:
        operation = ownership.hold(claim)
        part = members.next_part(operation, _size(operation))
        if part is None:
            ending.finish(operation, at)
            return False
        done = _ACTS[OperationKind(operation.kind)](operation, part, at)
        BulkOperation.objects.filter(pk=operation.pk).update(
            position=part.through,
            done_count=F("done_count") + done,
            left_out_count=F("left_out_count") + part.count - done,
            progress_at=at,
        )
        return True

    for tries_left in reversed(range(_TRIES)):
        try:
            return moves.in_transaction(work)
        except IntegrityError:  # a run refused one of the rows anew at this moment: the next look sees its new entry
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def _size(operation: BulkOperation) -> int:
    """A slice that is reopened has its row keys in one statement, each a parameter."""
    is_limited = operation.kind == OperationKind.REOPEN and connection.features.max_query_params
    return slices.REOPEN_SIZE if is_limited else SIZE


def _untouched(operation: BulkOperation, part: Part) -> DLQEntryQuerySet:
    return part.among().filter(updated_at__lte=operation.as_of)


def _discard(operation: BulkOperation, part: Part, at: datetime) -> int:
    taken = slices.discard(_untouched(operation, part), part.among(), act=act_of(operation), at=at)
    _mark_done(part, part.among().filter(updated_at=at, status=EntryStatus.DISCARDED), taken)
    if taken < part.count:
        outcomes.leave_out_rest(part.pending(), wanted=EntryStatus.OPEN)
    return taken


def _reopen(operation: BulkOperation, part: Part, at: datetime) -> int:
    mine = _untouched(operation, part)
    if operation.of_operation is not None:  # somebody else may have reopened and discarded it anew
        mine = mine.filter(closed_at__lte=operation.of_operation.finished_at)
    moved = slices.reopen(mine, part.among(), act=act_of(operation), at=at)
    _mark_done(part, part.among().filter(updated_at=at, status=EntryStatus.OPEN), moved.taken)
    if moved.taken < part.count:
        outcomes.leave_out(part.pending(), moved.rivalled, outcomes.RIVAL)
        outcomes.leave_out(part.pending(), moved.overtaken, outcomes.OVERTAKEN)
        outcomes.leave_out_rest(part.pending(), wanted=EntryStatus.DISCARDED)
    return moved.taken


def _assign(operation: BulkOperation, part: Part, at: datetime) -> int:
    """Those that had this owner already count as done."""
    owner_id = operation.options["owner"]
    owner = User.objects.filter(pk=owner_id).first()
    if owner is None and owner_id is not None:
        raise ActRefusedError("The user who was to get the dead letters is not there any more.")
    act = act_of(operation, owner=owner.get_username() if owner else "")
    slices.assign(_untouched(operation, part), part.among(), owner=owner, act=act, at=at)
    given = part.among().filter(Q(updated_at=at) | Q(updated_at__lte=operation.as_of), owner=owner)
    ids = list(given.values_list("pk", flat=True))
    _mark_done(part, given, len(ids))
    if len(ids) < part.count:
        others = list(part.pending().values_list("entry_id", flat=True))
        outcomes.leave_out(part.pending(), others, outcomes.CHANGED)
    return len(ids)


def _mark_done(part: Part, moved: DLQEntryQuerySet, taken: int) -> None:
    items = part.pending()
    if taken < part.count:
        items = items.filter(AnyOf("entry_id", moved.values_list("pk", flat=True)))
    moves.check_events(items.update(outcome=ItemOutcome.DONE), taken)


_ACTS: dict[OperationKind, Callable[[BulkOperation, Part, datetime], int]] = {
    OperationKind.DISCARD: _discard,
    OperationKind.REOPEN: _reopen,
    OperationKind.ASSIGN: _assign,
}
