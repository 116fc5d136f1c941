from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from monitoring.judging import hours

BERLIN, NEW_YORK, SYDNEY, KATHMANDU, APIA = (
    ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kathmandu", "Pacific/Apia")
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "begin", "end", "zone", "until"),
    [
        # Over midnight, in winter (UTC+1): 22:00 is 21:00 UTC, 07:00 is 06:00 UTC.
        ("2026-01-10T20:59:59", time(22), time(7), BERLIN, None),
        ("2026-01-10T21:00:00", time(22), time(7), BERLIN, "2026-01-11T06:00:00"),
        ("2026-01-11T05:59:59", time(22), time(7), BERLIN, "2026-01-11T06:00:00"),
        ("2026-01-11T06:00:00", time(22), time(7), BERLIN, None),
        # In summer (UTC+2) the same hours.
        ("2026-07-10T20:00:00", time(22), time(7), BERLIN, "2026-07-11T05:00:00"),
        # Within one day.
        ("2026-01-10T11:30:00", time(12), time(13), BERLIN, "2026-01-10T12:00:00"),
        ("2026-01-10T12:00:00", time(12), time(13), BERLIN, None),
        # The night in which clocks go forward (02:00 becomes 03:00 at 01:00 UTC) is an hour shorter.
        ("2026-03-28T21:30:00", time(22), time(7), BERLIN, "2026-03-29T05:00:00"),
        # An end that is skipped is the moment of the change; a begin that is skipped as well.
        ("2026-03-29T00:30:00", time(22), time(2, 30), BERLIN, "2026-03-29T01:00:00"),
        ("2026-03-29T01:00:00", time(22), time(2, 30), BERLIN, None),
        ("2026-03-29T00:59:59", time(2, 30), time(5), BERLIN, None),
        ("2026-03-29T01:00:00", time(2, 30), time(5), BERLIN, "2026-03-29T03:00:00"),
        # The night in which clocks go back (03:00 becomes 02:00 at 01:00 UTC) is an hour longer, without a gap in it.
        ("2026-10-24T20:30:00", time(22), time(7), BERLIN, "2026-10-25T06:00:00"),
        ("2026-10-25T00:45:00", time(22), time(2, 30), BERLIN, "2026-10-25T01:30:00"),
        ("2026-10-25T01:15:00", time(22), time(2, 30), BERLIN, "2026-10-25T01:30:00"),
        ("2026-10-25T00:30:00", time(2, 30), time(5), BERLIN, "2026-10-25T04:00:00"),
        # The other half of the world, and quarters of an hour.
        ("2026-10-03T15:30:00", time(22), time(2, 30), SYDNEY, "2026-10-03T16:00:00"),
        ("2026-03-08T06:59:00", time(22), time(2, 15), NEW_YORK, "2026-03-08T07:00:00"),
        ("2026-05-05T16:16:00", time(22), time(6), KATHMANDU, "2026-05-06T00:15:00"),
        # A whole day of them.
        ("2026-01-10T07:00:00", time(8), time(8), UTC, "2026-01-10T08:00:00"),
        ("2026-01-10T08:00:00", time(8), time(8), UTC, "2026-01-11T08:00:00"),
    ],
)
def test_quiet_until_at_edges(at: str, begin: time, end: time, zone: ZoneInfo, until: str | None) -> None:
    assert hours.quiet_until(utc(at), begin, end, zone) == (utc(until) if until else None)


@pytest.mark.parametrize(
    ("after", "hour", "weekday", "zone", "due"),
    [
        ("2026-01-10T06:59:59", 8, None, BERLIN, "2026-01-10T07:00:00"),
        ("2026-01-10T07:00:00", 8, None, BERLIN, "2026-01-11T07:00:00"),
        ("2026-03-28T07:00:00", 8, None, BERLIN, "2026-03-29T06:00:00"),  # 23 hours later
        ("2026-10-24T06:00:00", 8, None, BERLIN, "2026-10-25T07:00:00"),  # 25 hours later
        ("2026-03-28T23:30:00", 2, None, BERLIN, "2026-03-29T01:00:00"),  # skipped: at the change
        ("2026-10-25T00:00:00", 2, None, BERLIN, "2026-10-26T01:00:00"),  # twice: the first only
        ("2026-11-23T12:00:00", 8, 0, BERLIN, "2026-11-30T07:00:00"),  # a Monday, past eight
        ("2026-11-22T23:30:00", 0, 0, BERLIN, "2026-11-29T23:00:00"),  # Monday there, Sunday in UTC
        ("2026-11-22T22:30:00", 0, 0, BERLIN, "2026-11-22T23:00:00"),
        ("2011-12-29T20:00:00", 8, 4, APIA, "2011-12-30T10:00:00"),  # Samoa left that Friday out
    ],
)
def test_next_digest_at_edges(after: str, hour: int, weekday: int | None, zone: ZoneInfo, due: str) -> None:
    assert hours.next_digest(utc(after), hour, weekday, zone) == utc(due)


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, SYDNEY, KATHMANDU])
def test_quiet_hours_through_a_year_have_one_end_each(zone: ZoneInfo) -> None:
    """Stepping through a year: what is quiet says the same end until it, each end is 07:00 there, and each day has one."""
    at, stop = utc("2026-01-01T00:00:00"), utc("2027-01-01T00:00:00")
    ends = set()
    while at < stop:
        until = hours.quiet_until(at, time(22), time(7), zone)
        if until is not None:
            assert until > at
            assert until.astimezone(zone).time() == time(7)
            ends.add(until)
        assert (until is not None) == (not 7 <= at.astimezone(zone).hour < 22)
        at += timedelta(minutes=30)
    assert 365 <= len(ends) <= 367
