"""Sums over time for charts, from the hours and days that are kept: one query each, whatever the history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any

from django.db.models import BigIntegerField, DateTimeField, F, Min, QuerySet, Sum, Value
from django.db.models.functions import Cast

from dlq.models import ErrorGroup, GroupDay, GroupHour
from monitoring.models import DepthHour
from monitoring.services.spans import HOUR, Span
from syncs.models import SyncDay, SyncHour

Ids = Collection[int] | None  # of syncs; None: all of them


@dataclass(slots=True)
class Figures:
    """Sums over runs that ended within some time. ``slowest_ms``: the longest of them. Durations are of single syncs only."""

    runs: int = 0
    failed: int = 0
    read: int = 0
    accepted: int = 0
    dead_lettered: int = 0
    milliseconds: int = 0
    slowest_ms: int = 0

    def add(self, other: Figures) -> None:
        for one in fields(self):
            name = one.name
            combine = max if name == "slowest_ms" else int.__add__
            setattr(self, name, combine(getattr(self, name), getattr(other, name)))

    @property
    def error_rate(self) -> float:
        """Share of the rows read that were dead-lettered."""
        return self.dead_lettered / self.read if self.read else 0.0


# Field of ``Figures`` -> column of a period.
_COLUMNS = {
    "runs": "run_count",
    "failed": "failed_count",
    "read": "read_count",
    "accepted": "accepted_count",
    "dead_lettered": "dead_lettered_count",
    "milliseconds": "milliseconds",
    "slowest_ms": "slowest_ms",
}
_ADDED_UP = ("runs", "failed", "read", "accepted", "dead_lettered")  # over all syncs: each sum costs its share of the query


@dataclass(frozen=True, slots=True)
class RunSeries:
    """``steps``: one for each step, the history before the shown ones included. ``by_sync``: over the shown steps."""

    steps: list[Figures]
    by_sync: dict[int, Figures]


def of_runs(span: Span, now: datetime, ids: Ids) -> RunSeries:
    model: Any = SyncHour if span.is_hourly else SyncDay
    since, shown = span.since(now), span.starts(now)[0]
    rows = _within(model._default_manager.filter(starts_at__gte=since, starts_at__lte=now), ids)
    # One query for both. The sync of a line by time, and the time of a line by sync, is none.
    sums: dict[str, Any] = {f"n_{name}": Sum(_COLUMNS[name]) for name in _ADDED_UP}
    names = tuple(sums)
    by_time = rows.values("starts_at").annotate(of=Cast(Value(None), BigIntegerField()), **sums)
    by_sync = rows.filter(starts_at__gte=shown).values(of=F("sync_id")).annotate(at=Cast(Value(None), DateTimeField()), **sums)
    both = by_time.order_by().values_list("starts_at", "of", *names)
    steps = [Figures() for _ in range(span.history + span.count)]
    syncs: dict[int, Figures] = {}
    for at, of, *values in both.union(by_sync.order_by().values_list("at", "of", *names), all=True):
        if of is None:
            steps[span.place(at, since)].add(_figures(_ADDED_UP, values))
        else:
            syncs[of] = _figures(_ADDED_UP, values)
    return RunSeries(steps, syncs)


def _figures(names: Iterable[str], values: Iterable[int]) -> Figures:
    return Figures(**dict(zip(names, values, strict=True)))


@dataclass(frozen=True, slots=True)
class SyncSeries:
    """``steps``: as in ``RunSeries``. ``depth``: live dead letters where the shown steps begin."""

    steps: list[Figures]
    depth: list[int]


def of_sync(span: Span, now: datetime, sync_id: int) -> SyncSeries:
    """Runs and open dead letters of one sync, in one query."""
    model: Any = SyncHour if span.is_hourly else SyncDay
    since, points = span.since(now), span.starts(now)
    runs = model._default_manager.filter(sync_id=sync_id, starts_at__gte=since, starts_at__lte=now)
    plain = tuple(_COLUMNS.values())
    nothing = Cast(Value(None), BigIntegerField())
    levels: Any = DepthHour.objects.filter(sync_id=sync_id, hour__in=points).annotate(
        **{f"n_{number}": Value(0, BigIntegerField()) for number in range(len(plain))}
    )
    by_time = runs.annotate(level=nothing).order_by().values_list("starts_at", "level", *plain)
    by_hour = levels.order_by().values_list("hour", "open_count", *(f"n_{number}" for number in range(len(plain))))
    steps = [Figures() for _ in range(span.history + span.count)]
    known: dict[datetime, int] = {}
    for at, level, *values in by_time.union(by_hour, all=True):
        if level is None:
            steps[span.place(at, since)].add(_figures(_COLUMNS, values))
        else:
            known[at.astimezone(UTC)] = level
    depth: list[int] = []
    for at in points:
        depth.append(known.get(at, depth[-1] if span.step == HOUR and depth else 0))
    return SyncSeries(steps, depth)


def of_error_types(span: Span, now: datetime, ids: Ids) -> dict[str, list[int]]:
    """Error type -> failures in each shown step; only types that failed."""
    first = span.starts(now)[0]
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0] * span.count)
    rows = _failures(span, now, ids)
    column = _column(span)
    for error_type, at, count in (
        rows.order_by().values_list("group__error_type", column).annotate(n=Sum("failed_count")).order_by()
    ):
        if count:
            found[error_type][span.place(_moment(at), first)] += count
    return dict(found)


@dataclass(frozen=True, slots=True)
class GroupLine:
    """An error group and how often it failed within the shown steps."""

    group: ErrorGroup
    failed: int


def noisiest_groups(span: Span, now: datetime, ids: Ids, limit: int) -> list[GroupLine]:
    """Most failures first."""
    first = span.starts(now)[0]
    times = {"hours__hour__gte": first, "hours__hour__lte": now} if span.is_hourly else {"days__day__gte": first.date()}
    column = "hours__failed_count" if span.is_hourly else "days__failed_count"
    groups: Any = _within(ErrorGroup.objects.filter(**times), ids).only(*_SHOWN)
    found = groups.annotate(failed=Sum(column)).filter(failed__gt=0).order_by("-failed", "pk")[:limit]
    return [GroupLine(group, group.failed) for group in found]


_SHOWN = (
    "sync_id", "error_type", "error_code", "field", "title", "state", "open_count", "first_seen_at", "last_seen_at",
    "rule_value",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DepthPoint:
    at: datetime
    depth: int
    oldest_failed_at: datetime | None


def of_depth(span: Span, now: datetime, ids: Ids) -> list[DepthPoint]:
    """Live dead letters where the shown steps begin. No line of an hour: there were none; only where every hour is looked at
    one can tell that nobody wrote them, and then it was as before."""
    points = span.starts(now)
    rows = _within(DepthHour.objects.filter(hour__in=points), ids).order_by().values("hour")
    known = {
        row["hour"].astimezone(UTC): DepthPoint(row["hour"], row["depth"], row["oldest"])
        for row in rows.annotate(depth=Sum("open_count"), oldest=Min("oldest_failed_at"))
    }
    found: list[DepthPoint] = []
    for at in points:
        is_kept = span.step == HOUR and found and at not in known
        point = found[-1] if is_kept else known.get(at, DepthPoint(at, 0, None))
        found.append(DepthPoint(at, point.depth, point.oldest_failed_at))
    return found


def _within(rows: QuerySet[Any], ids: Ids, by: str = "sync_id") -> QuerySet[Any]:
    return rows if ids is None else rows.filter(**{f"{by}__in": ids})


def _column(span: Span) -> str:
    return "hour" if span.is_hourly else "day"


def _failures(span: Span, now: datetime, ids: Ids) -> QuerySet[Any]:
    first = span.starts(now)[0]
    rows: QuerySet[Any] = (
        GroupHour.objects.filter(hour__gte=first, hour__lte=now)
        if span.is_hourly
        else GroupDay.objects.filter(day__gte=first.date(), day__lte=now.astimezone(UTC).date())
    )
    return _within(rows, ids, "group__sync_id")


def _moment(at: datetime | date) -> datetime:
    return at if isinstance(at, datetime) else datetime(at.year, at.month, at.day, tzinfo=UTC)


def totals(steps: Collection[Figures]) -> Figures:
    whole = Figures()
    for one in steps:
        whole.add(one)
    return whole


def sums_by_type(found: Mapping[str, list[int]]) -> dict[str, int]:
    """The most frequent first."""
    return dict(sorted(((kind, sum(counts)) for kind, counts in found.items()), key=lambda pair: (-pair[1], pair[0])))
