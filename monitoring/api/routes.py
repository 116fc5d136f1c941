"""Addresses below /api/v1/ and what answers there."""

from __future__ import annotations

from monitoring.api.alert_rules import AlertRules
from monitoring.api.incidents import Incidents
from monitoring.api.people import People
from syncs.rest.resources import Resource

RESOURCES: list[tuple[str, type[Resource]]] = [
    ("people", People),
    ("incidents", Incidents),
    ("alert-rules", AlertRules),
]
