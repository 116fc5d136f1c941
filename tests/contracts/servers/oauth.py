"""An authorization server and the API behind it (RFC 6749 section 4.1, RFC 7636): codes good once, refresh tokens that rotate.

An emulator. ``OAuth.page`` is where a person says yes: it redirects at once, as a server does where they said yes before.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from typing import Any
from urllib.parse import parse_qs, urlencode

from tests.servers import Answer, Request, Server

CLIENT_ID, CLIENT_SECRET = "redrive-client", "client-secret-of-the-test"


class OAuth:
    """``good``: access tokens that the API takes. ``refresh``: the refresh token that is good now, "" after a revocation.
    A refresh token given twice ends the login, as rotating servers do (RFC 6749 section 10.4)."""

    def __init__(self, **answer: Any) -> None:
        self.good: set[str] = set()
        self.refresh = ""
        self.grants: list[str] = []
        self.reused = 0
        self.answer = {"expires_in": 3600, **answer}  # more of the token endpoint's answer; None takes a name out
        self.gives_refresh_token = True
        self.refuses_all = False  # the API takes no token, however new
        self.error = ""  # the authorize page answers with this instead of a code
        self.redirect_uris: set[str] | None = None
        self.written: list[Any] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self.server = Server(self._answer)

    def auth(self, **more: Any) -> dict[str, Any]:
        return {
            "kind": "oauth2_authorization_code",
            "authorize_url": f"{self.server.url}/authorize?tenant=a%20b",
            "token_url": f"{self.server.url}/token",
            "scope": "contacts.write offline",
            **more,
        }

    def config(self, **more: Any) -> dict[str, Any]:
        operation = {"method": "POST", "path": "/contacts", "error": {"message": "message", "code": "code"}}
        return {
            "base_url": self.server.url,
            "auth": self.auth(),
            "objects": {"contacts": {"operations": {"upsert": operation}}},
            "check": {"path": "/me"},
            **more,
        }

    def revoke(self) -> None:
        """Somebody withdrew the grant at the destination."""
        with self._lock:
            self.good, self.refresh = set(), ""

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            if request.path == "/authorize":
                return self._authorize({name: values[0] for name, values in request.query.items()})
            if request.path == "/token":
                return self._token({name: values[0] for name, values in parse_qs(request.body.decode()).items()})
            if self.refuses_all or request.headers.get("authorization", "").removeprefix("Bearer ") not in self.good:
                return Answer.json({"message": "The token is not known.", "code": "bad_token"}, 401)
            if request.method == "POST":
                self.written.append(request.json())
            return Answer.json({"ok": True})

    def _authorize(self, query: dict[str, str]) -> Answer:
        wanted = {"response_type": "code", "client_id": CLIENT_ID, "code_challenge_method": "S256", "tenant": "a b"}
        wrong = [name for name, value in wanted.items() if query.get(name) != value]
        if wrong or len(query.get("code_challenge", "")) != 43:
            return Answer.json({"error": "invalid_request", "wrong": wrong}, 400)
        back = query["redirect_uri"]
        if self.redirect_uris is not None and back not in self.redirect_uris:
            return Answer.json({"error": "redirect_uri is not registered"}, 400)
        if self.error:
            return _to(back, {"error": self.error, "state": query["state"]})
        code = f"code-{len(self._codes)}-of-the-test"
        self._codes[code] = query
        return _to(back, {"code": code, "state": query["state"]})

    def _token(self, form: dict[str, str]) -> Answer:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return Answer.json({"error": "invalid_client"}, 401)
        if form["grant_type"] == "refresh_token":
            if not self.refresh or form["refresh_token"] != self.refresh:
                self.reused += 1
                self.good, self.refresh = set(), ""
                return Answer.json({"error": "invalid_grant", "error_description": form["refresh_token"]}, 400)
        else:
            asked = self._codes.pop(form["code"], None)
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
                return Answer.json({"error": "invalid_grant"}, 400)
        self.grants.append(form["grant_type"])
        number = len(self.grants)
        self.good = {f"access-{number}-of-the-test"}
        given = {"access_token": f"access-{number}-of-the-test", "token_type": "Bearer", **self.answer}
        if self.gives_refresh_token:
            self.refresh = given["refresh_token"] = f"refresh-{number}-of-the-test"
        return Answer.json({name: value for name, value in given.items() if value is not None})


def _to(address: str, query: dict[str, str]) -> Answer:
    return Answer(302, {"Location": f"{address}?{urlencode(query)}"})
