"""API keys: found by their prefix, compared by their digest, good while their owner is active."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import string
from datetime import timedelta
from hashlib import sha256

from django.db.models import Q
from django.utils import timezone

from syncs.models import ApiKey

_SHAPE = re.compile(r"rd_([a-z0-9]{12})_([A-Za-z0-9_-]{43})\Z", re.ASCII)
_NOTED_EVERY = timedelta(minutes=1)  # a write for each request would be one too many
_LETTERS = string.ascii_lowercase + string.digits


def made() -> tuple[str, str, str]:
    """(the key as shown once, its prefix, its digest): 256 random bits in the secret."""
    prefix = "".join(secrets.choice(_LETTERS) for _ in range(12))
    text = f"rd_{prefix}_{secrets.token_urlsafe(32)}"
    return text, prefix, digest_of(text)


def digest_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def find(text: str, *, address: str = "") -> ApiKey | None:
    """The good key of this text with its user; its use is noted. One query, and at most one update a minute."""
    shape = _SHAPE.match(text)
    if shape is None:
        return None
    key = ApiKey.objects.select_related("user").filter(prefix=shape[1]).first()
    now = timezone.now()
    if key is None or not hmac.compare_digest(key.digest, digest_of(text)) or not key.is_good(now) or not key.user.is_active:
        return None
    if key.last_used_at is None or key.last_used_at < now - _NOTED_EVERY:
        unnoted = Q(last_used_at=None) | Q(last_used_at__lt=now - _NOTED_EVERY)
        ApiKey.objects.filter(unnoted, pk=key.pk).update(last_used_at=now, last_used_from=_address(address))
    return key


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
