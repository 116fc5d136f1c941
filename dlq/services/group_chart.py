"""When the failures of error groups came: sums over whole hours or days (UTC), from the hours and days that are counted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from dlq.models import GroupDay, GroupHour

SPARK_DAYS = 14
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """``count`` steps up to now, each an hour or a day long."""

    label: str
    step: timedelta
    count: int

    def starts(self, now: datetime) -> list[datetime]:
        """Ascending; the last one holds ``now``."""
        last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        if self.step == DAY:
            last = last.replace(hour=0)
        return [last - self.step * back for back in range(self.count - 1, -1, -1)]


SPANS: dict[str, Span] = {
    "48h": Span("48 hours", HOUR, 48),
    "14d": Span("14 days", DAY, SPARK_DAYS),
    "90d": Span("90 days", DAY, 90),
}
DEFAULT_SPAN = "14d"


@dataclass(frozen=True, slots=True)
class Series:
    """``counts``: failures in each step; ``starts``: when it begins."""

    starts: list[datetime]
    counts: list[int]

    @property
    def total(self) -> int:
        return sum(self.counts)


def series(group_ids: Collection[int], span: Span, *, now: datetime | None = None) -> dict[int, Series]:
    """For each of these groups, from one query; a step without failures counts 0."""
    starts = span.starts(now or timezone.now())
    counted = _days(group_ids, starts[0]) if span.step == DAY else _hours(group_ids, starts[0])
    return {pk: Series(starts, [counted.get((pk, start), 0) for start in starts]) for pk in group_ids}


def _days(group_ids: Collection[int], since: datetime) -> dict[tuple[int, datetime], int]:
    days = GroupDay.objects.filter(group_id__in=group_ids, day__gte=since.date()).order_by()
    lines = days.values_list("group_id", "day", "failed_count")
    return {(pk, datetime(day.year, day.month, day.day, tzinfo=UTC)): count for pk, day, count in lines}


def _hours(group_ids: Collection[int], since: datetime) -> dict[tuple[int, datetime], int]:
    hours = GroupHour.objects.filter(group_id__in=group_ids, hour__gte=since).order_by()
    return {(pk, hour.astimezone(UTC)): count for pk, hour, count in hours.values_list("group_id", "hour", "failed_count")}
