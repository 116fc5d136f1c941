"""Channels as they are listed and shown: counts beside them, secrets by name alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet

from monitoring.channels import registry
from monitoring.choices import Event
from monitoring.models import Channel
from monitoring.services import channel_edit, delivery_list, events
from syncs.connectors import ConfigField

_NOT_SHOWN = ("former_secret",)


def counted() -> QuerySet[Channel]:
    """With ``rule_count`` and ``people_count``; without their settings."""
    found = Channel.objects.select_related("owner").defer("secrets", "config")
    return found.annotate(rule_count=Count("rules", distinct=True), people_count=Count("subscriptions", distinct=True))


@dataclass(frozen=True, slots=True)
class Line:
    channel: Channel
    rule_count: int
    people_count: int


def line(channel: Any) -> Line:
    """``channel``: of ``counted``."""
    return Line(channel, channel.rule_count, channel.people_count)


@dataclass(frozen=True, slots=True)
class Detail:
    """``secret_names``: those that are set. ``problem``: why they cannot be opened. ``missed_count``: given up of late."""

    channel: Channel
    config: dict[str, Any]
    secret_names: list[str]
    problem: str
    rule_count: int
    people_count: int
    missed_count: int
    signing_secret: str | None = None


def detail(channel: Channel, now: datetime, *, signing_secret: str = "") -> Detail:
    """``signing_secret``: that was made just now, to be shown this once."""
    names = [name for name, value in channel_edit.stored_secrets(channel).items() if value and name not in _NOT_SHOWN]
    return Detail(
        channel,
        dict(channel.config or {}),
        sorted(names),
        channel_edit.unreadable(channel),
        channel.rules.count(),
        channel.subscriptions.count(),
        delivery_list.missed(channel, now).count(),
        signing_secret or None,
    )


@dataclass(frozen=True, slots=True)
class Kind:
    """``takes``: events that it can say. ``events``: that its channels may choose beside incidents."""

    kind: str
    name: str
    help: str
    settings: tuple[ConfigField, ...]
    takes: list[str]
    events: list[str]


def kinds() -> list[Kind]:
    return [_kind(kind, name) for kind, name in registry.kinds()]


def _kind(kind: str, name: str) -> Kind:
    module = registry.module(kind)
    takes = sorted(event.value for event in (Event if module.TAKES is None else module.TAKES))
    chosen = [event.value for event in events.CHOOSABLE] if kind == "webhook" else []
    return Kind(kind, name, module.HELP, module.FIELDS, takes, chosen)
