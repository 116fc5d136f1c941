"""Which incidents, and which part of one, somebody may see.

An incident of a connection is seen by whoever sees one of the syncs it affects, and then names those syncs only. What is wrong
with Redrive itself is everybody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from monitoring.choices import PLATFORM
from monitoring.models import AlertRule, Incident, IncidentEvent, IncidentSync
from monitoring.services.incident_steps import LIVE
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SHOWN = 10  # on the page of a sync or a connection


def visible(user: User) -> QuerySet[Incident]:
    ids = access.visible_sync_ids(user)
    if ids is None:
        return Incident.objects.all()
    mine = IncidentSync.objects.filter(incident=OuterRef("pk"), sync_id__in=ids)
    return Incident.objects.filter(Exists(mine) | Q(condition__in=PLATFORM))


def affected(incident: Incident, user: User) -> QuerySet[IncidentSync]:
    """The syncs it affects or did, as far as the user sees them; those that are not well first."""
    mine = access.scoped(IncidentSync.objects.filter(incident=incident), user)
    return mine.select_related("sync").order_by("recovered_at", "sync__name", "pk")


def events(incident: Incident, user: User) -> QuerySet[IncidentEvent]:
    """Its timeline, oldest first, without what is about syncs that the user does not see."""
    ids = access.visible_sync_ids(user)
    lines = IncidentEvent.objects.filter(incident=incident).select_related("actor", "sync").order_by("pk")
    return lines if ids is None else lines.filter(Q(sync=None) | Q(sync_id__in=ids))


def visible_rules(user: User) -> QuerySet[AlertRule]:
    """Rules, without those about one sync that the user does not see."""
    ids = access.visible_sync_ids(user)
    rules = AlertRule.objects.all()
    return rules if ids is None else rules.filter(Q(sync=None) | Q(sync_id__in=ids))


def of_sync(sync_id: int) -> QuerySet[Incident]:
    """Live incidents that affect a sync, but for those that follow from another one of them: ``follower_count`` counts these.
    For whoever may see the sync."""
    affecting = IncidentSync.objects.filter(sync_id=sync_id, recovered_at=None, incident__state__in=LIVE)
    live = Incident.objects.filter(Exists(affecting.filter(incident=OuterRef("pk"))))
    followers = live.filter(follows=OuterRef("pk")).order_by().values("follows").annotate(n=Count("pk")).values("n")
    leading = live.filter(~Exists(affecting.filter(incident=OuterRef("follows"))))
    return leading.annotate(follower_count=Coalesce(Subquery(followers), 0)).order_by("-id")


def of_connection(connection_id: int, user: User) -> QuerySet[Incident]:
    """Live incidents whose fault the connection is, as far as the user sees a sync that they affect."""
    return visible(user).filter(connection=connection_id, state__in=LIVE).order_by("-id")
