"""Kinds of channels by name. A kind is a module; it is imported when it is first used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from monitoring.channels.base import Message, Place, Sent
from monitoring.choices import Event
from syncs.connectors import ConfigField, Issue
from syncs.errors import ConfigError

CHANNEL_KINDS: dict[str, tuple[str, str]] = {
    "email": ("Email", "monitoring.channels.email"),
    "slack": ("Slack", "monitoring.channels.slack"),
    "teams": ("Microsoft Teams", "monitoring.channels.teams"),
    "pagerduty": ("PagerDuty", "monitoring.channels.pagerduty"),
    "webhook": ("Webhook", "monitoring.channels.webhook"),
    "in_app": ("In the console", "monitoring.channels.in_app"),
}


LOCAL = ("in_app",)  # kinds that call nobody and write to the database instead


class Kind(Protocol):
    """``TAKES``: events it can say; None: all. ``WAITS``: seconds before each further attempt; after the last one it is given
    up. ``HELP``: one sentence on what it is for."""

    FIELDS: tuple[ConfigField, ...]
    HELP: str
    TAKES: frozenset[Event] | None
    WAITS: tuple[int, ...]

    def validate(self, config: Mapping[str, Any], secrets: Mapping[str, Any], allowed: tuple[str, ...] = ()) -> list[Issue]:
        """What is wrong with the settings, without calling anybody. ``allowed``: private networks that may be called."""

    def send(self, message: Message, place: Place) -> Sent:
        """One call. Never raises for what the other side does."""


def module(kind: str) -> Kind:
    """Raises ``ConfigError`` for a kind that does not exist."""
    if kind not in CHANNEL_KINDS:
        known = ", ".join(CHANNEL_KINDS)
        raise ConfigError(f"There is no channel kind “{kind[:40]}”. Choose one of {known}.", field="kind")
    return cast(Kind, import_module(CHANNEL_KINDS[kind][1]))


def takes(kind: str, event: Event) -> bool:
    accepted = module(kind).TAKES
    return accepted is None or event in accepted


def label(kind: str) -> str:
    return CHANNEL_KINDS[kind][0] if kind in CHANNEL_KINDS else kind


def kinds() -> list[tuple[str, str]]:
    """(kind, label)."""
    return [(kind, label) for kind, (label, _) in CHANNEL_KINDS.items()]
