"""When the failures of error groups came: sums over whole hours or days (UTC), from the counted hours."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import CharField, Sum
from django.db.models.functions import Cast, Substr, TruncDay
from django.utils import timezone

from dlq.models import GroupHour

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
    hours = GroupHour.objects.filter(group_id__in=group_ids, hour__gte=starts[0]).order_by()
    counted: dict[tuple[int, datetime], int] = {}
    if span.step == DAY:
        for line in hours.annotate(day=_day()).values("group_id", "day").annotate(count=Sum("failed_count")):
            day = line["day"] if isinstance(line["day"], datetime) else datetime.fromisoformat(line["day"]).replace(tzinfo=UTC)
            counted[line["group_id"], day.astimezone(UTC)] = line["count"]
    else:
        for group_id, start, count in hours.values_list("group_id", "hour", "failed_count"):
            counted[group_id, start.astimezone(UTC)] = count
    return {pk: Series(starts, [counted.get((pk, start), 0) for start in starts]) for pk in group_ids}


def _day() -> Any:
    """The day of an hour. SQLite keeps times as text in UTC: to cut it costs far less than a call of Python for each line."""
    if connection.vendor == "sqlite":
        return Substr(Cast("hour", CharField()), 1, 10)
    return TruncDay("hour", tzinfo=UTC)
