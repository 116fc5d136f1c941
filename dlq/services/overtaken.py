"""Stored content that newer data has overtaken is not sent: its entry closes. And deletes whose row is there again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from dlq.choices import LIVE, Door, EditState, EntryStatus, EventKind
from dlq.models import DLQEntry, PayloadEdit
from dlq.querysets import DLQEntryQuerySet
from dlq.services import group_counters, moves
from dlq.services.moves import Act
from syncs.models import Run

SUPERSEDED = "A newer version of the row was delivered before this one was sent."
BACK = "The warehouse has the row again, so it was not deleted at the destination."


def supersede(ids: Sequence[int], *, run: Run) -> Collection[int]:
    """Close those of these live entries whose row the destination has accepted since they failed. Returns their ids."""

    def work(at: datetime) -> Collection[int]:
        found = DLQEntry.objects.filter(pk__in=ids, status__in=LIVE).filter(moves.is_overtaken())
        chosen = frozenset(found.values_list("pk", flat=True))
        if not chosen:
            return chosen
        mine = DLQEntry.objects.filter(pk__in=chosen)
        moves.lock_groups(mine)
        taken = mine.filter(status__in=LIVE).update(
            status=EntryStatus.SUPERSEDED, closed_at=at, close_reason=SUPERSEDED, updated_at=at
        )
        moved = mine.filter(status=EntryStatus.SUPERSEDED, updated_at=at)
        act = Act(by=None, door=Door.RUN, reason=SUPERSEDED)
        moves.check_events(moves.write_events(moved, kind=EventKind.SUPERSEDED, act=act, at=at, run=run), taken)
        moves.shift_open_counts(moved, sign=-1)
        groups = set(moved.order_by().values_list("group_id", flat=True))
        group_counters.note_deliveries(groups, run_id=run.pk, at=at, reason=f"{SUPERSEDED} It was the last open one.")
        PayloadEdit.objects.filter(entry__in=moved.values("pk"), used_run=run).update(state=EditState.DROPPED, used_run=None)
        return chosen

    return moves.in_transaction(work)


def give_back(waiting: DLQEntryQuerySet, *, run: Run) -> int:
    """Open these entries again because the run must not do what it was to do. Returns how many."""

    def work(at: datetime) -> int:
        mine = DLQEntry.objects.filter(pk__in=list(waiting.values_list("pk", flat=True)), reprocess_run=run, status__in=LIVE)
        moves.write_events(mine, kind=EventKind.REOPENED, act=Act(by=None, door=Door.RUN, reason=BACK), at=at, run=run)
        return mine.update(
            status=EntryStatus.OPEN, reprocess_run=None, reprocess_mode="", row_state="", row_checked_at=None, updated_at=at
        )

    return moves.in_transaction(work)
