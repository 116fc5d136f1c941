"""Addresses below /api/v1/ and what answers there."""

from __future__ import annotations

from monitoring.api.alert_rules import AlertRules
from monitoring.api.channels import ChannelKinds, Channels
from monitoring.api.deliveries import Deliveries
from monitoring.api.incidents import Incidents
from monitoring.api.people import People
from monitoring.api.stats import Stats
from syncs.rest.resources import Resource

RESOURCES: list[tuple[str, type[Resource]]] = [
    ("stats", Stats),
    ("people", People),
    ("incidents", Incidents),
    ("alert-rules", AlertRules),
    ("channels", Channels),
    ("channel-kinds", ChannelKinds),
    ("deliveries", Deliveries),
]
