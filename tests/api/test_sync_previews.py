"""Looking at rows through the API before they are sent, and sending a few of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from syncs.models import AuditEvent, DeliveredRow, Run, Sync
from syncs.services import versions
from tests.api.kit import Caller, caller, said
from tests.factories import World

pytestmark = pytest.mark.django_db
ROWS: list[tuple[Any, Any, Any]] = [(1, "Ada", 36), (2, "Bo", "old"), (None, "Cy", 52), (4, "Di", 28)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, ROWS)


@pytest.fixture
def operator() -> Caller:
    return caller("operator")


def at(world: World, *rest: str) -> str:
    return "/".join(["/api/v1/syncs", str(world.sync.pk), *rest])


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.content
    return answer.json()


def test_preview_says_what_a_run_would_do_with_each_row(world: World) -> None:
    viewer = caller("viewer", "read")
    body = ok(viewer.get(at(world, "preview")))
    rows = body["rows"]
    assert sorted((str(row["key"]), row["verdict"], row["act"]) for row in rows) == [
        ("1", "new", "create"),
        ("2", "refused", "refuse"),
        ("4", "new", "create"),
        ("None", "refused", "refuse"),
    ]
    fine = next(row for row in rows if row["key"] == "1")
    assert fine["payload"]["id"] == 1
    assert fine["values"]["name"] == "Ada"
    assert fine["error"] is None
    bad = [row["error"] for row in rows if row["error"]]
    assert {one["type"] for one in bad} == {"mapping", "invalid_key"}
    assert (body["is_clean"], body["has_more"], body["is_settled"]) == (False, False, False)
    assert ok(viewer.get(at(world, "preview"), {"limit": 1}))["has_more"]
    assert Run.objects.count() == 0


def test_preview_of_chosen_rows_names_those_that_are_not_there(world: World, operator: Caller) -> None:
    body = ok(operator.get(at(world, "preview"), {"keys": ["4", "9"]}))
    assert [row["key"] for row in body["rows"]] == ["4"]
    assert body["missing"] == ["9"]


def test_preview_masks_as_the_pages_do(world: World, operator: Caller) -> None:
    world.sql("ALTER TABLE people ADD COLUMN email")
    world.sql("UPDATE people SET email = 'ada@example.com' WHERE id = 1")
    Sync.objects.filter(pk=world.sync.pk).update(query="SELECT id, name, age, email FROM people WHERE id = 1")
    text = operator.get(at(world, "preview")).content.decode()
    assert '"id":1' in text.replace(" ", "")
    assert "ada@example.com" not in text


def test_preview_that_cannot_be_read_is_refused(world: World, operator: Caller) -> None:
    assert said(operator.get(at(world, "preview"), {"limit": 101}))[2].keys() == {"limit"}
    assert said(operator.get(at(world, "preview"), {"limit": "x"}))[2].keys() == {"limit"}
    assert said(operator.post(at(world, "preview"), {"keys": []}))[2].keys() == {"keys"}
    Sync.objects.filter(pk=world.sync.pk).update(key_columns="id, name")
    assert said(operator.get(at(world, "preview"), {"keys": "1"}))[2].keys() == {"keys"}
    Sync.objects.filter(pk=world.sync.pk).update(query="SELECT * FROM nowhere", key_columns="id")
    assert said(operator.get(at(world, "preview")))[:2] == (409, "refused")
    world.warehouse.unlink()
    assert said(operator.get(at(world, "preview")))[:2] == (409, "refused")


def test_clean_look_settles_a_change_of_the_destination(world: World) -> None:
    Sync.objects.filter(pk=world.sync.pk).update(
        query="SELECT id, name, age FROM people WHERE id = 1", drift_since=timezone.now(), drift_reason="A field is gone."
    )
    support = caller("support", "run")
    assert said(caller("viewer").post(at(world, "preview"), {}))[:2] == (403, "forbidden")
    assert ok(support.post(at(world, "preview"), {"limit": 5}))["is_settled"]
    world.sync.refresh_from_db()
    assert world.sync.drift_since is None
    assert {event.door for event in AuditEvent.objects.all()} == {"api"}


def test_few_rows_are_shown_and_then_sent(world: World, operator: Caller) -> None:
    versions.pin(world.sync)
    offer = ok(operator.post(at(world, "sends", "offer"), {"keys": ["1"]}))
    assert [row["key"] for row in offer["preview"]["rows"]] == ["1"]
    answer = operator.post(at(world, "sends"), {"token": offer["token"], "full": True})
    run = Run.objects.get(pk=ok(answer, 202)["run_id"])
    assert answer["Location"] == f"/api/v1/runs/{run.pk}"
    assert (run.options, run.trigger) == ({"keys": ["1"], "full": True}, "api")
    assert AuditEvent.objects.get(act="asked").door == "api"


def test_rows_are_sent_only_as_they_were_shown(world: World, operator: Caller) -> None:
    versions.pin(world.sync)
    token = ok(operator.post(at(world, "sends", "offer"), {"keys": ["1"]}))["token"]
    assert said(caller("operator").post(at(world, "sends"), {"token": token}))[2].keys() == {"token"}
    assert said(operator.post(at(world, "sends"), {"token": "x"}))[2].keys() == {"token"}
    Sync.objects.filter(pk=world.sync.pk).update(max_attempts=9)
    assert said(operator.post(at(world, "sends"), {"token": token}))[0] == 409
    assert said(operator.post(at(world, "sends", "offer"), {"keys": ["9"]}))[2].keys() == {"keys"}
    assert said(operator.post(at(world, "sends", "offer"), {"keys": [str(n) for n in range(6)]}))[2].keys() == {"keys"}
    Sync.objects.filter(pk=world.sync.pk).update(is_paused=True)
    assert said(operator.post(at(world, "sends", "offer"), {"keys": ["1"]}))[:2] == (409, "refused")
    assert Run.objects.count() == DeliveredRow.objects.count() == 0
