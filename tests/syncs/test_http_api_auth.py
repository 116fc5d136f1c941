from __future__ import annotations

import base64
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import pytest

from syncs.errors import ErrorType
from syncs.records import Signal
from tests.contracts.http_tools import MemoryCredentials, batch, contact, destination, states
from tests.servers import Answer, Server

OBJECTS = {"contacts": {"operations": {"upsert": {"path": "/contacts"}}}}


class Api:
    """An API that knows which tokens are good now, with a token endpoint whose refresh tokens are good once."""

    def __init__(self) -> None:
        self.good: set[str] = set()
        self.refresh = "refresh-0"
        self.grants = 0
        self.header = "authorization"
        self.prefix = "Bearer "
        self.lifetime = 3600
        self.refused_with = 401
        self.lock = threading.Lock()

    def __call__(self, request):
        if request.path == "/token":
            with self.lock:
                return self.grant(parse_qs(request.body.decode()))
        if request.path == "/login":
            self.good = {"session-token-1234"}
            headers = {"Set-Cookie": "sid=session-token-1234; Path=/; HttpOnly", "X-Session": "session-token-1234"}
            return Answer.json({"data": {"token": "session-token-1234"}}, headers=headers)
        if request.headers.get(self.header, "").removeprefix(self.prefix) not in self.good:
            return Answer.json({"message": "bad token"}, self.refused_with)
        return Answer.json({})

    def grant(self, form):
        if form["grant_type"] == ["refresh_token"]:
            if form["refresh_token"] != [self.refresh]:
                self.refresh = "revoked"  # a used token given again: the whole login is lost
                return Answer.json({"error": "invalid_grant"}, 400)
            self.refresh = f"refresh-{self.grants + 1}"
        self.grants += 1
        token = f"access-token-{self.grants}"
        self.good = {token}
        return Answer.json({"access_token": token, "refresh_token": self.refresh, "expires_in": self.lifetime})


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def server(api):
    with Server(api) as started:
        yield started


def opened(server, auth, **secrets):
    credentials = secrets.pop("credentials", None) or MemoryCredentials(secrets)
    return destination({"base_url": server.url, "auth": auth, "objects": OBJECTS}, credentials)


def write(made):
    return made.write(batch(contact("a")))


@pytest.mark.parametrize(
    "auth, secrets, header, value",
    [
        ({"kind": "bearer"}, {"token": "tok-1"}, "authorization", "Bearer tok-1"),
        ({"kind": "api_key", "name": "X-Api-Key"}, {"api_key": "key-1"}, "x-api-key", "key-1"),
        ({"kind": "api_key", "prefix": "Klaviyo-API-Key "}, {"api_key": "key-1"}, "authorization", "Klaviyo-API-Key key-1"),
        (
            {"kind": "basic", "username": "u"},
            {"password": "p:ü"},
            "authorization",
            "Basic " + base64.b64encode("u:p:ü".encode()).decode(),
        ),
    ],
)
def test_fixed_credentials_are_sent(auth, secrets, header, value):
    with Server() as plain:
        assert states(write(opened(plain, auth, **secrets))) == ["written"]
    assert plain.requests[0].headers[header] == value


@pytest.mark.parametrize(
    "token, header, prefix",
    [
        ({"path": "data.token"}, "authorization", "Bearer "),
        ({"take_from": "header", "path": "X-Session", "name": "X-Session", "prefix": ""}, "x-session", ""),
        ({"take_from": "cookie", "path": "sid", "send_as": "cookie"}, "cookie", "sid="),
    ],
)
def test_session_logs_in_once_and_again_when_refused(server, api, token, header, prefix):
    api.header, api.prefix = header, prefix
    made = opened(server, {"kind": "session", "username": "me", "login": {"path": "/login"}, "token": token}, password="pw-123")
    assert states(write(made)) == ["written"]
    assert states(write(made)) == ["written"]
    assert [request.path for request in server.requests] == ["/login", "/contacts", "/contacts"]
    assert server.requests[0].json() == {"username": "me", "password": "pw-123"}
    api.good = set()
    assert states(write(made)) == ["written"]
    assert [request.path for request in server.requests][3:] == ["/contacts", "/login", "/contacts"]


def test_client_credentials_are_exchanged_once_for_many_threads(server, api):
    auth = {
        "kind": "oauth2_client_credentials",
        "token_url": f"{server.url}/token",
        "scope": "write",
        "parameters": {"audience": "x"},
    }
    made = opened(server, auth, client_id="id", client_secret="secret-1")
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: write(made), range(40)))
    assert all(states(result) == ["written"] for result in results)
    assert api.grants == 1
    form = parse_qs(next(r for r in server.requests if r.path == "/token").body.decode())
    assert form == {
        "grant_type": ["client_credentials"],
        "audience": ["x"],
        "scope": ["write"],
        "client_id": ["id"],
        "client_secret": ["secret-1"],
    }


def test_client_secret_may_go_as_basic_authentication(server):
    auth = {"kind": "oauth2_client_credentials", "token_url": f"{server.url}/token", "client_style": "basic"}
    write(opened(server, auth, client_id="id", client_secret="secret-1"))
    token_call = server.requests[0]
    assert token_call.headers["authorization"] == "Basic " + base64.b64encode(b"id:secret-1").decode()
    assert b"secret-1" not in token_call.body


def test_token_near_its_end_is_renewed_before_use(server, api):
    auth = {"kind": "oauth2_client_credentials", "token_url": f"{server.url}/token"}
    made = opened(server, auth, client_id="id", client_secret="s")
    api.lifetime = 200
    write(made)
    made._auth._ends_at = time.time() + 30
    write(made)
    assert api.grants == 2
    assert "/contacts" in server.requests[-1].path


REFRESH = {"kind": "oauth2_refresh"}


def refreshing(server, credentials):
    return opened(server, {**REFRESH, "token_url": f"{server.url}/token"}, credentials=credentials)


def stored(**more):
    return MemoryCredentials({"client_id": "id", "client_secret": "s", "refresh_token": "refresh-0", **more})


def test_refresh_stores_the_rotated_token_and_keeps_other_secrets(server, api):
    credentials = stored(other="kept")
    assert states(write(refreshing(server, credentials))) == ["written"]
    assert credentials.secrets["refresh_token"] == "refresh-1"
    assert credentials.secrets["access_token"] == "access-token-1"
    assert credentials.secrets["other"] == "kept"
    assert credentials.secrets["expires_at"] > time.time() + 3000


def test_stored_access_token_is_used_while_it_lasts(server, api):
    api.good = {"stored-token"}
    credentials = stored(access_token="stored-token", expires_at=time.time() + 600)
    assert states(write(refreshing(server, credentials))) == ["written"]
    assert api.grants == 0


def test_refused_access_token_is_refreshed_once_and_the_batch_sent_again(server, api):
    credentials = stored(access_token="stale-token", expires_at=time.time() + 600)
    assert states(write(refreshing(server, credentials))) == ["written"]
    assert (api.grants, credentials.saves) == (1, 1)


def test_two_workers_refresh_one_after_the_other_and_keep_the_login(server, api):
    """Both hold the same stale token. The second must take what the first one stored: a used refresh token ends the login."""
    for turn in range(5):
        credentials = stored(access_token="stale-token", expires_at=time.time() + 600, refresh_token=api.refresh)
        before = api.grants
        workers = [refreshing(server, credentials) for _ in range(4)]
        with ThreadPoolExecutor(16) as pool:
            results = list(pool.map(lambda n, all_workers=workers: write(all_workers[n % 4]), range(32)))
        assert all(states(result) == ["written"] for result in results), turn
        assert api.grants == before + 1
        assert api.refresh != "revoked"


def test_token_still_refused_after_a_refresh_ends_as_auth(server, api):
    api.header = "x-never"
    result = write(refreshing(server, stored()))
    assert (result.signal, states(result)) == (Signal.AUTH, ["not_attempted"])
    assert [request.path for request in server.requests].count("/contacts") == 2


def test_revoked_login_is_auth_with_the_code_and_no_secret(server, api):
    api.refresh = "something-else"
    result = write(refreshing(server, stored(client_secret="client-secret-9")))
    assert (result.signal, result.error.type, result.error.code) == (Signal.AUTH, ErrorType.AUTH, "invalid_grant")
    assert states(result) == ["not_attempted"]
    assert "client-secret-9" not in str(result)
    assert "refresh-0" not in str(result)
    assert [request.path for request in server.requests] == ["/token"]


@pytest.mark.parametrize(
    "answer", [Answer(503, {"Retry-After": "9"}), Answer(429, {"Retry-After": "9"}), Answer(fault="close")]
)
def test_token_endpoint_that_is_down_is_unavailable_and_loses_nothing(server, api, answer):
    credentials = stored()
    server.script(answer)
    result = write(refreshing(server, credentials))
    assert (result.signal, states(result)) == (Signal.UNAVAILABLE, ["not_attempted"])
    assert result.retry_after == (9 if answer.status != 200 else None)
    assert credentials.secrets["refresh_token"] == "refresh-0"


def test_refreshed_tokens_are_masked_in_evidence(server, api):
    made = refreshing(server, stored())
    write(made)
    server.script(Answer.json({"echo": "access-token-1 refresh-1"}, 422))
    result = write(made)
    assert "access-token-1" not in str(result)
    assert "refresh-1" not in str(result)


def test_check_renews_too_and_reports_a_missing_secret(server, api):
    made = refreshing(server, stored(access_token="stale", expires_at=time.time() + 900))
    assert made.check().is_ok
    bare = destination({"base_url": server.url, "auth": {"kind": "none"}, "objects": OBJECTS}, MemoryCredentials({}))
    assert "credentials" in bare.check().message
    credentials = stored()
    empty = refreshing(server, credentials)
    credentials.secrets["refresh_token"] = ""
    report = empty.check()
    assert not report.is_ok
    assert "refresh token" in report.message
