"""Connections through the API: set up, changed without losing an edit or showing a secret, checked, read."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from cryptography.fernet import Fernet

from syncs.models import AuditEvent, Connection, Team
from tests import seeds
from tests.api.kit import Caller, caller, person, said
from tests.contracts.servers.oauth import CLIENT_ID, CLIENT_SECRET, OAuth

pytestmark = pytest.mark.django_db
ROOT = "/api/v1/connections"
SECRET = "s3cr3t-t0ken-value"
OBJECTS = {"contacts": {"operations": {"upsert": {"method": "POST", "path": "/contacts"}}}}
CONFIG = {"base_url": "http://127.0.0.1:9", "auth": {"kind": "bearer"}, "objects": OBJECTS}
NEW = {"role": "destination", "kind": "http", "name": "CRM", "config": CONFIG, "secrets": {"token": SECRET}}


@pytest.fixture
def crm() -> Connection:
    return Connection.objects.create(
        name="CRM", role="destination", kind="http", config=CONFIG, secrets={"token": SECRET, "access_token": "of a worker"}
    )


def test_new_connection_keeps_its_secret_to_itself() -> None:
    answer = caller("admin").post(ROOT, NEW)
    assert answer.status_code == 201, answer.content
    made = Connection.objects.get()
    assert answer["Location"] == f"{ROOT}/{made.pk}"
    assert (made.role, made.kind, made.config["base_url"], made.secrets) == (
        "destination", "http", "http://127.0.0.1:9", {"token": SECRET},
    )  # fmt: skip
    assert SECRET not in answer.content.decode()
    assert {one["name"]: one["is_set"] for one in answer.json()["secrets"]}["token"] is True
    event = AuditEvent.objects.get(act="created")
    assert (event.door, event.target_id, event.detail["secrets"]) == ("api", made.pk, ["token"])


def test_new_connection_begins_with_a_preset() -> None:
    client = caller("admin")
    preset = client.get("/api/v1/connection-presets").json()["data"][0]
    given = {"role": "destination", "kind": "http", "name": "Queue", "config": {"base_url": "https://a.example"}}
    secrets = {"token": "x", "password": "y", "api_key": "z", "username": "u"}
    kinds = client.get("/api/v1/connection-kinds").json()["data"]
    fields = next(one for one in kinds if one["kind"] == "http")["settings"]
    known = {one["name"]: one["type"] for one in fields}
    given["secrets"] = {name: value for name, value in secrets.items() if known.get(name) == "secret"}
    answer = client.post(ROOT, {**given, "preset": preset["name"]})
    assert answer.status_code == 201, answer.content
    assert Connection.objects.get().config == {**preset["config"], "base_url": "https://a.example"}
    assert said(client.post(ROOT, {**given, "preset": "nothing"}))[2].keys() == {"preset"}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kind": "oracle"}, "kind"),
    ({"role": "thief"}, "role"),
    ({"name": ""}, "name"),
    ({"config": {**CONFIG, "colour": "red"}}, "config.colour"),
    ({"config": {**CONFIG, "base_url": 5}}, "config.base_url"),
    ({"config": {**CONFIG, "base_url": "crm example"}}, "config.base_url"),
    ({"config": {**CONFIG, "auth": {"kind": "magic"}}}, "config.auth.kind"),
    ({"config": {**CONFIG, "auth": [1]}}, "config.auth"),
    ({"config": {**CONFIG, "base_url": None}}, "config.base_url"),
    ({"config": {**CONFIG, "limits": {"concurrency": "many"}}}, "config.limits.concurrency"),
    ({"config": []}, "config"),
    ({"secrets": {"token": 5}}, "secrets.token"),
    ({"secrets": {"magic": "x"}}, "secrets.magic"),
    ({"secrets": {}}, "secrets.token"),
    ({"expires_on": "soon"}, "expires_on"),
    ({"state": "ok"}, "state"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG)
def test_wrong_setting_is_named(changes: dict[str, Any], field: str) -> None:
    answer = caller("admin").post(ROOT, {**NEW, **changes})
    status, _code, issues = said(answer)
    assert (status, list(issues)) == (400, [field])
    assert not Connection.objects.exists()


def test_name_that_is_taken_is_refused(crm: Connection) -> None:
    client = caller("admin")
    status, code, issues = said(client.post(ROOT, NEW))
    assert (status, code, list(issues)) == (409, "refused", ["name"])
    other = client.post(ROOT, {**NEW, "name": "Other"}).json()
    assert said(client.patch(f"{ROOT}/{other['id']}", {"name": "CRM"}, headers={"If-Match": "*"}))[0] == 409


def test_edit_changes_what_is_given_and_loses_no_other(crm: Connection) -> None:
    client, address = caller("admin"), f"{ROOT}/{crm.pk}"
    etag = client.get(address)["ETag"]
    assert said(client.patch(address, {"description": "x"}))[0] == 428
    answer = client.patch(
        address,
        {"description": "Ours", "config": {"limits": {"concurrency": 2}}, "expires_on": "2030-01-31"},
        headers={"If-Match": etag},
    )
    assert answer.status_code == 200, answer.content
    crm.refresh_from_db()
    assert (crm.name, crm.description, crm.config) == ("CRM", "Ours", {**CONFIG, "limits": {"concurrency": 2}})
    assert crm.secrets == {"token": SECRET, "access_token": "of a worker"}
    assert str(crm.credential_expires_at) == "2030-01-31 00:00:00+00:00"
    assert said(client.patch(address, {"description": "Theirs"}, headers={"If-Match": etag}))[:2] == (
        412,
        "precondition_failed",
    )
    event = AuditEvent.objects.get(act="changed")
    assert event.door == "api"
    assert event.detail["description"] == ["", "Ours"]
    assert event.detail["limits.concurrency"] == [None, 2]
    assert client.patch(address, {"config": {"limits": None}}, headers={"If-Match": answer["ETag"]}).status_code == 200
    crm.refresh_from_db()
    assert crm.config == CONFIG


def test_secret_is_replaced_and_named_in_the_history_alone(crm: Connection) -> None:
    client, address = caller("admin"), f"{ROOT}/{crm.pk}"
    answer = client.patch(address, {"secrets": {"token": "another-value", "client_secret": "n3w"}}, headers={"If-Match": "*"})
    assert answer.status_code == 200, answer.content
    crm.refresh_from_db()
    assert crm.secrets == {"token": "another-value", "client_secret": "n3w"}  # what the former login had brought is gone
    assert AuditEvent.objects.get(act="rotated").detail["given"] == ["client_secret", "token"]
    everything = answer.content + client.get(address).content + client.get(f"{address}/history").content
    assert b"another-value" not in everything
    assert b"n3w" not in everything
    assert said(client.patch(address, {"secrets": {"token": None}}, headers={"If-Match": "*"}))[2].keys() == {"secrets.token"}


def test_secrets_that_no_key_opens_are_replaced_as_a_whole(crm: Connection, settings: Any) -> None:
    settings.RETL = {**settings.RETL, "ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}
    client, address = caller("admin"), f"{ROOT}/{crm.pk}"
    assert "RETL_ENCRYPTION_KEYS" in client.get(address).json()["problem"]
    assert said(client.patch(address, {"description": "x"}, headers={"If-Match": "*"}))[2].keys() == {"secrets.token"}
    assert client.patch(address, {"secrets": {"token": "anew"}}, headers={"If-Match": "*"}).status_code == 200
    crm.refresh_from_db()
    assert crm.secrets == {"token": "anew"}


def test_settings_are_for_those_who_set_them_up(crm: Connection) -> None:
    answer = caller("operator").get(f"{ROOT}/{crm.pk}")
    assert (answer.json()["config"], answer.json()["secrets"]) == (None, None)
    assert b"127.0.0.1" not in answer.content
    mine = caller("admin", "read").get(f"{ROOT}/{crm.pk}").json()
    assert mine["config"] is None  # a key that may only read
    assert caller("admin").get(f"{ROOT}/{crm.pk}").json()["config"] == CONFIG


def test_list_is_filtered_as_the_console_s_and_counts_what_is_seen(crm: Connection, tmp_path: Any) -> None:
    source = Connection.objects.create(name="Warehouse", role="source", kind="sqlite", state="ok", description="big one")
    seeds.sync(source, crm, "Mine")
    seeds.sync(source, crm, "Hidden", team=Team.objects.create(name="Others"))
    client = caller("viewer")

    def names(**query: Any) -> list[str]:
        answer = client.get(ROOT, query)
        assert answer.status_code == 200, answer.content
        return [one["name"] for one in answer.json()["data"]]

    assert names() == ["CRM", "Warehouse"]
    assert names(order="-name") == ["Warehouse", "CRM"]
    assert names(role="source") == names(state="ok") == names(q="big house") == names(kind="sqlite") == ["Warehouse"]
    assert names(state=["ok", "unchecked"], limit=1) == ["CRM"]
    assert [one["sync_count"] for one in client.get(ROOT).json()["data"]] == [1, 1]
    assert caller("admin").get(ROOT).json()["data"][0]["sync_count"] == 2
    for query in ({"role": "thief"}, {"state": "x"}, {"q": ""}, {"colour": "red"}):
        assert said(client.get(ROOT, query))[2].keys() == query.keys()


def test_list_asks_a_fixed_number_of_questions(crm: Connection, django_assert_max_num_queries: Any) -> None:
    Connection.objects.bulk_create(Connection(name=f"c{n}", role="source", kind="sqlite") for n in range(40))
    client = caller("viewer")
    with django_assert_max_num_queries(10):
        assert len(client.get(ROOT).json()["data"]) == 41


def test_check_keeps_what_the_other_side_said(crm: Connection) -> None:
    client = caller("admin")
    answer = client.post(f"{ROOT}/{crm.pk}/check")
    assert answer.status_code == 200
    assert answer.json()["is_ok"] is False  # nobody listens there: an answer, no error
    crm.refresh_from_db()
    assert crm.state == "failing"
    assert AuditEvent.objects.get(act="tested").door == "api"
    assert client.get(f"{ROOT}/{crm.pk}").json()["last_check"] == answer.json()
    assert [one["act"] for one in client.get(f"{ROOT}/{crm.pk}/history").json()["data"]] == ["tested"]


def test_check_of_a_warehouse_that_answers(tmp_path: Any) -> None:
    source, _ = seeds.connections(str(seeds.warehouse(tmp_path / "w.sqlite3")))
    answer = caller("admin").post(f"{ROOT}/{source.pk}/check").json()
    assert answer["is_ok"] is True
    assert answer["phases"] is not None


def test_limits_and_health_are_the_console_s(crm: Connection, tmp_path: Any) -> None:
    crm.config = {**CONFIG, "limits": {"concurrency": 2, "requests_per_window": 100, "window_seconds": 10}}
    crm.save()
    client = caller("viewer")
    found = client.get(f"{ROOT}/{crm.pk}/limits").json()
    assert found["limits"][0]["objects"] == ["contacts"]
    assert found["budget"] == {"used": 0, "limit": 100, "window_seconds": 10.0}
    source = Connection.objects.create(name="Warehouse", role="source", kind="sqlite")
    seeds.run(seeds.sync(source, crm, "Mine"), "failed")
    seeds.run(seeds.sync(source, crm, "Hidden", team=Team.objects.create(name="Others")), "failed")
    health = client.get(f"{ROOT}/{crm.pk}/health").json()
    assert (health["run_count"], health["failed_count"]) == (1, 1)


def test_kinds_tell_their_settings(crm: Connection) -> None:
    found = caller("viewer").get("/api/v1/connection-kinds").json()["data"]
    kinds = {(one["role"], one["kind"]): one for one in found}
    assert set(kinds) >= {("source", "postgresql"), ("destination", "http"), ("destination", "salesforce")}
    fields = {one["name"]: one for one in kinds["destination", "http"]["settings"]}
    assert fields["base_url"]["is_required"] is True
    assert fields["token"]["type"] == "secret"


def test_missing_connection_and_foreign_methods() -> None:
    client = caller("admin")
    for path in ("", "/limits", "/health", "/history"):
        assert said(client.get(f"{ROOT}/999{path}"))[:2] == (404, "not_found")
    assert said(client.post(f"{ROOT}/999/check"))[:2] == (404, "not_found")
    assert said(client.delete(f"{ROOT}/999"))[0] == 405


def test_login_leads_to_the_destination_from_a_browser_and_over_the_console_with_a_key() -> None:
    oauth = OAuth()
    with oauth.server:
        secrets = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        made = Connection.objects.create(name="CRM", role="destination", kind="http", config=oauth.config(), secrets=secrets)
        assert caller("viewer").get(f"{ROOT}/{made.pk}").json()["can_log_in"] is True
        with_key = caller("admin").post(f"{ROOT}/{made.pk}/login")
        assert with_key.status_code == 200, with_key.content
        assert (with_key.json()["opens"], with_key.json()["url"]) == (
            "console", f"http://testserver/admin/syncs/connection/{made.pk}/",
        )  # fmt: skip
        browser = Caller(None)
        browser.force_login(person("admin"))
        away = browser.post(f"{ROOT}/{made.pk}/login").json()
        assert away["opens"] == "destination"
        assert CLIENT_SECRET not in str(away)
        back = urlsplit(requests.get(away["url"], allow_redirects=False, timeout=10).headers["Location"])
        assert browser.get(f"{back.path}?{back.query}").status_code == 302
    made.refresh_from_db()
    assert made.secrets["access_token"] == "access-1-of-the-test"


def test_login_of_a_person_where_there_is_none_is_refused(crm: Connection) -> None:
    assert said(caller("admin").post(f"{ROOT}/{crm.pk}/login"))[:2] == (409, "refused")
    source = Connection.objects.create(name="Warehouse", role="source", kind="sqlite")
    assert said(caller("admin").post(f"{ROOT}/{source.pk}/login"))[:2] == (409, "refused")
