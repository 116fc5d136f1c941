"""Acts on syncs through the API, one by one and many at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from syncs.models import AuditEvent, DeliveredRow, Run, Sync
from tests import seeds
from tests.api.kit import Caller, caller, said
from tests.api.test_syncs import SYNCS, at, ok
from tests.factories import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, [(1, "Ada", 36)])


@pytest.fixture
def operator() -> Caller:
    return caller("operator")


def test_pause_and_resume(world: World, operator: Caller) -> None:
    body = ok(operator.post(at(world.sync, "pause"), {"reason": "rotation"}))
    assert (body["is_paused"], body["pause_reason"]) == (True, "rotation")
    assert ok(operator.post(at(world.sync, "pause"), {"reason": "again"}))["pause_reason"] == "rotation"
    assert not ok(operator.post(at(world.sync, "resume"), {}))["is_paused"]
    assert [event.act for event in AuditEvent.objects.order_by("id")] == ["paused", "resumed"]
    Sync.objects.filter(pk=world.sync.pk).update(is_archived=True)
    assert said(operator.post(at(world.sync, "pause"), {}))[:2] == (409, "refused")
    assert said(operator.post(at(world.sync, "approve-deletes"), {}))[:2] == (409, "refused")


def test_approved_deletes_are_told(world: World, operator: Caller) -> None:
    Sync.objects.filter(pk=world.sync.pk).update(mode="mirror")
    run = Run.objects.create(
        sync=world.sync, trigger="manual", status="failed", failure_code="delete_guard", finished_at=timezone.now()
    )
    for number in range(3):
        seen = run.pk if number == 0 else None
        DeliveredRow.objects.create(sync=world.sync, row_key=str(number), payload_hash=1, run_id=1, seen_run_id=seen)
    assert ok(operator.post(at(world.sync, "approve-deletes"), {}))["approved_delete_count"] == 2


def test_clone_archive_and_back(world: World, operator: Caller) -> None:
    answer = operator.post(at(world.sync, "clone"), {"name": "Copy"})
    copy = Sync.objects.get(name="Copy")
    assert ok(answer, 201)["is_paused"]
    assert answer["Location"] == at(copy)
    assert said(operator.post(at(world.sync, "clone"), {"name": "Copy"}))[2].keys() == {"name"}
    assert ok(operator.post(at(world.sync, "clone"), {}), 201)["name"].endswith("(copy)")
    assert ok(operator.post(at(copy, "archive"), {}))["is_archived"]
    back = ok(operator.post(at(copy, "unarchive"), {}))
    assert (back["is_archived"], back["is_paused"]) == (False, True)
    assert said(operator.delete(at(copy)))[0] == 428
    assert operator.delete(at(copy), headers={"If-Match": operator.get(at(copy))["ETag"]}).status_code == 204
    assert Sync.objects.get(pk=copy.pk).is_archived


def test_archive_is_refused_while_a_run_is_live_unless_it_is_cancelled(world: World, operator: Caller) -> None:
    run = Run.objects.create(sync=world.sync, trigger="manual")
    assert said(operator.post(at(world.sync, "archive"), {}))[:2] == (409, "refused")
    assert said(operator.delete(at(world.sync), headers={"If-Match": "*"}))[:2] == (409, "refused")
    writer = caller("operator", "write")
    assert said(writer.post(at(world.sync, "archive"), {"cancel_runs": True}))[:2] == (403, "scope_missing")
    ok(operator.post(at(world.sync, "archive"), {"cancel_runs": True}))
    run.refresh_from_db()
    assert run.status == "cancelled"


def test_many_are_done_each_by_itself(world: World, operator: Caller) -> None:
    paused = seeds.sync(world.source, world.target, "B paused", is_paused=True)
    gone = seeds.sync(world.source, world.target, "C gone", is_archived=True)
    ids = [world.sync.pk, paused.pk, gone.pk]
    told = ok(operator.post(f"{SYNCS}/acts", {"act": "run", "ids": ids}))["outcomes"]
    by_name = {one["sync_name"]: one for one in told}
    assert by_name[world.sync.name]["outcome"] == "done"
    run = Run.objects.get(pk=by_name[world.sync.name]["run_id"])
    assert (run.sync_id, run.trigger, run.requested_by_id) == (world.sync.pk, "api", operator.user and operator.user.pk)
    assert by_name["B paused"]["outcome"] == by_name["C gone"]["outcome"] == "refused"
    assert "Resume it" in by_name["B paused"]["message"]
    told = ok(operator.post(f"{SYNCS}/acts", {"act": "pause", "filter": {"destination": [world.target.pk]}, "reason": "x"}))
    assert {one["sync_name"]: one["outcome"] for one in told["outcomes"]} == {world.sync.name: "done", "B paused": "unchanged"}
    assert Sync.objects.get(pk=world.sync.pk).pause_reason == "x"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"act": "pause"}, "ids"),
        ({"act": "pause", "ids": []}, "ids"),
        ({"act": "pause", "ids": [1], "filter": {"tag": ["a"]}}, "ids"),
        ({"act": "pause", "filter": {}}, "filter"),
        ({"act": "pause", "filter": {"archived": [True]}}, "filter.archived"),
        ({"act": "pause", "filter": {"owner": ["me"]}}, "filter.owner[0]"),
        ({"act": "pause", "filter": {"status": ["fine"]}}, "filter.status[0]"),
        ({"act": "delete", "ids": [1]}, "act"),
        ({"act": "pause", "ids": [999]}, "ids[0]"),
        ({"act": "pause", "ids": ["x"]}, "ids[0]"),
        ({"act": "pause", "ids": [1], "full": True}, "full"),
        ({"act": "run", "ids": [1], "reason": "x"}, "reason"),
    ],
)
def test_many_are_named_exactly(operator: Caller, body: dict[str, Any], field: str) -> None:
    status, code, issues = said(operator.post(f"{SYNCS}/acts", body))
    assert (status, code) == (400, "invalid")
    assert set(issues) == {field}


def test_support_may_pause_many_and_not_run_them(world: World) -> None:
    support = caller("support")
    assert said(support.post(f"{SYNCS}/acts", {"act": "run", "ids": [world.sync.pk]}))[:2] == (403, "forbidden")
    ok(support.post(f"{SYNCS}/acts", {"act": "pause", "ids": [world.sync.pk]}))
    assert Sync.objects.get(pk=world.sync.pk).is_paused
