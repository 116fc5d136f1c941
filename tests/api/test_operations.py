"""Bulk operations over the API: what a plan counted is what its confirmation acts on, by the rules of the console."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from dlq.choices import EntryStatus
from dlq.models import BulkOperation, DLQEntry, DLQEvent
from dlq.services import operations
from syncs.models import AuditEvent, Run, Team
from tests.api.kit import Caller, caller, said
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
PLACE = "/api/v1/operations"


def plan(client: Caller, kind: str, **values: Any) -> dict[str, Any]:
    chosen = {"look": False} | values
    answer = client.post(f"{PLACE}/plan", {"kind": kind, **({} if "ids" in chosen else {"filter": {}}), **chosen})
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def begin(client: Caller, made: dict[str, Any], **values: Any) -> Any:
    return client.post(PLACE, {"confirm": made["confirm"], **values})


def work_off(number: int) -> None:
    while operations.advance(number):
        pass


def test_plan_says_what_it_would_take_and_touches_nothing() -> None:
    run = make_run(make_sync(name="Customers"))
    group = make_group(run.sync, title="Wrong city")
    make_entries(3, run, group)
    make_entry(run, group=group, status=EntryStatus.RESOLVED)
    before = list(DLQEntry.objects.values_list("pk", "updated_at"))
    made = plan(caller("support"), "reprocess", filter={"status": ["any"], "sync": [run.sync_id]})
    assert (made["kind"], made["count"], made["group_count"], made["sample_size"]) == ("reprocess", 3, 1, 0)
    assert made["left_out"] == [{"count": 1, "reason": "are closed already"}]
    assert made["by_sync"] == [{"id": run.sync_id, "name": "Customers", "count": 3}]
    assert made["by_error_type"] == [{"error_type": "validation", "count": 3}]
    assert made["by_http_status"] == [{"http_status": 422, "count": 3}]
    assert made["by_group"] == [{"id": group.pk, "title": "Wrong city", "count": 3}]
    assert made["changes"]["same"] == 3
    assert made["modes"] == [{"mode": "current", "count": None, "needs_acknowledgement": True}]
    assert (made["needs_expected_count"], made["needs_reason"], made["rows"], made["held"]) == (False, False, None, [])
    assert list(DLQEntry.objects.values_list("pk", "updated_at")) == before
    assert not BulkOperation.objects.exists()


def test_plan_looks_into_the_warehouse_for_a_reprocess_unless_told_not_to() -> None:
    entry = make_entry()
    client = caller("support")
    answer = client.post(f"{PLACE}/plan", {"kind": "reprocess", "ids": [entry.pk]})
    assert answer.status_code == 200, answer.content
    assert "warehouse" in " ".join(answer.json()["rows"]["notes"])  # there is none behind this sync
    answer = client.post(f"{PLACE}/plan", {"kind": "discard", "ids": [entry.pk]})
    assert answer.json()["rows"] is None


def test_confirmed_plan_acts_on_just_what_it_froze() -> None:
    run = make_run(make_sync())
    kept, changed = make_entry(run), make_entry(run)
    client = caller("support")
    made = plan(client, "discard", filter={"sync": [run.sync_id], "failed": "1h"})
    arrived = make_entry(run)
    DLQEntry.objects.filter(pk=changed.pk).update(updated_at=timezone.now(), failure_count=2)
    answer = begin(client, made, reason="obsolete", expected_count=2)
    assert answer.status_code == 202, answer.content
    body = answer.json()
    assert answer["Location"] == f"{PLACE}/{body['id']}"
    assert (body["status"], body["is_over"], body["expected_count"], body["reason"]) == ("queued", False, 2, "obsolete")
    assert body["filter"]["sync"] == [run.sync_id]
    assert body["filter"]["from"].endswith("Z")
    work_off(body["id"])
    assert set(DLQEntry.objects.open().values_list("pk", flat=True)) == {changed.pk, arrived.pk}
    event = DLQEvent.objects.get(entry=kept, kind="discarded")
    assert (event.actor, event.door, event.reason) == (client.user, "api", "obsolete")
    assert AuditEvent.objects.get(act="begun").door == "api"
    done = client.get(answer["Location"]).json()
    assert (done["status"], done["is_over"], done["percent"], done["counts"]["done"]) == ("finished", True, 100, 1)
    assert done["headline"] == "Finished: 1 discarded."


def test_confirming_twice_finds_the_operation_of_the_first() -> None:
    make_entry()
    client = caller("support")
    made = plan(client, "reprocess")
    first = begin(client, made, acknowledged=True)
    assert begin(client, made, acknowledged=True).json()["id"] == first.json()["id"]
    assert BulkOperation.objects.count() == 1
    work_off(first.json()["id"])
    assert Run.objects.filter(trigger="reprocess").count() == 1


def test_confirmation_is_held_to_what_the_plan_demands(settings: Any) -> None:
    settings.RETL = {**settings.RETL, "TYPED_COUNT_ABOVE": 1, "REASON_ABOVE": 1}
    run = make_run(make_sync())
    entries = [make_entry(run) for _ in range(2)]
    client = caller("operator")
    made = plan(client, "reprocess")
    assert (made["needs_expected_count"], made["needs_reason"]) == (True, True)
    assert said(begin(client, made))[2].keys() == {"expected_count"}
    assert said(begin(client, made, expected_count=3))[2].keys() == {"expected_count"}
    assert said(begin(client, made, expected_count=2))[2].keys() == {"acknowledged"}
    assert said(begin(client, made, expected_count=2, acknowledged=True))[2].keys() == {"reason"}
    assert said(begin(client, plan(client, "discard"), expected_count=2))[2].keys() == {"reason"}
    one = plan(client, "discard", ids=[entries[0].pk])
    assert said(begin(client, one, reason="x", expected_count=7))[2].keys() == {"expected_count"}
    assert not BulkOperation.objects.exists()
    body = begin(client, made, expected_count=2, acknowledged=True, reason="mended", waves=[1, 5], rows_per_minute=60).json()
    assert (body["wave_sizes"], body["rows_per_minute"], body["halt_percent"]) == ([1, 5], 60, 100)


def test_confirmation_is_good_for_its_act_its_person_and_an_hour() -> None:
    make_entry()
    client, other = caller("support"), caller("support")
    made = plan(client, "discard")
    assert said(begin(other, made, reason="x"))[2].keys() == {"confirm"}
    assert said(client.post(PLACE, {"confirm": "eyJ", "reason": "x"}))[2].keys() == {"confirm"}
    with time_machine.travel(timezone.now() + timedelta(hours=2), tick=False):
        assert said(begin(client, made, reason="x"))[2].keys() == {"confirm"}
    assert said(begin(client, made, reason="x", mode="stored", owner_id=None))[2].keys() == {"mode", "owner_id"}
    assert not BulkOperation.objects.exists()


def test_assigning_says_to_whom() -> None:
    entry = make_entry()
    client = caller("support")
    made = plan(client, "assign")
    assert said(begin(client, made))[2].keys() == {"owner_id"}
    assert said(begin(client, made, owner_id=999_999))[2].keys() == {"owner_id"}
    assert client.user
    body = begin(client, made, owner_id=client.user.pk).json()
    work_off(body["id"])
    entry.refresh_from_db()
    assert entry.owner == client.user


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "discard"}, "filter"),
        ({"kind": "discard", "filter": {}, "ids": [1]}, "filter"),
        ({"kind": "export", "filter": {}}, "kind"),
        ({"kind": "discard", "ids": []}, "ids"),
        ({"kind": "discard", "ids": [1 << 62]}, "ids[0]"),
        ({"kind": "discard", "ids": [999_999_999]}, "ids"),
        ({"kind": "discard", "filter": {"sync": [999_999_999]}}, "filter.sync"),
        ({"kind": "discard", "filter": {"colour": "red"}}, "filter.colour"),
        ({"kind": "discard", "filter": {"status": []}}, "filter.status"),
        ({"kind": "discard", "filter": {"code": [422]}}, "filter.code[0]"),
        ({"kind": "discard", "filter": {"failed": "1h", "from": "2026-01-01T00:00:00Z"}}, "filter.failed"),
        ({"kind": "discard", "filter": "status=open"}, "filter"),
    ],
)
def test_choice_that_cannot_be_understood_is_refused_by_its_field(body: dict[str, Any], field: str) -> None:
    make_entry()
    status, code, issues = said(caller("operator").post(f"{PLACE}/plan", body))
    assert (status, code) == (400, "invalid")
    assert [name.replace(".0", "[0]") for name in issues] == [field]


def test_plan_of_nothing_is_refused() -> None:
    assert said(caller("support").post(f"{PLACE}/plan", {"kind": "discard", "filter": {}}))[:2] == (409, "refused")


def test_every_condition_of_the_list_can_be_planned_for() -> None:
    entry = make_entry()
    client = caller("operator")
    whole = {
        "status": ["open", "discarded"], "sync": [entry.sync_id], "connection": [entry.sync.source_id],
        "error_type": ["validation"], "error_code": ["X"], "field": ["email"], "code": ["422", "none"], "failed": "between",
        "from": "2026-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z", "age": "1d", "key": entry.row_key,
        "group": entry.group_id,
        "run": entry.run_id, "owner": "none", "attempts": 1, "row": ["unknown"], "q": "person",
    }  # fmt: skip
    assert client.post(f"{PLACE}/plan", {"kind": "discard", "filter": whole}).status_code == 409  # nothing is so old
    whole.pop("age")
    whole.pop("error_code")
    body = begin(client, plan(client, "discard", filter=whole), reason="x").json()
    shown = body["filter"]
    assert {name: shown[name] for name in whole if name not in ("connection", "failed")} == {
        name: value for name, value in whole.items() if name not in ("connection", "failed")
    }


def test_rights_and_scopes_are_those_of_the_act() -> None:
    entry = make_entry()
    assert said(caller("viewer").post(f"{PLACE}/plan", {"kind": "check", "filter": {}}))[:2] == (403, "forbidden")
    assert said(caller("operator", "read").post(f"{PLACE}/plan", {"kind": "check", "filter": {}}))[:2] == (403, "scope_missing")
    support = caller("support")
    made = plan(support, "reprocess")
    assert said(begin(support, made, mode="stored", acknowledged=True))[:2] == (403, "forbidden")
    acting = caller("operator", "dlq:act")
    made = plan(acting, "reprocess")
    assert [one["mode"] for one in made["modes"]] == ["current"]
    assert said(begin(acting, made, mode="stored", acknowledged=True))[:2] == (403, "scope_missing")
    operator = caller("operator")
    made = plan(operator, "reprocess")
    assert [one["mode"] for one in made["modes"]] == ["current", "stored", "payload"]
    body = begin(operator, made, mode="payload", acknowledged=True).json()
    assert body["mode"] == "payload"
    work_off(body["id"])
    entry.refresh_from_db()
    assert entry.status == EntryStatus.QUEUED


def test_pause_resume_and_cancel_once_each() -> None:
    make_entry()
    client = caller("support")
    number = begin(client, plan(client, "discard"), reason="x").json()["id"]
    here = f"{PLACE}/{number}"
    assert said(client.post(f"{here}/resume"))[:2] == (409, "refused")
    paused = client.post(f"{here}/pause").json()
    assert (paused["status"], paused["phase"]) == ("paused", "resting")
    assert said(client.post(f"{here}/pause"))[:2] == (409, "refused")
    assert client.post(f"{here}/resume").json()["status"] == "queued"
    assert client.post(f"{here}/cancel").json()["phase"] == "ending"
    assert said(client.post(f"{here}/cancel"))[:2] == (409, "refused")
    work_off(number)
    assert client.get(here).json()["status"] == "cancelled"
    assert DLQEntry.objects.open().count() == 1
    events = AuditEvent.objects.filter(target_type="bulkoperation").order_by("pk")
    assert list(events.values_list("act", "door")) == [
        ("begun", "api"), ("paused", "api"), ("resumed", "api"), ("cancelled", "api"),
    ]  # fmt: skip


def test_discard_is_undone_as_a_whole() -> None:
    entry = make_entry()
    client = caller("support")
    number = begin(client, plan(client, "discard"), reason="x").json()["id"]
    assert said(client.post(f"{PLACE}/{number}/undo"))[:2] == (409, "refused")  # it is under way
    work_off(number)
    answer = client.post(f"{PLACE}/{number}/undo", {"reason": "wrong filter"})
    assert answer.status_code == 202
    assert answer["Location"] == f"{PLACE}/{answer.json()['id']}"
    assert (answer.json()["kind"], answer.json()["undoes_id"]) == ("reopen", number)
    work_off(answer.json()["id"])
    entry.refresh_from_db()
    assert entry.status == EntryStatus.OPEN
    assert client.get(f"{PLACE}/{number}").json()["undone_by_id"] == answer.json()["id"]
    assert client.post(f"{PLACE}/{number}/undo").json()["id"] == answer.json()["id"]


def test_outcomes_page_by_page() -> None:
    run = make_run(make_sync(name="Customers"))
    make_entries(5, run, make_group(run.sync))
    client = caller("support")
    number = begin(client, plan(client, "discard"), reason="x").json()["id"]
    work_off(number)
    keys, cursor = [], None
    while True:
        query = {"limit": 2, "outcome": "done", **({"cursor": cursor} if cursor else {})}
        page = client.get(f"{PLACE}/{number}/outcomes", query).json()
        keys += [row["row_key"] for row in page["data"]]
        cursor = page["meta"]["page"]["next"]
        if cursor is None:
            break
    assert keys == list(DLQEntry.objects.order_by("pk").values_list("row_key", flat=True))
    first = client.get(f"{PLACE}/{number}/outcomes").json()["data"][0]
    assert (first["outcome"], first["sync"], first["run_id"]) == ("done", "Customers", None)
    assert client.get(f"{PLACE}/{number}/outcomes", {"outcome": "refused"}).json()["data"] == []
    assert said(client.get(f"{PLACE}/{number}/outcomes", {"outcome": "lost"}))[2].keys() == {"outcome"}


def test_list_is_filtered_as_in_the_console_and_takes_few_queries(django_assert_max_num_queries: Any) -> None:
    run = make_run(make_sync())
    client, other = caller("support"), caller("support")
    for number in range(4):
        make_entry(run, row_key=f"k{number}")
        whose = client if number % 2 else other
        begin(whose, plan(whose, "discard" if number < 2 else "check", filter={"key": f"k{number}"}), reason="x")
    with django_assert_max_num_queries(10):
        rows = client.get(PLACE).json()["data"]
    assert [row["kind"] for row in rows] == ["check", "check", "discard", "discard"]
    assert len(client.get(PLACE, {"who": "me"}).json()["data"]) == 2
    assert len(client.get(PLACE, {"kind": "check", "who": "me"}).json()["data"]) == 1
    assert len(client.get(f"{PLACE}?status=queued&status=finished").json()["data"]) == 4
    assert client.get(PLACE, {"status": "finished"}).json()["data"] == []
    assert said(client.get(PLACE, {"who": "everybody"}))[2].keys() == {"who"}
    page = client.get(PLACE, {"limit": 3}).json()
    assert len(client.get(PLACE, {"limit": 3, "cursor": page["meta"]["page"]["next"]}).json()["data"]) == 1


def test_operations_of_other_teams_are_not_there() -> None:
    team = Team.objects.create(name="Sales")
    mine, shared = make_entry(make_run(make_sync(team=team))), make_entry()
    boss, stranger = caller("admin"), caller("operator")
    number = begin(boss, plan(boss, "discard", ids=[mine.pk]), reason="x").json()["id"]
    both = begin(boss, plan(boss, "check", ids=[mine.pk, shared.pk])).json()["id"]
    work_off(number)
    work_off(both)
    assert said(stranger.get(f"{PLACE}/{number}"))[:2] == (404, "not_found")
    assert said(stranger.get(f"{PLACE}/{number}/outcomes"))[:2] == (404, "not_found")
    assert said(stranger.post(f"{PLACE}/{number}/cancel"))[:2] == (404, "not_found")
    assert [row["id"] for row in stranger.get(PLACE).json()["data"]] == [both]
    rows = stranger.get(f"{PLACE}/{both}/outcomes").json()["data"]
    assert [row["entry_id"] for row in rows] == [shared.pk]
    assert stranger.get(f"{PLACE}/{both}").json()["filter"] is None
    assert said(stranger.post(f"{PLACE}/{both}/cancel"))[:2] == (403, "forbidden")
    assert said(stranger.post(f"{PLACE}/plan", {"kind": "discard", "ids": [mine.pk]}))[2].keys() == {"ids"}
    assert said(stranger.post(f"{PLACE}/plan", {"kind": "discard", "filter": {"sync": [mine.sync_id]}}))[0] == 400
    assert plan(stranger, "discard", filter={"status": ["any"]})["count"] == 1  # the shared one alone
