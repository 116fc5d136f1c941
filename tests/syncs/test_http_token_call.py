"""Token endpoints that do not keep to RFC 6749, described by ``auth.token_call``."""

from __future__ import annotations

import time
from typing import Any

import pytest

from syncs.destinations.http_api import validate
from syncs.records import Signal
from tests.contracts.http_tools import MemoryCredentials, batch, contact, destination, states
from tests.servers import Answer, Request, Server

WAY = {
    "is_json": True, "has_client": False, "answer_at": "data", "lifetime": "expires", "is_milliseconds": True,
    "error": "errors[0].code", "ended": ["GONE", "REVOKED"],
}  # fmt: skip


def settings(url: str, **way: Any) -> dict[str, Any]:
    auth = {"kind": "oauth2_refresh", "token_url": f"{url}/token", "parameters": {"mode": "json"}, "token_call": {**WAY, **way}}
    return {"base_url": url, "auth": auth, "objects": {"contacts": {"operations": {"upsert": {"path": "/contacts"}}}}}


class Api:
    def __init__(self) -> None:
        self.code = ""

    def __call__(self, request: Request) -> Answer:
        if request.path != "/token":
            return Answer.json({}, 200 if request.headers.get("authorization") == "Bearer access-1234" else 401)
        if self.code:
            return Answer.json({"errors": [{"code": self.code}]}, 401)
        return Answer.json({"data": {"access_token": "access-1234", "refresh_token": "second-1234", "expires": 900_000}})


def test_token_is_asked_for_in_json_and_found_where_the_settings_say():
    with Server(Api()) as server:
        store = MemoryCredentials({"refresh_token": "first-1234"})
        assert states(destination(settings(server.url), store).write(batch(contact("a")))) == ["written"]
        asked = server.requests[0]
    assert asked.json() == {"grant_type": "refresh_token", "refresh_token": "first-1234", "mode": "json"}
    assert asked.headers["content-type"] == "application/json"
    assert store.secrets["refresh_token"] == "second-1234"
    assert 800 < store.secrets["expires_at"] - time.time() < 901


@pytest.mark.parametrize(("code", "is_over"), [("GONE", True), ("REVOKED", True), ("SLOW", False), ("invalid_grant", False)])
def test_code_of_the_refusal_says_whether_the_login_is_over(code: str, is_over: bool):
    api = Api()
    api.code = code
    with Server(api) as server:
        store = MemoryCredentials({"refresh_token": "first-1234"})
        result = destination(settings(server.url), store).write(batch(contact("a")))
    assert result.signal == Signal.AUTH
    assert bool(store.revoked) == is_over
    assert (code in store.revoked) == is_over


def test_client_id_is_asked_for_unless_the_settings_say_it_does_not_go_along():
    config = settings("https://crm.example.org")
    assert validate(config, {"refresh_token": "x"}) == []
    config["auth"]["token_call"]["has_client"] = True
    assert [issue.field for issue in validate(config, {"refresh_token": "x"})] == ["client_id"]


@pytest.mark.parametrize(
    ("way", "field"),
    [({"answer_at": "data[x"}, "auth.token_call.answer_at"), ({"anser_at": "data"}, "auth.token_call.anser_at")],
)
def test_way_that_cannot_be_read_is_refused(way: dict[str, str], field: str):
    assert [issue.field for issue in validate(settings("https://crm.example.org", **way), {"refresh_token": "x"})] == [field]
