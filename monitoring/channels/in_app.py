"""Notices in the console for people named: the bell on every page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitoring.channels.base import WAITS, Message, Place, Sent
from monitoring.choices import Event
from syncs.connectors import ConfigField, Issue

__all__ = ["FIELDS", "HELP", "TAKES", "WAITS", "send", "validate"]

HELP = "Notices in Redrive itself, for the people you name. Everybody can subscribe to more under “My alerts”."
TAKES: frozenset[Event] | None = None
FIELDS = (
    ConfigField(
        "users",
        "People",
        is_required=True,
        help="User names, joined by commas: ana, bo. Nobody is told of a sync he may not see.",
    ),
)


def names(config: Mapping[str, Any]) -> tuple[str, ...]:
    parts = str(config.get("users") or "").replace(";", ",").split(",")
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any], allowed: tuple[str, ...] = ()) -> list[Issue]:
    return [] if names(config) else [Issue("users", "Name at least one person by the user name.")]


def send(message: Message, place: Place) -> Sent:
    """Into the same database: nothing can be lost on the way."""
    assert place.note is not None
    unknown = place.note(message, place.recipients or names(place.config))
    wanted = len(place.recipients or names(place.config))
    if wanted and len(unknown) == wanted:
        return Sent(False, error="Nobody who can be told has any of these user names. Name others.", is_permanent=True)
    return Sent(True, error="")
