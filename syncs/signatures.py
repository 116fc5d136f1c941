"""Signatures by Standard Webhooks, for what goes out and what comes in.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets as random
from collections.abc import Iterable

PREFIX = "whsec_"
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"  # headers
_LEAST, _MOST = 24, 64  # bytes of a secret, by the specification
_LOOKED_AT = 10  # signatures of one call; a sender that rotates gives two


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


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def fits(given: str, keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> bool:
    """Whether one of the signatures in the header ``given`` is that of one of the keys. Takes as long whichever it is."""
    tokens = given.encode("utf-8", "replace").split(b" ")[:_LOOKED_AT]
    found = False
    for key in keys:
        right = signature(key, message_id, timestamp, body).encode()
        for token in tokens:
            found |= hmac.compare_digest(token, right)
    return found
