"""Geometry of the console's SVG charts. Positions are attributes, colours are classes: no inline style, no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncs.choices import RunStatus, StepStatus

FILLS: dict[str, str] = {
    RunStatus.SUCCEEDED: "good",
    RunStatus.PARTIAL: "warn",
    RunStatus.FAILED: "bad",
    RunStatus.RUNNING: "live",
    RunStatus.QUEUED: "live",
    RunStatus.CANCELLED: "mute",
    RunStatus.SKIPPED: "mute",
    StepStatus.INFLIGHT: "live",
    StepStatus.CONFIRMING: "live",
    StepStatus.INTERRUPTED: "warn",
}


@dataclass(frozen=True, slots=True)
class Box:
    x: float
    y: float
    width: float
    height: float


def fill(status: str) -> str:
    return FILLS.get(status, "mute")


def nice_top(value: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below ``value``; at least 1."""
    size = 1.0
    while True:
        for factor in (1, 2, 5):
            if factor * size >= value:
                return factor * size
        size *= 10


def strip(values: Sequence[float], *, width: float, height: float, slots: int, gap: float = 0.24) -> list[Box]:
    """Bars on a common base, the newest at the right edge. A value of 0 still shows as a sliver: something ran."""
    top = max(values, default=0) or 1
    slot = width / slots
    first = slots - len(values)
    boxes = []
    for index, value in enumerate(values):
        bar = max(3.0, value / top * height)
        boxes.append(
            Box(
                round((first + index) * slot + slot * gap / 2, 2),
                round(height - bar, 2),
                round(slot * (1 - gap), 2),
                round(bar, 2),
            )
        )
    return boxes


def stack(parts: Sequence[float], *, x: float, width: float, base: float, scale: float) -> list[Box]:
    """One bar of stacked parts, the first at the bottom. ``scale``: height of one unit. A part above 0 is at least 1 high."""
    boxes = []
    y = base
    for part in parts:
        height = max(1.0, part * scale) if part > 0 else 0.0
        y -= height
        boxes.append(Box(round(x, 2), round(y, 2), round(width, 2), round(height, 2)))
    return boxes


def bar(start: float, end: float, total: float, *, width: float) -> Box:
    """Where a step stands on the run's time axis. At least 0.6 % wide, so that short steps are seen."""
    total = max(total, 0.001)
    x = min(max(start / total, 0.0), 0.994) * width
    length = max((end - start) / total * width, width * 0.006)
    return Box(round(x, 2), 0, round(min(length, width - x), 2), 10)
