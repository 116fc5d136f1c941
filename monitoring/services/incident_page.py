"""All that the page of one incident shows, as far as its reader may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet

from monitoring.models import AlertRule, Delivery, Incident, IncidentEvent, IncidentSync
from monitoring.services import incident_sight
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

EVENTS, SYNCS, OTHERS = 200, 100, 20


@dataclass(frozen=True, slots=True)
class Found:
    """``events``: newest first. ``earlier``: incidents of the same cause before this one."""

    events: list[IncidentEvent]
    affected: list[IncidentSync]
    followers: list[Incident]
    lead: Incident | None
    earlier: list[Incident]
    rules: list[AlertRule]
    delivery_count: int
    has_more_events: bool

    @property
    def unwell_count(self) -> int:
        return sum(one.recovered_at is None for one in self.affected)


def load(incident: Incident, user: User) -> Found:
    events = list(incident_sight.events(incident, user).order_by("-pk")[: EVENTS + 1])
    seen = incident_sight.visible(user)
    return Found(
        events=events[:EVENTS],
        affected=list(incident_sight.affected(incident, user)[:SYNCS]),
        followers=list(seen.filter(follows=incident).order_by("resolved_at", "-pk")[:OTHERS]),
        lead=seen.filter(pk=incident.follows_id).first() if incident.follows_id else None,
        earlier=list(seen.filter(cause=incident.cause).exclude(pk=incident.pk).order_by("-pk")[:5]),
        rules=list(visible_rules(user).filter(incidents=incident).order_by("name")[:OTHERS]),
        delivery_count=Delivery.objects.filter(incident=incident).count(),
        has_more_events=len(events) > EVENTS,
    )


def visible_rules(user: User) -> QuerySet[AlertRule]:
    """Rules, without those about one sync that the user does not see."""
    ids = access.visible_sync_ids(user)
    rules = AlertRule.objects.all()
    return rules if ids is None else rules.filter(Q(sync=None) | Q(sync_id__in=ids))
