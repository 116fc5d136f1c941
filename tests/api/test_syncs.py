"""Syncs through the API: found, set up, changed without losing an edit, acted on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from syncs.models import AuditEvent, FieldMapping, Run, Sync, Tag, Team
from syncs.services import versions
from tests import seeds
from tests.api.kit import Caller, caller, person, said
from tests.factories import World

pytestmark = pytest.mark.django_db
SYNCS = "/api/v1/syncs"
ROWS: list[tuple[Any, Any, Any]] = [(1, "Ada", 36), (2, "Bo", 41), (3, "Cy", 52)]
LINES = [
    {"destination_field": "id", "column": "id", "type": "integer", "is_key": True},
    {"destination_field": "name", "column": "name"},
]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, ROWS)


@pytest.fixture
def operator() -> Caller:
    return caller("operator")


def at(sync: Sync, *rest: str) -> str:
    return "/".join([SYNCS, str(sync.pk), *rest])


def settings_of(world: World, **values: Any) -> dict[str, Any]:
    return {
        "name": "Made here",
        "source_id": world.source.pk,
        "query": "SELECT id, name FROM people",
        "key_columns": ["id"],
        "destination_id": world.target.pk,
        "destination_object": "things",
        "mappings": LINES,
        **values,
    }


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


# --- lists


def found(client: Caller, **query: Any) -> list[str]:
    return [row["name"] for row in ok(client.get(SYNCS, query))["data"]]


def test_list_filters_as_the_console_does(world: World, operator: Caller) -> None:
    owner = person("operator")
    other = seeds.sync(world.source, world.target, "Other", status="failing", owner=owner, description="of finance data")
    away = seeds.sync(world.source, world.target, "Away", is_archived=True)
    other.tags.add(Tag.objects.create(name="finance"))
    assert found(operator) == ["Other", world.sync.name]  # failing first
    assert found(operator, order="name") == sorted(["Other", world.sync.name])
    assert found(operator, status="failing") == ["Other"]
    assert found(operator, owner=owner.pk) == ["Other"]
    assert found(operator, owner="none") == [world.sync.name]
    assert sorted(found(operator, owner=["none", owner.pk])) == sorted(["Other", world.sync.name])
    assert found(operator, tag="finance") == ["Other"]
    assert found(operator, q="finance of") == ["Other"]
    assert found(operator, q='"') == found(operator, q='""') == []
    assert found(operator, q='"of finance"') == ["Other"]
    assert found(operator, destination=world.target.pk, archived="true") == ["Away"]
    assert found(operator, source=999) == []
    assert away.is_archived
    assert said(operator.get(SYNCS, {"owner": "me"}))[2].keys() == {"owner"}
    assert said(operator.get(SYNCS, {"status": "fine"}))[2].keys() == {"status"}
    assert said(operator.get(SYNCS, {"q": ""}))[2].keys() == {"q"}


def test_list_takes_as_many_queries_for_many_syncs_as_for_one(world: World, operator: Caller) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as caught:
            ok(operator.get(SYNCS, {"order": "-last_run"}))
        return len(caught)

    first = queries()
    team = Team.objects.create(name="ours")
    for number in range(12):
        made = seeds.sync(world.source, world.target, f"S{number}", team=None if number % 2 else team)
        made.tags.add(Tag.objects.get_or_create(name=f"t{number}")[0])
    assert operator.user is not None
    team.members.add(operator.user)
    assert queries() <= first + 1
    assert first <= 10


def test_pages_go_on_after_the_last_row_in_every_order(world: World, operator: Caller) -> None:
    for number in range(4):
        seeds.sync(world.source, world.target, f"S{number}")
    Run.objects.create(sync=world.sync, trigger="manual")
    for order in ("urgency", "name", "-name", "last_run", "-last_run", "next_run", "open_count", "-open_count"):
        names, cursor = [], None
        while cursor is not None or not names:
            body = ok(operator.get(SYNCS, {"order": order, "limit": 2, **({"cursor": cursor} if cursor else {})}))
            names += [row["name"] for row in body["data"]]
            cursor = body["meta"]["page"]["next"]
            if cursor is None:
                break
        assert len(names) == len(set(names)) == 5, order


def test_sync_of_another_team_is_not_there(world: World, operator: Caller) -> None:
    Sync.objects.filter(pk=world.sync.pk).update(team=Team.objects.create(name="theirs"))
    assert found(operator) == []
    for address in (at(world.sync), at(world.sync, "mapping"), at(world.sync, "versions"), at(world.sync, "preview")):
        assert said(operator.get(address))[:2] == (404, "not_found")
    assert said(operator.post(at(world.sync, "pause"), {}))[0] == 404
    assert said(operator.post(f"{SYNCS}/acts", {"act": "pause", "ids": [world.sync.pk]}))[2].keys() == {"ids[0]"}
    assert not Sync.objects.get(pk=world.sync.pk).is_paused


# --- set-up


def test_sync_is_made_checked_and_recorded(world: World, operator: Caller) -> None:
    answer = operator.post(SYNCS, settings_of(world, tags=["finance"], schedule_kind="interval", interval_minutes=15))
    body = ok(answer, 201)
    sync = Sync.objects.get(name="Made here")
    assert answer["Location"] == at(sync)
    assert (body["version"], body["tags"], body["mappings"][0]["type"]) == (1, ["finance"], "integer")
    assert sync.next_run_at is not None
    assert list(sync.mappings.values_list("destination_field", flat=True)) == ["id", "name"]
    assert AuditEvent.objects.get(act="created", target_type="sync").door == "api"
    assert ok(operator.get(at(sync)))["key_columns"] == ["id"]
    assert Run.objects.count() == 0


def test_sync_that_cannot_work_is_refused_with_each_field(world: World, operator: Caller) -> None:
    bad = settings_of(world, query="SELECT id FROM nowhere", mappings=LINES)
    status, code, issues = said(operator.post(SYNCS, bad))
    assert (status, code) == (400, "invalid")
    assert "query" in issues
    lines = [*LINES, {"destination_field": "age", "column": "agee"}]
    assert said(operator.post(SYNCS, settings_of(world, mappings=lines)))[2].keys() == {"mappings[2].column"}
    assert said(operator.post(SYNCS, settings_of(world, source_id=999)))[2].keys() == {"source_id"}
    assert said(operator.post(SYNCS, settings_of(world, source_id=world.target.pk)))[2].keys() == {"source_id"}
    assert said(operator.post(SYNCS, settings_of(world, owner_id=999)))[2].keys() == {"owner_id"}
    theirs = Team.objects.create(name="theirs")
    assert said(operator.post(SYNCS, settings_of(world, team_id=theirs.pk)))[2].keys() == {"team_id"}
    assert said(operator.post(SYNCS, settings_of(world, name=world.sync.name)))[2].keys() == {"name"}
    assert said(operator.post(SYNCS, settings_of(world, schedule_kind="cron", cron="x")))[2].keys() == {"cron"}
    assert said(operator.post(SYNCS, settings_of(world, mode="merge")))[2].keys() == {"mode"}
    assert said(operator.post(SYNCS, settings_of(world, batch_records=0)))[2].keys() == {"batch_records"}
    assert said(operator.post(SYNCS, settings_of(world, max_attempts=40_000)))[2].keys() == {"max_attempts"}
    assert said(operator.post(SYNCS, settings_of(world, detection="watermark")))[2].keys() == {"cursor_column"}
    assert said(operator.post(SYNCS, settings_of(world, mappings=[{"column": "id"}])))[2].keys() == {
        "mappings[0].destination_field"
    }
    assert said(operator.post(SYNCS, settings_of(world, status="healthy")))[2].keys() == {"status"}
    assert Sync.objects.count() == 1


def test_validate_says_the_same_and_saves_nothing(world: World, operator: Caller) -> None:
    good = ok(operator.post(f"{SYNCS}/validate", settings_of(world)))
    assert good == {"is_valid": True, "issues": []}
    bad = ok(operator.post(f"{SYNCS}/validate", settings_of(world, key_columns=["idd"])))
    assert [one["field"] for one in bad["issues"]] == ["key_columns"]
    assert ok(operator.post(at(world.sync, "validate"), {}))["is_valid"]
    changed = ok(operator.post(at(world.sync, "validate"), {"query": "SELECT id FROM people"}))
    assert {one["field"] for one in changed["issues"]} == {"mappings[1].column", "mappings[2].column"}
    assert Sync.objects.count() == 1


def test_patch_changes_what_it_names_and_no_more(world: World, operator: Caller) -> None:
    etag = operator.get(at(world.sync))["ETag"]
    change = {"schedule_kind": "interval", "interval_minutes": 5, "tags": ["a", "b"], "note": "faster"}
    answer = operator.patch(at(world.sync), change, headers={"If-Match": etag})
    body = ok(answer)
    assert (body["interval_minutes"], body["tags"], body["query"]) == (5, ["a", "b"], world.sync.query)
    assert answer["ETag"] != etag
    assert body["next_run_at"] is not None
    event = AuditEvent.objects.get(act="changed")
    assert event.detail["interval_minutes"] == ["null", "5"]
    assert event.detail["tags"] == ["[]", '["a", "b"]']
    assert FieldMapping.objects.filter(sync=world.sync).count() == 3


def test_lost_update_is_refused(world: World, operator: Caller) -> None:
    etag = operator.get(at(world.sync))["ETag"]
    assert said(operator.patch(at(world.sync), {"description": "x"}))[:2] == (428, "precondition_required")
    ok(operator.patch(at(world.sync), {"description": "first"}, headers={"If-Match": etag}))
    answer = operator.patch(at(world.sync), {"query": "SELECT 1 AS id"}, headers={"If-Match": etag})
    assert said(answer)[:2] == (412, "precondition_failed")
    assert answer["ETag"] == operator.get(at(world.sync))["ETag"]
    ok(operator.patch(at(world.sync), {"description": "last"}, headers={"If-Match": "*"}))
    assert Sync.objects.get(pk=world.sync.pk).description == "last"
    assert Sync.objects.get(pk=world.sync.pk).query == world.sync.query


def test_change_that_cannot_work_changes_nothing(world: World, operator: Caller) -> None:
    match = {"If-Match": "*"}
    bad = operator.patch(at(world.sync), {"description": "x", "query": "DROP TABLE people"}, headers=match)
    assert said(bad)[2].keys() == {"query"}
    assert said(operator.patch(at(world.sync), {"source_id": 999_999_999}, headers=match))[2].keys() == {"source_id"}
    assert said(operator.patch(at(world.sync), {"is_paused": True}, headers=match))[2].keys() == {"is_paused"}
    assert said(operator.patch(at(world.sync), {"mappings": []}, headers=match))[2].keys() == {"mappings"}
    assert Sync.objects.get(pk=world.sync.pk).description == ""
    Sync.objects.filter(pk=world.sync.pk).update(is_archived=True)
    assert said(operator.patch(at(world.sync), {"description": "x"}, headers=match))[:2] == (409, "refused")


def test_description_can_be_changed_while_the_warehouse_is_away(world: World, operator: Caller) -> None:
    world.warehouse.unlink()
    ok(operator.patch(at(world.sync), {"description": "away"}, headers={"If-Match": "*"}))
    assert "source_id" in said(operator.patch(at(world.sync), {"max_attempts": 3}, headers={"If-Match": "*"}))[2]


def test_put_gives_what_is_not_named_its_default(world: World, operator: Caller) -> None:
    Sync.objects.filter(pk=world.sync.pk).update(max_attempts=9, description="old")
    body = ok(operator.put(at(world.sync), settings_of(world), headers={"If-Match": "*"}))
    assert (body["max_attempts"], body["description"], len(body["mappings"])) == (5, "", 2)
    assert said(operator.put(at(world.sync), {"name": "x"}, headers={"If-Match": "*"}))[0] == 400


def test_mapping_is_put_as_a_whole_against_what_was_read(world: World, operator: Caller) -> None:
    answer = operator.get(at(world.sync, "mapping"))
    assert [line["destination_field"] for line in ok(answer)["mappings"]] == ["id", "name", "age"]
    match = {"If-Match": answer["ETag"]}
    saved = operator.put(at(world.sync, "mapping"), {"mappings": LINES, "note": "no age"}, headers=match)
    assert [line["destination_field"] for line in ok(saved)["mappings"]] == ["id", "name"]
    assert said(operator.put(at(world.sync, "mapping"), {"mappings": LINES}, headers=match))[:2] == (412, "precondition_failed")
    wrong = [*LINES, {"destination_field": "x", "kind": "template", "template": "{{ oops"}]
    match = {"If-Match": saved["ETag"]}
    assert said(operator.put(at(world.sync, "mapping"), {"mappings": wrong}, headers=match))[2].keys() == {
        "mappings[2].template"
    }
    rows = ok(operator.get(at(world.sync, "versions")))["data"]
    assert [(row["id"], row["note"], row["is_current"]) for row in rows] == [(1, "no age", True)]


def test_mapping_can_be_tried_before_it_is_saved(world: World, operator: Caller) -> None:
    lines = [
        {"destination_field": "id", "column": "id", "type": "integer", "is_key": True},
        {"destination_field": "n", "column": "x"},
    ]
    body = ok(operator.post(at(world.sync, "mapping", "review"), {"mappings": lines}))
    assert [one["name"] for one in body["columns"]] == ["id", "name", "age"]
    assert [one["field"] for one in body["findings"] if one["level"] == "error"] == ["mappings[1].column"]
    assert ok(operator.post(at(world.sync, "mapping", "review"), {}))["problem"] == ""


def test_versions_and_what_differs(world: World, operator: Caller) -> None:
    versions.pin(world.sync)
    match = {"If-Match": "*"}
    ok(operator.patch(at(world.sync), {"max_attempts": 7, "mappings": LINES}, headers=match))
    rows = ok(operator.get(at(world.sync, "versions")))["data"]
    assert [(row["id"], row["is_current"]) for row in rows] == [(2, True), (1, False)]
    one = ok(operator.get(at(world.sync, "versions", "1")))
    assert one["snapshot"]["max_attempts"] == 5
    told = ok(operator.get(at(world.sync, "versions", "diff"), {"before": 1}))
    changes = {one["path"]: (one["before"], one["after"]) for one in told["changes"]}
    assert changes["max_attempts"] == (5, 7)
    assert changes["mappings.age"][1] is None
    assert set(changes) == {"max_attempts", "mappings.age"}
    assert said(operator.get(at(world.sync, "versions", "diff"), {"before": 8}))[2].keys() == {"before"}
    assert said(operator.get(at(world.sync, "versions", "diff")))[2].keys() == {"before"}
    assert said(operator.get(at(world.sync, "versions", "99")))[0] == 404


@pytest.mark.django_db(transaction=True)
def test_of_clients_that_save_at_once_one_wins_and_the_others_are_told(world: World) -> None:
    clients = [caller("operator") for _ in range(3)]
    etag = clients[0].get(at(world.sync))["ETag"]
    meet, heard = threading.Barrier(len(clients)), []

    def save(number: int, client: Caller) -> None:
        try:
            meet.wait(timeout=60)
            answer = client.patch(at(world.sync), {"max_attempts": 10 + number}, headers={"If-Match": etag})
            heard.append((answer.status_code, number))
        finally:
            connection.close()

    threads = [threading.Thread(target=save, args=pair) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(code for code, _ in heard) == [200, 412, 412]
    won = next(number for code, number in heard if code == 200)
    assert Sync.objects.get(pk=world.sync.pk).max_attempts == 10 + won
    assert [version.snapshot["max_attempts"] for version in world.sync.versions.all()] == [10 + won]
