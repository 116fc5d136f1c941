"""Putting the live entries of a sync into the groups that its rules name now: in slices, from where it stood, by anybody.

The row lock of ``Regrouping`` lets one worker at a time do a slice; a slice and the position after it are one transaction.
Closed entries stay where they were closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from dlq.choices import LIVE, Door, GroupEventKind, GroupState
from dlq.models import DLQEntry, ErrorGroup, FingerprintRule, GroupEvent, Regrouping
from dlq.services import group_counters, moves, walks
from dlq.services.group_counters import Shifts
from dlq.services.grouping import Failure, Grouping

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SLICE = 1_000  # entries a transaction
AT_ONCE = 5_000  # live entries of a sync that are regrouped while the person waits
_MARGIN = timedelta(seconds=60)  # a commit of a run that had read the old rules may come so much later
_EVENTS_MAX = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """What a move between groups needs of an entry, as it was read."""

    pk: int
    group_id: int
    updated_at: datetime
    first_failed_at: datetime
    last_failed_at: datetime
    first_run_id: int
    run_id: int


_COLUMNS = ("pk", "group_id", "updated_at", "first_failed_at", "last_failed_at", "first_run_id", "run_id")
_OF_FAILURE = ("error_type", "error_code", "field", "message")


def request(sync_id: int, *, by: User | None, reason: str) -> None:
    """Begin, or begin again, in the caller's transaction. Work follows by ``start``, after the commit."""
    now = timezone.now()
    Regrouping.objects.get_or_create(sync_id=sync_id, defaults={"is_over": True})
    Regrouping.objects.filter(sync_id=sync_id).update(
        position=0,
        is_second_look=False,
        is_over=False,
        looked_count=0,
        moved_count=0,
        requested_by=by,
        reason=reason[:255],
        requested_at=now,
        touched_at=now,
        finished_at=None,
    )


def start(sync_id: int) -> bool:
    """Do it now where the sync has at most ``AT_ONCE`` live entries; else wake a worker. Returns whether it is done."""
    few = DLQEntry.objects.filter(sync_id=sync_id, status__in=LIVE).order_by()[: AT_ONCE + 1].count() <= AT_ONCE
    if few and not WALK.advance(sync_id, budget_seconds=walks.WORK_SECONDS):
        return True
    WALK.ring(sync_id)
    return False


def _slice(sync_id: int) -> bool:
    """Once more where it fell victim to a deadlock. Returns whether there may be more."""
    return moves.in_transaction(lambda _at: _do_slice(sync_id))


WALK = walks.Walk(Regrouping, "sync_id", "dlq.tasks.regroup", _slice)


def _do_slice(sync_id: int) -> bool:
    job = Regrouping.objects.select_for_update().filter(sync_id=sync_id, is_over=False).first()
    if job is None:
        return False
    rows = _rows(job)
    if rows:
        moved = _move(job, rows)
        _save(job, position=rows[-1][0].pk, looked_count=job.looked_count + len(rows), **_with(job, moved))
        return True
    if not job.is_second_look:
        _save(job, position=0, is_second_look=True)
        return True
    _write_events(job)
    _save(job, is_over=True, finished_at=timezone.now(), moves={})
    return False


def _save(job: Regrouping, **values: Any) -> None:
    Regrouping.objects.filter(pk=job.pk).update(touched_at=timezone.now(), **values)


def _with(job: Regrouping, moved: Mapping[tuple[int, int], int]) -> dict[str, Any]:
    if not moved:
        return {}
    sums = Counter({key: int(count) for key, count in job.moves.items()})
    for (old, new), count in moved.items():
        sums[f"{old}:{new}"] += count
    return {"moves": dict(sums), "moved_count": job.moved_count + sum(moved.values())}


def _rows(job: Regrouping) -> list[tuple[Entry, Failure]]:
    """The next live entries by id; at the second look those that failed since shortly before the rules changed."""
    live = DLQEntry.objects.filter(sync_id=job.sync_id, status__in=LIVE, pk__gt=job.position)
    if job.is_second_look:
        live = live.filter(last_failed_at__gte=job.requested_at - _MARGIN)
    chosen = live.order_by("pk").values_list(*_COLUMNS, *_OF_FAILURE)[:SLICE]
    width = len(_COLUMNS)
    return [(Entry(*row[:width]), Failure(*row[width:])) for row in chosen]


def _move(job: Regrouping, rows: Sequence[tuple[Entry, Failure]]) -> Counter[tuple[int, int]]:
    """Returns (old group, new group) -> entries moved. Who changed in the meantime was placed by the new rules already, or is
    found at the second look."""
    oldest = min(entry.last_failed_at for entry, _failure in rows)
    places = Grouping(job.sync_id).place({entry.pk: failure for entry, failure in rows}, now=oldest)
    wanted = {entry.pk: (entry, places[entry.pk].group_id) for entry, _failure in rows}
    wanted = {pk: (entry, new) for pk, (entry, new) in wanted.items() if entry.group_id != new}
    moved: Counter[tuple[int, int]] = Counter()
    if not wanted:
        return moved
    group_counters.lock({new for _entry, new in wanted.values()} | {entry.group_id for entry, _new in wanted.values()})
    same = unchanged([entry for entry, _new in wanted.values()])
    now, shifts, arrivals = timezone.now(), Shifts(), Arrivals()
    by_move: dict[tuple[int, int], list[int]] = {}
    for entry, new in wanted.values():
        if entry.pk in same:
            by_move.setdefault((entry.group_id, new), []).append(entry.pk)
            shifts.regroup(new, was_in=entry.group_id, failed_at=entry.last_failed_at)
            arrivals.add(new, entry)
    for (old, new), ids in sorted(by_move.items()):
        for start_at in range(0, len(ids), group_counters.CHUNK):
            chunk = ids[start_at : start_at + group_counters.CHUNK]
            moved[old, new] += DLQEntry.objects.filter(pk__in=chunk, group_id=old).update(group_id=new, updated_at=now)
    shifts.apply()
    arrivals.apply(now, by_id=job.requested_by_id, reason="Open dead letters came into it by a rule.")
    return moved


def unchanged(entries: Sequence[Entry], *, statuses: Collection[str] = LIVE) -> set[int]:
    """Lock these entries; ids of those that are as they were read, in one of these states."""
    known = {entry.pk: (entry.group_id, entry.updated_at) for entry in entries}
    found: set[int] = set()
    ids = sorted(known)
    for start_at in range(0, len(ids), group_counters.CHUNK):
        chunk = ids[start_at : start_at + group_counters.CHUNK]
        live = DLQEntry.objects.filter(pk__in=chunk, status__in=statuses).order_by("pk").select_for_update()
        found |= {pk for pk, group_id, at in live.values_list("pk", "group_id", "updated_at") if known[pk] == (group_id, at)}
    return found


class Arrivals:
    """What the groups that entries come into have seen now: from when to when, in which runs."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[datetime, datetime, int, int]] = {}

    def add(self, group_id: int, entry: Entry) -> None:
        mine = (entry.first_failed_at, entry.last_failed_at, entry.first_run_id, entry.run_id)
        first, last, first_run, last_run = self._of.get(group_id, mine)
        self._of[group_id] = (
            min(first, mine[0]), max(last, mine[1]), min(first_run, mine[2]), max(last_run, mine[3])
        )  # fmt: skip

    def apply(self, now: datetime, *, by_id: int | None, reason: str) -> None:
        """``by_id``, ``reason``: for the history of a resolved group, which is open again."""
        for group in ErrorGroup.objects.filter(pk__in=self._of).order_by("pk"):
            first, last, first_run, last_run = self._of[group.pk]
            ErrorGroup.objects.filter(pk=group.pk).update(
                first_seen_at=min(first, group.first_seen_at),
                last_seen_at=max(last, group.last_seen_at),
                first_run_id=min(first_run, group.first_run_id or first_run),
                last_run_id=max(last_run, group.last_run_id or last_run),
            )
            if group.state == GroupState.RESOLVED:
                self._reopen(group, now, by_id, reason)

    def _reopen(self, group: ErrorGroup, now: datetime, by_id: int | None, reason: str) -> None:
        mine = ErrorGroup.objects.filter(pk=group.pk, state=GroupState.RESOLVED)
        if mine.update(state=GroupState.OPEN, state_changed_at=now):
            GroupEvent.objects.create(
                group=group,
                kind=GroupEventKind.REOPENED,
                at=now,
                actor_id=by_id,
                door=Door.ADMIN,
                reason=reason,
            )


def _write_events(job: Regrouping) -> None:
    """In the history of each group how many came from where, and went where: one event for a pair of groups, however many
    slices it took."""
    pairs = Counter({tuple(map(int, key.split(":"))): int(count) for key, count in job.moves.items()}).most_common(_EVENTS_MAX)
    ids = {pk for pair, _count in pairs for pk in pair}
    made = set(ErrorGroup.objects.filter(pk__in=ids, rule__isnull=False).values_list("pk", flat=True))
    merging = FingerprintRule.objects.filter(sync_id=job.sync_id, is_active=True, target__isnull=False)
    targets = set(merging.values_list("target_id", flat=True))
    events = []
    for (old, new), count in pairs:
        is_merge = new not in made and (new in targets or old in made)
        kind = GroupEventKind.MERGED if is_merge else GroupEventKind.SPLIT
        for group_id, other, is_arrival in ((new, old, True), (old, new, False)):
            detail = {"other": other, "count": count, "is_arrival": is_arrival}
            events.append(
                GroupEvent(
                    group_id=group_id,
                    kind=kind,
                    actor_id=job.requested_by_id,
                    door=Door.ADMIN,
                    reason=job.reason,
                    detail=detail,
                )
            )
    GroupEvent.objects.bulk_create(events, batch_size=50)


def pending(sync_id: int) -> Regrouping | None:
    """The walk that is going on, if any."""
    return Regrouping.objects.filter(sync_id=sync_id, is_over=False).first()
