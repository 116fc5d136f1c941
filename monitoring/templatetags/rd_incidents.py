"""``{% load rd_incidents %}``: open incidents on the pages of a sync and of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template

from monitoring.models import Incident
from monitoring.services import incident_sight
from syncs.models import Connection, Sync

if TYPE_CHECKING:
    from django.contrib.auth.models import User

register = template.Library()


@register.simple_tag
def incidents_of_sync(sync: Sync) -> list[Incident]:
    """For whoever may see the sync."""
    return list(incident_sight.of_sync(sync.pk)[: incident_sight.SHOWN])


@register.simple_tag
def incidents_of_connection(connection: Connection, user: User) -> list[Incident]:
    return list(incident_sight.of_connection(connection.pk, user)[: incident_sight.SHOWN])
