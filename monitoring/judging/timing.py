"""Conditions about time and volume: late, stale, slow, no rows, too many or too few rows. Plain Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby, takewhile
from statistics import median

from monitoring.choices import Condition
from monitoring.judging import baseline
from monitoring.judging.anomaly import began
from monitoring.judging.causes import of_condition
from monitoring.judging.facts import Facts, Finding, Level, RunFact
from monitoring.judging.limits import Limits

LATE_LEAST = timedelta(minutes=15)
STALE_SLOTS = 3
SLOW_LEAST = timedelta(minutes=10)
SLOW_TIMES = 4
HISTORY = 30  # runs whose median duration counts
HISTORY_LEAST = 5


def lateness(facts: Facts, limits: Limits) -> timedelta | None:
    """How long after its slot a run counts as late; None: never."""
    if limits.lateness_minutes is not None:
        return timedelta(minutes=limits.lateness_minutes) or None
    return max(LATE_LEAST, timedelta(seconds=(facts.period_seconds or 0) / 10))


def expected_at(facts: Facts) -> datetime | None:
    """Since when a run is to start that has not: its slot is due, or it waits in the queue. While one runs, none is."""
    if facts.is_paused or facts.is_running_since is not None:
        return None
    return min((at for at in (facts.next_run_at, facts.waiting_since) if at is not None), default=None)


def late(facts: Facts, limits: Limits) -> Iterator[Finding]:
    limit, expected = lateness(facts, limits), expected_at(facts)
    if limit is None or expected is None or facts.now < expected + limit:
        return
    waited = facts.now - expected
    why = "waits in the queue" if expected == facts.waiting_since else "has not been started"
    yield Finding(
        condition=Condition.LATE,
        level=Level.WARN,
        cause=of_condition(facts, Condition.LATE),
        title=f"“{facts.name}” is late",
        text=f"The run that was due at {expected:%Y-%m-%d %H:%M} UTC {why}; later than {span(limit)} counts as late.",
        advice="Look whether a worker is alive and what it is busy with.",
        value=round(waited / timedelta(minutes=1), 1),
        limit=limit / timedelta(minutes=1),
    )


def fresh_since(facts: Facts) -> datetime | None:
    """Since when the data is as old as it is. A pause is no reproach: the time from its end counts."""
    last = next((run.finished_at for run in facts.regular_runs if run.is_well), None)
    if last is None:
        return None
    if facts.status == "paused" and not facts.is_paused:
        return facts.now
    resumed = [change.at for change in facts.changes if change.before == "paused"]
    return max([last, *resumed])


def stale_at(facts: Facts, limits: Limits) -> datetime | None:
    """From when on the data counts as stale; None: never."""
    since = fresh_since(facts)
    if since is None or facts.is_paused or limits.freshness_minutes == 0:
        return None
    if limits.freshness_minutes is not None:
        return since + timedelta(minutes=limits.freshness_minutes)
    grace = lateness(facts, limits) or LATE_LEAST
    if facts.third_slot_at is not None:
        return facts.third_slot_at + grace
    return since + STALE_SLOTS * timedelta(seconds=facts.period_seconds) + grace if facts.period_seconds else None


def freshness(facts: Facts, limits: Limits) -> Iterator[Finding]:
    stale, since = stale_at(facts, limits), fresh_since(facts)
    if stale is None or since is None or facts.now < stale:
        return
    rule = f"the limit is {span(timedelta(minutes=limits.freshness_minutes))}" if limits.freshness_minutes else "3 slots passed"
    yield Finding(
        condition=Condition.FRESHNESS,
        level=Level.WARN,
        cause=of_condition(facts, Condition.FRESHNESS),
        title=f"“{facts.name}” is stale",
        text=f"No run has ended well for {span(facts.now - since)}, since {since:%Y-%m-%d %H:%M} UTC; {rule}.",
        advice="Open the newest run: why did it not start, or not end well?",
        value=round((facts.now - since) / timedelta(minutes=1), 1),
        limit=round((stale - since) / timedelta(minutes=1), 1),
        run_id=facts.runs[0].id if facts.runs else None,
    )


def longest(facts: Facts, limits: Limits, at: datetime, past: Sequence[RunFact]) -> tuple[timedelta, str] | None:
    """How long a run that begins at ``at`` may take, and why so long; None: as long as it likes, or nobody knows yet."""
    if limits.duration_minutes is not None:
        limit = timedelta(minutes=limits.duration_minutes)
        return (limit, f"the limit is {span(limit)}") if limit else None
    samples = [(began(run), run.seconds) for run in past if run.is_well and run.seconds]
    usual = baseline.of(samples, at)
    if usual is None and len(samples) < HISTORY_LEAST:
        return None
    middle = usual.median if usual else median(seconds for _at, seconds in samples[:HISTORY])
    limit = max(SLOW_LEAST, timedelta(seconds=SLOW_TIMES * middle))
    return limit, f"usual are {span(timedelta(seconds=middle))}, and more than {span(limit)} counts as slow"


def duration(facts: Facts, limits: Limits) -> Iterator[Finding]:
    runs = facts.regular_runs
    if facts.is_running_since is not None:
        allowed = longest(facts, limits, facts.is_running_since, runs)
        took = facts.now - facts.is_running_since
        if allowed and took >= allowed[0]:
            yield _slow(facts, took, allowed, f"A run has been going on for {span(took)}", None)
            return
    if runs and runs[0].is_well and runs[0].started_at is not None:
        allowed = longest(facts, limits, began(runs[0]), runs[1:])
        took = timedelta(seconds=runs[0].seconds)
        if allowed and took >= allowed[0]:
            yield _slow(facts, took, allowed, f"The last run took {span(took)}", runs[0].id)


def _slow(facts: Facts, took: timedelta, allowed: tuple[timedelta, str], text: str, run_id: int | None) -> Finding:
    return Finding(
        condition=Condition.DURATION,
        level=Level.WARN,
        cause=of_condition(facts, Condition.DURATION),
        title=f"“{facts.name}” is slow",
        text=f"{text}; {allowed[1]}.",
        advice="Compare the steps of the run with an earlier one: is it the query, or does the destination answer slowly?",
        value=round(took / timedelta(minutes=1), 1),
        limit=round(allowed[0] / timedelta(minutes=1), 1),
        run_id=run_id,
    )


def zero_rows(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Runs in a row that read nothing where there used to be rows. Twice as long before: reading nothing is usual here."""
    runs = [run for run in facts.regular_runs if run.is_well]
    empty = list(takewhile(lambda run: run.read == 0, runs))
    if not limits.zero_row_runs or len(empty) < limits.zero_row_runs or len(empty) == len(runs):
        return
    streaks = [len(list(group)) for is_empty, group in groupby(runs[len(empty) :], lambda run: run.read == 0) if is_empty]
    if sum(length >= len(empty) for length in streaks) >= 2:
        return
    before = runs[len(empty)]
    count = "The last run" if len(empty) == 1 else f"The last {len(empty)} runs"
    yield Finding(
        condition=Condition.ZERO_ROWS,
        level=Level.WARN,
        cause=of_condition(facts, Condition.ZERO_ROWS),
        title=f"“{facts.name}” reads no rows",
        text=f"{count} read nothing; run {before.id}, the one before, read {before.read:,} rows.",
        advice="Run the query in the warehouse: were its tables filled, does its filter still fit?",
        value=len(empty),
        limit=limits.zero_row_runs,
        run_id=empty[0].id,
        drivers=tuple((f"Run {run.id}, {run.finished_at:%Y-%m-%d %H:%M} UTC", f"{run.read:,} rows") for run in runs[:5]),
    )


def volume(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Outside the band around the median of its own history at this time of the week, and outside what that history scatters
    by. Reading nothing at all is ``zero_rows``."""
    runs = [run for run in facts.regular_runs if run.is_well]
    if not runs or not limits.volume_band_percent or (runs[0].read == 0 and limits.zero_row_runs):
        return
    newest = runs[0]
    usual = baseline.of([(began(run), float(run.read)) for run in runs[1:]], began(newest))
    if usual is None or not usual.median or usual.holds(newest.read):
        return
    percent = 100 * (newest.read - usual.median) / usual.median
    if abs(percent) <= limits.volume_band_percent:
        return
    side = "more" if percent > 0 else "fewer"
    yield Finding(
        condition=Condition.VOLUME,
        level=Level.WARN,
        cause=of_condition(facts, Condition.VOLUME),
        title=f"“{facts.name}” reads {side} rows than usual",
        text=(
            f"The last run read {newest.read:,} rows, {abs(percent):,.0f} % {side} than usual "
            f"({usual.median:,.0f}, the median of {usual.basis}); {limits.volume_band_percent} % are allowed."
        ),
        advice=(
            "Look whether the query returns rows twice, or whether the source was loaded anew."
            if percent > 0
            else "Look whether the tables behind the query were filled, and whether its filter still fits."
        ),
        value=round(percent, 1),
        limit=limits.volume_band_percent,
        run_id=newest.id,
        drivers=(("Compared with", usual.basis), ("Normal", f"{usual.low:,.0f} to {usual.high:,.0f} rows")),
    )


def span(time: timedelta) -> str:
    """For people: ``40 seconds``, ``25 minutes``, ``3.5 hours``, ``4 days``."""
    seconds = time.total_seconds()
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size * (1 if size < 86_400 else 2) or size == 1:
            amount = seconds / size
            text = f"{amount:.0f}" if amount >= 10 or abs(amount - round(amount)) < 0.05 else f"{amount:.1f}"
            return f"{text} {name}{'' if text == '1' else 's'}"
    raise AssertionError
