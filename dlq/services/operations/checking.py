"""Check: read the warehouse rows of the members again and note which changed.

A look changes nothing about an entry, so it leaves ``updated_at`` alone and writes no event for each: who looked when stands in
the operation, what was found on the entry.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from django.db.models import F, QuerySet

from dlq.choices import ItemOutcome, RowState
from dlq.models import BulkItem, BulkOperation, DLQEntry
from dlq.services import moves
from dlq.services.operations import ending, members, outcomes, ownership
from dlq.services.operations.members import Part
from dlq.services.operations.ownership import Claim
from dlq.services.rowcheck import compare_rows
from syncs.errors import RedriveError
from syncs.models import Sync
from syncs.services.leases import lease_seconds

SIZE = 500  # rows read at a time; also ids a statement, below SQLite's limit on parameters
_SLOW = 10  # leases that one reading of the warehouse may take


def check(claim: Claim) -> bool:
    """The next members. Returns that there is more to do."""
    operation = ownership.look(claim)
    part = members.next_part(operation, SIZE) if operation is not None else None
    if part is None:
        moves.in_transaction(lambda at: ending.finish(ownership.hold(claim), at))
        return False
    ownership.renew(claim, seconds=_SLOW * lease_seconds())
    states, problems = _look(part)
    moves.in_transaction(lambda at: _note(claim, part, states, problems, at))
    return True


def _look(part: Part) -> tuple[dict[int, RowState], dict[int, str]]:
    """(entry id -> state, sync id -> why its rows could not be read)."""
    by_sync: dict[int, list[DLQEntry]] = defaultdict(list)
    for entry in part.among().only("pk", "sync_id", "row_key", "error_type", "source_row"):
        by_sync[entry.sync_id].append(entry)
    states: dict[int, RowState] = {}
    problems: dict[int, str] = {}
    for sync in Sync.objects.filter(pk__in=by_sync).select_related("source"):
        try:
            states |= compare_rows(sync, by_sync[sync.pk])
        except RedriveError as problem:
            problems[sync.pk] = f"The warehouse could not be read: {problem}"
    return states, problems


def _note(claim: Claim, part: Part, states: dict[int, RowState], problems: dict[int, str], at: datetime) -> None:
    operation = ownership.hold(claim)
    entries = part.among().filter(updated_at__lte=operation.as_of)
    pending = part.items().filter(outcome=ItemOutcome.PENDING)
    done = 0
    for state in _NOTES:
        ids = [pk for pk, found in states.items() if found is state]
        if ids:
            entries.filter(pk__in=ids).update(row_state=state, row_checked_at=at)
            seen = DLQEntry.objects.filter(pk__in=ids, row_checked_at=at)
            done += pending.filter(entry_id__in=seen.values("pk")).update(outcome=ItemOutcome.DONE, note=_NOTES[state])
    _leave_out_rest(pending, states, problems)
    BulkOperation.objects.filter(pk=operation.pk).update(
        position=part.through,
        done_count=F("done_count") + done,
        left_out_count=F("left_out_count") + part.count - done,
        progress_at=at,
    )


def _leave_out_rest(pending: QuerySet[BulkItem], states: dict[int, RowState], problems: dict[int, str]) -> None:
    for sync_id, problem in problems.items():
        outcomes.leave_out(pending.filter(entry__sync_id=sync_id), problem)
    outcomes.leave_out(pending.filter(entry_id__in=list(states)), outcomes.CHANGED)
    outcomes.leave_out(pending, outcomes.NO_KEY)


_NOTES = {
    RowState.SAME: "The row is the same as when it failed.",
    RowState.CHANGED: "The row has changed since it failed.",
    RowState.GONE: "The warehouse has no such row any more.",
}
