"""Any HTTPS endpoint, by Standard Webhooks: signed, timed, retried for three days.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from monitoring.channels import calling
from monitoring.channels.base import Message, Place, Sent
from monitoring.choices import Event
from syncs.connectors import ConfigField, Issue
from syncs.signatures import ID, SIGNATURE, TIMESTAMP, key_of, new_secret, signature

__all__ = ["FIELDS", "HELP", "TAKES", "WAITS", "body_of", "key_of", "new_secret", "send", "signature", "validate"]

HELP = "Signed JSON by Standard Webhooks to an endpoint of yours: incidents, and the events you choose."
TAKES: frozenset[Event] | None = None
# The schedule that the specification proposes: over three days.
WAITS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
FIELDS = (
    ConfigField(
        "url", "Address", is_required=True, help="Where messages are posted, for example https://ops.example.com/redrive."
    ),
    ConfigField(
        "secret",
        "Signing secret",
        type="secret",
        help="whsec_ and 24 to 64 bytes in base64. Leave empty when you set it up: one is made, and shown once.",
    ),
    ConfigField(
        "authorization",
        "Authorization header",
        type="secret",
        help="Sent along with every call, where the endpoint asks for it.",
    ),
)


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any], allowed: tuple[str, ...] = ()) -> list[Issue]:
    issues = calling.check_url(config.get("url"), field="url", allowed=allowed)
    for name in ("secret", "former_secret"):
        if value := secrets.get(name):
            try:
                key_of(str(value))
            except ValueError as problem:
                issues.append(Issue("secret", str(problem)))
    value = str(secrets.get("authorization") or "")
    if not value.isprintable() or not value.isascii():
        issues.append(Issue("authorization", "A header holds printable ASCII characters only."))
    return issues


def send(message: Message, place: Place) -> Sent:
    """Signed anew at every attempt, with the time of the attempt; ``webhook-id`` stays."""
    body = calling.as_json(body_of(message))
    stamp = int(time.time())
    keys = [key_of(text) for text in (place.secrets.get("secret"), place.former_secret) if text]
    if not keys:
        return Sent(
            False,
            error="The channel has no signing secret. Rotate it, and give the new one to the receiver.",
            is_permanent=True,
        )
    headers = {
        ID: message.id,
        TIMESTAMP: str(stamp),
        SIGNATURE: " ".join(signature(key, message.id, stamp, body) for key in keys),
    }
    if authorization := place.secrets.get("authorization"):
        headers["Authorization"] = str(authorization)
    return calling.post(str(place.config.get("url", "")), body, place, headers=headers)


def body_of(message: Message) -> dict[str, Any]:
    """The shape that Standard Webhooks recommends. Every event has title, text, severity and url; the rest of ``data`` is its
    own, see docs/channels.md."""
    data = {
        "title": message.title,
        "text": message.text,
        "severity": message.severity.value,
        "url": message.links[0][1] if message.links else "",
        **message.data,
    }
    return {"type": message.event.value, "timestamp": message.at.isoformat(), "data": data}
