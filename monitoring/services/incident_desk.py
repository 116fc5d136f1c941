"""Writes the plan of one judgement down: incidents, whom they affect, their timelines."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from monitoring.choices import Event, IncidentEventKind, IncidentState, Severity
from monitoring.judging.causality import Lead, is_graver
from monitoring.judging.facts import Finding
from monitoring.judging.plan import Plan, Seen, Step, is_shared
from monitoring.models import Incident, IncidentSync
from monitoring.services.incident_steps import LIVE, announce, close, is_muted, log, release

Kind = IncidentEventKind


def perform(made: Plan, incidents: Mapping[int, Incident], *, now: datetime, sync_id: int | None = None) -> None:
    """``incidents``: by id, locked where they are not over. ``sync_id`` None: of Redrive itself."""
    desk = _Desk(dict(incidents), now, sync_id)
    joined = desk.note_rules(made.again)
    for step in made.steps:
        desk.do(step)
    desk.seen_again(made.again)
    changed = {step.incident_id for step in made.steps if step.kind == Kind.CHANGED}  # these are told anyway
    for pk in joined - changed:
        desk.announce_opened(desk.incidents[pk], made.again[pk].head.text)
    if made.gone and sync_id is not None:
        IncidentSync.objects.filter(incident__in=made.gone, sync=sync_id, recovered_at=None).update(recovered_at=now)


class _Desk:
    """One judgement at work. ``ids``: cause -> the incident that stands for it."""

    def __init__(self, incidents: dict[int, Incident], now: datetime, sync_id: int | None) -> None:
        self.incidents, self.now, self.sync_id = incidents, now, sync_id
        self.ids = {one.cause: one.pk for one in incidents.values()}

    def do(self, step: Step) -> None:
        if step.kind == Kind.OPENED and step.seen:
            self.open(step, step.seen)
        elif step.kind == Kind.RECOVERED and step.seen:
            self.pass_on(step.seen)
        elif (incident := self.incidents.get(step.incident_id or 0)) is not None:
            self._on(incident, step)

    def _on(self, incident: Incident, step: Step) -> None:
        match step.kind, step.seen:
            case Kind.REOPENED, Seen() as seen:
                self.reopen(incident, seen, step.lead)
            case Kind.JOINED, Seen() as seen:
                self.join(incident, seen)
            case Kind.CHANGED, seen if step.severity is not None:
                self.change(incident, step.severity, step.text or (seen.head.text if seen else ""))
            case Kind.SUPPRESSED, _ if step.lead is not None:
                self.suppress(incident, step.lead)
            case Kind.RELEASED, Seen() as seen:
                release(incident, self.now, text=seen.head.text, sync_id=self.sync_id)
            case Kind.LEFT, _:
                self.leave(incident)
                log(incident, Kind.LEFT, self.now, sync_id=self.sync_id)
            case Kind.RECOVERED, _:
                self.recover(incident)

    # --- opened, joined, reopened

    def open(self, step: Step, seen: Seen) -> None:
        lead_id = self._id_of(step.lead)
        incident = _new(seen, self.sync_id, self.now, lead_id)
        try:
            with transaction.atomic():
                incident.save(force_insert=True)
        except IntegrityError:  # incident_one_open_per_cause: another sync with the same cause was judged at this moment
            standing = Incident.objects.select_for_update().filter(cause=seen.cause, state__in=LIVE).first()
            if standing is None:
                raise
            self._adopt(standing)
            self.join(standing, seen)
            return
        self._adopt(incident)
        incident.rules.add(*seen.rule_ids)
        self._enter(incident, seen.head)
        is_told = lead_id is None and not is_muted(incident, self.now)
        log(incident, Kind.OPENED, self.now, sync_id=self.sync_id, text=seen.head.text, run_id=incident.run_id, told=is_told)
        self._say_why_quiet(incident, step.lead)
        if is_told:
            announce(incident, Event.INCIDENT_OPENED, self.now, seen.head.text)

    def pass_on(self, seen: Seen) -> None:
        """Good news: something that is over as soon as it is said."""
        incident = _new(seen, self.sync_id, self.now, None)
        incident.state, incident.resolved_at, incident.resolution = IncidentState.RESOLVED, self.now, seen.head.text[:255]
        incident.save(force_insert=True)
        incident.rules.add(*seen.rule_ids)
        self._enter(incident, seen.head, is_over=True)
        is_told = not is_muted(incident, self.now)
        log(incident, Kind.RECOVERED, self.now, sync_id=self.sync_id, text=seen.head.text, run_id=incident.run_id, told=is_told)
        if is_told:
            announce(incident, Event.INCIDENT_RESOLVED, self.now, seen.head.text)

    def reopen(self, incident: Incident, seen: Seen, lead: Lead | None) -> None:
        lead_id = self._id_of(lead)
        changes: dict[str, Any] = {
            "state": IncidentState.OPEN,
            "severity": seen.severity,
            "resolved_at": None,
            "resolved_by": None,
            "resolution": "",
            "acknowledged_at": None,
            "acknowledged_by": None,
            "follows": lead_id,
            "muted_until": seen.muted_until,
            "last_seen_at": self.now,
        }
        ended = Incident.objects.filter(pk=incident.pk, state=IncidentState.RESOLVED)
        try:
            with transaction.atomic():
                done = ended.update(**changes, seen_count=F("seen_count") + 1, reopened_count=F("reopened_count") + 1)
        except IntegrityError:  # the cause has another incident by now
            done = 0
        if done != 1:
            return
        incident.refresh_from_db()
        incident.rules.add(*seen.rule_ids)
        self._enter(incident, seen.head)
        is_told = lead_id is None and not is_muted(incident, self.now)
        log(incident, Kind.REOPENED, self.now, sync_id=self.sync_id, text=seen.head.text, run_id=seen.head.run_id, told=is_told)
        self._say_why_quiet(incident, lead)
        if is_told:
            announce(incident, Event.INCIDENT_OPENED, self.now, seen.head.text)

    def join(self, incident: Incident, seen: Seen) -> None:
        """Whoever was told of the incident is not told again: ``announce`` reaches those only whom the new sync concerns."""
        if not self._enter(incident, seen.head):
            return
        log(incident, Kind.JOINED, self.now, sync_id=self.sync_id, text=seen.head.text, run_id=seen.head.run_id)
        incident.rules.add(*seen.rule_ids)
        self.announce_opened(incident, seen.head.text)
        if is_graver(seen.severity, Severity(incident.severity)):
            self.change(incident, seen.severity, seen.head.text)

    # --- found again

    def note_rules(self, again: Mapping[int, Seen]) -> set[int]:
        """Rules that find what others have found before; returns the incidents that they join: their places are to hear."""
        if not again:
            return set()
        known = set(Incident.rules.through.objects.filter(incident__in=again).values_list("incident_id", "alertrule_id"))
        joined = {pk for pk, seen in again.items() if {(pk, rule_id) for rule_id in seen.rule_ids} - known}
        for pk in joined:
            self.incidents[pk].rules.add(*again[pk].rule_ids)
        return joined

    def seen_again(self, again: Mapping[int, Seen]) -> None:
        if again:
            live = Incident.objects.filter(pk__in=again, state__in=LIVE)
            live.update(last_seen_at=self.now, seen_count=F("seen_count") + 1)
        for pk, seen in again.items():
            self._reword(self.incidents[pk], seen.head)

    def _reword(self, incident: Incident, head: Finding) -> None:
        if incident.sync_id is not None or self.sync_id is None:
            drivers = [list(pair) for pair in head.drivers]
            if (incident.text, incident.drivers) != (text_of(head), drivers):
                Incident.objects.filter(pk=incident.pk).update(text=text_of(head), drivers=drivers)
        if self.sync_id is not None:
            mine = IncidentSync.objects.filter(incident=incident, sync=self.sync_id, recovered_at=None)
            mine.exclude(text=head.text, run=head.run_id).update(text=head.text, run=head.run_id)

    def change(self, incident: Incident, severity: Severity, text: str) -> None:
        """Graver than it was."""
        milder = [one for one in Severity if is_graver(severity, one)]
        graver = Incident.objects.filter(pk=incident.pk, severity__in=milder, state__in=LIVE)
        if graver.update(severity=severity) != 1:
            return
        before, incident.severity = incident.severity, severity
        log(incident, Kind.CHANGED, self.now, sync_id=self.sync_id, text=text, detail={"severity": [before, severity]})
        if incident.follows_id is None and not is_muted(incident, self.now):
            announce(incident, Event.INCIDENT_CHANGED, self.now, text)

    def suppress(self, incident: Incident, lead: Lead) -> None:
        lead_id = self._id_of(lead)
        if lead_id is not None and Incident.objects.filter(pk=incident.pk, follows=None).update(follows=lead_id) == 1:
            incident.follows_id = lead_id
            self._say_why_quiet(incident, lead)

    # --- over

    def leave(self, incident: Incident) -> None:
        if self.sync_id is not None:
            mine = IncidentSync.objects.filter(incident=incident, sync=self.sync_id, recovered_at=None)
            mine.update(recovered_at=self.now)

    def recover(self, incident: Incident) -> None:
        self.leave(incident)
        close(incident, self.now, "Nothing is found any more.", sync_id=self.sync_id)

    # --- parts

    def _adopt(self, incident: Incident) -> None:
        self.incidents[incident.pk] = incident
        self.ids[incident.cause] = incident.pk

    def _id_of(self, lead: Lead | None) -> int | None:
        if lead is None:
            return None
        return lead.incident_id or self.ids.get(lead.cause)

    def _enter(self, incident: Incident, head: Finding, *, is_over: bool = False) -> bool:
        """False: the sync was in it already."""
        if self.sync_id is None:
            return True
        values = {
            "since": self.now,
            "recovered_at": self.now if is_over else None,
            "text": head.text,
            "run_id": head.run_id,
        }
        mine = IncidentSync.objects.filter(incident=incident, sync=self.sync_id)
        if mine.filter(recovered_at__isnull=False).update(**values) == 1:
            return True
        return mine.get_or_create(incident=incident, sync_id=self.sync_id, defaults=values)[1]

    def announce_opened(self, incident: Incident, text: str) -> None:
        if incident.follows_id is None and not is_muted(incident, self.now):
            announce(incident, Event.INCIDENT_OPENED, self.now, text)

    def _say_why_quiet(self, incident: Incident, lead: Lead | None) -> None:
        if lead is not None and incident.follows_id is not None:
            detail = {"follows": incident.follows_id}
            log(incident, Kind.SUPPRESSED, self.now, sync_id=self.sync_id, detail=detail)
        elif incident.muted_until is not None:
            text = f"Every rule that finds it is muted until {incident.muted_until:%-d %b %H:%M} UTC."
            log(incident, Kind.MUTED, self.now, text=text)


def text_of(head: Finding) -> str:
    return " ".join(filter(None, (head.text, head.advice)))


def _new(seen: Seen, sync_id: int | None, now: datetime, lead_id: int | None) -> Incident:
    head = seen.head
    is_one = not is_shared(head.cause)
    return Incident(
        cause=head.cause,
        condition=head.condition,
        severity=seen.severity,
        title=head.title[:255],
        text=text_of(head) if is_one else head.advice,  # what is found at one sync is no news to who may not see it
        drivers=[list(pair) for pair in head.drivers] if is_one else [],
        sync_id=sync_id if is_one else None,
        connection_id=head.connection_id,
        group_id=head.group_id,
        run_id=head.run_id if is_one else None,
        follows_id=lead_id,
        muted_until=seen.muted_until,
        opened_at=now,
        last_seen_at=now,
    )
