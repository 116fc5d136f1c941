"""OAuth 2: client credentials, refresh tokens that may rotate, and the login of a person (authorization code with PKCE).

Sources: RFC 6749 (sections 4.1, 4.4, 5, 6), RFC 7636. Lifetimes of refresh tokens are no part of them; the names read here are
those of Keycloak, Microsoft, LinkedIn and Intuit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from syncs.destinations.base import ENDS_AT, LockedCredentials
from syncs.destinations.http_api import paths
from syncs.destinations.http_api.config import Auth, ClientStyle
from syncs.destinations.http_api.encoding import encode
from syncs.destinations.http_api.proofs import EARLY_SECONDS, Proof, Renewable, ask, basic_of, json_of, secret_of
from syncs.errors import CredentialsError, LoginNeededError
from syncs.http import Session

_REFRESH_LIFETIMES = ("refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in")
_LIFETIME = 3600.0  # of an access token whose answer does not say
_LONGEST = 10 * 366 * 86_400.0


class ClientCredentials(Renewable):
    """The token is kept in memory."""

    def _fetch(self, refused: str | None) -> Proof:
        granted = token_call(
            self._session, self._auth, self._secrets, {"grant_type": "client_credentials"}, scope=self._auth.scope
        )
        return self._bearer(granted.access_token, granted.ends_at)


class RefreshToken(Renewable):
    """A refresh token that a person entered, and that may rotate.

    A rotated token is good once, so one worker at a time refreshes, under the row lock, and what it got is stored before anyone
    else may read it: a second refresh with the old token would lose the login.
    """

    is_login = True
    _remedy = "Enter a new refresh token on the connection's page."

    def _fetch(self, refused: str | None) -> Proof:
        usable = self._stored(self._credentials.read(), refused)
        if usable is not None:
            return usable
        with self._credentials.locked() as locked:
            usable = self._stored(locked.secrets, refused)
            if usable is not None:
                return usable
            granted = self._refreshed(locked)
            locked.save(granted.kept_in(locked.secrets))
        return self._bearer(granted.access_token, granted.ends_at)

    def is_lost(self, refused: Proof) -> bool:
        with self._lock, self._credentials.locked() as locked:
            if str(locked.secrets.get("access_token") or "") != refused.token:
                return False
            locked.revoke(f"The destination refuses even a token that was just renewed (401). {self._remedy}")
        return True

    def _refreshed(self, locked: LockedCredentials) -> Granted:
        fields = {"grant_type": "refresh_token", "refresh_token": self._refresh_token(locked)}
        try:
            return token_call(self._session, self._auth, locked.secrets, fields, scope=self._scope)
        except CredentialsError as error:
            if error.code not in self._auth.token_call.ended:  # what else it may say is about the client, not about the login
                raise
            raise self._lost(locked, f"The destination has ended the login ({error.code}).", code=error.code) from None

    @property
    def _scope(self) -> str:
        return self._auth.scope

    def _refresh_token(self, locked: LockedCredentials) -> str:
        return secret_of(locked.secrets, "refresh_token")

    def _lost(self, locked: LockedCredentials, text: str, *, code: str) -> LoginNeededError:
        reason = f"{text} {self._remedy}"
        locked.revoke(reason)
        return LoginNeededError(reason, code=code)

    def _stored(self, secrets: Mapping[str, Any], refused: str | None) -> Proof | None:
        """The stored access token, if it is another than the refused one and not about to end."""
        token = str(secrets.get("access_token") or "")
        ends_at = float(secrets.get("expires_at") or 0)
        if not token or token == refused or time() >= ends_at - EARLY_SECONDS:
            return None
        return self._bearer(token, ends_at)


class AuthorizationCode(RefreshToken):
    """The login of a person at the destination. What it brought is kept and renewed like an entered refresh token."""

    _remedy = "Log in again on the connection's page."

    @property
    def _scope(self) -> str:
        return ""  # a refresh without a scope keeps the one that was granted

    @property
    def asked_scope(self) -> str:
        return self._auth.scope

    def address(self, *, state: str, challenge: str, redirect_uri: str) -> str:
        """Where the browser goes. Raises ``CredentialsError`` without a client id."""
        fields = {
            **self._auth.authorize_parameters,
            "response_type": "code",
            "client_id": secret_of(self._credentials.read(), "client_id"),
            "redirect_uri": redirect_uri,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if self._auth.scope:
            fields["scope"] = self._auth.scope
        parts = urlsplit(self._auth.authorize_url)
        query = [*parse_qsl(parts.query, keep_blank_values=True), *fields.items()]
        return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote), fragment=""))

    def exchange(self, secrets: Mapping[str, Any], *, code: str, verifier: str, redirect_uri: str) -> Granted:
        """One call of the token endpoint with what came back. Raises ``CredentialsError`` or ``TransientError``."""
        self._session.redactor.add(code, verifier)
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
        return token_call(self._session, self._auth, secrets, fields)

    def _refresh_token(self, locked: LockedCredentials) -> str:
        token = str(locked.secrets.get("refresh_token") or "")
        if token:
            return token
        if locked.secrets.get("access_token"):
            text = "The login has ended, and the destination gave nothing to renew it with."
            raise self._lost(locked, text, code="login_ended")
        raise self._lost(locked, "Nobody has logged in at the destination yet.", code="no_login")

    def _stored(self, secrets: Mapping[str, Any], refused: str | None) -> Proof | None:
        token = str(secrets.get("access_token") or "")
        if token and token != refused and secrets.get("expires_at") is None and not secrets.get("refresh_token"):
            return self._bearer(token, math.inf)  # some destinations give one token for good
        return super()._stored(secrets, refused)


@dataclass(frozen=True, slots=True)
class Granted:
    """``lifetime``, ``refresh_lifetime``: seconds from ``at`` (Unix time); None: the answer does not say."""

    access_token: str
    refresh_token: str
    at: float
    lifetime: float | None
    refresh_lifetime: float | None
    scope: str = ""

    @property
    def ends_at(self) -> float:
        return self.at + (_LIFETIME if self.lifetime is None else self.lifetime)

    def kept_in(self, secrets: Mapping[str, Any]) -> dict[str, Any]:
        """The secrets after this grant: a refresh token that did not rotate stays, as does the end it was told to have."""
        kept = {**secrets, "access_token": self.access_token, "expires_at": self.ends_at}
        if self.refresh_token:
            kept["refresh_token"] = self.refresh_token
        if not kept.get("refresh_token"):
            kept["expires_at"] = None if self.lifetime is None else self.ends_at
            kept[ENDS_AT] = kept["expires_at"]
        elif self.refresh_lifetime is not None:
            kept[ENDS_AT] = self.at + self.refresh_lifetime
        return kept


def token_call(
    session: Session, auth: Auth, secrets: Mapping[str, Any], fields: Mapping[str, str], *, scope: str = ""
) -> Granted:
    """One call of the token endpoint. Raises ``CredentialsError`` when it says no, ``TransientError`` when it cannot say."""
    form, headers = {**fields, **auth.parameters}, {}
    if scope:
        form["scope"] = scope
    way = auth.token_call
    client_id = secret_of(secrets, "client_id") if way.has_client else ""
    client_secret = str(secrets.get("client_secret") or "") if way.has_client else ""
    if way.has_client and auth.client_style is ClientStyle.BASIC:
        value = basic_of(quote(client_id, safe=""), quote(client_secret, safe=""))
        session.redactor.add(value)
        headers["Authorization"] = f"Basic {value}"
    elif way.has_client:
        form["client_id"] = client_id
        if client_secret:
            form["client_secret"] = client_secret
    session.redactor.add(*(str(value) for value in (client_secret, form.get("refresh_token", "")) if value))
    started = time()
    if way.is_json:
        headers["Content-Type"] = "application/json"
    sent = encode(form) if way.is_json else form
    data = paths.first(json_of(ask(session, "token", "POST", auth.token_url, sent, headers, error_at=way.error)), way.answer_at)
    token, refresh_token = paths.text(data, "access_token"), paths.text(data, "refresh_token")
    if not token:
        raise CredentialsError("The token endpoint's answer holds no access_token.", field="auth.token_url")
    session.redactor.add(token, *((refresh_token,) if refresh_token else ()))
    lifetimes = (_seconds(data, name) for name in _REFRESH_LIFETIMES)
    refresh_lifetime = next((seconds for seconds in lifetimes if seconds), None)  # 0: for good
    lifetime = _seconds(data, way.lifetime)
    if lifetime is not None and way.is_milliseconds:
        lifetime /= 1000
    return Granted(token, refresh_token, started, lifetime, refresh_lifetime, paths.text(data, "scope"))


def _seconds(data: Any, name: str) -> float | None:
    try:
        seconds = float(paths.first(data, name))
    except (TypeError, ValueError):
        return None
    return min(seconds, _LONGEST) if math.isfinite(seconds) and seconds >= 0 else None
