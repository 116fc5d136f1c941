"""All that the page of one incident shows, as far as its reader may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Q

from monitoring.models import AlertRule, Incident, IncidentEvent, IncidentSync
from monitoring.services import incident_sight
from monitoring.services.incident_list import Line
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

EVENTS, SYNCS, OTHERS, NEAR = 200, 100, 20, 100


@dataclass(frozen=True, slots=True)
class Found:
    """``events``: newest first. ``earlier``: incidents of the same cause before this one."""

    events: list[IncidentEvent]
    affected: list[IncidentSync]
    followers: list[Incident]
    lead: Incident | None
    earlier: list[Incident]
    rules: list[AlertRule]
    has_more_events: bool

    @property
    def unwell_count(self) -> int:
        return sum(one.recovered_at is None for one in self.affected)


def load(incident: Incident, user: User) -> Found:
    events = list(incident_sight.events(incident, user).order_by("-pk")[: EVENTS + 1])
    seen = incident_sight.visible(user)
    beside = Q(follows=incident) | Q(cause=incident.cause) | Q(pk=incident.follows_id or 0)
    near = list(seen.filter(beside).exclude(pk=incident.pk).order_by("-pk")[:NEAR])
    return Found(
        events=events[:EVENTS],
        affected=list(incident_sight.affected(incident, user)[:SYNCS]),
        followers=[one for one in near if one.follows_id == incident.pk][:OTHERS],
        lead=next((one for one in near if one.pk == incident.follows_id), None),
        earlier=[one for one in near if one.cause == incident.cause and one.pk < incident.pk][:5],
        rules=list(incident_sight.visible_rules(user).filter(incidents=incident).order_by("name")[:OTHERS]),
        has_more_events=len(events) > EVENTS,
    )


@dataclass(frozen=True, slots=True)
class Detail:
    """An incident as the list has it, and what its page shows. ``run_id``: the first run that showed it, if it may be seen."""

    line: Line
    found: Found
    run_id: int | None

    @property
    def incident(self) -> Incident:
        return self.line.incident

    @property
    def names(self) -> tuple[str, ...]:
        return self.line.names

    @property
    def count(self) -> int:
        return self.line.count

    @property
    def followers(self) -> int:
        return self.line.followers

    @property
    def is_following(self) -> bool:
        return self.line.is_following


def run_id(incident: Incident, user: User) -> int | None:
    return incident.run_id if incident.run is not None and access.may_see(user, incident.run.sync_id) else None
