"""How calls prove who we are. Credentials go to the connection's own host only, and every new token is masked from then on."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import time
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import orjson
import requests

from syncs.destinations.base import CredentialStore
from syncs.destinations.http_api import paths
from syncs.destinations.http_api.config import Auth, AuthKind, ClientStyle, Place
from syncs.destinations.http_api.encoding import encode
from syncs.errors import CredentialsError, TransientError
from syncs.http import Session, guarded_requests_session, parse_retry_after, set_cookies

EARLY_SECONDS = 60.0  # a token this near its end is renewed before it is used


@dataclass(frozen=True, slots=True)
class Proof:
    """What a call carries. ``token``: which one it was, so that two threads do not renew it twice."""

    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""
    path: str = ""
    token: str = ""


class Authenticator(Protocol):
    def proof(self) -> Proof:
        """Raises ``CredentialsError`` (a person must act) or ``TransientError`` (the token endpoint is down)."""
        ...

    def renew(self, refused: Proof) -> bool:
        """The destination refused this proof. True when it was renewed, by us or by another thread; raises like ``proof``."""
        ...


def authenticator(auth: Auth, credentials: CredentialStore, session: Session, base_url: str) -> Authenticator:
    match auth.kind:
        case AuthKind.SESSION:
            return LoginSession(auth, credentials, session, base_url)
        case AuthKind.CLIENT_CREDENTIALS:
            return ClientCredentials(auth, credentials, session)
        case AuthKind.REFRESH_TOKEN:
            return RefreshToken(auth, credentials, session)
        case _:
            return Fixed(auth, credentials, session, base_url)


class Fixed:
    """A token, key or password that a person entered."""

    def __init__(self, auth: Auth, credentials: CredentialStore, session: Session, base_url: str = "") -> None:
        self._made: Proof | CredentialsError
        self._base_url = base_url
        try:
            self._made = self._make(auth, credentials.read(), session)
        except CredentialsError as error:  # told when it is needed: a connection test must be able to say it
            self._made = error

    def proof(self) -> Proof:
        if isinstance(self._made, CredentialsError):
            raise self._made
        return self._made

    def renew(self, refused: Proof) -> bool:
        return False

    def _make(self, auth: Auth, secrets: Mapping[str, Any], session: Session) -> Proof:
        match auth.kind:
            case AuthKind.BEARER:
                return Proof({"Authorization": f"Bearer {_secret(secrets, 'token')}"})
            case AuthKind.API_KEY:
                key = auth.prefix + _secret(secrets, "api_key")
                if auth.place is Place.PATH:
                    path = "/" + key.removeprefix(self._base_url).lstrip("/")
                    session.redactor.add(path)
                    return Proof(path=path)
                if auth.place is Place.QUERY:
                    return Proof(query=f"{quote(auth.name)}={quote(key, safe='')}")
                return Proof({auth.name: key})
            case AuthKind.BASIC:
                value = _basic(auth.username, _secret(secrets, "password"))
                session.redactor.add(value)
                return Proof({"Authorization": f"Basic {value}"})
            case _:
                return Proof()


class _Renewable:
    """A token that lives for a while. One thread renews it; the others wait and use what it brought."""

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

    def _fetch(self, refused: str | None) -> Proof:
        raise NotImplementedError

    def _bearer(self, token: str, ends_at: float) -> Proof:
        self._session.redactor.add(token)
        # A token that lives shorter than the margin would be renewed before every call.
        self._ends_at = ends_at if ends_at - time() > 2 * EARLY_SECONDS else ends_at + EARLY_SECONDS
        return Proof({"Authorization": f"Bearer {token}"}, token=token)


class LoginSession(_Renewable):
    """Log in with user name and password; the answer holds a token or a cookie."""

    def __init__(self, auth: Auth, credentials: CredentialStore, session: Session, base_url: str) -> None:
        super().__init__(auth, credentials, session)
        self._base_url = base_url

    def _fetch(self, refused: str | None) -> Proof:
        login, secrets = self._auth.login, self._secrets
        assert login is not None
        values = {"username": self._auth.username, "password": _secret(secrets, "password")}
        filled = _filled(login.body, values)
        kind = "application/x-www-form-urlencoded" if login.is_form else "application/json"
        body = urlencode(filled).encode() if login.is_form else encode(filled)
        answer = ask(self._session, "login", login.method, self._base_url + login.path, body, {"Content-Type": kind})
        token = self._token(answer)
        if not token:
            raise CredentialsError(
                "The login was accepted, but its answer holds no token where auth.token says.", field="auth.token"
            )
        self._session.redactor.add(token)
        return self._carrying(token)

    def _token(self, answer: requests.Response) -> str:
        where = self._auth.token
        if where.take_from is Place.COOKIE:
            for cookie in set_cookies(answer):
                name, _, rest = cookie.partition("=")
                if name.strip() == where.path:
                    return rest.split(";", 1)[0].strip()
            return ""
        if where.take_from is Place.HEADER:
            return answer.headers.get(where.path, "")
        return paths.text(_json(answer), where.path)

    def _carrying(self, token: str) -> Proof:
        where = self._auth.token
        if where.send_as is Place.COOKIE:
            return Proof({"Cookie": f"{where.path}={token}"}, token=token)
        if where.send_as is Place.QUERY:
            return Proof(query=f"{quote(where.name)}={quote(token, safe='')}", token=token)
        return Proof({where.name: where.prefix + token}, token=token)


class ClientCredentials(_Renewable):
    """OAuth 2 client credentials: the token is kept in memory."""

    def _fetch(self, refused: str | None) -> Proof:
        granted = token_call(self._session, self._auth, self._secrets, {"grant_type": "client_credentials"})
        return self._bearer(granted.access_token, granted.ends_at)


class RefreshToken(_Renewable):
    """OAuth 2 with a refresh token that may rotate.

    A rotated token is good once, so one worker at a time refreshes, under the row lock, and what it got is stored before anyone
    else may read it: a second refresh with the old token would lose the login.
    """

    def _fetch(self, refused: str | None) -> Proof:
        secrets = self._credentials.read()
        usable = self._stored(secrets, refused)
        if usable is not None:
            return usable
        with self._credentials.locked() as locked:
            usable = self._stored(locked.secrets, refused)
            if usable is not None:
                return usable
            fields = {"grant_type": "refresh_token", "refresh_token": _secret(locked.secrets, "refresh_token")}
            granted = token_call(self._session, self._auth, locked.secrets, fields)
            kept = {**locked.secrets, "access_token": granted.access_token, "expires_at": granted.ends_at}
            if granted.refresh_token:
                self._session.redactor.add(granted.refresh_token)
                kept["refresh_token"] = granted.refresh_token
            locked.save(kept)
        return self._bearer(granted.access_token, granted.ends_at)

    def _stored(self, secrets: Mapping[str, Any], refused: str | None) -> Proof | None:
        """The stored access token, if it is another than the refused one and not about to end."""
        token = str(secrets.get("access_token") or "")
        ends_at = float(secrets.get("expires_at") or 0)
        if not token or token == refused or time() >= ends_at - EARLY_SECONDS:
            return None
        return self._bearer(token, ends_at)


@dataclass(frozen=True, slots=True)
class Granted:
    access_token: str
    refresh_token: str
    ends_at: float  # Unix time


def token_call(session: Session, auth: Auth, secrets: Mapping[str, Any], fields: dict[str, str]) -> Granted:
    """One call of the token endpoint. Raises ``CredentialsError`` when it says no, ``TransientError`` when it cannot say."""
    form, headers = {**fields, **auth.parameters}, {}
    if auth.scope:
        form["scope"] = auth.scope
    client_id, client_secret = _secret(secrets, "client_id"), str(secrets.get("client_secret") or "")
    if auth.client_style is ClientStyle.BASIC:
        value = _basic(quote(client_id, safe=""), quote(client_secret, safe=""))
        session.redactor.add(value)
        headers["Authorization"] = f"Basic {value}"
    else:
        form["client_id"] = client_id
        if client_secret:
            form["client_secret"] = client_secret
    session.redactor.add(*(str(value) for value in (client_secret, form.get("refresh_token", "")) if value))
    started = time()
    data = _json(ask(session, "token", "POST", auth.token_url, form, headers))
    token = paths.text(data, "access_token")
    if not token:
        raise CredentialsError("The token endpoint's answer holds no access_token.", field="auth.token_url")
    lifetime = paths.first(data, "expires_in")
    try:
        seconds = float(lifetime)
    except (TypeError, ValueError):
        seconds = 3600.0
    return Granted(token, paths.text(data, "refresh_token"), started + seconds)


def ask(
    session: Session, what: str, method: str, url: str, data: bytes | dict[str, str], headers: Mapping[str, str]
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
        code = paths.text(_json(answer), "error")[:60]
        reason = f" ({code})" if code.replace("_", "").isalnum() else ""
        raise CredentialsError(
            f"The {what} endpoint refused the connection's credentials with {status}{reason}. "
            "Renew them on the connection page.",
            code=code,
        )
    return answer


def _json(answer: requests.Response) -> Any:
    try:
        return orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return None


def _secret(secrets: Mapping[str, Any], name: str) -> str:
    value = str(secrets.get(name) or "")
    if not value:
        raise CredentialsError(f"The connection has no {name.replace('_', ' ')}. Enter it on the connection page.", field=name)
    return value


def _basic(username: str, password: str) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def _filled(template: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: value.replace("{username}", values["username"]).replace("{password}", values["password"])
        if isinstance(value, str)
        else value
        for name, value in template.items()
    }
