"""One record tried through the API: seen first, sent once, and its answer read as a run reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncs.models import AuditEvent, Connection, Sync, Team
from tests.api.kit import caller, said
from tests.servers import Answer, Server
from tests.syncs.schema_world import Target

pytestmark = pytest.mark.django_db
SECRET = "s3cr3t-t0ken-value"
DRAFT = {
    "object": "contacts",
    "operation": "upsert",
    "payload": {"email": "ada@example.com", "n": 1.5},
    "key_fields": ["email"],
}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(lambda request: Answer.json({"id": "77"})) as server:
        yield server


@pytest.fixture
def crm(server: Server) -> Connection:
    config = {
        "base_url": server.url,
        "auth": {"kind": "bearer"},
        "objects": {"contacts": {"operations": {"upsert": {"method": "POST", "path": "/contacts"}}}},
    }
    return Connection.objects.create(name="CRM", role="destination", kind="http", config=config, secrets={"token": SECRET})


def address(connection: Connection, act: str = "") -> str:
    return f"/api/v1/connections/{connection.pk}/try{act}"


def test_record_is_shown_first_and_sent_once(server: Server, crm: Connection) -> None:
    client = caller("operator")
    shown = client.post(address(crm, "/rehearse"), DRAFT)
    assert shown.status_code == 200, shown.content
    assert server.requests == []
    call = shown.json()["calls"][-1]
    assert call["is_withheld"] is True
    assert "ada@example.com" in call["body"]
    assert SECRET not in shown.content.decode()
    assert shown.json()["draft"]["key"] == "ada@example.com"
    token = {"token": shown.json()["token"]}
    sent = client.post(address(crm), token)
    assert sent.status_code == 200, sent.content
    assert (sent.json()["state"], sent.json()["signal"], sent.json()["error"]) == ("written", "ok", None)
    assert [request.json()["n"] for request in server.requests] == [1.5]
    assert said(client.post(address(crm), token))[2].keys() == {"token"}
    assert len(server.requests) == 1
    assert AuditEvent.objects.get(act="tried").door == "api"


def test_token_is_one_person_s_for_one_connection(crm: Connection) -> None:
    token = {"token": caller("operator").post(address(crm, "/rehearse"), DRAFT).json()["token"]}
    assert said(caller("operator").post(address(crm), token))[2].keys() == {"token"}
    assert said(caller("operator").post(address(crm), {"token": "made up"}))[2].keys() == {"token"}


def test_refusal_is_an_answer(server: Server, crm: Connection) -> None:
    client = caller("operator")
    token = client.post(address(crm, "/rehearse"), DRAFT).json()["token"]
    server.script(Answer.json({"message": "email is wrong"}, status=400))
    found = client.post(address(crm), {"token": token}).json()
    assert (found["state"], found["error"]["http_status"], found["error"]["is_permanent"]) == ("rejected", 400, True)
    assert found["calls"][-1]["status"] == 400


def test_wrong_record_is_refused_by_its_fields(crm: Connection) -> None:
    client = caller("operator")
    for changes, field in (
        ({"object": "nothing"}, "object"), ({"operation": "burn"}, "operation"), ({"operation": "delete"}, "operation"),
        ({"payload": {}}, "payload"), ({"payload": "x"}, "payload"), ({"payload": {"a": "x" * 100_001}}, "payload"),
        ({"key": "k" * 256}, "key"), ({"key_fields": "email"}, "key_fields"), ({"colour": "red"}, "colour"),
    ):  # fmt: skip
        status, _code, issues = said(client.post(address(crm, "/rehearse"), {**DRAFT, **changes}))
        assert (status, list(issues)) == (400, [field]), changes


def test_who_may_not_try_is_refused(crm: Connection) -> None:
    assert said(caller("support").post(address(crm, "/rehearse"), DRAFT))[:2] == (403, "forbidden")
    assert said(caller("operator", "read").post(address(crm, "/rehearse"), DRAFT))[:2] == (403, "scope_missing")


def test_destination_that_is_down_is_an_answer(crm: Connection) -> None:
    client = caller("operator")
    crm.config = {**crm.config, "base_url": "http://127.0.0.1:9"}
    crm.save()
    token = client.post(address(crm, "/rehearse"), DRAFT).json()["token"]
    assert client.post(address(crm), {"token": token}).json()["signal"] == "unavailable"


def test_row_of_a_sync_is_taken_by_who_sees_it(tmp_path: Path) -> None:
    target = Target(tmp_path)
    client = caller("operator")
    assert [one["name"] for one in client.get(address(target.connection, "/syncs")).json()["data"]] == ["People"]
    rows = client.get(address(target.connection, "/rows"), {"sync": target.sync.pk}).json()["data"]
    assert [row["key"] for row in rows] == ["1", "2"]
    assert said(caller("operator", "read", "run").post(address(target.connection, "/take"), {"sync": 1, "key": "1"}))[0] == 403
    shown = client.post(address(target.connection, "/take"), {"sync": target.sync.pk, "key": "1"})
    assert shown.status_code == 200, shown.content
    assert shown.json()["draft"]["payload"] == {"id": "1", "name": "Ana"}
    assert client.post(address(target.connection), {"token": shown.json()["token"]}).json()["state"] == "written"
    assert said(client.post(address(target.connection, "/take"), {"sync": target.sync.pk, "key": "9"}))[0] == 400
    Sync.objects.filter(pk=target.sync.pk).update(team=Team.objects.create(name="Others"))
    stranger = caller("operator")
    assert stranger.get(address(target.connection, "/syncs")).json()["data"] == []
    assert said(stranger.get(address(target.connection, "/rows"), {"sync": target.sync.pk}))[2].keys() == {"sync"}
    assert said(stranger.post(address(target.connection, "/take"), {"sync": target.sync.pk, "key": "1"}))[0] == 400
    history = stranger.get(f"/api/v1/connections/{target.connection.pk}/history").json()["data"]
    assert "row_taken" not in [event["act"] for event in history]
