"""Logging in at a destination (OAuth 2 authorization code with PKCE): away with a signed state, back with a code.

The state binds the way back to the person, the browser session and the connection with the settings it had, for ten minutes and
for one use: RFC 6749 section 10.12, RFC 7636. Nothing of a way that began is kept here but the digest of a used state.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from syncs.choices import ConnectionState
from syncs.destinations.http_api.oauth import AuthorizationCode
from syncs.errors import ConfigError, RedriveError
from syncs.http import clean
from syncs.models import Connection
from syncs.services import audit, connections, credentials, once, touches

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MINUTES = 10
_SALT = "syncs.login"
_SAID = {
    "access_denied": "The login was declined at the destination",
    "invalid_scope": "The destination does not know the scope, or does not grant it: correct it in the settings",
    "unauthorized_client": "The destination does not let this application log people in: check its registration there",
    "unsupported_response_type": "The destination does not offer this kind of login",
    "server_error": "The destination had a problem of its own: try again later",
    "temporarily_unavailable": "The destination is busy: try again later",
}
_UNUSABLE = {
    "forged": "This is no way back from a login that began here, so it was not used.",
    "expired": f"The login took longer than {MINUTES} minutes.",
    "spent": "This way back was used before.",
}
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,60}")


class LoginRefusedError(RedriveError):
    """A login that cannot be completed; nothing was changed. ``connection``: where to start again, if that is known."""

    def __init__(self, message: str, connection: Connection | None = None) -> None:
        super().__init__(f"{message} Nothing was changed. Start again from the connection's page.")
        self.connection = connection


@dataclass(frozen=True, slots=True)
class Departure:
    """``url``: where the browser goes; ``host``: of it, to be shown."""

    url: str
    host: str
    scope: str


@dataclass(frozen=True, slots=True)
class Traveller:
    """Who goes and comes back, in which browser. ``redirect_uri``: the way back, as the destination must know it."""

    user: User
    session_key: str
    redirect_uri: str


def can_log_in(connection: Connection) -> bool:
    """Whether the connection's settings say that a person logs in. Opens nothing; False where they cannot be read."""
    try:
        with closing(_Opened(connection)) as opened:
            return opened.login is not None
    except RedriveError:
        return False


def depart(connection: Connection, *, by: Traveller) -> Departure:
    """Raises ``ConfigError`` where the connection knows no such login, ``CredentialsError`` without a client id."""
    with closing(_Opened(connection)) as opened:
        login = _login_of(opened, connection)
        state = once.issue({"c": connection.pk, "u": by.user.pk, "s": _session_mark(by), "d": _digest(connection)}, salt=_SALT)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(_verifier(state).encode()).digest()).rstrip(b"=").decode()
        url = login.address(state=state, challenge=challenge, redirect_uri=by.redirect_uri)
    return Departure(url, urlsplit(url).hostname or "", opened.scope)


def arrive(query: Mapping[str, str], *, by: Traveller) -> Connection:
    """Complete a login: check the state, change the code for tokens, keep them. Raises ``LoginRefusedError``."""
    connection, state = _checked(query.get("state", ""), by)
    if said := query.get("error", ""):
        raise LoginRefusedError(_declined(said, query.get("error_description", "")), connection)
    code = query.get("code", "")
    if not code:
        raise LoginRefusedError("The destination sent no code.", connection)
    try:
        _exchange(connection, code=code, verifier=_verifier(state), by=by)
    except RedriveError as error:
        raise LoginRefusedError(error.message, connection) from error
    return connection


def _checked(state: str, by: Traveller) -> tuple[Connection, str]:
    """The connection that the state is for; the state is spent once it is seen to be this person's."""
    try:
        values = once.opened(state, salt=_SALT, max_age=MINUTES * 60)
    except once.TokenError as error:
        raise LoginRefusedError(_UNUSABLE[error.reason]) from None
    if values.get("u") != by.user.pk:
        raise LoginRefusedError("This login was begun by somebody else.")
    if not constant_time_compare(str(values.get("s")), _session_mark(by)):
        raise LoginRefusedError("This login was begun in another session of yours.")
    connection = Connection.objects.filter(pk=int(values["c"])).first()
    if connection is None:
        raise LoginRefusedError("The connection has been deleted meanwhile.")
    try:
        once.spend(state)
    except once.TokenError as error:
        raise LoginRefusedError(_UNUSABLE[error.reason], connection) from None
    if values.get("d") != _digest(connection):
        raise LoginRefusedError("The settings of the connection were changed while you were away.", connection)
    return connection, state


def _exchange(connection: Connection, *, code: str, verifier: str, by: Traveller) -> None:
    """The row lock is held: a worker that refreshes the former login must not overwrite this one."""
    now = timezone.now()
    with closing(_Opened(connection)) as opened, connections.ConnectionCredentials(connection.pk).locked() as locked:
        login = _login_of(opened, connection)
        granted = login.exchange(locked.secrets, code=code, verifier=verifier, redirect_uri=by.redirect_uri)
        former = ("access_token", "refresh_token", "expires_at", credentials.ENDS_AT)
        kept = granted.kept_in({name: value for name, value in locked.secrets.items() if name not in former})
        with transaction.atomic():
            locked.save(kept)
            Connection.objects.filter(pk=connection.pk).update(
                state=ConnectionState.UNCHECKED,
                state_message="",
                authorized_at=now,
                authorized_by_id=by.user.pk,
                credential_expires_at=credentials.moment(kept.get(credentials.ENDS_AT)),
            )
            detail = {"scope": clean(granted.scope)[:500]} if granted.scope else {}
            audit.record("logged_in", connection, by=by.user, door="admin", detail=detail)
            touches.touch_connection(connection.pk)
            transaction.on_commit(lambda: credentials.switched(connection.pk), robust=True)


class _Opened:
    """A destination of the connection, for its login alone."""

    def __init__(self, connection: Connection) -> None:
        name = next(iter(connections.objects(connection)), "") if connection.role == "destination" else ""
        self._destination = connections.open_destination(connection, object_name=name, options={})
        login = getattr(self._destination, "login", None)
        self.login = login if isinstance(login, AuthorizationCode) else None
        self.scope = self.login.asked_scope if self.login else ""

    def close(self) -> None:
        self._destination.close()


def _login_of(opened: _Opened, connection: Connection) -> AuthorizationCode:
    if opened.login is None:
        raise ConfigError(f"“{connection.name}” does not log in by a person at the destination.", field="auth")
    return opened.login


def _verifier(state: str) -> str:
    """43 characters (RFC 7636 section 4.1) that only we can make from the state: nothing secret has to be kept meanwhile."""
    digest = salted_hmac("syncs.login.verifier", state, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _session_mark(by: Traveller) -> str:
    return salted_hmac("syncs.login.session", by.session_key, algorithm="sha256").hexdigest()[:32]


def _digest(connection: Connection) -> str:
    """Of what decides where the code goes. It must not be sent to an address that was entered after the person left."""
    parts = [connection.kind, repr(sorted((connection.config or {}).items(), key=str)), connection.secrets.get("client_id", "")]
    return salted_hmac("syncs.login.settings", "\0".join(map(str, parts)), algorithm="sha256").hexdigest()[:32]


def _declined(error: str, description: str) -> str:
    code = error if _WORD.fullmatch(error) else "an error it gives no usable name"
    text = " ".join(clean(description).split())[:200]
    return f"{_SAID.get(error, 'The destination answered the login with ' + code)}{f' (it says: {text})' if text else ''}."
