"""One sync over time, for the charts on its page: two queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from monitoring.services import series
from monitoring.services.series import Figures
from monitoring.services.spans import DEFAULT, SPANS, Span


@dataclass(slots=True)
class SyncFigures:
    """``steps``: with the history before the shown ones. ``problem``: why nothing is shown."""

    span: Span
    now: datetime
    steps: list[Figures] = field(default_factory=list)
    by_type: dict[str, list[int]] = field(default_factory=dict)
    depth: list[int] = field(default_factory=list)
    problem: str = ""

    @property
    def shown(self) -> list[Figures]:
        return self.steps[self.span.history :]


def build(sync_id: int, periods: Sequence[str], *, now: datetime, with_runs: bool, with_entries: bool) -> SyncFigures:
    """``periods``: what the address asks for; the first that is not empty counts."""
    key = next((value for value in periods if value), DEFAULT)
    if key not in SPANS:
        return SyncFigures(SPANS[DEFAULT], now, problem=f"Period: there is no “{key[:60]}”. Known: {', '.join(SPANS)}.")
    made = SyncFigures(SPANS[key], now)
    if with_runs or with_entries:
        found = series.of_sync(made.span, now, sync_id)
        made.steps, made.depth = found.steps, found.depth
    if with_entries:
        made.by_type = series.of_error_types(made.span, now, [sync_id])
    return made
