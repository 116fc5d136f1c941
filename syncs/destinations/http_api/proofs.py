"""What every kind of authentication shares: the proof a call carries, tokens that live for a while, calls that fetch them."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import time
from typing import Any, Protocol

import orjson
import requests

from syncs.destinations.base import CredentialStore
from syncs.destinations.http_api import paths
from syncs.destinations.http_api.config import Auth
from syncs.errors import CredentialsError, TransientError
from syncs.http import Session, guarded_requests_session, parse_retry_after

EARLY_SECONDS = 60.0  # a token this near its end is renewed before it is used


@dataclass(frozen=True, slots=True)
class Proof:
    """What a call carries. ``token``: which one it was, so that two threads do not renew it twice."""

    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""
    path: str = ""
    token: str = ""


class Authenticator(Protocol):
    is_login: bool  # a person has to act where it is lost

    def proof(self) -> Proof:
        """Raises ``CredentialsError`` (a person must act) or ``TransientError`` (the token endpoint is down)."""
        ...

    def renew(self, refused: Proof) -> bool:
        """The destination refused this proof. True when it was renewed, by us or by another thread; raises like ``proof``."""
        ...

    def is_lost(self, refused: Proof) -> bool:
        """The destination refused this proof although it was just renewed. False: there is a newer one, by another worker;
        True: renewing does not help."""
        ...


class Renewable:
    """A token that lives for a while. One thread renews it; the others wait and use what it brought."""

    is_login = False

    def __init__(self, auth: Auth, credentials: CredentialStore, session: Session) -> None:
        self._auth = auth
        self._credentials = credentials
        self._secrets = credentials.read()  # what a person entered; only a rotating token is read anew
        self._session = session
        self._lock = threading.Lock()
        self._current: Proof | None = None
        self._ends_at = float("inf")

    def proof(self) -> Proof:
        current = self._current
        if current is not None and time() < self._ends_at - EARLY_SECONDS:
            return current
        with self._lock:
            if self._current is None or time() >= self._ends_at - EARLY_SECONDS:
                self._current = self._fetch(None)
            return self._current

    def renew(self, refused: Proof) -> bool:
        with self._lock:
            if self._current is None or self._current.token == refused.token:
                self._current = None
                self._current = self._fetch(refused.token)
            return True  # a new login may well bring the same session again

    def is_lost(self, refused: Proof) -> bool:
        return True

    def _fetch(self, refused: str | None) -> Proof:
        raise NotImplementedError

    def _bearer(self, token: str, ends_at: float) -> Proof:
        self._session.redactor.add(token)
        # A token that lives shorter than the margin would be renewed before every call.
        self._ends_at = ends_at if ends_at - time() > 2 * EARLY_SECONDS else ends_at + EARLY_SECONDS
        return Proof({"Authorization": f"Bearer {token}"}, token=token)


def ask(
    session: Session,
    what: str,
    method: str,
    url: str,
    data: bytes | dict[str, str],
    headers: Mapping[str, str],
    *,
    error_at: str = "error",
) -> requests.Response:
    """The answer of a login or token call, if it is a yes. No body is quoted: it may hold what was sent."""
    try:
        with guarded_requests_session(session) as calls:  # a new one each time: no cookie of an old login goes along
            answer = calls.request(method, url, data=data, headers={"Accept": "application/json", **headers})
    except requests.RequestException as error:
        raise TransientError(f"The {what} endpoint could not be used: {error}") from None
    status = answer.status_code
    if status == 429 or status >= 500 or status == 408:
        wait = parse_retry_after(answer.headers.get("Retry-After"), now=datetime.now().astimezone())
        raise TransientError(f"The {what} endpoint answered {status}.", retry_after=wait)
    if not 200 <= status < 300:
        code = paths.text(json_of(answer), error_at)[:60]
        reason = f" ({code})" if code.replace("_", "").isalnum() else ""
        raise CredentialsError(
            f"The {what} endpoint refused the connection's credentials with {status}{reason}. "
            "Renew them on the connection page.",
            code=code,
        )
    return answer


def json_of(answer: requests.Response) -> Any:
    try:
        return orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return None


def secret_of(secrets: Mapping[str, Any], name: str) -> str:
    value = str(secrets.get(name) or "")
    if not value:
        raise CredentialsError(f"The connection has no {name.replace('_', ' ')}. Enter it on the connection page.", field=name)
    return value


def basic_of(username: str, password: str) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()
