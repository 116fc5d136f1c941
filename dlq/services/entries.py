"""The acts on dead letters. Each works on any number of entries in a few statements, and writes who, when, why, from where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import Count, Exists

from dlq.choices import LIVE, Door, EntryStatus, EventKind, ReprocessMode
from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.services import moves
from dlq.services.moves import Act, ActRefusedError
from syncs.choices import Trigger
from syncs.errors import ErrorType, RedriveError
from syncs.models import Run, Sync
from syncs.services import runs

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["ActRefusedError", "ActResult", "LeftOut", "assign", "discard", "note", "reopen", "reprocess"]

NO_KEY = (
    "have no usable row key, so no row can be read by it: make the key unique and non-empty in the warehouse, "
    "and the next run delivers the rows and closes these entries"
)
BUSY = "are being reprocessed already"
CLOSED = "are closed already"
CHANGED = "were changed by somebody else in the meantime"
RIVAL = "have a newer dead letter of the same row, which is the one to work on"
NOT_DISCARDED = "are not discarded"
_NOTE_MAX = 10_000


@dataclass(frozen=True, slots=True)
class LeftOut:
    count: int
    reason: str  # reads on after the number: "12 dead letters ..."

    def __str__(self) -> str:
        return f"{self.count:,} {self.reason}"


@dataclass(frozen=True, slots=True)
class ActResult:
    """``taken``: entries acted on. ``left_out``: the rest of the selection, with why. ``runs``: one per sync (reprocess)."""

    taken: int
    left_out: tuple[LeftOut, ...] = ()
    runs: tuple[Run, ...] = ()


def reprocess(
    entries: models.QuerySet[DLQEntry],
    *,
    by: User | None,
    reason: str = "",
    mode: ReprocessMode = ReprocessMode.CURRENT,
    door: Door,
) -> ActResult:
    """Queue the open ones of these entries and request one run per sync that sends them again.

    Raises ``ActRefusedError`` for a bad reason. A sync that takes no run is left out with its own sentence.
    """
    act = Act(by=by, door=door, reason=moves.checked_reason(reason, is_required=False), detail={"mode": mode.value})
    chosen = moves.on_own_columns(entries)
    tally = _tally(chosen)
    left_out = Counter[str]()
    wanted = Counter[int]()
    for sync_id, status, error_type, count in tally:
        obstacle = _why_not_reprocess(status, error_type)
        if obstacle:
            left_out[obstacle] += count
        else:
            wanted[sync_id] += count
    started: list[Run] = []
    taken = 0
    for sync in Sync.objects.filter(pk__in=wanted).select_related("source", "destination", "current_version").order_by("pk"):
        expected = wanted[sync.pk]
        try:
            run, count = _reprocess_sync(sync, chosen, expected=expected, mode=mode, act=act)
        except RedriveError as refusal:
            left_out[f"of {sync.name} cannot be reprocessed: {refusal}"] += expected
            continue
        if run is not None:
            started.append(run)
        taken += count
        left_out[CHANGED] += max(0, expected - count)
    return ActResult(taken, _reasons(left_out), tuple(started))


def _why_not_reprocess(status: str, error_type: str) -> str:
    if status in (EntryStatus.QUEUED, EntryStatus.INFLIGHT):
        return BUSY
    if status != EntryStatus.OPEN:
        return CLOSED
    return NO_KEY if error_type == ErrorType.INVALID_KEY else ""


def _reprocess_sync(
    sync: Sync, chosen: DLQEntryQuerySet, *, expected: int, mode: ReprocessMode, act: Act
) -> tuple[Run | None, int]:
    """One run and its entries, in one transaction: no worker sees the run before all its entries are queued."""

    def work(at: datetime) -> tuple[Run | None, int]:
        run = runs.request(
            sync=sync,
            trigger=Trigger.REPROCESS,
            by=act.by,
            options={"selection": "entries", "mode": mode.value},
            detail=act.reason,
            is_short=expected <= settings.RETL["SHORT_RUN_ROWS"],
        )
        mine = chosen.filter(sync_id=sync.pk).reprocessable()
        taken = sum(
            mine.within(ids).update(status=EntryStatus.QUEUED, reprocess_run=run, reprocess_mode=mode.value, updated_at=at)
            for ids in mine.id_ranges(moves.CHUNK)
        )
        if not taken:
            transaction.set_rollback(True)  # nothing left to do: no run either
            return None, 0
        queued = DLQEntry.objects.filter(reprocess_run=run, status=EntryStatus.QUEUED)
        moves.check_events(moves.write_events(queued, kind=EventKind.QUEUED, act=act, at=at, run=run), taken)
        return run, taken

    return moves.in_transaction(work)


def discard(entries: models.QuerySet[DLQEntry], *, by: User | None, reason: str, door: Door) -> ActResult:
    """Close the open ones of these entries for good, with a reason. The same content is not sent again; a changed row is.

    Raises ``ActRefusedError`` without a reason.
    """
    act = Act(by=by, door=door, reason=moves.checked_reason(reason, is_required=True))
    chosen = moves.on_own_columns(entries)
    left_out = Counter[str]()
    expected = 0
    for _sync_id, status, _error_type, count in _tally(chosen):
        if status == EntryStatus.OPEN:
            expected += count
        else:
            left_out[BUSY if status in LIVE else CLOSED] += count
    changes = {"closed_by": by, "close_reason": act.reason}
    taken = sum(
        _close_or_reopen(chosen.open(), ids, to=EntryStatus.DISCARDED, act=act, changes=changes)
        for ids in chosen.open().id_ranges(moves.CHUNK)
    )
    left_out[CHANGED] += max(0, expected - taken)
    return ActResult(taken, _reasons(left_out))


def reopen(entries: models.QuerySet[DLQEntry], *, by: User | None, reason: str = "", door: Door) -> ActResult:
    """Undo a discard. Entries whose row has another live (or later discarded) dead letter are left out."""
    act = Act(by=by, door=door, reason=moves.checked_reason(reason, is_required=False))
    chosen = moves.on_own_columns(entries)
    discarded = chosen.filter(status=EntryStatus.DISCARDED)
    free = discarded.filter(~Exists(DLQEntry.objects.all().rivals()))
    left_out = Counter[str]()
    total, closed, expected = chosen.count(), discarded.count(), free.count()
    left_out[NOT_DISCARDED] += total - closed
    left_out[RIVAL] += closed - expected
    changes = {"closed_by": None, "close_reason": "", "closed_at": None}
    taken = 0
    for ids in free.id_ranges(moves.CHUNK):
        try:
            taken += _close_or_reopen(free, ids, to=EntryStatus.OPEN, act=act, changes=changes)
        except IntegrityError:
            raise ActRefusedError(
                "A run has just refused one of these rows again, so that it has a newer dead letter now. Reload and try again."
            ) from None
    left_out[CHANGED] += max(0, expected - taken)
    return ActResult(taken, _reasons(left_out))


def _close_or_reopen(selection: DLQEntryQuerySet, ids: range, *, to: EntryStatus, act: Act, changes: dict[str, Any]) -> int:
    """Move one slice: entries, events, group counters and the ledger's hold, all or nothing."""
    is_closing = to == EntryStatus.DISCARDED

    def work(at: datetime) -> int:
        part = selection.within(ids)
        moves.lock_groups(part)
        times = {"closed_at": at} if is_closing else {}
        taken = part.update(status=to, updated_at=at, **changes, **times)
        if taken:
            moved = moves.stamped(ids, at=at, status=to)
            kind = EventKind.DISCARDED if is_closing else EventKind.REOPENED
            moves.check_events(moves.write_events(moved, kind=kind, act=act, at=at), taken)
            moves.shift_open_counts(moved, sign=-1 if is_closing else 1)
            moves.hold_in_ledger(moved, is_permanent=is_closing)
        return taken

    return moves.in_transaction(work)


def assign(entries: models.QuerySet[DLQEntry], *, owner: User | None, by: User | None, door: Door) -> int:
    """Give the entries an owner, or none. Returns how many changed hands."""
    act = Act(by=by, door=door, detail={"owner": owner.get_username() if owner else ""})
    chosen = moves.on_own_columns(entries)
    others = chosen.exclude(owner=owner) if owner else chosen.filter(owner__isnull=False)

    def part(ids: range) -> int:
        def work(at: datetime) -> int:
            taken = others.within(ids).update(owner=owner, updated_at=at)
            moved = DLQEntry.objects.all().within(ids).filter(updated_at=at, owner=owner)
            moves.check_events(moves.write_events(moved, kind=EventKind.ASSIGNED, act=act, at=at), taken)
            return taken

        return moves.in_transaction(work)

    return sum(part(ids) for ids in others.id_ranges(moves.CHUNK))


def note(entry: DLQEntry, *, text: str, by: User | None, door: Door) -> None:
    """Replace the entry's note (empty takes it away); the history keeps each version. Raises ``ActRefusedError``."""
    text = text.strip().replace("\r\n", "\n")
    if len(text) > _NOTE_MAX or "\0" in text:
        raise ActRefusedError(f"A note is plain text of at most {_NOTE_MAX:,} characters, without NUL.", field="note")
    act = Act(by=by, door=door, detail={"note": text})

    def work(at: datetime) -> None:
        mine = DLQEntry.objects.filter(pk=entry.pk)
        moves.check_events(
            moves.write_events(mine, kind=EventKind.NOTED, act=act, at=at), mine.update(note=text, updated_at=at)
        )

    moves.in_transaction(work)


def _tally(entries: DLQEntryQuerySet) -> Iterable[tuple[int, str, str, int]]:
    """(sync, status, error type, count), in one query."""
    return (
        entries.order_by()
        .values("sync_id", "status", "error_type")
        .annotate(count=Count("pk"))
        .values_list("sync_id", "status", "error_type", "count")
    )


def _reasons(left_out: Counter[str]) -> tuple[LeftOut, ...]:
    return tuple(LeftOut(count, reason) for reason, count in left_out.most_common() if count > 0)
