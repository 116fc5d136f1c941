"""All that the page of one incident shows, as far as its reader may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet

from monitoring.models import AlertRule, Incident, IncidentEvent, IncidentSync
from monitoring.services import incident_sight
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
        rules=list(visible_rules(user).filter(incidents=incident).order_by("name")[:OTHERS]),
        has_more_events=len(events) > EVENTS,
    )


def visible_rules(user: User) -> QuerySet[AlertRule]:
    """Rules, without those about one sync that the user does not see."""
    ids = access.visible_sync_ids(user)
    rules = AlertRule.objects.all()
    return rules if ids is None else rules.filter(Q(sync=None) | Q(sync_id__in=ids))
