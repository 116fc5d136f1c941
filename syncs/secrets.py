"""Encryption of credentials at rest: Fernet with a list of keys, the first encrypts, all decrypt (MultiFernet rotation).

A stored value is ``<key id>:<token>``; the key id is the first eight hex digits of the key's SHA-256, so that a missing key is
named instead of guessed at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class SecretsError(Exception):
    """The stored value cannot be read with the configured keys. Never carries the value."""


def key_id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]


class Cipher:
    """Raises ``ValueError`` for an empty list or a key that is not 32 url-safe base64 bytes."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError("At least one encryption key is needed.")
        self._ids = [key_id(key) for key in keys]
        self._fernets = [Fernet(key.encode()) for key in keys]
        self._multi = MultiFernet(self._fernets)

    @property
    def current_key_id(self) -> str:
        return self._ids[0]

    def encrypt(self, value: Mapping[str, Any]) -> str:
        return f"{self._ids[0]}:{self._multi.encrypt(json.dumps(dict(value), ensure_ascii=False).encode()).decode()}"

    def decrypt(self, text: str) -> dict[str, Any]:
        """Raises ``SecretsError`` when no configured key fits, or the value was tampered with."""
        stored_id, _, token = text.partition(":")
        if stored_id not in self._ids:
            raise SecretsError(
                f"Secrets were encrypted with key {stored_id}, which is not in RETL_ENCRYPTION_KEYS. Add that key to the list."
            )
        try:
            loaded: dict[str, Any] = json.loads(self._multi.decrypt(token.encode()))
        except InvalidToken:
            raise SecretsError(f"Secrets encrypted with key {stored_id} are damaged and cannot be read.") from None
        return loaded
