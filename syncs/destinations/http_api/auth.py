"""How calls prove who we are. Credentials go to the connection's own host only, and every new token is masked from then on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import requests

from syncs.destinations.base import CredentialStore
from syncs.destinations.http_api import paths
from syncs.destinations.http_api.config import Auth, AuthKind, Place
from syncs.destinations.http_api.encoding import encode
from syncs.destinations.http_api.oauth import AuthorizationCode, ClientCredentials, RefreshToken
from syncs.destinations.http_api.proofs import Authenticator, Proof, Renewable, ask, basic_of, json_of, secret_of
from syncs.errors import CredentialsError
from syncs.http import Session, set_cookies

__all__ = ["Authenticator", "Proof", "authenticator"]


def authenticator(auth: Auth, credentials: CredentialStore, session: Session, base_url: str) -> Authenticator:
    match auth.kind:
        case AuthKind.SESSION:
            return LoginSession(auth, credentials, session, base_url)
        case AuthKind.CLIENT_CREDENTIALS:
            return ClientCredentials(auth, credentials, session)
        case AuthKind.REFRESH_TOKEN:
            return RefreshToken(auth, credentials, session)
        case AuthKind.AUTHORIZATION_CODE:
            return AuthorizationCode(auth, credentials, session)
        case _:
            return Fixed(auth, credentials, session, base_url)


class Fixed:
    """A token, key or password that a person entered."""

    is_login = False

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

    def is_lost(self, refused: Proof) -> bool:
        return True

    def _make(self, auth: Auth, secrets: Mapping[str, Any], session: Session) -> Proof:
        match auth.kind:
            case AuthKind.BEARER:
                return Proof({"Authorization": f"Bearer {secret_of(secrets, 'token')}"})
            case AuthKind.API_KEY:
                key = auth.prefix + secret_of(secrets, "api_key")
                if auth.place is Place.PATH:
                    path = "/" + key.removeprefix(self._base_url).lstrip("/")
                    session.redactor.add(path)
                    return Proof(path=path)
                if auth.place is Place.QUERY:
                    return Proof(query=f"{quote(auth.name)}={quote(key, safe='')}")
                return Proof({auth.name: key})
            case AuthKind.BASIC:
                value = basic_of(auth.username, secret_of(secrets, "password"))
                session.redactor.add(value)
                return Proof({"Authorization": f"Basic {value}"})
            case _:
                return Proof()


class LoginSession(Renewable):
    """Log in with user name and password; the answer holds a token or a cookie."""

    def __init__(self, auth: Auth, credentials: CredentialStore, session: Session, base_url: str) -> None:
        super().__init__(auth, credentials, session)
        self._base_url = base_url

    def _fetch(self, refused: str | None) -> Proof:
        login, secrets = self._auth.login, self._secrets
        assert login is not None
        values = {"username": self._auth.username, "password": secret_of(secrets, "password")}
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
        return paths.text(json_of(answer), where.path)

    def _carrying(self, token: str) -> Proof:
        where = self._auth.token
        if where.send_as is Place.COOKIE:
            return Proof({"Cookie": f"{where.path}={token}"}, token=token)
        if where.send_as is Place.QUERY:
            return Proof(query=f"{quote(where.name)}={quote(token, safe='')}", token=token)
        return Proof({where.name: where.prefix + token}, token=token)


def _filled(template: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: value.replace("{username}", values["username"]).replace("{password}", values["password"])
        if isinstance(value, str)
        else value
        for name, value in template.items()
    }
