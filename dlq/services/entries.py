"""The acts on dead letters. Each works on any number of entries in a few statements, and writes who, when, why, from where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import Count

from dlq.choices import DELETE_BY_KEY, LIVE, Door, EntryStatus, EventKind, ReprocessMode
from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.services import drift_guard, moves, slices
from dlq.services.drift_guard import DriftHeldError
from dlq.services.moves import Act, ActRefusedError
from syncs.choices import Trigger
from syncs.errors import ErrorType, RedriveError
from syncs.models import Run, Sync
from syncs.records import Operation
from syncs.services import connections, runs

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = [
    "ActRefusedError",
    "ActResult",
    "LeftOut",
    "assign",
    "delete_at_destination",
    "discard",
    "note",
    "reopen",
    "reprocess",
]

NO_KEY = (
    "have no usable row key, so no row can be read by it: make the key unique and non-empty in the warehouse, "
    "and the next run delivers the rows and closes these entries"
)
BUSY = "are being reprocessed already"
CLOSED = "are closed already"
CHANGED = "were changed by somebody else in the meantime"
RIVAL = "have a newer dead letter of the same row, which is the one to work on"
OVERTAKEN = slices.OVERTAKEN
NOT_DISCARDED = "are not discarded"
SUPPORTED_MODES = tuple(ReprocessMode)
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

    Raises ``ActRefusedError`` for a bad reason, ``DriftHeldError`` where nothing is sent because of the schema drift guard. A
    sync that takes no run is left out with its own sentence.
    """
    act = Act(by=by, door=door, reason=moves.checked_reason(reason, is_required=False), detail={"mode": mode.value})
    return _send_again(moves.on_own_columns(entries), mode, act)


def delete_at_destination(entries: models.QuerySet[DLQEntry], *, by: User | None, reason: str, door: Door) -> ActResult:
    """For rows that have left the warehouse: request runs that delete them at the destination by their keys. A row that is in
    the warehouse again by then is left alone. Raises ``ActRefusedError`` without a reason."""
    act = Act(by=by, door=door, reason=moves.checked_reason(reason, is_required=True), detail={"mode": DELETE_BY_KEY})
    return _send_again(moves.on_own_columns(entries), DELETE_BY_KEY, act)


def can_delete(sync: Sync) -> bool:
    """Whether the destination object has an operation to delete. Raises ``RedriveError`` for settings that cannot work."""
    keys = list(sync.mappings.filter(is_key=True).values_list("destination_field", flat=True))
    options = {"key_fields": keys, **(sync.destination_options or {})}
    with closing(
        connections.open_destination(sync.destination, object_name=sync.destination_object, options=options)
    ) as opened:
        return Operation.DELETE in opened.capabilities.operations


def _send_again(chosen: DLQEntryQuerySet, mode: str, act: Act) -> ActResult:
    tally = _tally(chosen)
    left_out = Counter[str]()
    wanted = Counter[int]()
    for sync_id, status, error_type, count in tally:
        obstacle = _why_not_reprocess(status, error_type)
        if obstacle:
            left_out[obstacle] += count
        else:
            wanted[sync_id] += count
    _leave_out_unsendable(chosen.reprocessable(), mode, wanted, left_out)
    started: list[Run] = []
    taken = 0
    held: DriftHeldError | None = None
    syncs = Sync.objects.filter(pk__in=[pk for pk, count in wanted.items() if count > 0])
    for sync in syncs.select_related("source", "destination", "current_version").order_by("pk"):
        expected = wanted[sync.pk]
        try:
            if mode == DELETE_BY_KEY and not can_delete(sync):
                raise ActRefusedError(f"{sync.destination_object} has no operation to delete; remove the record there by hand.")
            if mode != DELETE_BY_KEY:
                drift_guard.refuse(sync)
            run, count = _reprocess_sync(sync, chosen, expected=expected, mode=mode, act=act)
        except RedriveError as refusal:
            held = refusal if isinstance(refusal, DriftHeldError) else held
            left_out[f"of {sync.name} cannot be reprocessed: {refusal}"] += expected
            continue
        if run is not None:
            started.append(run)
        taken += count
        left_out[CHANGED] += max(0, expected - count)
    if held is not None and not taken:
        raise held  # it names the way out; nothing else was done that would have to be told
    return ActResult(taken, _reasons(left_out), tuple(started))


def _leave_out_unsendable(open_ones: DLQEntryQuerySet, mode: str, wanted: Counter[int], left_out: Counter[str]) -> None:
    """Move what the mode cannot send from ``wanted`` (by sync) to ``left_out`` (by sentence)."""
    rest = open_ones.order_by()
    for sentence, condition in slices.obstacles(mode):
        by_sync = rest.filter(condition).values("sync_id").annotate(count=Count("pk"))
        for sync_id, count in by_sync.values_list("sync_id", "count"):
            wanted[sync_id] -= count
            left_out[sentence] += count
        rest = rest.filter(~condition)


def _why_not_reprocess(status: str, error_type: str) -> str:
    if status in (EntryStatus.QUEUED, EntryStatus.INFLIGHT):
        return BUSY
    if status != EntryStatus.OPEN:
        return CLOSED
    return NO_KEY if error_type == ErrorType.INVALID_KEY else ""


def _reprocess_sync(sync: Sync, chosen: DLQEntryQuerySet, *, expected: int, mode: str, act: Act) -> tuple[Run | None, int]:
    """One run and its entries, in one transaction: no worker sees the run before all its entries are queued."""

    def work(at: datetime) -> tuple[Run | None, int]:
        run = runs.request(
            sync=sync,
            trigger=Trigger.REPROCESS,
            by=act.by,
            options={"selection": "entries", "mode": str(mode)},
            detail=act.reason,
            is_short=expected <= settings.RETL["SHORT_RUN_ROWS"],
        )
        mine = chosen.filter(sync_id=sync.pk).reprocessable()
        taken = sum(
            slices.queue(mine.within(ids), _among(ids), run=run, mode=mode, act=act, at=at)
            for ids in mine.id_ranges(moves.CHUNK)
        )
        if not taken:
            transaction.set_rollback(True)  # nothing left to do: no run either
            return None, 0
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
    taken = sum(_discard_slice(chosen.open(), ids, act) for ids in chosen.open().id_ranges(moves.CHUNK))
    left_out[CHANGED] += max(0, expected - taken)
    return ActResult(taken, _reasons(left_out))


def _discard_slice(chosen: DLQEntryQuerySet, ids: range, act: Act) -> int:
    return moves.in_transaction(lambda at: slices.discard(chosen.within(ids), _among(ids), act=act, at=at))


def _among(ids: range) -> DLQEntryQuerySet:
    return DLQEntry.objects.all().within(ids)


def reopen(entries: models.QuerySet[DLQEntry], *, by: User | None, reason: str = "", door: Door) -> ActResult:
    """Undo a discard. Entries whose row has another live (or later discarded) dead letter are left out."""
    act = Act(by=by, door=door, reason=moves.checked_reason(reason, is_required=False))
    chosen = moves.on_own_columns(entries)
    discarded = chosen.filter(status=EntryStatus.DISCARDED)
    left_out = Counter[str]()
    total = chosen.count()
    taken = 0
    for ids in discarded.id_ranges(slices.REOPEN_SIZE):
        try:
            moved = _reopen_slice(discarded, ids, act)
        except IntegrityError:
            raise ActRefusedError(
                "A run has just refused one of these rows again, so that it has a newer dead letter now. Reload and try again."
            ) from None
        taken += moved.taken
        left_out[RIVAL] += len(moved.rivalled)
        left_out[OVERTAKEN] += len(moved.overtaken)
    left_out[NOT_DISCARDED] += total - taken - left_out[RIVAL] - left_out[OVERTAKEN]
    return ActResult(taken, _reasons(left_out))


def _reopen_slice(discarded: DLQEntryQuerySet, ids: range, act: Act) -> slices.Reopened:
    return moves.in_transaction(lambda at: slices.reopen(discarded.within(ids), _among(ids), act=act, at=at))


def assign(entries: models.QuerySet[DLQEntry], *, owner: User | None, by: User | None, door: Door) -> int:
    """Give the entries an owner, or none. Returns how many changed hands."""
    act = Act(by=by, door=door, detail={"owner": owner.get_username() if owner else ""})
    chosen = moves.on_own_columns(entries)
    others = chosen.exclude(owner=owner) if owner else chosen.filter(owner__isnull=False)

    def part(ids: range) -> int:
        return moves.in_transaction(lambda at: slices.assign(others.within(ids), _among(ids), owner=owner, act=act, at=at))

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
