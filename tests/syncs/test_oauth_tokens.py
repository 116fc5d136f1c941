"""Tokens that end while a call is on its way: what another worker brought is used, what is lost is said once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from syncs.errors import ErrorType
from syncs.records import Signal
from tests.contracts.http_tools import MemoryCredentials, batch, contact, destination, states
from tests.contracts.servers.oauth import CLIENT_ID, CLIENT_SECRET, OAuth
from tests.servers import Answer


@pytest.fixture
def oauth() -> Iterator[OAuth]:
    made = OAuth()
    with made.server:
        yield made


def stored(**values: Any) -> MemoryCredentials:
    return MemoryCredentials({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **values})


def write(oauth: OAuth, credentials: MemoryCredentials) -> Any:
    return destination(oauth.config(), credentials).write(batch(contact("a")))


def test_token_renewed_by_another_worker_meanwhile_is_no_lost_login(oauth: OAuth):
    """We renewed, then another worker did: that ended our new token, and only the stored one is good."""
    oauth.refresh = "refresh-0-of-the-test"
    credentials = stored(access_token="stale-token-1", expires_at=time.time() + 900, refresh_token=oauth.refresh)
    answer = oauth.server.handler

    def overtaken(request: Any) -> Answer:
        if request.headers.get("authorization") == "Bearer access-1-of-the-test":
            oauth.good = {"access-of-the-other-worker"}
            credentials.secrets["access_token"] = "access-of-the-other-worker"
        return answer(request)

    oauth.server.handler = overtaken
    result = write(oauth, credentials)
    assert (result.signal, states(result)) == (Signal.OK, ["written"])
    assert credentials.revoked == ""
    assert oauth.grants == ["refresh_token"]


def test_login_without_refresh_token_is_used_to_its_end_and_then_lost(oauth: OAuth):
    oauth.good = {"only-token-of-the-test"}
    credentials = stored(access_token="only-token-of-the-test", expires_at=None)
    assert states(write(oauth, credentials)) == ["written"]
    oauth.revoke()
    result = write(oauth, credentials)
    assert (result.signal, result.error.type, result.error.code) == (Signal.AUTH, ErrorType.AUTH, "login_ended")
    assert "nothing to renew it with" in credentials.revoked
    assert oauth.grants == []


@pytest.mark.parametrize("ends_in", [30, -1])
def test_access_token_near_its_end_is_renewed_before_the_call(oauth: OAuth, ends_in: int):
    oauth.refresh = "refresh-0-of-the-test"
    oauth.good = {"old-token-of-the-test"}
    credentials = stored(access_token="old-token-of-the-test", expires_at=time.time() + ends_in, refresh_token=oauth.refresh)
    assert states(write(oauth, credentials)) == ["written"]
    assert [request.path for request in oauth.server.requests] == ["/token", "/contacts"]
    assert credentials.secrets["refresh_token"] == "refresh-1-of-the-test"
    assert "scope" not in oauth.server.requests[0].body.decode(), "a renewal keeps the scope that was granted"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"authorize_url": ""}, "auth.authorize_url"),
        ({"authorize_url": "javascript:alert(1)"}, "auth.authorize_url"),
        ({"token_url": "nowhere"}, "auth.token_url"),
        ({"authorize_parameters": {"state": "mine"}}, "auth.authorize_parameters.state"),
    ],
)
def test_wrong_settings_are_named(oauth: OAuth, changes: dict[str, Any], field: str):
    from syncs.destinations.http_api import validate

    config = oauth.config(auth=oauth.auth(**changes))
    assert [issue.field for issue in validate(config, {"client_id": "x"})] == [field]
    assert [issue.field for issue in validate(oauth.config(), {})] == ["client_id"]
