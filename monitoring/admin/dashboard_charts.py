"""The charts of the dashboard: series of ``services.dashboard`` as drawings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitoring.services import spans
from monitoring.services.dashboard import Dashboard
from monitoring.services.series import Figures, sums_by_type
from monitoring.services.spans import Span
from syncs.console import formats, time_charts
from syncs.console.time_charts import LOW, WIDE, Chart, Frame, Series
from syncs.errors import ErrorType

TYPES_SHOWN = 6  # the rest is one series
DAY_SECONDS = 86_400


# A wall screen shows all of it without scrolling.
_WALL, _WALL_LOW = Frame(height=190.0, base=162.0), Frame(height=108.0, base=82.0)


def _frame(made: Dashboard) -> Frame:
    return _WALL if made.filter.is_wall else WIDE


def _low(made: Dashboard) -> Frame:
    return _WALL_LOW if made.filter.is_wall else LOW


def rows(made: Dashboard) -> Chart | None:
    if not made.sight.runs:
        return None
    return of_rows(made.steps, made.filter.span, made.now, _frame(made))


def of_rows(steps: Sequence[Figures], span: Span, now: datetime, frame: Frame = WIDE) -> Chart:
    """``steps``: with the history before the shown ones, of which the line is made."""
    shown = steps[span.history :]
    accepted = Series("Accepted", "accent", [one.accepted for one in shown])
    refused = Series("Dead-lettered", "bad", [one.dead_lettered for one in shown])
    average = spans.trailing([one.accepted + one.dead_lettered for one in steps], span)
    words = (
        f"Rows per {span.words()}, {span.label}: {formats.number(accepted.total)} accepted, "
        f"{formats.number(refused.total)} dead-lettered."
    )
    line = (f"Average of {span.compared}", average) if any(value is not None for value in average) else None
    shown_series = [accepted, refused]
    return time_charts.bars(span.starts(now), span.step, shown_series, words=words, average=line, frame=frame)


def types(made: Dashboard) -> Chart | None:
    if not made.sight.entries:
        return None
    return failures(made.by_type, made.filter.span, made.now, _frame(made))


def failures(by_type: dict[str, list[int]], span: Span, now: datetime, frame: Frame = WIDE) -> Chart:
    """Dead letters by error type; more types than can be told apart are one series."""
    order = list(sums_by_type(by_type))
    series = [Series(label(kind), f"kind-{place}", by_type[kind]) for place, kind in enumerate(order[:TYPES_SHOWN], 1)]
    if rest := order[TYPES_SHOWN:]:
        series.append(
            Series("Other types", "mute", [sum(by_type[kind][index] for kind in rest) for index in range(span.count)])
        )
    parts = ", ".join(f"{formats.number(one.total)} {one.label.lower()}" for one in series)
    words = f"Dead letters per {span.words()} by error type, {span.label}: {parts or 'none'}."
    shown = series or [Series("None", "mute", [0] * span.count)]
    return time_charts.bars(span.starts(now), span.step, shown, words=words, frame=frame)


def label(kind: str) -> str:
    return ErrorType(kind).info.label if kind in set(ErrorType) else kind


def depth(made: Dashboard) -> Chart | None:
    if not made.sight.entries:
        return None
    values = [*(point.depth for point in made.depth), made.open_count]
    return of_depth(values, made.filter.span, made.now, _low(made))


def of_depth(values: list[int], span: Span, now: datetime, frame: Frame = WIDE) -> Chart:
    words = f"Open dead letters, {span.label}: {formats.number(values[0])} at first, {formats.number(values[-1])} now."
    return time_charts.level(span.starts(now), span.step, Series("Open dead letters", "warn", values), words=words, frame=frame)


def oldest(made: Dashboard) -> Chart | None:
    """How long the oldest of them had been waiting, in days or hours."""
    if not made.sight.entries:
        return None
    ages = [_age(point.oldest_failed_at, point.at) for point in made.depth] + [_age(made.oldest_failed_at, made.now)]
    words = f"Age of the oldest open dead letter, {made.filter.span.label}: {formats.span(ages[-1])} now."
    is_long = max(ages) >= 2 * DAY_SECONDS
    unit, word = (DAY_SECONDS, "d") if is_long else (3_600, "h")
    span = made.filter.span
    return time_charts.level(
        span.starts(made.now),
        span.step,
        Series("Age of the oldest", "bad", [age / unit for age in ages]),
        words=words,
        say=lambda value: formats.span(value * unit) if value else formats.NOTHING,
        axis=lambda value: f"{value:g} {word}",
        frame=_low(made),
    )


def _age(since: datetime | None, at: datetime) -> float:
    return max(0.0, (at - since).total_seconds()) if since else 0.0
