"""Charts over equal steps of time: stacked bars with a line, and levels as areas. Geometry and words; the template draws.

All bars of a series are one path, so that a chart of ninety days costs a page no more than one of seven.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from syncs.console import charts, formats

DAY = timedelta(days=1)
_LABELS = 7  # at most, below the bars

Say = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Frame:
    """Room for a chart, in units of its view box; ``left`` for the words of the axis."""

    width: float = 600.0
    height: float = 236.0
    left: float = 46.0
    top: float = 12.0
    base: float = 206.0


WIDE = Frame()
LOW = Frame(height=132.0, base=104.0)


@dataclass(frozen=True, slots=True)
class Series:
    """``fill``: of the class ``rd-fill-...``. ``values``: one for each step."""

    label: str
    fill: str
    values: Sequence[float]

    @property
    def total(self) -> float:
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Path:
    d: str
    css: str


@dataclass(frozen=True, slots=True)
class Text:
    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A step: where it stands, and what it says when one points at it."""

    x: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A line of the legend. ``value``: a sum, empty where there is none to tell."""

    label: str
    fill: str
    value: str = ""
    is_line: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """``words``: the chart in a sentence. ``columns``, ``rows``: its numbers, newest first, without steps of nothing."""

    frame: Frame
    words: str
    paths: list[Path]
    slots: list[Slot]
    ticks: list[Text]
    labels: list[Text]
    legend: list[Mark]
    columns: list[str]
    rows: list[tuple[str, list[str]]] = field(default_factory=list)
    is_empty: bool = False


def bars(
    starts: Sequence[datetime],
    step: timedelta,
    series: Sequence[Series],
    *,
    words: str,
    average: tuple[str, Sequence[float | None]] | None = None,
    say: Say = formats.number,
    axis: Say | None = None,
    with_sums: bool = True,
    frame: Frame = WIDE,
) -> Chart:
    """The series on top of one another, the first at the bottom. ``average``: a label, and a line over the bars.
    ``say``, ``axis``: how a value is written, and how on the axis. ``with_sums``: in the legend."""
    sums = [sum(one.values[index] for one in series) for index in range(len(starts))]
    line = average[1] if average else []
    top = nice_top(max([*sums, *(value for value in line if value is not None)], default=0))
    grid = _Grid(frame, len(starts), top)
    paths = [Path(d, f"rd-fill-{one.fill}") for one, d in zip(series, _stacks(grid, series), strict=True) if d]
    if average and (d := _line(grid, line)):
        paths.append(Path(d, "rd-line rd-line-average"))
    names = [name(start, step) for start in starts]
    cells = [[say(one.values[index]) for one in series] for index in range(len(starts))]
    if average:
        for row, value in zip(cells, line, strict=True):
            row.append(say(value if axis else round(value)) if value is not None else formats.NOTHING)
    columns = [one.label for one in series] + ([average[0]] if average else [])
    slots = [Slot(*grid.slot(index), _title(names[index], columns, cells[index])) for index in range(len(starts))]
    legend = [Mark(one.label, one.fill, say(one.total) if with_sums else "") for one in series]
    if average:
        legend.append(Mark(average[0], "", is_line=True))
    rows = [(names[index], cells[index]) for index in range(len(starts)) if sums[index]]
    return Chart(
        frame, words, paths, slots, grid.ticks(axis or say), _labels(grid, starts, step), legend, columns, rows[::-1],
        not any(sums),
    )  # fmt: skip


def level(
    starts: Sequence[datetime],
    step: timedelta,
    series: Series,
    *,
    words: str,
    say: Say = formats.number,
    axis: Say | None = None,
    frame: Frame = WIDE,
) -> Chart:
    """A level where each step begins, and now: one value more than there are steps."""
    highest = max(series.values, default=0)
    grid = _Grid(frame, len(starts), nice_top(highest))
    points = [(grid.x(index), grid.y(value)) for index, value in enumerate(series.values)]
    edge = "L".join(f"{x:g} {y:g}" for x, y in points)
    last = points[-1][0] if points else frame.left
    area = f"M{frame.left:g} {frame.base:g}L{edge}L{last:g} {frame.base:g}z"
    paths = [Path(area, f"rd-area rd-fill-{series.fill}"), Path(f"M{edge}", f"rd-line rd-line-{series.fill}")]
    names = [moment(start, step) for start in starts] + ["now"]
    cells = [[say(value)] for value in series.values]
    slots = [Slot(*grid.around(index), f"{names[index]}: {cells[index][0]}") for index in range(len(series.values))]
    rows = list(zip(names, cells, strict=True))[::-1]
    return Chart(
        frame, words, paths, slots, grid.ticks(axis or say), _labels(grid, starts, step, at_start=True), [], [series.label],
        rows, not any(series.values),
    )  # fmt: skip


def nice_top(value: float) -> float:
    """The end of an axis: little above ``value``, and its half is a round number too. At least 1."""
    if value <= 1:
        return 1
    size = 10 ** math.floor(math.log10(value))
    factors = (1, 2, 4, 6, 8, 10) if size < 10 else (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10)
    return next(float(factor * size) for factor in factors if factor * size >= value)


def name(start: datetime, step: timedelta) -> str:
    """A step in words: ``23 Nov 14:00``, ``23 Nov 12:00 to 15:00``, ``Mon 23 Nov``, ``17 to 23 Nov``."""
    start = start.astimezone(UTC)
    if step > DAY:
        last = start + step - DAY
        first = f"{start.day} {start:%b}" if start.month != last.month else f"{start.day}"
        return f"{first} to {last.day} {last:%b %Y}"
    if step == DAY:
        return f"{start:%a} {start.day} {start:%b}"
    said = f"{start.day} {start:%b %H:%M}"
    return said if step <= timedelta(hours=1) else f"{said} to {start + step:%H:%M}"


def moment(at: datetime, step: timedelta) -> str:
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b}" if step >= DAY else f"{at.day} {at:%b %H:%M}"


@dataclass(frozen=True, slots=True)
class _Grid:
    frame: Frame
    count: int
    top: float

    @property
    def width(self) -> float:
        return (self.frame.width - self.frame.left) / max(self.count, 1)

    @property
    def scale(self) -> float:
        return (self.frame.base - self.frame.top) / self.top

    def x(self, index: float) -> float:
        return round(self.frame.left + index * self.width, 2)

    def y(self, value: float) -> float:
        return round(self.frame.base - value * self.scale, 2)

    def slot(self, index: int) -> tuple[float, float]:
        return self.x(index), round(self.width, 2)

    def around(self, index: int) -> tuple[float, float]:
        """Half a step to both sides of where a step begins, within the frame."""
        left, right = max(self.x(index - 0.5), self.frame.left), min(self.x(index + 0.5), self.frame.width)
        return left, round(right - left, 2)

    def ticks(self, say: Say) -> list[Text]:
        steps = [self.top, self.top / 2, 0] if self.top > 1 else [self.top, 0]
        short = formats.short_number if say is formats.number else say
        return [Text(self.frame.left - 8, self.y(value), short(value)) for value in steps]


def _stacks(grid: _Grid, series: Sequence[Series]) -> list[str]:
    """One path for each series."""
    found: list[list[str]] = [[] for _ in series]
    gap = 0.26 if grid.count <= 31 else 0.18
    for index in range(grid.count):
        x, width = grid.slot(index)
        parts = [one.values[index] for one in series]
        stacked = charts.stack(parts, x=x + width * gap / 2, width=width * (1 - gap), base=grid.frame.base, scale=grid.scale)
        for paths, box in zip(found, stacked, strict=True):
            if box.height:
                paths.append(f"M{box.x:g} {box.y:g}h{box.width:g}v{box.height:g}h-{box.width:g}z")
    return ["".join(paths) for paths in found]


def _line(grid: _Grid, values: Sequence[float | None]) -> str:
    """Through the middle of the steps; it breaks where there is no value."""
    made, is_down = [], False
    for index, value in enumerate(values):
        if value is not None:
            made.append(f"{'L' if is_down else 'M'}{grid.x(index + 0.5):g} {grid.y(value):g}")
        is_down = value is not None
    return "".join(made)


def _title(name: str, columns: Sequence[str], cells: Sequence[str]) -> str:
    return f"{name}: " + ", ".join(f"{cell} {column.lower()}" for column, cell in zip(columns, cells, strict=True))


def _labels(grid: _Grid, starts: Sequence[datetime], step: timedelta, *, at_start: bool = False) -> list[Text]:
    """At midnights where steps are hours of several days, else evenly from the newest back."""
    is_days = step < DAY and step * len(starts) > 2 * DAY
    every = -(-len(starts) // _LABELS)
    found = []
    for index, start in enumerate(starts):
        at = start.astimezone(UTC)
        if at.hour == 0 if is_days else (len(starts) - 1 - index) % every == 0:
            text = f"{at:%H:%M}" if step < DAY and not is_days else f"{at.day} {at:%b}"
            found.append(Text(grid.x(index if at_start else index + 0.5), grid.frame.base + 20, text))
    return found
