"""Slack, by an incoming webhook (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks). Mattermost and
Rocket.Chat take the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitoring.channels import calling
from monitoring.channels.base import WAITS, Message, Place, Sent
from monitoring.choices import Event, Severity
from syncs.connectors import ConfigField, Issue
from syncs.http import Response

__all__ = ["FIELDS", "HELP", "TAKES", "WAITS", "send", "validate"]

HELP = "Messages with buttons into one channel of a workspace."
TAKES: frozenset[Event] | None = None
FIELDS = (
    ConfigField(
        "webhook_url",
        "Incoming webhook",
        type="secret",
        is_required=True,
        help="The whole address, https://hooks.slack.com/services/…: who has it can post, so it is kept like a password.",
    ),
    ConfigField(
        "mention", "Mention on a page", help="For example <!here> or <@U012AB3CD>: put before messages of severity Page."
    ),
)
_ICONS = {Severity.PAGE: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}
# Slack's own words for an address that will not work again.
_GONE = ("no_service", "no_team", "channel_not_found", "channel_is_archived", "invalid_token", "user_not_found")


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any], allowed: tuple[str, ...] = ()) -> list[Issue]:
    return calling.check_url(secrets.get("webhook_url"), field="webhook_url", allowed=allowed)


def send(message: Message, place: Place) -> Sent:
    body = calling.as_json(payload(message, mention=str(place.config.get("mention") or "")))
    return calling.post(str(place.secrets.get("webhook_url", "")), body, place, gone=_is_gone)


def payload(message: Message, *, mention: str = "") -> dict[str, Any]:
    """Names come from people: they stand in plain_text, where nothing is a link or a mention. Limits are Slack's."""
    title = f"{icon(message)} {message.title}"
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(title, 150)}]
    if message.text:
        blocks.append({"type": "section", "text": _plain(message.text, 3000)})
    if message.facts:
        fields = [_plain(f"{label}: {value}", 2000) for label, value in message.facts[:10]]
        blocks.append({"type": "section", "fields": fields})
    if message.links:
        buttons = [{"type": "button", "text": _plain(label, 75), "url": url[:3000]} for label, url in message.links[:5]]
        blocks.append({"type": "actions", "elements": buttons})
    is_call = mention and message.severity == Severity.PAGE and message.event == Event.INCIDENT_OPENED
    if is_call:
        blocks.insert(0, {"type": "section", "text": {"type": "mrkdwn", "text": mention[:200]}})
    said = escaped(calling.cut(title, 2000))
    return {"text": f"{mention} {said}" if is_call else said, "blocks": blocks}


def icon(message: Message) -> str:
    return "✅" if message.event == Event.INCIDENT_RESOLVED else _ICONS[message.severity]


def escaped(text: str) -> str:
    """https://docs.slack.dev/messaging/formatting-message-text#escaping"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": calling.cut(text, limit), "emoji": False}


def _is_gone(answer: Response) -> bool:
    return answer.status in (400, 403, 404) and answer.body[:100].decode("utf-8", "replace").strip() in _GONE
