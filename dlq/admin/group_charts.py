"""Charts of failures over time: positions as attributes, colours as classes, the numbers in words beside them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dlq.services.group_chart import DAY, Series, Span
from syncs.console import charts, formats
from syncs.console.charts import Box

SPARK_WIDTH, SPARK_HEIGHT = 112.0, 28.0
WIDTH, HEIGHT, LEFT, BASE, TOP = 560.0, 200.0, 40.0, 168.0, 12.0
_LABELS = 7  # at most, below the bars


@dataclass(frozen=True, slots=True)
class Spark:
    """``path``: all bars as one SVG path, because a list has fifty of these."""

    path: str
    words: str


@dataclass(frozen=True, slots=True)
class Bar:
    box: Box
    title: str
    name: str
    count: int
    label_x: float
    label: str  # below the bar; empty for most


@dataclass(frozen=True, slots=True)
class Tick:
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    bars: list[Bar]
    ticks: list[Tick]
    words: str
    total: int
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT


def spark(found: Series, span: Span) -> Spark:
    slot = SPARK_WIDTH / span.count
    scale = SPARK_HEIGHT / max(1, *found.counts)
    boxes = [
        charts.stack([count], x=index * slot + slot * 0.12, width=slot * 0.76, base=SPARK_HEIGHT, scale=scale)[0]
        for index, count in enumerate(found.counts)
        if count
    ]
    path = "".join(f"M{box.x:g} {box.y:g}h{box.width:g}v{box.height:g}h-{box.width:g}z" for box in boxes)
    return Spark(path, _words(found, span))


def chart(found: Series, span: Span) -> Chart:
    top = charts.nice_top(max(found.counts, default=0))
    scale = (BASE - TOP) / top
    slot = (WIDTH - LEFT) / span.count
    every = -(-span.count // _LABELS)
    bars = []
    for index, (start, count) in enumerate(zip(found.starts, found.counts, strict=True)):
        x = LEFT + index * slot
        name = _name(start, span)
        box = charts.stack([count], x=x + slot * 0.12, width=slot * 0.76, base=BASE, scale=scale)[0]
        is_labelled = (span.count - 1 - index) % every == 0
        bars.append(
            Bar(box, f"{name}: {count:,}", name, count, round(x + slot / 2, 2), _label(start, span) if is_labelled else "")
        )
    steps = [top, top / 2, 0] if top > 1 else [top, 0]
    ticks = [Tick(round(BASE - value * scale, 2), formats.short_number(value)) for value in steps]
    return Chart(bars, ticks, _words(found, span), found.total)


def _words(found: Series, span: Span) -> str:
    if not found.total:
        return f"No failures in {span.label}"
    most = max(range(span.count), key=lambda index: found.counts[index])
    when = "on" if span.step == DAY else "from"
    failures = "failure" if found.total == 1 else "failures"
    return f"{found.total:,} {failures} in {span.label}, most {when} {_name(found.starts[most], span)}: {found.counts[most]:,}"


def _name(start: datetime, span: Span) -> str:
    return f"{start.day} {start:%b}" if span.step == DAY else f"{start.day} {start:%b %H:%M}"


def _label(start: datetime, span: Span) -> str:
    return f"{start.day} {start:%b}" if span.step == DAY else f"{start:%H:%M}"
