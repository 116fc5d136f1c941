"""Addresses below /api/v1/ and what answers there."""

from __future__ import annotations

from syncs.api.tags import Tags
from syncs.rest.resources import Resource

RESOURCES: list[tuple[str, type[Resource]]] = [
    ("tags", Tags),
]
