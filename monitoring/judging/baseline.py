"""What is normal at this time of the week: a seasonal baseline from a sync's own history. Plain Python, robust by medians.

A figure of a schedule differs by hour and by kind of day; whoever compares a Sunday night with all runs either cries wolf or
sleeps. So the samples of the same season are taken, from the narrowest that has enough of them: same weekday and hour, same
hour on the same kind of day (working day or weekend), and only where runs keep no hours, all of them.

Spread is measured on a logarithmic scale (half and double are equally far), by the median absolute deviation. A season of five
samples says little about spread, so that of all seasons together is the least that is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

# In robust standard deviations: of 10,000 hourly runs made up with a scatter of a twentieth to a fifth, none lay outside.
REACH = 5.0
LEAST_FACTOR = 1.25  # nearer than a quarter to the median nothing is unusual, however even the past
SCATTER = 4.0  # of counts: one of 16 scatters by more than one of 1,600, whatever the past says
NEAR = timedelta(minutes=30)

WEEKLY_LEAST, WEEKLY_MOST = 4, 8  # samples of the same weekday and hour: weeks
DAILY_LEAST, DAILY_MOST = 4, 10  # samples of the same hour on such days
LOOSE_LEAST, LOOSE_MOST = 10, 60  # of runs that keep no hours
LOOSE_SPAN = timedelta(days=14)
LOOSE = "runs"
COMMON_MOST = 400  # samples that tell how far runs scatter: two weeks of every hour

# By what the median absolute deviation of so few samples falls short (Croux and Rousseeuw 1992).
_SMALL = {1: 2.0, 2: 1.196, 3: 1.495, 4: 1.363, 5: 1.206, 6: 1.200, 7: 1.140, 8: 1.129, 9: 1.107}
_SIGMA = 1.4826
_DAY = timedelta(days=1)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Sample = tuple[datetime, float]


@dataclass(frozen=True, slots=True)
class Baseline:
    """``mad``: median absolute deviation, in the unit of the samples. ``low``, ``high``: what lies between is normal.
    ``basis``: which samples, in words (``8 working days around 14:00``)."""

    median: float
    mad: float
    low: float
    high: float
    sample_count: int
    basis: str

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def score(self, value: float) -> float:
        """How far off, 1.0 being the edge of what is normal; negative: too low."""
        edge = self.high if value >= self.median else self.low
        reach = abs(math.log1p(edge) - math.log1p(self.median))
        return (math.log1p(max(0.0, value)) - math.log1p(self.median)) / reach if reach else 0.0


def of(samples: Sequence[Sample], at: datetime, *, is_count: bool = True, least: float = 0.0) -> Baseline | None:
    """What is normal at ``at``, or None in training: too little has been seen of this time of the week.

    ``samples``: moment and figure (rows, seconds, percent: never negative) of runs that ended well, in any order; those at or
    after ``at`` are left out. Hours and weekdays are those of the time zone of ``at``. ``is_count=False``: the figure is a
    share, so its smallness says nothing about its scatter. ``least``: nearer than this to the median is always normal.
    """
    past = sorted((moment.astimezone(at.tzinfo), value) for moment, value in samples if moment < at)
    season, basis = _season(past, at)
    if not season:
        return None
    middle = median(season)
    reach = max(
        REACH * _spread([math.log1p(value) for value in season]),
        REACH * _common_spread(past[-COMMON_MOST:]),
        math.log(LEAST_FACTOR),
    )
    if is_count:
        reach = max(reach, SCATTER / math.sqrt(middle + 1))
    centre = math.log1p(middle)
    low, high = _usual(season) if basis == LOOSE else (middle, middle)
    return Baseline(
        median=middle,
        mad=median(abs(value - middle) for value in season),
        low=max(0.0, min(math.expm1(centre - reach), middle - least, low)),
        high=max(math.expm1(centre + reach), middle + least, high),
        sample_count=len(season),
        basis=f"{len(season)} {basis}",
    )


def training_text(samples: Sequence[Sample], at: datetime) -> str:
    """How far the training for this time of the week has come, in words; empty once it is over."""
    past = sorted((moment.astimezone(at.tzinfo), value) for moment, value in samples if moment < at)
    if _season(past, at)[0]:
        return ""
    return f"In training: {len(_alike(_days(past, at), at))} of {DAILY_LEAST} {_kind_of_day(at)} seen."


def _season(past: Sequence[Sample], at: datetime) -> tuple[list[float], str]:
    """The figures to compare with, and which they are; none in training."""
    days = _days(past, at)
    weekly = [value for ago, value in days if ago % 7 == 0]
    if len(weekly) >= WEEKLY_LEAST:
        return weekly[-WEEKLY_MOST:], f"{_WEEKDAYS[at.weekday()]}s around {at:%H:%M}"
    daily = _alike(days, at)
    if len(daily) >= DAILY_LEAST:
        return daily[-DAILY_MOST:], _kind_of_day(at)
    if len(past) >= LOOSE_LEAST and past[-1][0] - past[0][0] >= LOOSE_SPAN and not _keeps_hours(past):
        return [value for _moment, value in past[-LOOSE_MOST:]], LOOSE
    return [], ""


def _days(past: Sequence[Sample], at: datetime) -> list[tuple[int, float]]:
    """Days ago and the figure at this time of that day, oldest first. One figure a day, so that a sync of every minute does
    not pass an hour off as a season."""
    by_day: dict[int, list[float]] = {}
    for moment, value in past:
        ago = round((at - moment) / _DAY)  # both on the same wall clock; five to midnight and five past are the same slot
        if ago and abs(at - moment - ago * _DAY) <= NEAR:
            by_day.setdefault(ago, []).append(value)
    return [(ago, median(values)) for ago, values in by_day.items()]


def _alike(days: Sequence[tuple[int, float]], at: datetime) -> list[float]:
    return [value for ago, value in days if _is_weekend(at - ago * _DAY) == _is_weekend(at)]


def _kind_of_day(at: datetime) -> str:
    return f"{'weekend days' if _is_weekend(at) else 'working days'} around {at:%H:%M}"


def _usual(season: Sequence[float]) -> tuple[float, float]:
    """Where hours mean nothing, nine in ten of what was is normal, even if it comes in two heaps (by day, by night)."""
    ordered, beyond = sorted(season), len(season) // 20
    return ordered[beyond], ordered[-1 - beyond]


def _is_weekend(moment: datetime) -> bool:
    return moment.weekday() >= 5


def _keeps_hours(past: Sequence[Sample]) -> bool:
    """Most samples share their hour with others: a season that is not known yet is then not to be guessed from other hours."""
    return len({moment.hour for moment, _value in past}) * WEEKLY_LEAST <= len(past)


def _common_spread(past: Sequence[Sample]) -> float:
    """Of all samples around the median of their own season."""
    seasons: dict[tuple[bool, int], list[float]] = {}
    for moment, value in past:
        seasons.setdefault((_is_weekend(moment), moment.hour), []).append(math.log1p(value))
    full = [values for values in seasons.values() if len(values) >= DAILY_LEAST]
    apart = [distance for values in full for distance in _distances(values)]
    return _SIGMA * median(apart) * _small(min(len(values) for values in full)) if full else 0.0


def _spread(values: Sequence[float]) -> float:
    return _SIGMA * median(_distances(values)) * _small(len(values))


def _distances(values: Sequence[float]) -> list[float]:
    middle = median(values)
    return [abs(value - middle) for value in values]


def _small(count: int) -> float:
    return _SMALL.get(count) or count / (count - 0.8)
