from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from monitoring.judging import baseline
from monitoring.judging.baseline import Sample

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def hourly(days: int, value_at=lambda moment: 1000.0, start: datetime = MONDAY) -> list[Sample]:
    moments = [start + n * HOUR for n in range(days * 24)]
    return [(moment, value_at(moment)) for moment in moments]


def by_day_and_night(moment: datetime) -> float:
    level = 1000.0 if 8 <= moment.hour < 20 else 10.0
    return level / 10 if moment.weekday() >= 5 else level


def test_hour_is_in_training_until_four_such_days_were_seen():
    samples = hourly(14)
    for days, is_known in ((3, False), (4, True), (5, False), (8, True), (12, False)):  # Saturday is day 5
        at = MONDAY + days * DAY + 10 * HOUR
        found = baseline.of(samples, at)
        assert (found is not None) is is_known
        assert (baseline.training_text(samples, at) == "") is is_known
    assert baseline.training_text(samples, MONDAY + 12 * DAY + 10 * HOUR) == (
        "In training: 2 of 4 weekend days around 10:00 seen."
    )


@pytest.mark.parametrize(
    ("days", "at", "median", "basis"),
    [
        (10, timedelta(days=10, hours=10), 1000, "8 working days around 10:00"),
        (10, timedelta(days=10, hours=3), 10, "8 working days around 03:00"),
        (14, timedelta(days=19, hours=10), 100, "4 weekend days around 10:00"),
        (28, timedelta(days=33, hours=10), 100, "4 Saturdays around 10:00"),
        (28, timedelta(days=29, hours=10, minutes=20), 1000, "4 Tuesdays around 10:20"),
        (84, timedelta(days=84, hours=10), 1000, "8 Mondays around 10:00"),
    ],
)
def test_narrowest_season_with_enough_days_is_taken(days: int, at: timedelta, median: float, basis: str):
    found = baseline.of(hourly(days, by_day_and_night), MONDAY + at)
    assert found is not None
    assert (found.median, found.basis) == (median, basis)


def test_runs_around_midnight_are_one_season():
    samples = [(MONDAY + n * DAY + timedelta(minutes=(-5, 5)[n % 2]), 500.0) for n in range(1, 6)]
    assert baseline.of(samples, MONDAY + 7 * DAY) is not None


def test_hours_are_those_of_the_time_zone_asked_in():
    zone = ZoneInfo("Europe/Berlin")
    local = datetime(2026, 3, 23, 6, tzinfo=zone)  # the clocks go forward on 29 March
    samples = [(local + n * DAY, 500.0) for n in range(5)]
    at = datetime(2026, 3, 30, 6, tzinfo=zone)
    assert baseline.of(samples, at) is not None
    assert baseline.of(samples, at.astimezone(UTC)) is None


def test_one_outage_in_the_past_moves_neither_median_nor_band():
    clean = hourly(10)
    dirty = [(moment, 0.0 if moment.date() == (MONDAY + DAY).date() else value) for moment, value in clean]
    at = MONDAY + 10 * DAY + 10 * HOUR
    found, expected = baseline.of(dirty, at), baseline.of(clean, at)
    assert found is not None
    assert expected is not None
    assert (found.median, found.low) == (expected.median, expected.low)


def test_even_past_leaves_a_quarter_of_room():
    found = baseline.of(hourly(5), MONDAY + 5 * DAY - 12 * HOUR)
    assert found is not None
    assert (round(found.low), round(found.high)) == (800, 1250)
    assert [found.holds(value) for value in (790, 801, 1250, 1260)] == [False, True, True, False]
    assert (found.score(1000), found.score(1250.25)) == (0, pytest.approx(1))
    assert found.score(0) < -1


def test_small_counts_scatter_more_than_large_ones():
    at = MONDAY + 4 * DAY + 10 * HOUR
    few = baseline.of(hourly(4, lambda moment: 16.0), at)
    share = baseline.of(hourly(4, lambda moment: 16.0), at, is_count=False)
    assert few is not None
    assert share is not None
    assert few.holds(7)
    assert not share.holds(7)


def test_least_distance_is_kept_around_nothing():
    found = baseline.of(hourly(4, lambda moment: 0.0), MONDAY + 4 * DAY, is_count=False, least=1.0)
    assert found is not None
    assert (found.low, found.high) == (0.0, 1.0)


def test_sync_of_every_minute_needs_days_not_runs():
    samples = [(MONDAY + timedelta(minutes=n), 50.0) for n in range(600)]
    assert baseline.of(samples, MONDAY + 10 * HOUR) is None


def test_runs_without_hours_are_compared_with_all_of_them():
    chance = random.Random(7)
    samples = [(MONDAY + timedelta(hours=31 * n), 1000.0 if n % 3 else 5.0) for n in range(14)]
    at = samples[-1][0] + timedelta(hours=chance.randrange(5, 9))
    found = baseline.of(samples, at)
    assert found is not None
    assert found.basis == "14 runs"
    assert found.holds(5), "a third of all runs cannot be unusual"
    assert baseline.of(samples[:9], at) is None


@pytest.mark.parametrize("scatter", [0.02, 0.1, 0.2])
def test_even_scattered_runs_are_hardly_ever_unusual(scatter: float):
    chance = random.Random(11)
    samples = hourly(28, lambda moment: by_day_and_night(moment) * 10 * chance.lognormvariate(0, scatter))
    judged = [(value, baseline.of(samples[:n], moment)) for n, (moment, value) in enumerate(samples) if n % 7 == 0]
    known = [(value, found) for value, found in judged if found is not None]
    assert len(known) >= 60
    assert all(found.holds(value) for value, found in known)
    assert any(found.high < 20 * found.median for _value, found in known)
