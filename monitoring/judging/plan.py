"""What becomes of the incidents of one sync, given what its rules found: a list of steps. Plain Python: no database, no clock.

One cause is one incident: it opens, others join it, it gets worse, they leave, it is over, it comes back. ``services.alerts``
writes the steps down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from monitoring.choices import Condition, IncidentEventKind, Severity
from monitoring.judging.causality import RANK, Lead, Situation, grave, is_graver, lead_of
from monitoring.judging.facts import Finding

Kind = IncidentEventKind

REOPENS_WITHIN = timedelta(hours=1)  # what comes back sooner is the same incident
CALM = timedelta(hours=1)  # what came back twice is over only when nothing was found for so long
DOUBTS_AFTER = timedelta(hours=24)  # a person said it is over, and it still is not
# These are seen once; they last until somebody has dealt with the group (``alerts.tend`` looks).
LASTING = (Condition.NEW_GROUP, Condition.REGRESSED_GROUP)


@dataclass(frozen=True, slots=True)
class Seen:
    """One cause as the rules in force see it. ``head``: the finding that names it. ``muted_until``: every rule is muted."""

    head: Finding
    severity: Severity
    rule_ids: frozenset[int]
    muted_until: datetime | None = None

    @property
    def cause(self) -> str:
        return self.head.cause

    @property
    def condition(self) -> Condition:
        return self.head.condition


@dataclass(frozen=True, slots=True)
class Known:
    """An incident that matters to this sync: not over, or the last one of a cause that is found again.

    ``is_member``: it affects this sync (and, where it is over, has not stopped doing so). ``other_count``: other syncs that it
    affects still. ``ended_at``: when it was over for this sync.
    """

    id: int
    cause: str
    condition: Condition
    severity: Severity
    is_over: bool = False
    is_member: bool = True
    is_by_hand: bool = False  # a person resolved it
    other_count: int = 0
    run_id: int | None = None  # the run that showed it last
    ended_at: datetime | None = None
    last_seen_at: datetime | None = None
    follows_id: int | None = None
    reopened_count: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """``incident_id`` None: the incident that an earlier step opens. ``lead``: what it follows from."""

    kind: IncidentEventKind
    cause: str
    incident_id: int | None = None
    seen: Seen | None = None
    severity: Severity | None = None
    lead: Lead | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """``again``: incidents found once more, nothing new about them. ``gone``: ids of incidents that a person has resolved and
    that are over now: what comes later is new."""

    steps: tuple[Step, ...] = ()
    again: Mapping[int, Seen] = field(default_factory=dict)
    gone: tuple[int, ...] = ()


def is_shared(cause: str) -> bool:
    return cause.startswith("connection:")


def merged(found: Iterable[tuple[int, Severity, datetime | None, Finding]]) -> dict[str, Seen]:
    """(rule, its severity, its mute, finding) -> one ``Seen`` per cause, what is to be mended first."""
    causes: dict[str, Seen] = {}
    for rule_id, severity, muted_until, finding in found:
        one = Seen(finding, severity, frozenset((rule_id,)), muted_until)
        causes[finding.cause] = _joined(causes[finding.cause], one) if finding.cause in causes else one
    # The same order for every sync: judgements that share incidents do not wait for each other in a circle.
    return dict(sorted(causes.items(), key=lambda pair: (RANK[pair[1].condition], pair[0])))


def _joined(one: Seen, other: Seen) -> Seen:
    head = min(one.head, other.head, key=lambda finding: (RANK[finding.condition], -finding.level))
    mutes = [mute for mute in (one.muted_until, other.muted_until) if mute is not None]
    muted_until = min(mutes) if len(mutes) == 2 else None  # one that is not muted speaks for all
    return Seen(head, grave(one.severity, other.severity), one.rule_ids | other.rule_ids, muted_until)


def plan(at: Situation, seen: Mapping[str, Seen], known: Sequence[Known], former: Sequence[Lead] = ()) -> Plan:
    """``seen``: from ``merged``. ``known``: at most one for each cause. ``former``: incidents that are over for this sync since
    a short while, and open ones of Redrive itself."""
    by_cause = {one.cause: one for one in known}
    leads = [*former, *_standing(at, seen, by_cause)]
    steps: list[Step] = []
    again: dict[int, Seen] = {}
    for cause, one in seen.items():
        incident = by_cause.get(cause)
        made = list(_found(at, one, incident, leads))
        steps += made
        if incident is not None and not incident.is_over and incident.is_member:
            again[incident.id] = one
    steps += [step for one in known if one.cause not in seen for step in _missing(at, one)]
    gone = tuple(one.id for one in known if one.is_over and one.is_member and one.cause not in seen)
    return Plan(tuple(_escalated(steps, by_cause)), again, gone)


def _standing(at: Situation, seen: Mapping[str, Seen], by_cause: Mapping[str, Known]) -> Iterator[Lead]:
    """What is open after this judgement, or was closed by a person and is still found."""
    for cause, one in seen.items():
        incident = by_cause.get(cause)
        if incident is None and not at.is_paused:
            yield Lead(cause, one.condition, one.severity)
        elif incident is not None and not (incident.is_over and at.is_paused):
            yield Lead(cause, one.condition, grave(one.severity, incident.severity), incident.id)
    for cause, incident in by_cause.items():
        if cause not in seen and incident.is_member and not incident.is_over:
            is_over = _is_calm(at, incident)
            yield Lead(cause, incident.condition, incident.severity, incident.id, at.now if is_over else None)


def _found(at: Situation, one: Seen, incident: Known | None, leads: list[Lead]) -> Iterator[Step]:
    # What several syncs share follows from nothing that is wrong with one of them.
    others = [] if is_shared(one.cause) else [each for each in leads if each.cause != one.cause]
    lead = lead_of(one.condition, one.severity, others, at) or _together(one, incident, leads)
    if incident is None or (incident.is_over and _is_new(at, one, incident)):
        if not at.is_paused:
            yield from _opened(one, incident, lead, at)
        return
    if incident.is_over:
        return  # a person said so, and nothing has happened since
    if not incident.is_member and not at.is_paused:
        yield Step(Kind.JOINED, one.cause, incident.id, one)
    if incident.follows_id is None and lead is not None and lead.ended_at is None:
        yield Step(Kind.SUPPRESSED, one.cause, incident.id, one, lead=lead)
    if incident.follows_id is not None and lead is None and one.condition not in LASTING:
        yield Step(Kind.RELEASED, one.cause, incident.id, one)
    if is_graver(one.severity, incident.severity):
        yield Step(Kind.CHANGED, one.cause, incident.id, one, severity=one.severity)


def _together(one: Seen, incident: Known | None, leads: list[Lead]) -> Lead | None:
    """New errors that one judgement brings have one origin, a deployment for example: people are told of the first of them."""
    if incident is not None or one.condition not in LASTING:
        return None
    first = next((lead for lead in leads if lead.incident_id is None and lead.condition in LASTING), None)
    return first if first is not None and first.cause != one.cause else None


def _opened(one: Seen, incident: Known | None, lead: Lead | None, at: Situation) -> Iterator[Step]:
    is_back = incident is not None and _comes_back(at, incident)
    kind = Kind.REOPENED if is_back else Kind.OPENED
    if one.condition == Condition.RECOVERY:
        if incident is None or incident.ended_at is None or at.now - incident.ended_at > CALM:
            yield Step(Kind.RECOVERED, one.cause, None, one)
        return
    yield Step(kind, one.cause, incident.id if incident and is_back else None, one, lead=lead)


def _comes_back(at: Situation, incident: Known) -> bool:
    """Whether it is the same incident still: soon after it was over, or never over in truth."""
    if incident.is_by_hand and incident.is_member:
        return True
    return incident.ended_at is not None and at.now - incident.ended_at <= REOPENS_WITHIN


def _is_new(at: Situation, one: Seen, incident: Known) -> bool:
    """Whether what is found speaks against the end of the incident. A person who resolved it is believed until a newer run
    shows it again, or a day has passed."""
    newest = one.head.run_id
    if one.condition in LASTING:
        return newest is not None and incident.run_id is not None and newest > incident.run_id
    if not (incident.is_by_hand and incident.is_member) or incident.ended_at is None:
        return True
    if newest is not None and incident.run_id is not None:
        return newest > incident.run_id
    return at.now - incident.ended_at >= DOUBTS_AFTER


def _missing(at: Situation, incident: Known) -> Iterator[Step]:
    if incident.is_over or not incident.is_member or incident.condition in LASTING or not _is_calm(at, incident):
        return
    if incident.other_count:
        yield Step(Kind.LEFT, incident.cause, incident.id)
    elif not at.is_paused:  # nobody knows how it is with a sync that does nothing
        yield Step(Kind.RECOVERED, incident.cause, incident.id)


def _is_calm(at: Situation, incident: Known) -> bool:
    if incident.condition in LASTING:
        return False
    if incident.reopened_count < 2 or incident.last_seen_at is None:
        return True
    return at.now - incident.last_seen_at >= CALM


def _escalated(steps: list[Step], by_cause: Mapping[str, Known]) -> Iterator[Step]:
    """Who follows from something milder makes that as grave as itself: people are told once, and loudly enough."""
    wanted: dict[str, Step] = {}
    for step in steps:
        if step.lead is None or step.seen is None or step.lead.ended_at is not None:
            continue
        best = wanted.get(step.lead.cause)
        if is_graver(step.seen.severity, best.severity if best and best.severity else step.lead.severity):
            wanted[step.lead.cause] = replace(step, severity=step.seen.severity)
    for step in steps:
        if step.cause in wanted and step.kind in (Kind.OPENED, Kind.REOPENED) and step.seen is not None:
            graver = wanted.pop(step.cause).severity
            step = replace(step, seen=replace(step.seen, severity=graver or step.seen.severity))
        yield step
    for cause, step in wanted.items():
        incident = by_cause.get(cause)
        if incident is not None and not incident.is_over and step.seen is not None:
            yield Step(Kind.CHANGED, cause, incident.id, severity=step.severity, text=step.seen.head.text)
