"""Signed tokens that are good once and for a while: what a person was shown, or sent away with, is what comes back."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.core import signing
from django.db import IntegrityError, transaction
from django.utils import timezone

from syncs.models import SpentToken

_KEPT = timedelta(days=1)  # far longer than any token lives


class TokenError(Exception):
    """``reason``: forged, expired, spent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def issue(values: Mapping[str, Any], *, salt: str) -> str:
    """A token that carries ``values``; they can be read by whoever holds it, and not changed."""
    return signing.dumps({**values, "n": secrets.token_urlsafe(24)}, salt=salt)


def opened(token: str, *, salt: str, max_age: int) -> dict[str, Any]:
    """What the token carries, with its nonce as ``n``; it is not spent by this. ``max_age``: seconds. Raises ``TokenError``."""
    try:
        values: dict[str, Any] = signing.loads(token, salt=salt, max_age=max_age)
    except signing.SignatureExpired:
        raise TokenError("expired") from None
    except (signing.BadSignature, ValueError):
        raise TokenError("forged") from None
    return values


def spend(token: str) -> None:
    """Raises ``TokenError`` when it was spent before: of two at the same moment one wins, by the primary key."""
    SpentToken.objects.filter(spent_at__lt=timezone.now() - _KEPT).delete()
    try:
        with transaction.atomic():
            SpentToken.objects.create(digest=sha256(token.encode()).hexdigest())
    except IntegrityError:
        raise TokenError("spent") from None
