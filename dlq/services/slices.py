"""The acts on one slice of entries, inside a transaction: entries, events, group counters and the ledger's hold together.

``part`` is what to act on, conditions included; ``among`` is all that the slice may hold. Among these, the stamp ``at`` names
the entries that were moved. Small acts and bulk operations share these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from dlq.choices import DELETE_BY_KEY, LIVE, EntryStatus, EventKind, ReprocessMode, RowState
from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.services import edits, moves
from dlq.services.ids import AnyOf
from dlq.services.moves import Act
from syncs.models import Run

if TYPE_CHECKING:
    from django.contrib.auth.models import User

REOPEN_SIZE = 900  # row keys a statement: below SQLite's limit on parameters


NO_PAYLOAD = "were refused before anything was sent, so there is no payload to send again"
NOT_GONE = "are not known to have left the warehouse: check their rows first"
NO_EDIT = "have no correction that was made for their last failure"
OVERTAKEN = "were overtaken: a newer version of the row has been delivered since"


def obstacles(mode: str) -> list[tuple[str, Any]]:
    """Why an open entry cannot be sent in this mode: (what follows the number of entries, condition); the first one counts."""
    if mode == ReprocessMode.CURRENT:
        return []
    if mode == DELETE_BY_KEY:
        return [(NOT_GONE, ~Q(row_state=RowState.GONE))]
    found: list[tuple[str, Any]] = [(OVERTAKEN, moves.is_overtaken())]
    if mode == ReprocessMode.PAYLOAD:
        found.append((NO_PAYLOAD, Q(payload="")))
    if mode == ReprocessMode.EDITED:
        found.append((NO_EDIT, ~edits.has_ready()))
    return found


def sendable(part: DLQEntryQuerySet, mode: str) -> DLQEntryQuerySet:
    """Those that nothing keeps from being sent in this mode."""
    for _, condition in obstacles(mode):
        part = part.filter(~condition)
    return part


def queue(part: DLQEntryQuerySet, among: DLQEntryQuerySet, *, run: Run, mode: str, act: Act, at: datetime) -> int:
    """Let those of these entries wait for a reprocess run that can be sent in this mode. Returns how many do."""
    mine = sendable(part, mode)
    taken = mine.update(status=EntryStatus.QUEUED, reprocess_run=run, reprocess_mode=str(mode), updated_at=at)
    if taken:
        moved = among.filter(updated_at=at, status=EntryStatus.QUEUED, reprocess_run=run)
        moves.check_events(moves.write_events(moved, kind=EventKind.QUEUED, act=act, at=at, run=run), taken)
        if mode == ReprocessMode.EDITED:
            edits.use(run, moved)
    return taken


def discard(part: DLQEntryQuerySet, among: DLQEntryQuerySet, *, act: Act, at: datetime) -> int:
    """Close the open ones for good. Returns how many were."""
    mine = part.open()
    moves.lock_groups(mine)
    taken = mine.update(status=EntryStatus.DISCARDED, closed_at=at, closed_by=act.by, close_reason=act.reason, updated_at=at)
    _book(among, EntryStatus.DISCARDED, EventKind.DISCARDED, taken=taken, act=act, at=at)
    return taken


@dataclass(frozen=True, slots=True)
class Reopened:
    """``rivalled``: entries whose row has another live, or later discarded, one. ``overtaken``: newer data was delivered."""

    taken: int
    rivalled: Sequence[int] = ()
    overtaken: Sequence[int] = ()


def reopen(part: DLQEntryQuerySet, among: DLQEntryQuerySet, *, act: Act, at: datetime) -> Reopened:
    """Undo the discard of at most ``REOPEN_SIZE`` entries (in PostgreSQL any number). Raises ``IntegrityError`` when a run
    refuses one of the rows anew at the same moment."""
    mine = part.filter(status=EntryStatus.DISCARDED)
    moves.lock_groups(mine)
    rows = list(mine.values_list("pk", "sync_id", "row_key"))
    newest: dict[tuple[int, str], int] = {}
    blocked: set[tuple[int, str]] = set()
    rivals = DLQEntry.objects.of_rows([key for _pk, _sync, key in rows])
    for pk, sync_id, key, status in rivals.values_list("pk", "sync_id", "row_key", "status"):
        if status in LIVE:
            blocked.add((sync_id, key))
        newest[sync_id, key] = max(pk, newest.get((sync_id, key), 0))
    free = [pk for pk, sync_id, key in rows if (sync_id, key) not in blocked and newest.get((sync_id, key)) == pk]
    overtaken = set(DLQEntry.objects.filter(AnyOf("pk", free)).filter(moves.is_overtaken()).values_list("pk", flat=True))
    taken = mine.filter(AnyOf("pk", [pk for pk in free if pk not in overtaken])).update(
        status=EntryStatus.OPEN, closed_at=None, closed_by=None, close_reason="", updated_at=at
    )
    _book(among, EntryStatus.OPEN, EventKind.REOPENED, taken=taken, act=act, at=at)
    kept = set(free)
    return Reopened(taken, [pk for pk, _sync, _key in rows if pk not in kept], sorted(overtaken))


def assign(part: DLQEntryQuerySet, among: DLQEntryQuerySet, *, owner: User | None, act: Act, at: datetime) -> int:
    """Give those an owner, or none, that have another. Returns how many changed hands."""
    others = part.exclude(owner=owner) if owner else part.filter(owner__isnull=False)
    taken = others.update(owner=owner, updated_at=at)
    if taken:
        moved = among.filter(updated_at=at, owner=owner)
        moves.check_events(moves.write_events(moved, kind=EventKind.ASSIGNED, act=act, at=at), taken)
    return taken


def _book(among: DLQEntryQuerySet, status: EntryStatus, kind: EventKind, *, taken: int, act: Act, at: datetime) -> None:
    """What goes with entries that were closed or reopened in this transaction."""
    if not taken:
        return
    is_closing = status == EntryStatus.DISCARDED
    moved = among.filter(updated_at=at, status=status)
    moves.check_events(moves.write_events(moved, kind=kind, act=act, at=at), taken)
    found = moves.shares(moved)
    moves.add_to_open_counts(found, sign=-1 if is_closing else 1)
    moves.hold_in_ledger(moved, found, is_permanent=is_closing)
