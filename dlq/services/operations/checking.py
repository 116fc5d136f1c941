"""Check: read the warehouse rows of the members again and note which changed.

A look changes nothing about an entry, so it leaves ``updated_at`` alone and writes no event for each: who looked when stands in
the operation, what was found on the entry.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from django.db.models import F

from dlq.choices import ItemOutcome, RowState
from dlq.models import BulkOperation, DLQEntry
from dlq.services import moves
from dlq.services.ids import AnyOf
from dlq.services.operations import ending, members, outcomes, ownership
from dlq.services.operations.members import Part
from dlq.services.operations.ownership import Claim
from dlq.services.rowcheck import compare_rows
from syncs.errors import RedriveError
from syncs.models import Sync
from syncs.services.leases import lease_seconds

SIZE = 500  # rows read at a time
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
    untouched = DLQEntry.objects.filter(updated_at__lte=operation.as_of)
    done = 0
    for state, note in _NOTES.items():
        ids = [pk for pk, found in states.items() if found is state]
        if ids:
            untouched.filter(AnyOf("pk", ids)).update(row_state=state, row_checked_at=at)
            seen = DLQEntry.objects.filter(AnyOf("pk", ids), row_checked_at=at).values_list("pk", flat=True)
            done += part.pending().filter(AnyOf("entry_id", seen)).update(outcome=ItemOutcome.DONE, note=note)
    if done < part.count:
        _leave_out_rest(part, states, problems)
    BulkOperation.objects.filter(pk=operation.pk).update(
        position=part.through,
        done_count=F("done_count") + done,
        left_out_count=F("left_out_count") + part.count - done,
        progress_at=at,
    )


def _leave_out_rest(part: Part, states: dict[int, RowState], problems: dict[int, str]) -> None:
    for sync_id, problem in problems.items():
        ids = list(part.among().filter(sync_id=sync_id).values_list("pk", flat=True))
        outcomes.leave_out(part.pending(), ids, problem)
    outcomes.leave_out(part.pending(), states, outcomes.CHANGED)
    outcomes.leave_out(part.pending(), part.entry_ids, outcomes.NO_KEY)


_NOTES = {
    RowState.SAME: "The row is the same as when it failed.",
    RowState.CHANGED: "The row has changed since it failed.",
    RowState.GONE: outcomes.GONE,
}
