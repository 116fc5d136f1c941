"""A destination's objects through the API: fields, versions, changes, what they break, and the word that it may stay so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncs.models import AuditEvent, SchemaSnapshot, Sync, Team
from tests.api.kit import Caller, caller, said
from tests.syncs.schema_world import Target

pytestmark = pytest.mark.django_db


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(tmp_path)


def root(target: Target) -> str:
    return f"/api/v1/connections/{target.connection.pk}"


def data(client: Caller, address: str, **query: Any) -> Any:
    answer = client.get(address, query)
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def test_refresh_keeps_what_the_destination_says(target: Target) -> None:
    client = caller("operator")
    answer = client.post(f"{root(target)}/refresh-schema", {"object": "people"})
    assert answer.status_code == 200, answer.content
    assert (answer.json()["is_new"], answer.json()["field_count"], answer.json()["syncs"]) == (True, 3, [])
    again = client.post(f"{root(target)}/refresh-schema", {"object": "people"}).json()
    assert (again["is_new"], again["version"]["number"]) == (False, 1)
    found = client.get(f"{root(target)}/fields", {"object": "people"}).json()
    assert {field["name"]: field["is_key"] for field in found["fields"]} == {"id": True, "name": False, "city": False}
    assert [used["name"] for used in found["used_by"]] == ["People"]
    assert [one["name"] for one in client.get(f"{root(target)}/fields", {"object": "people", "q": "NA"}).json()["fields"]] == [
        "name"
    ]


def test_refresh_of_what_is_not_there_is_refused(target: Target) -> None:
    client = caller("operator")
    status, code, _issues = said(client.post(f"{root(target)}/refresh-schema", {"object": "nothing"}))
    assert (status, code) == (409, "refused")
    assert said(client.post(f"{root(target)}/refresh-schema", {"object": ""}))[2].keys() == {"object"}
    assert said(client.post(f"{root(target)}/refresh-schema", {"object": "a\nb"}))[2].keys() == {"object"}
    assert said(client.post(f"/api/v1/connections/{target.sync.source_id}/refresh-schema", {"object": "x"}))[0] == 409
    assert said(client.get(f"{root(target)}/fields", {"object": "people", "version": "7"}))[0] == 404
    assert said(client.get(f"{root(target)}/fields"))[2].keys() == {"object"}


def test_change_that_breaks_a_mapping_is_told_to_those_who_see_the_sync(target: Target) -> None:
    target.refresh()
    target.rebuild("id TEXT PRIMARY KEY NOT NULL, name VARCHAR(50), city TEXT, tier TEXT NOT NULL")
    Sync.objects.filter(pk=target.sync.pk).update(team=Team.objects.create(name="Others"))
    answer = caller("operator").post(f"{root(target)}/refresh-schema", {"object": "people"}).json()
    assert [(one["kind"], one["field"], one["is_breaking"]) for one in answer["changes"]] == [("required_added", "tier", True)]
    assert answer["syncs"] == []
    stranger, admin = caller("viewer"), caller("admin")
    assert data(stranger, f"{root(target)}/drift") == []
    assert [(one["name"], one["is_held"]) for one in data(admin, f"{root(target)}/drift")] == [("People", True)]
    counts = {one["name"]: one["drifted_count"] for one in admin.get(f"{root(target)}/objects").json()["objects"]}
    assert counts["people"] == 1
    seen = {one["name"]: one["sync_count"] for one in stranger.get(f"{root(target)}/objects").json()["objects"]}
    assert seen["people"] == 0
    assert b"sync_count" not in stranger.get(f"{root(target)}/history").content


def test_versions_and_changes_are_paged_and_filtered(target: Target) -> None:
    target.drift()
    client = caller("viewer")
    assert [one["number"] for one in data(client, f"{root(target)}/schema-versions", object="people")] == [2, 1]
    assert data(client, f"{root(target)}/schema-versions", object="other") == []
    changes = f"{root(target)}/schema-changes"
    found = data(client, changes)
    assert [(one["object"], one["version"], one["field"], one["kind"]) for one in found] == [
        ("people", 2, "tier", "required_added")
    ]
    for query, count in (
        ({"is_breaking": "true"}, 1), ({"is_breaking": "false"}, 0), ({"kind": "required_added"}, 1), ({"field": "city"}, 0),
        ({"version": "2"}, 1), ({"since": "2100-01-01T00:00:00Z"}, 0), ({"until": "2100-01-01T00:00:00Z"}, 1),
    ):  # fmt: skip
        assert len(data(client, changes, **query)) == count, query
    assert said(client.get(changes, {"kind": "odd"}))[2].keys() == {"kind"}
    assert client.get(f"{root(target)}/fields", {"object": "people", "version": 1}).json()["field_count"] == 3


def test_fields_typed_by_hand_are_kept_once_nobody_else_has(target: Target) -> None:
    client, address = caller("admin"), f"{root(target)}/fields"
    fields = [{"name": "email", "type": "string", "is_key": True, "max_length": 80, "options": ["a", "b", "a"]}]
    etag = client.get(address, {"object": "contacts"})["ETag"]
    assert said(client.put(address, {"object": "contacts", "fields": fields}))[0] == 428
    source = f"/api/v1/connections/{target.sync.source_id}/fields"
    assert said(client.put(source, {"object": "x", "fields": fields}))[0] == 428
    assert said(client.put(source, {"object": "x", "fields": fields}, headers={"If-Match": "*"}))[0] == 409
    answer = client.put(address, {"object": "contacts", "fields": fields}, headers={"If-Match": etag})
    assert answer.status_code == 200, answer.content
    kept = SchemaSnapshot.objects.get()
    assert (kept.origin, kept.fields[0]["name"], kept.fields[0]["options"]) == ("typed", "email", ["a", "b"])
    assert AuditEvent.objects.get().door == "api"
    assert said(client.put(address, {"object": "contacts", "fields": fields}, headers={"If-Match": etag}))[0] == 412
    wrong = (
        [],
        [{"name": "x"}, {"name": "x"}],
        [{"name": ""}],
        [{"name": "x", "max_length": 0}],
        [{"name": "x", "colour": "red"}],
        [{"name": "x", "is_key": "yes"}],
        "x",
    )
    for given in wrong:
        status, _code, issues = said(
            client.put(address, {"object": "contacts", "fields": given}, headers={"If-Match": answer["ETag"]})
        )
        assert status == 400, given
        assert all(name.startswith("fields") for name in issues), (given, issues)


def test_drift_is_reported_and_acknowledged(target: Target) -> None:
    target.drift()
    address = f"/api/v1/syncs/{target.sync.pk}/drift"
    found = caller("viewer").get(address).json()
    assert (found["is_drifted"], found["is_held"], found["acknowledged"]) == (True, True, None)
    line = found["lines"][0]
    assert (line["change"]["field"], line["is_touching"], line["misfits"][0]["kind"]) == ("tier", True, "missing")
    client = caller("operator")
    assert said(client.post(f"{address}/acknowledge", {"reason": " "}))[2].keys() == {"reason"}
    answer = client.post(f"{address}/acknowledge", {"reason": "Filled there."})
    assert answer.status_code == 200, answer.content
    assert client.user is not None
    assert answer.json()["acknowledged"]["by"] == client.user.username
    assert answer.json()["is_drifted"] is True  # until a preview shows no problem
    assert AuditEvent.objects.get(act="drift_acknowledged").door == "api"
    Sync.objects.filter(pk=target.sync.pk).update(drift_since=None)
    assert said(client.post(f"{address}/acknowledge", {"reason": "Once more."}))[:2] == (409, "refused")


def test_drift_of_a_sync_of_another_team_is_not_there(target: Target) -> None:
    target.drift()
    Sync.objects.filter(pk=target.sync.pk).update(team=Team.objects.create(name="Others"))
    address = f"/api/v1/syncs/{target.sync.pk}/drift"
    assert said(caller("operator").get(address))[0] == 404
    assert said(caller("operator").post(f"{address}/acknowledge", {"reason": "x"}))[0] == 404


def test_pages_of_changes_ask_a_fixed_number_of_questions(target: Target, django_assert_max_num_queries: Any) -> None:
    target.drift()
    Sync.objects.filter(pk=target.sync.pk).update(drift_since="2026-01-01T00:00:00Z")
    client = caller("viewer")
    for path in ("objects", "schema-versions", "schema-changes", "drift"):
        with django_assert_max_num_queries(11):
            assert client.get(f"{root(target)}/{path}").status_code == 200
