"""The times charts look at: steps of one length up to now, whole hours or days in UTC, and the average that came before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Span:
    """``count`` steps; the last one holds now and is not over. A step is compared with the ``before`` steps that lie ``lag``
    steps apart before it: the same time of the seven days before, the seven days before, the four weeks before."""

    key: str
    label: str
    step: timedelta
    count: int
    lag: int
    before: int
    compared: str

    @property
    def is_hourly(self) -> bool:
        """Whether hours are added up; else days are."""
        return self.step < DAY

    @property
    def history(self) -> int:
        return self.lag * self.before

    def starts(self, now: datetime) -> list[datetime]:
        """Ascending, without the history."""
        last = self._last(now)
        return [last - self.step * back for back in range(self.count - 1, -1, -1)]

    def since(self, now: datetime) -> datetime:
        """Where the history begins."""
        return self.starts(now)[0] - self.step * self.history

    def place(self, at: datetime, since: datetime) -> int:
        """The number of the step that holds ``at``, counted from ``since``."""
        return int((at - since) / self.step)

    def _last(self, now: datetime) -> datetime:
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        if self.is_hourly:
            return hour - HOUR * (hour.hour % int(self.step / HOUR))
        return hour.replace(hour=0) - (self.step - DAY)

    def words(self) -> str:
        """What one step is: for headings (“Rows per hour”)."""
        hours = int(self.step / HOUR)
        return {1: "hour", 24: "day", 168: "week"}.get(hours, f"{hours} hours")


SPANS: dict[str, Span] = {
    one.key: one
    for one in (
        Span("24h", "24 hours", HOUR, 24, 24, 7, "the same hours of the 7 days before"),
        Span("7d", "7 days", 3 * HOUR, 56, 8, 7, "the same hours of the 7 days before"),
        Span("30d", "30 days", DAY, 30, 1, 7, "the 7 days before"),
        Span("90d", "90 days", DAY, 90, 1, 7, "the 7 days before"),
        Span("1y", "1 year", WEEK, 52, 1, 4, "the 4 weeks before"),
    )
}
DEFAULT = "7d"


def trailing(values: Sequence[float], span: Span) -> list[float | None]:
    """For each shown step the mean of those it is compared with; None where there is none since the first that is not 0.

    ``values``: with the history before the shown steps.
    """
    first = next((index for index, value in enumerate(values) if value), len(values))
    found: list[float | None] = []
    for index in range(span.history, len(values)):
        back = [index - span.lag * number for number in range(1, span.before + 1)]
        known = [values[one] for one in back if one >= first]
        found.append(sum(known) / len(known) if known else None)
    return found


def change(values: Sequence[float], average: Sequence[float | None]) -> float | None:
    """How far the steps that are over lie above (0.25) or below (-0.25) their average; None where there is too little of it."""
    pairs = [(value, mean) for value, mean in zip(values[:-1], average[:-1], strict=True) if mean is not None]
    whole = sum(mean for _value, mean in pairs)
    if len(pairs) < (len(values) - 1) / 2 or whole <= 0:
        return None
    return sum(value for value, _mean in pairs) / whole - 1
