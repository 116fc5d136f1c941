"""What a judgement of one sync rests on, and what it finds. Plain Python: no database, no clock.

Facts can be of now or of a moment in the past: ``as_of`` cuts a history, so that a rule can be tested against last week.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum

from monitoring.choices import Condition


class Level(IntEnum):
    """How bad: ``WARN`` makes a sync degraded, ``FAIL`` failing."""

    WARN = 1
    FAIL = 2


@dataclass(frozen=True, slots=True)
class RunFact:
    """One run that has ended. ``is_regular``: it did a whole slot's work (not a reprocess, not a few chosen rows).
    ``errors``: (error type, code, field, message with values masked, count), most frequent first."""

    id: int
    status: str
    is_regular: bool
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime
    read: int = 0
    vanished: int = 0  # mirror: rows to delete, beside those read
    accepted: int = 0
    unchanged: int = 0
    dead_lettered: int = 0
    pending: int = 0
    failure_type: str = ""
    failure_code: str = ""
    failure_message: str = ""
    failure_role: str = ""  # which way failed: source, destination; empty: the run itself
    reason: str = ""
    errors: tuple[tuple[str, str, str, str, int], ...] = ()

    @property
    def seconds(self) -> float:
        """How long it took; 0 for a run that never started."""
        return (self.finished_at - self.started_at).total_seconds() if self.started_at else 0.0

    @property
    def is_well(self) -> bool:
        return self.status in ("succeeded", "partial")


@dataclass(frozen=True, slots=True)
class HourFact:
    """What the runs that ended within one hour, or one day, came to."""

    starts_at: datetime
    runs: int
    failed: int
    read: int
    accepted: int
    dead_lettered: int


@dataclass(frozen=True, slots=True)
class DepthFact:
    """Live dead letters at a moment."""

    at: datetime
    depth: int
    oldest_failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class GroupFact:
    """An error group appeared, or came back. ``kind``: ``new`` or ``regressed``."""

    group_id: int
    kind: str
    at: datetime
    headline: str
    error_type: str
    run_id: int | None


@dataclass(frozen=True, slots=True)
class OpenErrors:
    """Live dead letters of one error type. ``field``: the one that most of them name."""

    error_type: str
    count: int
    field: str = ""
    group_id: int | None = None


@dataclass(frozen=True, slots=True)
class ChangeFact:
    """The sync took another status."""

    at: datetime
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ConnectionFact:
    id: int
    name: str
    role: str
    state: str
    state_message: str
    credential_expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Facts:
    """One sync at ``now``. ``runs``: ended ones, newest first, as far back as judgements look. ``hours``, ``depths``: oldest
    first; ``days``: whole ones (UTC) before today. ``period_seconds``: the longest usual time between two slots, None without a
    schedule; ``third_slot_at``: the third slot after ``timing.fresh_since``. ``next_run_at``: the slot that is due next (in the
    past: it has not been started). ``waiting_since``: when the oldest run that waits in the queue could have started.
    ``is_running_since``: start of the live run. ``changes``: of the last day and the last one, newest first."""

    sync_id: int
    name: str
    now: datetime
    created_at: datetime
    source: ConnectionFact
    destination: ConnectionFact
    tags: frozenset[str] = frozenset()
    is_paused: bool = False
    pause_reason: str = ""
    period_seconds: float | None = None
    next_run_at: datetime | None = None
    third_slot_at: datetime | None = None
    waiting_since: datetime | None = None
    is_running_since: datetime | None = None
    drift_since: datetime | None = None
    drift_reason: str = ""
    setup_problem: str = ""
    has_worked: bool = False
    runs: tuple[RunFact, ...] = ()
    hours: tuple[HourFact, ...] = ()
    days: tuple[HourFact, ...] = ()
    depth: int = 0
    oldest_failed_at: datetime | None = None
    depths: tuple[DepthFact, ...] = ()
    groups: tuple[GroupFact, ...] = ()
    open_errors: tuple[OpenErrors, ...] = ()
    changes: tuple[ChangeFact, ...] = ()
    status: str = ""
    status_reason: str = ""
    status_since: datetime | None = None
    better_count: int = 0

    @property
    def regular_runs(self) -> tuple[RunFact, ...]:
        return tuple(run for run in self.runs if run.is_regular)

    def as_of(self, moment: datetime) -> Facts:
        """The same sync as it stood then. What is not kept with a time (credentials, drift, set-up) is left out."""
        runs = tuple(run for run in self.runs if run.finished_at <= moment)
        at = [one for one in self.depths if one.at <= moment]
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        return replace(
            self,
            now=moment,
            runs=runs,
            hours=tuple(hour for hour in self.hours if hour.starts_at <= moment),
            days=tuple(day for day in self.days if day.starts_at < midnight),
            open_errors=(),
            changes=tuple(change for change in self.changes if change.at <= moment),
            groups=tuple(group for group in self.groups if group.at <= moment),
            depths=tuple(at),
            depth=at[-1].depth if at else 0,
            oldest_failed_at=at[-1].oldest_failed_at if at else None,
            next_run_at=None,
            third_slot_at=None,
            waiting_since=None,
            is_running_since=None,
            is_paused=False,
            drift_since=None,
            setup_problem="",
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong. ``cause``: the same text as long as it is the same thing to mend; findings of several syncs with one
    cause are one incident (``connection:3:auth``; ``sync:12:volume``). ``text``: a sentence for people, with what was measured
    and the limit; never a value of a row. ``advice``: the next step. ``drivers``: what it rests on, label and value."""

    condition: Condition
    level: Level
    cause: str
    title: str
    text: str
    advice: str = ""
    value: float | None = None
    limit: float | None = None
    run_id: int | None = None
    group_id: int | None = None
    connection_id: int | None = None
    drivers: tuple[tuple[str, str], ...] = ()
    # When this may change although nothing happens: the judgement is due again then.
    due_at: datetime | None = None
    data: Mapping[str, object] = field(default_factory=dict)
