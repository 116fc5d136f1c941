"""The one table of conditions: statuses, alert rules and tests against the past all ask here. Plain Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from monitoring.choices import Condition
from monitoring.judging import anomaly, failures, rows, timing
from monitoring.judging.causes import of_condition
from monitoring.judging.facts import Facts, Finding, Level
from monitoring.judging.limits import Limits

RECOVERED_FOR = timedelta(hours=1)  # so long a recovery is news
LATE_AGAIN = timedelta(minutes=2)  # a late run starts without a touch: look again


def find(condition: Condition, facts: Facts, limits: Limits) -> list[Finding]:
    """What this condition finds wrong with a sync, at ``facts.now``: usually nothing or one; one for each new error group.

    A finding means that the condition holds, whatever its level. Paused syncs have none of time. Conditions of Redrive itself
    (``choices.PLATFORM``) find nothing in a sync.
    """
    finder = _FINDERS.get(condition)
    return list(finder(facts, limits)) if finder is not None else []


def due_at(facts: Facts, limits: Limits) -> datetime | None:
    """The next moment at which a condition may begin to hold, or end, by the clock alone. None: only when something happens."""
    return min((at for at in _moments(facts, limits) if at > facts.now), default=None)


def _moments(facts: Facts, limits: Limits) -> Iterator[datetime]:
    for connection in (facts.source, facts.destination):
        ends_at = connection.credential_expires_at
        if ends_at is not None:
            yield ends_at - timedelta(days=limits.credential_days)
            yield ends_at
    if facts.oldest_failed_at is not None and limits.dlq_age_hours:
        yield facts.oldest_failed_at + timedelta(hours=limits.dlq_age_hours)
    yield from _of_runs(facts, limits)


def _of_runs(facts: Facts, limits: Limits) -> Iterator[datetime]:
    stale = timing.stale_at(facts, limits)
    if stale is not None:
        yield stale
    expected, limit = timing.expected_at(facts), timing.lateness(facts, limits)
    if expected is not None and limit is not None:
        yield expected + limit if expected + limit > facts.now else facts.now + LATE_AGAIN
    if facts.is_running_since is not None:
        allowed = timing.longest(facts, limits, facts.is_running_since, facts.regular_runs)
        if allowed is not None:
            yield facts.is_running_since + allowed[0]
        unusual = anomaly.due_at(facts, limits)
        if unusual is not None:
            yield unusual


def _recovery(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """The sync is healthy since a short while, and was not before."""
    last = facts.changes[0] if facts.changes else None
    if last is None or last.after != "healthy" or facts.status != "healthy" or last.before not in ("failing", "degraded"):
        return
    if facts.now - last.at <= RECOVERED_FOR:
        yield Finding(
            condition=Condition.RECOVERY,
            level=Level.WARN,
            cause=of_condition(facts, Condition.RECOVERY),
            title=f"“{facts.name}” is healthy again",
            text=f"It was {last.before} until {last.at:%Y-%m-%d %H:%M} UTC.",
            run_id=facts.runs[0].id if facts.runs else None,
        )


_FINDERS: dict[Condition, Callable[[Facts, Limits], Iterator[Finding] | list[Finding]]] = {
    Condition.RUN_FAILED: failures.run_failed,
    Condition.SETUP: failures.setup,
    Condition.CREDENTIAL: failures.credential,
    Condition.DRIFT: failures.drift,
    Condition.PERMISSION: failures.permission,
    Condition.ERROR_RATE: rows.error_rate,
    Condition.ERROR_BUDGET: rows.error_budget,
    Condition.DLQ_DEPTH: rows.dlq_depth,
    Condition.DLQ_AGE: rows.dlq_age,
    Condition.NEW_GROUP: rows.new_group,
    Condition.REGRESSED_GROUP: rows.regressed_group,
    Condition.LATE: timing.late,
    Condition.FRESHNESS: timing.freshness,
    Condition.DURATION: timing.duration,
    Condition.ZERO_ROWS: timing.zero_rows,
    Condition.VOLUME: timing.volume,
    Condition.ANOMALY: anomaly.findings,
    Condition.RECOVERY: _recovery,
}
