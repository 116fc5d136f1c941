"""Addresses below /api/v1/ and what answers there."""

from __future__ import annotations

from dlq.api.operations import Operations
from dlq.api.entries import DeadLetters
from syncs.rest.resources import Resource

RESOURCES: list[tuple[str, type[Resource]]] = [
    ("dead-letters", DeadLetters),
    ("operations", Operations),
]
