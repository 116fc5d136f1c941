"""Words, formats and chart geometry of the console."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncs.admin.form_fields import loose_text, loose_value
from syncs.console import charts, formats, words
from syncs.console.version_diff import differences
from syncs.models import Sync
from syncs.templatetags.redrive import rd_flat


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"schedule_kind": "manual"}, "by hand"),
        ({"schedule_kind": "interval", "interval_minutes": 15}, "every 15 min"),
        ({"schedule_kind": "interval", "interval_minutes": 60}, "hourly"),
        ({"schedule_kind": "interval", "interval_minutes": 180}, "every 3 h"),
        ({"schedule_kind": "interval", "interval_minutes": 1440}, "every day"),
        ({"schedule_kind": "cron", "cron": "0 2 * * *", "timezone": "Europe/Berlin"}, "daily at 02:00 (Europe/Berlin)"),
        ({"schedule_kind": "cron", "cron": "15 6 * * 1-5", "timezone": "UTC"}, "Monday to Friday at 06:15"),
        ({"schedule_kind": "cron", "cron": "5 * * * *", "timezone": "UTC"}, "hourly at :05"),
        ({"schedule_kind": "cron", "cron": "*/10 * * * *", "timezone": "UTC"}, "every 10 min"),
        ({"schedule_kind": "cron", "cron": "0 0 1 1 *", "timezone": "UTC"}, "cron 0 0 1 1 *"),
        ({"schedule_kind": "cron", "cron": "61 25 * * *", "timezone": "UTC"}, "cron 61 25 * * *"),
    ],
)
def test_schedule_in_words(values: dict[str, Any], said: str):
    assert words.schedule(Sync(**values)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (52, "52 s"),
        (59.7, "1 min"),
        (526, "8 min 46 s"),
        (7_500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_span_in_words(seconds: float, said: str):
    assert formats.span(timedelta(seconds=seconds)) == said


def test_moment_is_utc_and_machine_readable():
    moment = formats.moment(datetime(2019, 1, 2, 3, 4, 5, tzinfo=UTC), seconds=True)
    assert moment == '<time datetime="2019-01-02T03:04:05Z" title="2019-01-02 03:04:05 UTC">2 Jan 2019 03:04:05</time>'


def test_ago_looks_both_ways():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert formats.ago(now - timedelta(minutes=5), now) == "5 min ago"
    assert formats.ago(now + timedelta(hours=3), now) == "in 3 h"
    assert formats.ago(now - timedelta(seconds=3), now) == "just now"


def test_badge_escapes_its_word():
    assert formats.badge("failed", "<b>") == '<span class="badge badge-failed">&lt;b&gt;</span>'


@pytest.mark.parametrize("value", [None, 5, 1.5, True, "Berlin", "5", "true", "null", '"quoted"', {"a": [1]}, "[", " x "])
def test_loose_value_survives_the_form(value: Any):
    text = loose_text(value)
    assert (loose_value(text) if text else None) == value


def test_bars_of_a_strip_stay_inside_and_end_at_the_right():
    boxes = charts.strip([0, 10, 5], width=300, height=50, slots=30)
    assert all(box.x >= 0 and box.x + box.width <= 300 and box.y >= 0 for box in boxes)
    assert [box.height for box in boxes] == [3.0, 50.0, 25.0]
    assert boxes[-1].x > 285


def test_stack_puts_parts_on_top_of_each_other():
    lower, upper = charts.stack([80, 20], x=5, width=10, base=100, scale=1)
    assert (lower.y, lower.height) == (20, 80)
    assert (upper.y, upper.height) == (0, 20)


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (3, 5), (11, 20), (370_000, 500_000)])
def test_axis_ends_at_a_round_number(value: float, top: float):
    assert charts.nice_top(value) == top


def test_differences_name_what_only_one_side_has():
    found = {line.name: line for line in differences({"a": 1, "b": "x"}, {"b": "x", "c": True})}
    assert [name for name, line in found.items() if line.is_changed] == ["a", "c"]
    assert (found["a"].now, found["c"].then) == ("", "")


def test_nested_payload_is_flattened_to_paths():
    assert rd_flat({"a": 1, "b": {"c": None, "d": [1]}, "e": {}}) == [("a", 1), ("b.c", None), ("b.d", [1]), ("e", {})]
