"""Addresses below /api/v1/ and what answers there."""

from __future__ import annotations

from syncs.api.calls import Calls
from syncs.api.tags import Tags
from syncs.api.triggers import Triggers
from syncs.rest.resources import ID, Resource

RESOURCES: list[tuple[str, type[Resource]]] = [
    ("tags", Tags),
    ("triggers/(?P<public_id>[A-Za-z0-9_]{1,32})", Calls),
    (f"syncs/(?P<sync_id>{ID})/triggers", Triggers),
]
