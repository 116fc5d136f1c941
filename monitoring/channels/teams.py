"""Microsoft Teams: an Adaptive Card to the webhook of a workflow ("Post to a channel when a webhook request is received",
https://support.microsoft.com/office/8ae491c7-0394-4861-ba59-055e33f75498)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitoring.channels import calling
from monitoring.channels.base import WAITS, Message, Place, Sent
from monitoring.choices import Event, Severity
from syncs.connectors import ConfigField, Issue
from syncs.http import Response

__all__ = ["FIELDS", "HELP", "TAKES", "WAITS", "send", "validate"]

HELP = "Cards with buttons into one channel or chat, by a workflow that waits for a webhook."
TAKES: frozenset[Event] | None = None
FIELDS = (
    ConfigField(
        "webhook_url",
        "Workflow address",
        type="secret",
        is_required=True,
        help="The whole address that the workflow shows once it is saved: who has it can post, so it is kept like a password.",
    ),
)
_COLOURS = {Severity.PAGE: "attention", Severity.WARNING: "warning", Severity.INFO: "accent"}
_LIMIT = 4000  # a card may have 28 KB in all


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any], allowed: tuple[str, ...] = ()) -> list[Issue]:
    return calling.check_url(secrets.get("webhook_url"), field="webhook_url", allowed=allowed)


def send(message: Message, place: Place) -> Sent:
    """A workflow answers 202 before it posts: that it took the card is all one learns."""
    return calling.post(str(place.secrets.get("webhook_url", "")), calling.as_json(payload(message)), place, gone=_is_gone)


def payload(message: Message) -> dict[str, Any]:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "fallbackText": calling.cut(message.title, 500),
        "body": [_title(message), *_paragraphs(message.text), *_facts(message)],
        "actions": [{"type": "Action.OpenUrl", "title": label, "url": url} for label, url in message.links[:6]],
    }
    content = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [content]}


def _title(message: Message) -> dict[str, Any]:
    colour = "good" if message.event == Event.INCIDENT_RESOLVED else _COLOURS[message.severity]
    return _text(_run(calling.cut(message.title, 500), weight="bolder", size="medium", color=colour))


def _paragraphs(text: str) -> list[dict[str, Any]]:
    return [_text(_run(line)) for line in calling.cut(text, _LIMIT).splitlines() if line.strip()]


def _facts(message: Message) -> list[dict[str, Any]]:
    return [_text(_run(f"{label}: ", weight="bolder"), _run(calling.cut(value, 500))) for label, value in message.facts[:12]]


def _text(*runs: dict[str, Any]) -> dict[str, Any]:
    """Names come from people. A TextBlock would read them as Markdown; the runs of a RichTextBlock are shown as they are."""
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(text: str, **style: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **style}


def _is_gone(answer: Response) -> bool:
    """A deleted workflow answers 404 or 410."""
    return answer.status == 404
