"""One slice of applying error rules: entries with their groups, counters, the ledger's hold and their histories, together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from dlq.choices import Door, EntryStatus, EventKind, GroupEventKind
from dlq.models import DLQEntry, DLQEvent, GroupEvent, Reclassification
from dlq.services import group_counters, regrouping
from dlq.services.group_counters import Shifts
from dlq.services.grouping import Grouping, Place
from dlq.services.regrouping import Arrivals, Entry
from dlq.services.ruled_entries import SAID, Chains, Kind, Reach, Said, decide
from syncs.engine.ports import chunked
from syncs.models import DeliveredRow, ErrorRule

SIZE = 1_000  # entries a transaction
_CHUNK = 500  # ids a statement: stays below SQLite's limit on parameters
_MARGIN = timedelta(seconds=60)  # a commit of a run that had read the old rules may come so much later
_EVENTS_MAX = 500
_ENTRY = ("pk", "group_id", "updated_at", "first_failed_at", "last_failed_at", "first_run_id", "run_id")
_WIDTH = len(_ENTRY)


class Row(NamedTuple):
    entry: Entry
    sync_id: int
    row_key: str
    said: Said


class Change(NamedTuple):
    row: Row
    after: Kind
    place: Place


@dataclass(slots=True)
class Done:
    """``changes``: (before, after) -> entries. ``moves``: (old group, new group) -> entries."""

    changes: Counter[tuple[Kind, Kind]] = field(default_factory=Counter)
    moves: Counter[tuple[int, int]] = field(default_factory=Counter)

    def columns(self, job: Reclassification) -> dict[str, Any]:
        if not self.changes:
            return {}
        changes, moved = Counter(job.changes), Counter(job.moves)
        for (before, after), count in self.changes.items():
            changes[change_key(before, after)] += count
        for (old, new), count in self.moves.items():
            moved[f"{old}:{new}"] += count
        total = job.changed_count + self.changes.total()
        return {"changes": dict(changes), "moves": dict(moved), "changed_count": total}


def change_key(before: Kind, after: Kind) -> str:
    """The rule that decides now, and what it changed: as a key in JSON."""
    return "|".join(str(part) for part in (after.rule or 0, *before[1:], *after[1:]))


def rows(job: Reclassification, reach: Reach) -> list[Row]:
    """The next open entries by id; at the second look those that failed since shortly before it was asked for."""
    chosen = reach.entries().filter(status=EntryStatus.OPEN, pk__gt=job.position)
    if job.is_second_look:
        chosen = chosen.filter(last_failed_at__gte=job.requested_at - _MARGIN)
    found = chosen.order_by("pk").values_list(*_ENTRY, "sync_id", "row_key", *SAID)[:SIZE]
    return [Row(Entry(*row[:_WIDTH]), row[_WIDTH], row[_WIDTH + 1], Said.of(row[_WIDTH + 2 :])) for row in found]


def apply(job: Reclassification, rows: Sequence[Row], reach: Reach, chains: Chains) -> Done:
    """Change what the rules say otherwise. Who changed meanwhile is left: a run placed it, or the second look finds it."""
    wanted = []
    for row in rows:
        after = decide(row.said, chains[reach.syncs[row.sync_id][0]])
        if after != row.said.now:
            wanted.append((row, after))
    done = Done()
    wanted = _held_first(wanted, waits=job.is_second_look)
    if not wanted:
        return done
    changes = _placed(wanted)
    group_counters.lock({one.place.group_id for one in changes} | {one.row.entry.group_id for one in changes})
    same = regrouping.unchanged([one.row.entry for one in changes], statuses=(EntryStatus.OPEN,))
    changes = [one for one in changes if one.row.entry.pk in same]
    now = timezone.now()
    _move(changes, done, now, by_id=job.requested_by_id)
    _hold(changes)
    _write_events(job, changes, now)
    return done


def _held_first(wanted: Sequence[tuple[Row, Kind]], *, waits: bool) -> list[tuple[Row, Kind]]:
    """Lock the ledger's rows whose hold will change before the groups, as runs do. Without ``waits``, what a run is writing
    at this moment is left out: the second look finds it."""
    keys: defaultdict[int, list[str]] = defaultdict(list)
    for row, after in wanted:
        if row.said.is_permanent != after.is_permanent:
            keys[row.sync_id].append(row.row_key)
    busy: set[tuple[int, str]] = set()
    for sync_id, mine in sorted(keys.items()):
        for chunk in chunked(sorted(mine), _CHUNK):
            held = DeliveredRow.objects.filter(sync_id=sync_id, row_key__in=chunk).order_by("row_key")
            there = set(held.values_list("row_key", flat=True))
            busy |= {(sync_id, key) for key in there.difference(_locked(held, waits=waits))}
    return [(row, after) for row, after in wanted if (row.sync_id, row.row_key) not in busy]


def _locked(held: QuerySet[DeliveredRow], *, waits: bool) -> list[str]:
    return list(held.select_for_update(skip_locked=not waits).values_list("row_key", flat=True))


def _placed(wanted: Iterable[tuple[Row, Kind]]) -> list[Change]:
    """The group of the failure under its new type."""
    by_sync: defaultdict[int, list[tuple[Row, Kind]]] = defaultdict(list)
    for row, after in wanted:
        by_sync[row.sync_id].append((row, after))
    found = []
    for sync_id, mine in sorted(by_sync.items()):
        failures = {row.entry.pk: row.said.failure._replace(error_type=after.type) for row, after in mine}
        places = Grouping(sync_id).place(failures, now=min(row.entry.last_failed_at for row, _after in mine))
        found += [Change(row, after, places[row.entry.pk]) for row, after in mine]
    return found


def _move(changes: Sequence[Change], done: Done, now: datetime, *, by_id: int | None) -> None:
    shifts, arrivals = Shifts(), Arrivals()
    alike: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row, after, place in changes:
        entry, before = row.entry, row.said.now
        alike[(entry.group_id, *place, after, _kept(row.said, after))].append(entry.pk)
        done.changes[before, after] += 1
        if entry.group_id != place.group_id:
            shifts.regroup(place.group_id, was_in=entry.group_id, failed_at=entry.last_failed_at)
            arrivals.add(place.group_id, entry)
            done.moves[entry.group_id, place.group_id] += 1
    for (was_in, group_id, print_, after, (said_type, said_permanent)), ids in alike.items():
        for start in range(0, len(ids), _CHUNK):
            moved = DLQEntry.objects.filter(
                pk__in=ids[start : start + _CHUNK], group_id=was_in, status=EntryStatus.OPEN
            ).update(
                group_id=group_id,
                fingerprint=print_,
                error_type=after.type,
                is_permanent=after.is_permanent,
                error_rule_id=after.rule,
                said_type=said_type,
                said_permanent=said_permanent,
                updated_at=now,
            )
            if moved != len(ids[start : start + _CHUNK]):
                raise AssertionError("Locked dead letters changed under the lock.")
    shifts.apply()
    arrivals.apply(now, by_id=by_id, reason="Open dead letters came into it, because error rules gave them another type.")


def _kept(said: Said, after: Kind) -> tuple[str, bool | None]:
    """What the destination's own module had made of it, beside what a rule says; nothing where none does."""
    return ("", None) if after.rule is None else (said.unruled.type, said.unruled.is_permanent)


def _hold(changes: Sequence[Change]) -> None:
    """The ledger's hold on the content that waits follows: a transient failure is tried by the next run, a permanent one is
    not."""
    ids: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)
    for row, after, _place in changes:
        if row.said.is_permanent != after.is_permanent:
            ids[row.sync_id, after.is_permanent].append(row.entry.pk)
    for (sync_id, is_permanent), mine in sorted(ids.items()):
        for start in range(0, len(mine), _CHUNK):
            entries = DLQEntry.objects.filter(pk__in=mine[start : start + _CHUNK])
            same = entries.filter(row_key=OuterRef("row_key"), content_hash=OuterRef("held_hash"))
            held = DeliveredRow.objects.filter(Exists(same), sync_id=sync_id, row_key__in=entries.values("row_key"))
            held.update(is_hold_permanent=is_permanent)


def _write_events(job: Reclassification, changes: Sequence[Change], now: datetime) -> None:
    names = dict(
        ErrorRule.objects.filter(pk__in={one.after.rule for one in changes if one.after.rule}).values_list("pk", "name")
    )
    events = []
    for row, after, place in changes:
        before = row.said.now
        detail = {
            "rule": after.rule,
            "rule_name": names.get(after.rule or 0, ""),
            "before": [before.type, before.is_permanent],
            "after": [after.type, after.is_permanent],
            "group": place.group_id,
        }
        events.append(
            DLQEvent(
                entry_id=row.entry.pk,
                kind=EventKind.RECLASSIFIED,
                at=now,
                actor_id=job.requested_by_id,
                door=job.door,
                reason=job.reason,
                detail=detail,
            )
        )
    DLQEvent.objects.bulk_create(events, batch_size=_CHUNK // 10)


def tell_groups(job: Reclassification) -> None:
    """In the history of each group how many came from where, and went where: one event for a pair of groups, however many
    slices it took."""
    sums: Mapping[str, int] = job.moves
    pairs = Counter({tuple(map(int, key.split(":"))): count for key, count in sums.items()}).most_common(_EVENTS_MAX)
    GroupEvent.objects.bulk_create(
        [
            GroupEvent(
                group_id=group_id,
                kind=GroupEventKind.RETYPED,
                actor_id=job.requested_by_id,
                door=Door(job.door),
                reason=job.reason or "Error rules were applied to open dead letters.",
                detail={"other": other, "count": count, "is_arrival": is_arrival},
            )
            for (old, new), count in pairs
            for group_id, other, is_arrival in ((new, old, True), (old, new, False))
        ],
        batch_size=50,
    )
