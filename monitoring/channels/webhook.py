"""Any HTTPS endpoint, by Standard Webhooks: signed, timed, retried for three days.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets as random
import time
from collections.abc import Mapping
from typing import Any

from monitoring.channels import calling
from monitoring.channels.base import Message, Place, Sent
from monitoring.choices import Event
from syncs.connectors import ConfigField, Issue

HELP = "Signed JSON by Standard Webhooks to an endpoint of yours: incidents, and the events you choose."
TAKES: frozenset[Event] | None = None
# The schedule that the specification proposes: over three days.
WAITS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
PREFIX = "whsec_"
_LEAST, _MOST = 24, 64  # bytes of a secret, by the specification
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


def new_secret() -> str:
    return PREFIX + base64.b64encode(random.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """Raises ``ValueError`` with a sentence for people."""
    text = secret.removeprefix(PREFIX)
    if text == secret:
        raise ValueError("A signing secret begins with whsec_.")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)  # some write it without padding
    except (binascii.Error, ValueError):
        raise ValueError("What follows whsec_ must be base64.") from None
    if not _LEAST <= len(key) <= _MOST:
        raise ValueError(f"A signing secret holds {_LEAST} to {_MOST} bytes; this one holds {len(key)}.")
    return key


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
        "webhook-id": message.id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": " ".join(signature(key, message.id, stamp, body) for key in keys),
    }
    if authorization := place.secrets.get("authorization"):
        headers["Authorization"] = str(authorization)
    return calling.post(str(place.config.get("url", "")), body, place, headers=headers)


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


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
