"""Who calls: an API key, or somebody who is signed in to the console."""

from __future__ import annotations

from typing import Any

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from syncs.models import ApiKey
from syncs.services import api_keys

REALM = 'Bearer realm="redrive"'


class KeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer rd_...``. Whatever is wrong with a key, the answer is the same."""

    def authenticate(self, request: Request) -> tuple[Any, ApiKey] | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        scheme, _, given = header.partition(" ")
        if scheme.lower() != "bearer":
            raise exceptions.AuthenticationFailed("Send an API key as “Authorization: Bearer rd_...”.")
        key = api_keys.find(given.strip(), address=request.META.get("REMOTE_ADDR", ""))
        if key is None:
            raise exceptions.AuthenticationFailed("This API key is not known, has ended, or its owner is not active.")
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return REALM


class BrowserSession(SessionAuthentication):
    """The session of the console; what changes something needs its CSRF token as ``X-CSRFToken``."""
