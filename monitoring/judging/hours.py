"""Hours of a person's day: when quiet hours end, when a digest is due. Plain Python, right where clocks change.

A time of day that clocks skip is taken to be the moment of the change; of one that comes twice, quiet hours begin with the
first and end with the second, and a digest goes out at the first.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)


def quiet_until(at: datetime, begin: time, end: time, zone: ZoneInfo) -> datetime | None:
    """When the quiet hours that hold ``at`` end, in UTC; None: it is not quiet. They may pass midnight; ``begin`` equal to
    ``end`` is a whole day of them. The moment of the end is not quiet any more."""
    today = at.astimezone(zone).date()
    for day in (today - _DAY, today):
        last = day if end > begin else day + _DAY
        if moment(day, begin, zone) <= at < (over := moment(last, end, zone, is_later=True)):
            return over
    return None


def next_digest(after: datetime, hour: int, weekday: int | None, zone: ZoneInfo) -> datetime:
    """The first moment after ``after``, in UTC, at which it is this hour there, on this weekday (0: Monday; None: any)."""
    day = after.astimezone(zone).date()
    while True:
        due = moment(day, time(hour), zone)
        if due > after and weekday in (None, day.weekday()):
            return due
        day += _DAY


def moment(day: date, at: time, zone: ZoneInfo, *, is_later: bool = False) -> datetime:
    """When it is ``at`` there on that day, in UTC. ``is_later``: the second time, where clocks are put back over it."""
    wall = datetime.combine(day, at, tzinfo=zone)
    first, second = (wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:  # once, or twice
        return second if is_later else first
    return _change(second, first, zone)  # never: with the clock's time after the change, and before it (PEP 495)


def _change(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The moment between these two at which the clocks change, to the second."""
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
