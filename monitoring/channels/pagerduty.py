"""PagerDuty, Events API v2 (https://developer.pagerduty.com/docs/send-alert-event): one alert there for one incident here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from monitoring.channels import calling
from monitoring.channels.base import INCIDENTS, WAITS, Message, Place, Sent
from monitoring.choices import Event, Severity
from syncs.connectors import ConfigField, Issue

__all__ = ["FIELDS", "HELP", "TAKES", "WAITS", "send", "validate"]

HELP = "Triggers, acknowledges and resolves an alert of a service: one for each incident."
TAKES = INCIDENTS
ENDPOINT = "https://events.pagerduty.com/v2/enqueue"
FIELDS = (
    ConfigField(
        "routing_key",
        "Integration key",
        type="secret",
        is_required=True,
        help="Of an integration “Events API v2” of the service: 32 letters and digits.",
    ),
    ConfigField(
        "url",
        "Address",
        default=ENDPOINT,
        help="Leave it as it is; in the EU service region https://events.eu.pagerduty.com/v2/enqueue.",
    ),
)
_KEY = re.compile(r"[0-9A-Za-z]{32}")
_ACTIONS = {
    Event.INCIDENT_OPENED: "trigger",
    Event.INCIDENT_CHANGED: "trigger",
    Event.INCIDENT_ACKNOWLEDGED: "acknowledge",
    Event.INCIDENT_RESOLVED: "resolve",
    Event.TEST: "trigger",
}
_SEVERITIES = {Severity.PAGE: "critical", Severity.WARNING: "warning", Severity.INFO: "info"}


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any], allowed: tuple[str, ...] = ()) -> list[Issue]:
    issues = calling.check_url(_url(config), field="url", allowed=allowed)
    if not _KEY.fullmatch(str(secrets.get("routing_key") or "")):
        issues.append(
            Issue("routing_key", "An integration key has 32 letters and digits. Copy it from the integration's page.")
        )
    return issues


def send(message: Message, place: Place) -> Sent:
    """A test triggers and resolves an alert of its own, so that nobody has to clear it away."""
    action = _ACTIONS.get(message.event)
    if action is None:
        return Sent(False, error=f"PagerDuty is not told of {message.event.value}.", is_permanent=True)
    sent = _enqueue(action, message, place)
    if message.event != Event.TEST or not sent.is_delivered:
        return sent
    ended = _enqueue("resolve", message, place)
    return replace(ended, milliseconds=sent.milliseconds + ended.milliseconds)


def _enqueue(action: str, message: Message, place: Place) -> Sent:
    body = calling.as_json({"routing_key": str(place.secrets.get("routing_key", "")), **event_of(action, message)})
    return calling.post(_url(place.config), body, place)


def event_of(action: str, message: Message) -> dict[str, Any]:
    """Without the key. Limits are PagerDuty's: dedup_key 255 characters, summary 1,024."""
    made: dict[str, Any] = {"event_action": action, "dedup_key": calling.cut(f"redrive:{message.subject}", 255)}
    if action != "trigger":
        return made
    facts = dict(message.facts)
    made["payload"] = {
        "summary": calling.cut(message.title, 1024),
        "source": calling.cut(facts.get("Sync") or facts.get("Connection") or "Redrive", 255),
        "severity": _SEVERITIES[message.severity],
        "timestamp": message.at.isoformat(),
        "class": str((message.data.get("incident") or {}).get("condition", "")),
        "component": facts.get("Connection", ""),
        "custom_details": {"text": calling.cut(message.text, 4000), **facts},
    }
    made["client"] = "Redrive"
    if message.links:
        made["client_url"] = message.links[0][1]
        made["links"] = [{"href": url, "text": label} for label, url in message.links]
    return made


def _url(config: Mapping[str, Any]) -> str:
    return str(config.get("url") or ENDPOINT)
