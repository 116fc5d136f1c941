"""The counters and states of error groups that follow their entries, in the transaction of whoever moves those.

Who moves entries locks the groups first (``lock``), in order, then the entries, then applies ``Shifts``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Case, F, QuerySet, Value, When

from dlq.choices import Door, GroupEventKind, GroupState
from dlq.models import ErrorGroup, GroupDay, GroupEvent, GroupHour

CHUNK = 500  # keys a statement: stays below SQLite's limit on parameters
T = TypeVar("T")
Period = TypeVar("Period", date, datetime)
_TABLES = (GroupHour, "hour", "timestamptz"), (GroupDay, "day", "date")


def lock(ids: Collection[int]) -> None:
    """In order, before the entries: two writers then queue instead of deadlocking."""
    for chunk in _chunks(sorted(ids), CHUNK):
        list(ErrorGroup.objects.filter(pk__in=chunk).order_by("pk").select_for_update().values_list("pk", flat=True))


@dataclass(slots=True)
class Shifts:
    """How the counters of groups change: collect while entries move, then ``apply`` once, in the same transaction."""

    open: Counter[int] = field(default_factory=Counter)
    total: Counter[int] = field(default_factory=Counter)
    hours: Counter[tuple[int, datetime]] = field(default_factory=Counter)  # (group, whole hour) -> failures
    failed: set[int] = field(default_factory=set)

    def fail(self, group_id: int, at: datetime) -> None:
        """A row of this group was refused, for the first time or again."""
        self.hours[group_id, whole_hour(at)] += 1
        self.failed.add(group_id)

    def enter(self, group_id: int, *, was_in: int | None) -> None:
        """A live entry is in this group now. ``was_in``: where it was live before, which counts it as well; None: it is new."""
        if was_in == group_id:
            return
        self.open[group_id] += 1
        self.total[group_id] += 1
        if was_in is not None:
            self.open[was_in] -= 1

    def regroup(self, group_id: int, *, was_in: int, failed_at: datetime) -> None:
        """The same failure is looked at in another way: the entry and its last failure leave the old group without a trace."""
        self.enter(group_id, was_in=was_in)
        self.total[was_in] -= 1
        self.hours[was_in, whole_hour(failed_at)] -= 1
        self.hours[group_id, whole_hour(failed_at)] += 1

    def apply(self) -> None:
        """Groups that shift alike go by one statement."""
        alike: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for group_id in {*self.open, *self.total}:
            alike[self.open[group_id], self.total[group_id]].append(group_id)
        for (of_open, of_total), ids in alike.items():
            if of_open or of_total:
                for chunk in _chunks(sorted(ids), CHUNK):
                    ErrorGroup.objects.filter(pk__in=chunk).update(
                        open_count=F("open_count") + of_open, total_count=F("total_count") + of_total
                    )
        _shift(self.hours, *_TABLES[0])
        _shift(days_of(self.hours), *_TABLES[1])


def whole_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def days_of(hours: Mapping[tuple[int, datetime], int]) -> Counter[tuple[int, date]]:
    """The same failures by day (UTC)."""
    days: Counter[tuple[int, date]] = Counter()
    for (group_id, hour), count in hours.items():
        days[group_id, hour.astimezone(UTC).date()] += count
    return days


def _shift(lines: Mapping[tuple[int, Period], int], model: type[GroupHour] | type[GroupDay], column: str, cast: str) -> None:
    _raise({key: count for key, count in lines.items() if count > 0}, model, column, cast)
    for (group_id, period), count in sorted(lines.items()):
        if count < 0:
            _lower(model._default_manager.filter(group_id=group_id, **{column: period}), -count)


def _raise(lines: Mapping[tuple[int, Period], int], model: type[GroupHour] | type[GroupDay], column: str, cast: str) -> None:
    """One upsert for many lines, in the order of the groups."""
    field: Any = model._meta.get_field(column)
    table = model._meta.db_table
    place = f"(%s, CAST(%s AS {cast}), %s)" if connection.vendor == "postgresql" else "(%s, %s, %s)"
    for chunk in _chunks(sorted(lines.items()), CHUNK // 2):
        values: list[Any] = []
        for (group_id, period), count in chunk:
            values += [group_id, field.get_db_prep_save(period, connection), count]
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} (group_id, {column}, failed_count) VALUES {', '.join([place] * len(chunk))} "  # noqa: S608
                f"ON CONFLICT (group_id, {column}) DO UPDATE SET failed_count = {table}.failed_count + EXCLUDED.failed_count",
                values,
            )


def _chunks(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _lower(line: QuerySet[Any], count: int) -> None:
    """Not below zero: what failed before hours and days were counted is in no line."""
    left = Case(When(failed_count__gt=count, then=F("failed_count") - count), default=Value(0))
    line.update(failed_count=left)


def note_failures(failed: Iterable[int], *, run_id: int, at: datetime) -> None:
    """These groups, locked, had a row refused by this run. One that was resolved has regressed: whoever believed it fixed
    should know."""
    for chunk in _chunks(sorted(failed), CHUNK):
        groups = ErrorGroup.objects.filter(pk__in=chunk)
        groups.update(last_seen_at=at, last_run_id=run_id)
        groups.filter(first_run_id__isnull=True).update(first_run_id=run_id)
        _change(
            list(groups.filter(state=GroupState.RESOLVED).values_list("pk", flat=True)),
            GroupState.REGRESSED,
            GroupEventKind.REGRESSED,
            run_id=run_id,
            at=at,
            reason="A run refused a row with this error again.",
        )


def note_deliveries(ids: Iterable[int], *, run_id: int, at: datetime, reason: str) -> None:
    """A run closed entries of these groups, locked. One that has no live entry left is resolved. Discards do not do that:
    they say that the rows do not matter, not that the error is gone."""
    for chunk in _chunks(sorted(ids), CHUNK):
        done = ErrorGroup.objects.filter(pk__in=chunk, open_count=0).exclude(state=GroupState.RESOLVED)
        _change(
            list(done.values_list("pk", flat=True)),
            GroupState.RESOLVED,
            GroupEventKind.RESOLVED,
            run_id=run_id,
            at=at,
            reason=reason,
        )


def _change(ids: list[int], state: GroupState, kind: GroupEventKind, *, run_id: int, at: datetime, reason: str) -> None:
    if not ids:
        return
    changed = ErrorGroup.objects.filter(pk__in=ids).exclude(state=state).update(state=state, state_changed_at=at)
    if changed != len(ids):
        raise AssertionError(f"{len(ids)} error groups were to become {state}, {changed} did: they were not locked")
    GroupEvent.objects.bulk_create(
        [GroupEvent(group_id=pk, kind=kind, at=at, door=Door.RUN, reason=reason, detail={"run": run_id}) for pk in ids],
        batch_size=CHUNK // 10,
    )
