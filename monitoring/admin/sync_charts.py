"""The charts on the page of one sync."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from monitoring.admin import dashboard_charts
from monitoring.services import sync_figures
from monitoring.services.series import Figures
from monitoring.services.spans import DEFAULT, SPANS
from monitoring.services.sync_figures import SyncFigures
from syncs.console import formats, time_charts
from syncs.console.time_charts import Chart, Series
from syncs.models import Sync
from syncs.services import overview

_UNITS = ((7_200_000.0, 3_600.0, "h"), (120_000.0, 60.0, "min"), (0.0, 1.0, "s"))


def context(request: HttpRequest, sync: Sync, open_count: int | None = None) -> dict[str, Any]:
    """``open_count``: live dead letters of the sync now, where the page knows it already."""
    user = request.user
    sees_runs, sees_entries = user.has_perm("syncs.view_run"), user.has_perm("dlq.view_dlqentry")
    made = sync_figures.build(
        sync.pk, request.GET.getlist("period"), now=timezone.now(), with_runs=sees_runs, with_entries=sees_entries
    )
    found: dict[str, Any] = {
        "figures": made,
        "periods": [
            {"label": one.label, "query": f"?period={one.key}#over-time", "is_on": one.key == made.span.key}
            for one in SPANS.values()
        ],
        "is_asked": made.span.key != DEFAULT or "period" in request.GET,
    }
    if made.problem:
        return found
    if sees_runs:
        found |= {"rows_chart": dashboard_charts.of_rows(made.steps, made.span, made.now), "duration_chart": durations(made)}
    if sees_entries:
        found["types_chart"] = dashboard_charts.failures(made.by_type, made.span, made.now)
        now = overview.open_count(sync) if open_count is None else open_count
        found["depth_chart"] = dashboard_charts.of_depth([*made.depth, now], made.span, made.now)
    return found


def durations(made: SyncFigures) -> Chart:
    """The mean of the runs that ended in a step as a bar, the slowest of them as a line."""
    span, shown = made.span, made.shown
    longest = max((one.slowest_ms for one in shown), default=0)
    unit, word = next((unit, word) for least, unit, word in _UNITS if longest >= least)
    slowest = [one.slowest_ms / 1000 / unit if one.runs else None for one in shown]
    words = f"Duration of runs per {span.words()}, {span.label}: {formats.span(longest / 1000)} at most."
    return time_charts.bars(
        span.starts(made.now),
        span.step,
        [Series("Mean", "live", [_mean(one) / unit for one in shown])],
        words=words,
        average=("Slowest", slowest),
        say=lambda value: formats.span(value * unit),
        axis=lambda value: f"{value:g} {word}",
        with_sums=False,
    )


def _mean(one: Figures) -> float:
    """Seconds."""
    return one.milliseconds / one.runs / 1000 if one.runs else 0.0
