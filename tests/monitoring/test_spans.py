"""Steps of time, the average of what came before, and the words and axes of charts: plain values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from monitoring.services import spans
from monitoring.services.spans import SPANS
from syncs.console import time_charts
from syncs.console.time_charts import Series

NOW = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "first", "last", "since"),
    [
        ("24h", "2026-11-22T15:00", "2026-11-23T14:00", "2026-11-15T15:00"),
        ("7d", "2026-11-16T15:00", "2026-11-23T12:00", "2026-11-09T15:00"),
        ("30d", "2026-10-25T00:00", "2026-11-23T00:00", "2026-10-18T00:00"),
        ("90d", "2026-08-26T00:00", "2026-11-23T00:00", "2026-08-19T00:00"),
        ("1y", "2025-11-25T00:00", "2026-11-17T00:00", "2025-10-28T00:00"),
    ],
)
def test_steps_end_with_the_one_that_holds_now(key: str, first: str, last: str, since: str):
    span = SPANS[key]
    starts = span.starts(NOW)
    assert [f"{at:%Y-%m-%dT%H:%M}" for at in (starts[0], starts[-1], span.since(NOW))] == [first, last, since]
    assert starts[-1] <= NOW < starts[-1] + span.step
    assert span.place(NOW, span.since(NOW)) == span.history + span.count - 1


def test_average_is_of_the_same_hours_and_begins_with_the_first_figures():
    span = SPANS["24h"]
    values = [0.0] * (5 * 24) + [10.0] * 24 + [30.0] * 24 + [40.0] * 24
    average = spans.trailing(values, span)
    assert average == [20.0] * 24
    assert spans.change(values[-24:], average) == 1.0
    assert spans.trailing([0.0] * (8 * 24), span) == [None] * 24
    assert spans.change([5.0] * 24, [None] * 24) is None
    assert spans.change([5.0] * 24, [None] * 20 + [5.0] * 4) is None  # too little to compare with


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (1, 1), (3, 4), (7, 8), (9, 10), (11, 12), (13, 16), (101, 120), (260_000, 300_000), (8e6, 8e6)]
)
def test_axis_ends_little_above_the_highest_value(value: float, top: float):
    assert time_charts.nice_top(value) == top


@pytest.mark.parametrize(
    ("step", "words"),
    [(1, "23 Nov 14:00"), (3, "23 Nov 14:00 to 17:00"), (24, "Mon 23 Nov"), (168, "23 to 29 Nov 2026")],
)
def test_steps_have_names(step: int, words: str):
    assert time_charts.name(NOW.replace(minute=0), timedelta(hours=step)) == words


def test_bars_stand_on_one_another_and_the_line_breaks_where_nothing_is_known():
    starts = [NOW - timedelta(hours=hours) for hours in (3, 2, 1, 0)]
    series = [Series("Accepted", "accent", [100, 0, 50, 10]), Series("Dead-lettered", "bad", [20, 0, 0, 0])]
    chart = time_charts.bars(starts, timedelta(hours=1), series, words="x", average=("Before", [60, None, 60, 60]))
    accepted, refused, line = chart.paths
    assert accepted.d.count("M") == 3  # a step of nothing has no bar
    assert refused.d.count("M") == 1
    assert line.d.count("M") == 2
    base, frame = chart.frame.base, chart.frame
    top_of_accepted = base - 100 * (base - frame.top) / 120
    assert refused.d.split("v")[1].startswith(f"{20 * (base - frame.top) / 120:.6g}"[:5])
    assert f"{top_of_accepted:.2f}".rstrip("0") in accepted.d
    assert chart.rows[0][0] == "23 Nov 14:20"
    assert chart.slots[0].title == "23 Nov 11:20: 100 accepted, 20 dead-lettered, 60 before"
