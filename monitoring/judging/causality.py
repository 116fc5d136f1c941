"""Which findings are the same trouble, and which only follow from another. Plain Python.

A follower is written down, so that a page can show it, but nobody is told of it while what it follows from is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.choices import SEVERITIES, Condition, Severity
from monitoring.judging.facts import Facts

C = Condition

# From what is to be mended to what only shows it. An incident follows one that stands before it here, so there are no circles.
ORDER: tuple[Condition, ...] = (
    C.WORKER_SILENT,
    C.QUEUE_STUCK,
    C.CREDENTIAL,
    C.SETUP,
    C.PERMISSION,
    C.DRIFT,
    C.RUN_FAILED,
    C.REGRESSED_GROUP,
    C.NEW_GROUP,
    C.LATE,
    C.ZERO_ROWS,
    C.VOLUME,
    C.DURATION,
    C.FRESHNESS,
    C.ERROR_RATE,
    C.ERROR_BUDGET,
    C.DLQ_DEPTH,
    C.DLQ_AGE,
    C.ANOMALY,
    C.RECOVERY,
)
RANK = {condition: rank for rank, condition in enumerate(ORDER)}

_PLATFORM = (C.WORKER_SILENT, C.QUEUE_STUCK)
_NO_RUNS = (*_PLATFORM, C.CREDENTIAL, C.SETUP, C.RUN_FAILED)  # nothing arrives
_ROWS_FAIL = (C.CREDENTIAL, C.SETUP, C.PERMISSION, C.DRIFT, C.RUN_FAILED, C.REGRESSED_GROUP, C.NEW_GROUP)

# What each may follow from.
LEADS: dict[Condition, tuple[Condition, ...]] = {
    C.RUN_FAILED: (C.DRIFT,),
    C.REGRESSED_GROUP: (C.DRIFT, C.PERMISSION),
    C.NEW_GROUP: (C.DRIFT, C.PERMISSION),
    C.LATE: _NO_RUNS,
    C.ZERO_ROWS: _NO_RUNS,
    C.VOLUME: (*_NO_RUNS, C.LATE, C.ZERO_ROWS),
    C.DURATION: (*_NO_RUNS, C.LATE, C.VOLUME),
    C.FRESHNESS: (*_NO_RUNS, C.LATE, C.DURATION),
    C.ERROR_RATE: _ROWS_FAIL,
    C.ERROR_BUDGET: (*_ROWS_FAIL, C.ERROR_RATE),
    C.DLQ_DEPTH: (*_ROWS_FAIL, C.ERROR_RATE, C.ERROR_BUDGET),
    C.DLQ_AGE: (*_ROWS_FAIL, C.ERROR_RATE, C.ERROR_BUDGET, C.DLQ_DEPTH),
    C.ANOMALY: tuple(one for one in ORDER if one not in (C.ANOMALY, C.RECOVERY)),
}

# After the trouble there is an echo: a run that catches up reads more and takes longer, an error rate looks back a day.
ECHO = timedelta(hours=1)
ECHO_MAX = timedelta(hours=36)
_ECHO_OF = {C.ERROR_RATE: timedelta(hours=24), C.ERROR_BUDGET: timedelta(hours=24), C.ANOMALY: timedelta(hours=24)}


@dataclass(frozen=True, slots=True)
class Situation:
    """When, and how it stands with the sync. ``last_ended_at``: of its regular runs."""

    now: datetime
    is_paused: bool = False
    last_ended_at: datetime | None = None

    @classmethod
    def of(cls, facts: Facts) -> Situation:
        ends = [run.finished_at for run in facts.regular_runs]
        return cls(facts.now, facts.is_paused, max(ends, default=None))


@dataclass(frozen=True, slots=True)
class Lead:
    """An incident of the same sync that others may follow from. ``incident_id`` None: it is about to be opened.
    ``ended_at``: when it was over for this sync."""

    cause: str
    condition: Condition
    severity: Severity
    incident_id: int | None = None
    ended_at: datetime | None = None


def grave(one: Severity, other: Severity) -> Severity:
    """The graver of two."""
    return max(one, other, key=SEVERITIES.index)


def is_graver(one: Severity, other: Severity) -> bool:
    return SEVERITIES.index(one) > SEVERITIES.index(other)


def explains(lead: Lead, condition: Condition, severity: Severity, at: Situation) -> bool:
    """Whether a finding of this condition needs no alarm of its own beside ``lead``.

    What is over explains its echo: until a newer run has ended, at least an hour, at most 36; and never what is graver.
    """
    if lead.condition not in LEADS.get(condition, ()):
        return False
    if lead.ended_at is None:
        return True
    over_for = at.now - lead.ended_at
    if is_graver(severity, lead.severity) or over_for >= ECHO_MAX:
        return False
    has_newer = at.last_ended_at is not None and at.last_ended_at > lead.ended_at
    return over_for < _ECHO_OF.get(condition, ECHO) or not has_newer


def lead_of(condition: Condition, severity: Severity, leads: list[Lead], at: Situation) -> Lead | None:
    """What it follows from: what stands first in ``ORDER``, and is open rather than over."""
    fitting = [lead for lead in leads if explains(lead, condition, severity, at)]
    return min(fitting, key=lambda lead: (lead.ended_at is not None, RANK[lead.condition]), default=None)
