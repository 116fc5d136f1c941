"""Trying one record: what is shown is what is sent, nothing is sent unasked, and the answer is explained."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from syncs.models import AuditEvent, Connection, DeliveredRow, ErrorRule, RateWindow, Run
from tests import seeds
from tests.servers import Answer, Server
from tests.syncs.objects import make_sync
from tests.syncs.people import people_source, write_people

pytestmark = pytest.mark.django_db
TOKEN = "bearer-token-of-the-test"
PAYLOAD = {"id": 7, "email": "ada@example.com", "note": "Zoë"}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(lambda request: Answer.json({"ok": True, "id": "r-1"}, headers={"X-Request-Id": "q-77"})) as started:
        yield started


def api(server: Server, operation: dict[str, Any] | None = None, **more: Any) -> Connection:
    error = {"code": "code", "message": "message"}
    upsert = operation or {"method": "PUT", "path": "/contacts/{key}", "id": "id", "error": error}
    config = {
        "base_url": server.url,
        "auth": {"kind": "bearer"},
        "headers": {"X-Tenant": "blue"},
        "objects": {"contacts": {"operations": {"upsert": upsert}}},
        **more,
    }
    return Connection.objects.create(name="CRM", role="destination", kind="http", config=config, secrets={"token": TOKEN})


def url(connection: Connection) -> str:
    return f"/admin/syncs/connection/{connection.pk}/try/"


def show(client: Client, connection: Connection, **form: Any) -> Any:
    given = {"object": "contacts", "operation": "upsert", "key": "7", "payload": json.dumps(PAYLOAD), **form}
    return client.post(url(connection), {"act": "show", **given})


def send(client: Client, connection: Connection, shown: Any) -> Any:
    return client.post(url(connection), {"act": "send", "token": shown.context["token"]})


def test_request_is_shown_before_it_goes_out_and_goes_out_as_shown(admin_client: Client, server: Server):
    connection = api(server)
    shown = show(admin_client, connection)
    (call,) = shown.context["trial"].calls
    assert server.requests == []
    assert call.is_withheld
    assert call.line == f"PUT {server.url}/contacts/7"
    html = shown.content.decode()
    assert TOKEN not in html
    assert "Send this for real" in html
    answer = send(admin_client, connection, shown)
    (request,) = server.requests
    sent = {name.lower(): value for name, value in call.headers}
    assert (request.method, request.path, request.body.decode()) == ("PUT", "/contacts/7", call.body)
    assert json.loads(call.body) == PAYLOAD
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert sent.pop("authorization") == "•••"
    assert sent.items() <= request.headers.items()
    html = answer.content.decode()
    for wanted in ("Written", "r-1", "q-77", "200; success is any 2xx"):
        assert wanted in html
    assert TOKEN not in html


def test_nothing_enters_the_ledger_and_the_history_tells_who(admin_client: Client, server: Server):
    connection = api(server)
    send(admin_client, connection, show(admin_client, connection))
    assert not DeliveredRow.objects.exists()
    assert not Run.objects.exists()
    (event,) = AuditEvent.objects.all()
    assert (event.act, event.actor and event.actor.username) == ("tried", "admin")
    assert event.detail == {"object": "contacts", "operation": "upsert", "outcome": "written", "http_status": 200}


def test_one_request_is_sent_once_and_only_by_who_saw_it(admin_client: Client, server: Server):
    connection = api(server)
    shown = show(admin_client, connection)
    other = Client()
    other.force_login(User.objects.create_superuser("bo"))
    refusals = [
        (other, shown.context["token"], "not a request that was shown to you"),
        (admin_client, shown.context["token"][:-2], "not a request that was shown to you"),
    ]
    for client, token, words in refusals:
        answer = client.post(url(connection), {"act": "send", "token": token})
        assert answer.status_code == 400
        assert words in answer.content.decode()
    assert send(admin_client, connection, shown).status_code == 200
    again = send(admin_client, connection, shown)
    assert again.status_code == 400
    assert "was sent already" in again.content.decode()
    assert len(server.requests) == 1


REFUSED = {
    "error_rules": [{"status": 500, "text": "duplicate (?P<field>\\w+)", "type": "duplicate_key"}],
    "wait": {"kind": "retry_after"},
}
READ = [
    (
        Answer.json({"message": "duplicate email", "code": "E11"}, 500),
        ["Refused", "duplicate_key", "E11", "error_rules[0] fits", "<bdi>email</bdi>"],
    ),
    (
        Answer.json({"message": "name is required"}, 422),
        ["Refused", "missing_required", "none of the settings&#x27; rules fits", "422; success is"],
    ),
    (
        Answer.json({"message": "slow down"}, 429, headers={"Retry-After": "9"}),
        ["Rate limited", "Asked to wait", "9 s", "retry-after"],
    ),
    (Answer.json({"message": "who?"}, 401), ["Credentials refused", "no row is dead-lettered"]),
    (Answer(fault="close"), ["Nobody can say", "No answer", "unknown_outcome"]),
    (Answer.json({"message": "<script>alert(1)</script>"}, 400), ["Refused", "&lt;script&gt;"]),
]


@pytest.mark.parametrize(("answer", "words"), READ)
def test_answer_is_explained(admin_client: Client, server: Server, answer: Answer, words: list[str]):
    connection = api(server, **REFUSED)
    shown = show(admin_client, connection)
    server.script(answer)
    html = send(admin_client, connection, shown).content.decode()
    for wanted in words:
        assert wanted in html, wanted
    assert "<script>alert" not in html


BATCH = {
    "path": "/batch",
    "per_call": "batch",
    "body": {"list_at": "rows"},
    "success": {"flag": {"path": "ok"}, "present": "results", "count": "results"},
    "locator": {"kind": "position", "results": "results", "ok": {"path": "success"}, "message": "error"},
}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"ok": True, "results": [{"success": True}]},
            ["Written", "ok is True", "is there", "results is 1; one record"],
        ),
        ({"ok": True, "results": [{"success": False, "error": "city is required"}]}, ["Refused", "names the record as failed"]),
        ({"ok": "yes", "results": []}, ["ok is &#x27;yes&#x27;; success is True", "results is missing or empty"]),
        ({"ok": True, "results": [1, 2]}, ["Nobody can say", "results is 2; one record was sent"]),
    ],
)
def test_success_tests_and_locator_are_shown_with_what_they_found(
    admin_client: Client, server: Server, data: dict[str, Any], words: list[str]
):
    connection = api(server, BATCH)
    shown = show(admin_client, connection)
    server.script(Answer.json(data))
    html = send(admin_client, connection, shown).content.decode()
    for wanted in words:
        assert wanted in html, wanted


def test_look_up_is_made_at_once_and_the_write_is_withheld(admin_client: Client, server: Server):
    lookup = {"path": "/find/{key}", "take": {"id": "id"}}
    connection = api(server, {"method": "PUT", "path": "/contacts/{found.id}", "lookup": lookup})
    shown = show(admin_client, connection)
    assert [request.method for request in server.requests] == ["GET"]
    assert [call.line.split()[0] for call in shown.context["trial"].calls] == ["GET", "PUT"]
    assert shown.context["trial"].calls[1].line.endswith("/contacts/r-1")
    server.script(Answer.json({}, 404))
    missing = show(admin_client, connection)
    assert "Nothing would be sent" in missing.content.decode()
    assert "Send this for real" not in missing.content.decode()


def test_error_rule_of_the_connection_is_named(admin_client: Client, server: Server):
    connection = api(server)
    ErrorRule.objects.create(connection=connection, name="Old plan", statuses=[422], error_type="field_permission")
    shown = show(admin_client, connection)
    server.script(Answer.json({"message": "not in your plan"}, 422))
    html = send(admin_client, connection, shown).content.decode()
    assert "Old plan" in html
    assert "field_permission" in html


WRONG = [
    ({"payload": "{"}, "payload", "Is not valid JSON"),
    ({"payload": "[1]"}, "payload", "Write an object"),
    ({"payload": '{"a": 1, "a": 2}'}, "payload", "stands twice"),
    ({"payload": '{"a": "' + "x" * 100_001 + '"}'}, "payload", "Is longer than"),
    ({"object": "deals"}, "object", "Choose an object of this connection"),
    ({"operation": "explode"}, "operation", "Choose an operation"),
    ({"key": "k" * 300}, "key", "at most 255 characters"),
]


@pytest.mark.parametrize(("form", "field", "words"), WRONG)
def test_wrong_entry_is_told_at_its_field(admin_client: Client, server: Server, form: dict[str, str], field: str, words: str):
    answer = show(admin_client, api(server), **form)
    assert answer.status_code == 400
    assert words in answer.context["errors"][field]


def test_operation_that_the_object_lacks_and_spent_budget_are_sentences(admin_client: Client, server: Server):
    connection = api(server, limits={"requests_per_window": 1, "window_seconds": 1000})
    assert "has no operation delete. It has: upsert." in show(admin_client, connection, operation="delete").content.decode()
    shown = [show(admin_client, connection) for _ in range(2)]
    assert send(admin_client, connection, shown[0]).status_code == 200
    refused = send(admin_client, connection, shown[1])
    assert "used up the request budget" in refused.content.decode()
    assert RateWindow.objects.get().used_count == 1
    assert len(server.requests) == 1


def test_ended_login_is_told_and_nothing_sent(admin_client: Client, server: Server):
    connection = api(server)
    shown = show(admin_client, connection)
    Connection.objects.update(state="reauthorize")
    assert "log in again at the destination" in send(admin_client, connection, shown).content.decode()
    assert server.requests == []


def test_row_of_a_sync_is_taken_masked_until_it_is_chosen(admin_client: Client, server: Server, tmp_path: Path):
    connection = api(server)
    write_people(tmp_path / "w.sqlite3", 7)
    sync = make_sync(source=people_source(tmp_path / "w.sqlite3"), destination=connection)
    listed = admin_client.post(url(connection), {"act": "rows", "sync": sync.pk})
    assert [row.key for row in listed.context["rows"]] == ["1", "2", "3", "4", "5"]
    assert "p1@example.org" not in listed.content.decode()
    assert listed.content.decode().count('value="take"') == 5
    shown = admin_client.post(url(connection), {"act": "take", "sync": sync.pk, "key": "3"})
    assert json.loads(shown.context["trial"].calls[0].body) == {"id": "3", "email": "p3@example.org"}
    send(admin_client, connection, shown)
    assert server.requests[0].path == "/contacts/3"
    assert list(AuditEvent.objects.order_by("id").values_list("act", flat=True)) == ["row_taken", "tried"]
    for form in ({"act": "take", "sync": sync.pk, "key": "99"}, {"act": "rows", "sync": "x"}):
        assert admin_client.post(url(connection), form).status_code == 400


def test_row_of_another_teams_sync_is_not_there(server: Server, tmp_path: Path):
    from syncs.models import Team

    connection = api(server)
    write_people(tmp_path / "w.sqlite3", 1)
    team = Team.objects.create(name="Others")
    sync = make_sync(source=people_source(tmp_path / "w.sqlite3"), destination=connection, team=team)
    client = Client()
    client.force_login(seeds.user("op", "syncs.view_connection", "syncs.try_connection"))
    assert sync.name not in client.get(url(connection)).content.decode()
    for act in ("rows", "take"):
        assert client.post(url(connection), {"act": act, "sync": sync.pk, "key": "1"}).status_code == 400


def test_statement_of_a_database_is_shown_and_then_made(admin_client: Client, tmp_path: Path):
    path = tmp_path / "target.sqlite3"
    with sqlite3.connect(path) as database:
        database.execute("create table people (id integer primary key, email text not null)")
    database.close()
    config = {"url": f"sqlite:///{path}"}
    connection = Connection.objects.create(name="DB", role="destination", kind="database", config=config, secrets={})

    def rows() -> list[Any]:
        with sqlite3.connect(path) as database:
            found = database.execute("select * from people").fetchall()
        database.close()
        return found

    form = {"object": "people", "payload": '{"id": 7, "email": "a@b.c"}', "key_fields": "id"}
    shown = show(admin_client, connection, **form)
    assert shown.status_code == 200, shown.content.decode()[-3000:]
    (call,) = shown.context["trial"].calls
    assert call.line.startswith("INSERT INTO people")
    assert "a@b.c" in call.body
    assert rows() == []
    assert "Written" in send(admin_client, connection, shown).content.decode()
    assert rows() == [(7, "a@b.c")]
    shown = show(admin_client, connection, **form | {"payload": '{"id": 8, "email": null}'})
    html = send(admin_client, connection, shown).content.decode()
    assert "Refused" in html
    assert "missing_required" in html
    assert len(rows()) == 1


def test_source_has_no_such_page(admin_client: Client):
    source, _ = seeds.connections()
    assert admin_client.get(url(source)).status_code == 403
