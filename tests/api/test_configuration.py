"""Syncs as YAML through the API: exported, planned, applied; connections for who may set those up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncs.models import AuditEvent, Connection, Sync, Team
from tests.api.kit import Caller, caller, said
from tests.factories import World

pytestmark = pytest.mark.django_db
ROOT = "/api/v1/configuration"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, [(1, "Ada", 36)])


@pytest.fixture
def operator() -> Caller:
    return caller("operator")


def ok(answer: Any) -> Any:
    assert answer.status_code == 200, answer.content
    return answer.json()


def files(*texts: str) -> dict[str, Any]:
    return {"files": [{"name": f"{number}.yaml", "text": text} for number, text in enumerate(texts)]}


def exported(client: Caller, world: World) -> str:
    answer = client.get(f"/api/v1/syncs/{world.sync.pk}/yaml")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/yaml; charset=utf-8"
    assert ".yaml" in answer["Content-Disposition"]
    text: str = answer.content.decode()
    return text


def test_what_is_exported_changes_nothing_when_it_is_applied(world: World, operator: Caller) -> None:
    text = exported(operator, world)
    plan = ok(operator.post(f"{ROOT}/plan", files(text)))
    assert (plan["unchanged_count"], plan["is_applicable"], plan["problems"]) == (1, True, [])
    whole = operator.get(f"{ROOT}/export").content.decode()
    assert whole == text
    assert operator.get(f"{ROOT}/export", {"sync": world.sync.pk}).content.decode() == text


def test_plan_is_looked_at_then_applied(world: World, operator: Caller) -> None:
    text = exported(operator, world).replace(world.sync.name, "Another").replace("FROM people", "FROM people WHERE id > 0")
    plan = ok(operator.post(f"{ROOT}/plan", files(text)))
    assert [(item["act"], item["name"]) for item in plan["items"]] == [("create", "Another")]
    assert any(change["path"] == "query" for change in plan["items"][0]["changes"])
    assert not Sync.objects.filter(name="Another").exists()
    ok(operator.post(f"{ROOT}/apply", {**files(text), "digest": plan["digest"]}))
    made = Sync.objects.get(name="Another")
    assert made.is_paused
    assert AuditEvent.objects.get(act="created").door == "api"
    changed = text.replace("id > 0", "id > 1")
    assert said(operator.post(f"{ROOT}/apply", {**files(changed), "digest": plan["digest"]}))[:2] == (409, "refused")
    again = ok(operator.post(f"{ROOT}/plan", files(changed)))
    assert [change["after"] for item in again["items"] for change in item["changes"]] == [
        "SELECT id, name, age FROM people WHERE id > 1"
    ]


def test_file_with_problems_is_not_applied(world: World, operator: Caller) -> None:
    text = exported(operator, world).replace("column: age", "column: agee")
    plan = ok(operator.post(f"{ROOT}/plan", files(text)))
    assert not plan["is_applicable"]
    assert plan["problems"][0]["line"] > 0
    status, code, issues = said(operator.post(f"{ROOT}/apply", {**files(text), "digest": plan["digest"]}))
    assert (status, code) == (400, "invalid")
    assert "agee" in issues["files"]
    assert said(operator.post(f"{ROOT}/plan", {"files": []}))[2].keys() == {"files"}
    assert said(operator.post(f"{ROOT}/plan", files("x" * 150_000, "y" * 150_000)))[2].keys() == {"files"}
    for hostile in ("{", "- 1", "a: &x 1\nb: *x", "!!python/object:os.system x", "\ufeff", "sync: 5"):
        plan = ok(operator.post(f"{ROOT}/plan", files(hostile)))
        assert plan["problems"], hostile


def test_connections_take_the_scope_and_the_right(world: World, operator: Caller) -> None:
    admin = caller("admin")
    text = exported(admin, world)
    assert f"connection: {world.source.name}" in text
    assert "connection:" not in exported(caller("admin", "read", "write"), world)
    assert said(caller("admin", "read", "write").post(f"{ROOT}/plan", files(text)))[:2] == (403, "scope_missing")
    assert said(operator.post(f"{ROOT}/plan", files(text)))[:2] == (403, "forbidden")
    changed = text.replace("role: source", "role: source\ndescription: by the API", 1)
    plan = ok(admin.post(f"{ROOT}/plan", files(changed)))
    assert plan["change_count"] == 1, plan
    ok(admin.post(f"{ROOT}/apply", {**files(changed), "digest": plan["digest"]}))
    assert Connection.objects.get(pk=world.source.pk).description == "by the API"


def test_sync_of_another_team_is_neither_exported_nor_told_of(world: World, operator: Caller) -> None:
    text = exported(operator, world)
    Sync.objects.filter(pk=world.sync.pk).update(team=Team.objects.create(name="theirs"), description="theirs alone")
    stranger = caller("operator")
    assert said(stranger.get(f"/api/v1/syncs/{world.sync.pk}/yaml"))[0] == 404
    assert said(stranger.get(f"{ROOT}/export", {"sync": world.sync.pk}))[2].keys() == {"sync"}
    assert stranger.get(f"{ROOT}/export").content.decode().strip() == ""
    plan = ok(stranger.post(f"{ROOT}/plan", files(text)))
    assert "taken by a sync of another team" in plan["problems"][0]["message"]
    assert "theirs alone" not in str(plan)
