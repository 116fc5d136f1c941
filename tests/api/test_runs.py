"""Runs through the API: asked for, followed, cancelled, asked for again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from syncs.models import AuditEvent, Run, Sync, Team
from syncs.services import syncs as sync_service
from tests import seeds
from tests.api.kit import caller, said
from tests.factories import World

pytestmark = pytest.mark.django_db
RUNS = "/api/v1/runs"


@pytest.fixture
def sync() -> Sync:
    return seeds.sync(*seeds.connections())


def of(sync: Sync) -> str:
    return f"/api/v1/syncs/{sync.pk}/runs"


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["data"]]


# --- asking


@pytest.mark.django_db(transaction=True)
def test_run_is_queued_and_can_be_polled(tmp_path: Path) -> None:
    world = World(tmp_path, [(1, "Ana", 30), (2, "Bo", 31)])
    client = caller("operator")
    answer = client.post(of(world.sync), {"detail": "dag orders"})
    assert answer.status_code == 202
    run = Run.objects.get()
    assert answer["Location"] == f"{RUNS}/{run.pk}"
    assert answer["Retry-After"] == "2"
    body = answer.json()
    assert (body["status"], body["trigger"], body["trigger_detail"], body["version"]) == ("queued", "api", "dag orders", 1)
    assert body["requested_by"]["id"] == client.user.pk if client.user else None
    assert body["options"] == {"full": False, "limit": None, "keys": None}
    world.work(run)
    polled = client.get(answer["Location"])
    assert "Retry-After" not in polled
    assert polled.json()["status"] == "succeeded"
    assert polled.json()["counts"]["accepted"] == 2
    assert polled.json()["progress"]["settled"] == 2
    assert polled.json()["can_run_again"] is True
    event = AuditEvent.objects.get(act="asked")
    assert (event.door, event.target_type, event.target_id) == ("api", "run", run.pk)


@pytest.mark.django_db(transaction=True)
def test_run_of_chosen_rows_reads_no_others(tmp_path: Path) -> None:
    world = World(tmp_path, [(1, "Ana", 30), (2, "Bo", 31), (3, "Cy", 32)])
    client = caller("operator")
    answer = client.post(of(world.sync), {"keys": ["2", "3", "2"], "full": True})
    assert answer.json()["options"] == {"full": True, "limit": None, "keys": ["2", "3"]}
    assert Run.objects.get().is_short
    assert world.work(Run.objects.get()).accepted_count == 2
    answer = client.post(of(world.sync), {"keys": ["2", "3"], "limit": 1})
    assert answer.json()["options"]["keys"] == ["2"]
    answer = client.post(of(world.sync), {"limit": 1})
    assert world.work(Run.objects.get(pk=answer.json()["id"])).read_count == 1


def test_run_that_waits_already_is_given_back(sync: Sync) -> None:
    client = caller("operator")
    first, again, other = (client.post(of(sync), body).json()["id"] for body in ({}, {"full": False}, {"full": True}))
    assert first == again != other


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"full": 1}, "full"),
        ({"limit": 0}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"keys": []}, "keys"),
        ({"keys": ["a\x1fb"]}, "keys"),
        ({"keys": "17"}, "keys"),
        ({"keys": [17]}, "keys[0]"),
        ({"keys": ["x" * 256]}, "keys[0]"),
        ({"detail": "x" * 256}, "detail"),
        ({"trigger": "schedule"}, "trigger"),
    ],
)
def test_run_with_a_wrong_input_is_refused_by_name(sync: Sync, body: dict[str, Any], field: str) -> None:
    status, code, issues = said(caller("operator").post(of(sync), body))
    assert (status, code) == (400, "invalid")
    assert list(issues) == [field]
    assert not Run.objects.exists()


def test_key_of_several_columns_is_their_list(sync: Sync) -> None:
    Sync.objects.update(key_columns="region, id")
    client = caller("operator")
    for wrong in ("17", '{"region": "eu", "id": "1"}', '["eu"]', '["eu", 1]', '"eu"'):
        assert list(said(client.post(of(sync), {"keys": [wrong]}))[2]) == ["keys"]
    assert client.post(of(sync), {"keys": ['["eu","1"]']}).status_code == 202


def test_sync_that_is_paused_or_archived_does_not_run(sync: Sync) -> None:
    client = caller("operator")
    sync_service.pause(sync, by=None)
    assert said(client.post(of(sync), {}))[:2] == (409, "refused")
    Sync.objects.update(is_paused=False, is_archived=True)
    assert said(client.post(of(sync), {}))[:2] == (409, "refused")
    assert not Run.objects.exists()


# --- lists


def test_list_filters_as_the_console_does(sync: Sync) -> None:
    other = seeds.sync(sync.source, sync.destination, "Other")
    old = seeds.run(sync, "succeeded", minutes_ago=3000)
    bad = seeds.run(sync, "failed", minutes_ago=30, trigger="schedule")
    new = seeds.run(other, "partial", refused=3, minutes_ago=20)
    client = caller("viewer")
    assert ids(client.get(RUNS)) == [new.pk, bad.pk, old.pk]
    assert ids(client.get(RUNS, {"order": "id"})) == [old.pk, bad.pk, new.pk]
    assert ids(client.get(RUNS, {"sync": sync.pk})) == [bad.pk, old.pk]
    assert ids(client.get(RUNS, {"sync": [sync.pk, other.pk], "status": ["failed", "partial"]})) == [new.pk, bad.pk]
    assert ids(client.get(RUNS, {"trigger": "schedule"})) == [bad.pk]
    assert ids(client.get(RUNS, {"since": "1h"})) == [new.pk, bad.pk]
    assert ids(client.get(RUNS, {"to": new.queued_at.isoformat()})) == [bad.pk, old.pk]
    assert ids(client.get(RUNS, {"from": bad.queued_at.isoformat(), "to": new.queued_at.isoformat()})) == [bad.pk]
    assert ids(client.get(of(sync))) == [bad.pk, old.pk]
    assert ids(client.get(of(sync), {"status": "failed"})) == [bad.pk]
    assert list(said(client.get(of(sync), {"sync": other.pk}))[2]) == ["sync"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "done"}, "status"),
        ({"status": ""}, "status"),
        ({"since": "2h"}, "since"),
        ({"since": "1h", "to": "2026-11-23T09:30:00Z"}, "since"),
        ({"from": "2026-11-23T09:30:00Z", "to": "2026-11-23T09:30:00Z"}, "to"),
        ({"from": "yesterday"}, "from"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from"),
        ({"to": "9999-12-31T23:59:59-14:00"}, "to"),
        ({"sync": "x"}, "sync"),
        ({"sync": "9" * 30}, "sync"),
        ({"order": "status"}, "order"),
        ({"state": "failed"}, "state"),
    ],
)
def test_filter_that_is_wrong_is_named(sync: Sync, query: dict[str, Any], field: str) -> None:
    status, code, issues = said(caller("viewer").get(RUNS, query))
    assert (status, code) == (400, "invalid")
    assert list(issues) == [field]


def test_list_takes_few_queries_however_many_runs(sync: Sync, django_assert_max_num_queries: Any) -> None:
    client = caller("viewer")
    for number in range(12):
        seeds.run(sync, "partial", refused=number, requested_by=client.user)
    sync_service.validate(sync)
    client.get(RUNS)
    with django_assert_max_num_queries(8):
        assert len(ids(client.get(RUNS))) == 12


def test_pages_stay_right_while_runs_arrive(sync: Sync) -> None:
    made = [seeds.run(sync).pk for _ in range(5)]
    client = caller("viewer")
    first = client.get(RUNS, {"limit": 2}).json()
    seeds.run(sync)
    rest = client.get(RUNS, {"limit": 2, "cursor": first["meta"]["page"]["next"]})
    assert ids(rest) == [made[2], made[1]]


# --- one run


def test_failed_run_says_why_and_what_to_do(sync: Sync) -> None:
    summary = [
        {
            "type": "validation",
            "code": "BAD",
            "field": "phone",
            "message": "Property phone: '+49 170 1' is not valid",
            "count": 3,
        }
    ]
    run = seeds.run(
        sync,
        "failed",
        failure_type="auth",
        failure_code="401",
        failure_message="ana@example.com was refused",
        error_summary=summary,
    )
    body = caller("viewer").get(f"{RUNS}/{run.pk}").json()
    assert body["failure"]["title"] == "Authentication"
    assert body["failure"]["remedy"].startswith("Renew the credentials")
    assert "ana@example.com" not in str(body)
    assert "170" not in body["error_summary"][0]["message"]
    assert body["error_summary"][0]["count"] == 3
    counts = body["counts"]
    parts = ("accepted", "unchanged", "skipped", "dead_lettered", "pending")
    assert counts["read"] + counts["vanished"] == sum(counts[name] for name in parts)


def test_run_of_another_team_is_not_there() -> None:
    team = Team.objects.create(name="Ours")
    sync = seeds.sync(*seeds.connections(), team=team)
    run = seeds.run(sync, "running")
    stranger, member = caller("operator"), caller("operator", team=team)
    assert ids(stranger.get(RUNS)) == []
    assert ids(stranger.get(RUNS, {"sync": sync.pk})) == []
    own = f"{RUNS}/{run.pk}"
    for method, address in (
        ("get", own),
        ("post", f"{own}/cancel"),
        ("post", f"{own}/again"),
        ("get", of(sync)),
        ("post", of(sync)),
    ):
        assert said(getattr(stranger, method)(address))[:2] == (404, "not_found")
    assert ids(member.get(RUNS)) == [run.pk]


# --- cancel and again


def test_cancel_ends_a_waiting_run_and_asks_a_running_one(sync: Sync) -> None:
    client = caller("operator")
    waiting = client.post(of(sync)).json()["id"]
    answer = client.post(f"{RUNS}/{waiting}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    running = seeds.run(sync, "running")
    answer = client.post(f"{RUNS}/{running.pk}/cancel", {})
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert answer.json()["cancel_requested_at"] is not None
    assert answer.json()["cancel_requested_by"]["id"] == client.user.pk if client.user else None
    assert said(client.post(f"{RUNS}/{running.pk}/cancel"))[:2] == (409, "refused")  # somebody has asked already
    assert AuditEvent.objects.filter(act="cancelled", door="api").count() == 2


def test_again_takes_the_options_over(sync: Sync) -> None:
    run = seeds.run(sync, "failed", options={"keys": ["7"], "full": True, "selection": "x"})
    answer = caller("operator").post(f"{RUNS}/{run.pk}/again")
    assert answer.status_code == 202
    again = Run.objects.get(pk=answer.json()["id"])
    assert again.options == {"keys": ["7"], "full": True}
    assert again.trigger_detail == f"again, after run {run.pk}"
    assert answer["Location"] == f"{RUNS}/{again.pk}"


def test_again_is_refused_while_it_runs_and_for_a_reprocess(sync: Sync) -> None:
    client = caller("operator")
    for run in (seeds.run(sync, "running"), seeds.run(sync, "succeeded", trigger="reprocess")):
        assert said(client.post(f"{RUNS}/{run.pk}/again"))[:2] == (409, "refused")
    assert Run.objects.count() == 2


def test_repeated_request_starts_one_run(sync: Sync) -> None:
    client = caller("operator")
    key = {"Idempotency-Key": "dag-17"}
    first = client.post(of(sync), {"full": True}, headers=key)
    Run.objects.update(status="cancelled", finished_at=timezone.now())
    second = client.post(of(sync), {"full": True}, headers=key)
    assert second.json()["id"] == first.json()["id"]
    assert second["Location"] == first["Location"]
    assert Run.objects.count() == 1
