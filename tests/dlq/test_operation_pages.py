"""The pages of bulk operations: what a confirmation demands, what its post makes, what the page of one shows."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dlq.choices import EditState, EntryStatus, ItemOutcome, OperationStatus
from dlq.models import BulkItem, BulkOperation, DLQEntry, PayloadEdit
from dlq.services import operations
from syncs.choices import FieldType
from syncs.errors import ErrorType
from syncs.models import FieldMapping, Run, Team
from syncs.records import RowError
from syncs.services import worker
from tests.dlq.objects import client_of, make_entries, make_entry, make_group, make_run, make_user
from tests.factories import World
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/dlq/dlqentry/"
BULK = f"{LIST}bulk/"
OPERATIONS = "/admin/dlq/bulkoperation/"
BAD = RowError(ErrorType.VALIDATION, "Property age is not valid", code="E1", field="age", http_status=422)
HOSTILE = "<script>alert(1)</script>\u202e\x07"


def worker_of(*permissions: str) -> Client:
    return client_of("view_dlqentry", "view_bulkoperation", *permissions)


def text_of(page: Any) -> str:
    return html.unescape(page.content.decode())


def token_of(page: Any) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page.content.decode())
    assert found, page.content.decode()[:2000]
    return html.unescape(found.group(1))


def ask(client: Client, kind: str, query: str = "status=open") -> Any:
    page = client.get(f"{BULK}?act={kind}&{query}")
    assert page.status_code == 200, page
    return page


def post(client: Client, page: Any, kind: str, **values: Any) -> Any:
    return client.post(f"{BULK}{kind}/", {"token": token_of(page), **values})


def look(client: Client, page: Any, token: str = "") -> Any:
    values = {"token": token or token_of(page)}
    return client.post(f"{BULK}reprocess/look/", values, headers={"accept": "application/json"})


def made(answer: Any) -> BulkOperation:
    assert answer.status_code == 302, text_of(answer)
    found = re.fullmatch(rf"{OPERATIONS}(\d+)/change/", answer.url)
    assert found, answer.url
    return BulkOperation.objects.get(pk=found.group(1))


def problem_of(answer: Any) -> str:
    assert answer.status_code == 400, answer
    found = re.search(r'role="alert">(.*?)</div>', text_of(answer), re.S)
    assert found
    return re.sub(r"<[^>]+>", " ", found.group(1)).strip()


def work_off(operation: BulkOperation) -> BulkOperation:
    while operations.advance(operation.pk):
        pass
    operation.refresh_from_db()
    return operation


def page_of(operation: BulkOperation) -> str:
    return f"{OPERATIONS}{operation.pk}/change/"


def many(count: int) -> None:
    run = make_run(make_sync())
    make_entries(count, run, make_group(run.sync))


# --- looking


def test_looking_at_a_confirmation_changes_nothing(root: Client) -> None:
    entry = make_entry()
    before = DLQEntry.objects.values().get()
    for kind, verb in (("reprocess", "Reprocess"), ("discard", "Discard"), ("assign", "Assign"), ("check", "Check")):
        assert f"<h1>{verb} 1 dead letter</h1>" in text_of(ask(root, kind))
    assert root.get(f"{BULK}reprocess/?token=x").status_code == 405
    assert root.get(f"{BULK}reprocess/look/").status_code == 405
    assert DLQEntry.objects.values().get(pk=entry.pk) == before
    assert not BulkOperation.objects.exists()
    assert not Run.objects.filter(trigger="reprocess").exists()


def test_the_address_of_a_backlog_is_read_as_strictly_as_the_list(root: Client) -> None:
    make_entry()
    for query, part in (("status=junk", "none of"), ("from=23/11/2026", "is no time"), ("colour=red", "is no filter")):
        answer = root.get(f"{BULK}?act=discard&{query}", follow=True)
        assert part in text_of(answer)
    assert root.get(f"{BULK}?act=explode&status=open").status_code == 404
    assert root.get(f"{BULK}?status=open").status_code == 404


def test_the_sync_page_leads_to_its_backlog(root: Client) -> None:
    run = make_run(make_sync(name="Customers"))
    make_entries(3, run, make_group(run.sync))
    make_entry()
    sync_page = text_of(root.get(reverse("admin:syncs_sync_page", args=(run.sync_id,))))
    link = re.search(r'href="([^"]+)">Clear backlog', sync_page)
    assert link, sync_page[:3000]
    page = text_of(root.get(link.group(1)))
    assert "<h1>Reprocess 3 dead letters</h1>" in page
    assert "Sync: <bdi>Customers" in page


def test_chosen_times_are_shown_absolute(root: Client) -> None:
    make_entry()
    with time_machine.travel("2026-11-23T10:00:00Z", tick=False):
        make_entry()
        page = text_of(ask(root, "discard", "status=open&failed=1h"))
    assert "From: <bdi>2026-11-23 09:00 UTC" in page


def test_values_of_others_are_harmless_on_every_page(root: Client) -> None:
    run = make_run(make_sync(name=HOSTILE[:100]))
    group = make_group(run.sync, title=HOSTILE)
    make_entry(run, group=group, message=HOSTILE, row_key=HOSTILE.replace("\x07", ""))
    page = ask(root, "discard", f"status=open&sync={run.sync_id}")
    operation = made(post(root, page, "discard", reason=HOSTILE))
    work_off(operation)
    for answer in (page, root.get(page_of(operation)), root.get(OPERATIONS)):
        raw = answer.content.decode()
        assert "<script>alert" not in raw
        assert "\u202e" not in raw.replace("&#x202e;", "")


# --- what a post demands


def test_a_large_number_must_be_typed(root: Client, settings: Any) -> None:
    settings.RETL = {**settings.RETL, "TYPED_COUNT_ABOVE": 20}
    many(21)
    page = ask(root, "discard")
    for typed in ("", "20", "21.5", "２１", "twenty-one", "9" * 30, "-21"):
        answer = post(root, page, "discard", reason="x", typed=typed)
        assert "Type 21, the number of dead letters" in problem_of(answer)
        assert 'value="x"' in text_of(answer), "what was typed is kept"
    assert not BulkOperation.objects.exists()
    made(post(root, page, "discard", reason="x", typed=" 21 "))


@pytest.mark.parametrize("typed", ["1,234", "1234", "1 234", "1'234", "1.234"])
def test_a_number_may_be_typed_as_people_write_it(root: Client, typed: str) -> None:
    many(1_234)
    made(post(root, ask(root, "discard"), "discard", reason="x", typed=typed))


def test_a_number_at_the_limit_need_not_be_typed(root: Client, settings: Any) -> None:
    settings.RETL = {**settings.RETL, "TYPED_COUNT_ABOVE": 20}
    many(20)
    page = ask(root, "discard")
    assert "to confirm</label>" not in text_of(page)
    made(post(root, page, "discard", reason="x"))


def test_a_large_reprocess_needs_a_reason(root: Client, settings: Any) -> None:
    settings.RETL = {**settings.RETL, "REASON_ABOVE": 2}
    many(3)
    page = ask(root, "reprocess")
    assert "Give a reason or a ticket" in problem_of(post(root, page, "reprocess", acknowledged="1", reason="  "))
    made(post(root, page, "reprocess", acknowledged="1", reason="T-1"))


def test_a_discard_takes_a_usual_reason_or_words(root: Client) -> None:
    make_entry()
    page = ask(root, "discard")
    assert "Give a reason" in problem_of(post(root, page, "discard"))
    assert "not in the list" in problem_of(post(root, page, "discard", usual="Because"))
    assert "at most 255 fit" in problem_of(post(root, page, "discard", usual="Test data", reason="x" * 250))
    assert made(post(root, page, "discard", usual="Test data", reason="T-7")).reason == "Test data: T-7"


def test_an_acknowledgement_is_demanded_where_nothing_changed(root: Client, tmp_path: Path) -> None:
    world = World(tmp_path, [(1, "Ana", 30), (2, "Bo", 40)])
    world.destination.bad = {"1": BAD, "2": BAD}
    world.run()
    page = ask(root, "reprocess")
    assert "Nothing is known to have changed" in problem_of(post(root, page, "reprocess")), "not looked yet"
    body = json.loads(look(root, page).content)
    assert "Of 2 looked at: 0 changed, 0 gone, 2 the same." in body["rows"]
    assert "hidden" not in body["acknowledgement"]
    looked = root.post(f"{BULK}reprocess/", {"token": body["token"]})
    assert "Nothing is known to have changed" in problem_of(looked)
    assert not BulkOperation.objects.exists()
    world.sql("UPDATE people SET age = 31 WHERE id = 1")
    body = json.loads(look(root, page).content)
    assert "Of 2 looked at: 1 changed, 0 gone, 1 the same." in body["rows"]
    assert "hidden" in body["acknowledgement"]
    stored = root.post(f"{BULK}reprocess/", {"token": body["token"], "mode": "stored"})
    assert "Nothing is known to have changed" in problem_of(stored), "the stored row is as it was"
    assert made(root.post(f"{BULK}reprocess/", {"token": body["token"]})).mode == "current"


def test_a_changed_mapping_needs_no_acknowledgement(root: Client) -> None:
    run = make_run(make_sync())
    make_entry(run)
    FieldMapping.objects.filter(sync=run.sync).update(type=FieldType.JSON)
    made(post(root, ask(root, "reprocess"), "reprocess"))


def test_without_javascript_a_button_looks_and_keeps_what_was_typed(root: Client, tmp_path: Path) -> None:
    world = World(tmp_path, [(1, "Ana", 30)])
    world.destination.bad = {"1": BAD}
    world.run()
    page = ask(root, "reprocess")
    assert "Look into the warehouse now" in text_of(page)
    again = root.post(f"{BULK}reprocess/look/", {"token": token_of(page), "reason": "T-12", "in_waves": "1", "waves": "5, 6"})
    text = text_of(again)
    assert "Of 1 looked at: 0 changed, 0 gone, 1 the same." in text
    assert 'value="T-12"' in text
    assert 'value="5, 6"' in text
    assert made(post(root, again, "reprocess", acknowledged="1")).created_by == User.objects.get(username="root")


def test_a_warehouse_that_is_down_is_a_sentence_and_blocks_nothing(root: Client, tmp_path: Path) -> None:
    world = World(tmp_path, [(1, "Ana", 30)])
    world.destination.bad = {"1": BAD}
    world.run()
    world.warehouse.unlink()
    page = ask(root, "reprocess")
    body = json.loads(look(root, page).content)
    assert "No warehouse row could be looked at." in body["rows"]
    assert "its warehouse could not be read" in html.unescape(body["rows"])
    made(root.post(f"{BULK}reprocess/", {"token": body["token"], "acknowledged": "1"}))


# --- the confirmation itself


def test_a_confirmation_that_was_changed_or_is_another_s_is_refused(root: Client) -> None:
    make_entry()
    page = ask(root, "discard")
    token = token_of(page)
    other = worker_of("discard_dlqentry", "reprocess_dlqentry")
    tries = [
        (root, "discard", token[:-3] + "xyz"),
        (root, "reprocess", token),
        (root, "discard", ""),
        (other, "discard", token),
    ]
    for client, kind, text in tries:
        for address in (f"{BULK}{kind}/", f"{BULK}{kind}/look/"):
            answer = client.post(address, {"token": text, "reason": "x"}, follow=True)
            assert re.search("not valid|another act or another user", text_of(answer)), address
    assert look(root, page, "nonsense").status_code == 400
    assert not BulkOperation.objects.exists()


def test_a_look_does_not_make_a_confirmation_last_longer(root: Client) -> None:
    make_entry()
    page = ask(root, "reprocess")
    with time_machine.travel(timezone.now() + timedelta(minutes=59), tick=False):
        root.force_login(User.objects.get(username="root"))
        fresh = json.loads(look(root, page).content)["token"]
    with time_machine.travel(timezone.now() + timedelta(minutes=61), tick=False):
        root.force_login(User.objects.get(username="root"))
        answer = root.post(f"{BULK}reprocess/", {"token": fresh, "acknowledged": "1"}, follow=True)
        assert "older than an hour" in text_of(answer)
    assert not BulkOperation.objects.exists()


def test_posting_twice_leads_to_the_same_operation(root: Client) -> None:
    make_entry()
    page = ask(root, "discard")
    assert made(post(root, page, "discard", reason="x")) == made(post(root, page, "discard", reason="x"))
    assert BulkOperation.objects.count() == 1


def test_the_post_costs_the_same_for_many(root: Client, django_assert_max_num_queries: Any) -> None:
    many(3_000)
    page = ask(root, "reprocess")
    with django_assert_max_num_queries(12) as captured:
        operation = made(post(root, page, "reprocess", acknowledged="1", reason="x", typed="3,000"))
    statements = [query["sql"] for query in captured.captured_queries]
    assert not any("COUNT(" in statement and "dlq_" in statement for statement in statements)
    assert (operation.expected_count, operation.member_count) == (3_000, 0)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"mode": "warp"}, "Choose what is sent"),
        ({"in_waves": "1", "waves": "one, ten"}, "Write the sizes of the waves as numbers"),
        ({"in_waves": "1", "waves": ""}, "Write the sizes of the waves as numbers"),
        ({"in_waves": "1", "waves": "0"}, "Wave sizes are"),
        ({"in_waves": "1", "waves": "9" * 9}, "Wave sizes are"),
        ({"in_waves": "1", "waves": "1," * 5_000}, "Wave sizes are"),
        ({"rows_per_minute": "-5"}, "The rows a minute are a whole number"),
        ({"rows_per_minute": "0"}, "Give the rows a minute"),
        ({"rows_per_minute": "1e3"}, "The rows a minute are a whole number"),
        ({"halt_percent": "101"}, "The share at which it halts"),
        ({"halt_percent": "half"}, "The share at which it stops is a whole number"),
        ({"reason": "a\0b"}, "NUL"),
    ],
)
def test_what_cannot_be_read_shows_the_form_again(root: Client, values: dict[str, str], part: str) -> None:
    make_entry()
    answer = post(root, ask(root, "reprocess"), "reprocess", acknowledged="1", **values)
    assert part in problem_of(answer)
    assert not BulkOperation.objects.exists()


def test_waves_pace_and_stop_rule_reach_the_operation(root: Client) -> None:
    make_entry()
    page = ask(root, "reprocess")
    assert 'value="1, 10, 100, 1000, 10000"' in text_of(page)
    pace = {"in_waves": "1", "waves": "2; 20", "rows_per_minute": "600", "halt_percent": "80"}
    operation = made(post(root, page, "reprocess", acknowledged="1", **pace))
    assert (operation.wave_sizes, operation.rows_per_minute, operation.halt_percent) == ([2, 20], 600, 80)
    without = made(post(root, ask(root, "reprocess"), "reprocess", acknowledged="1"))
    assert without.wave_sizes == [50_000]


def test_assigning_names_who_gets_them(root: Client) -> None:
    entry, bo = make_entry(), make_user("view_dlqentry", name="bo")
    page = ask(root, "assign")
    assert "Choose who gets" in problem_of(post(root, page, "assign"))
    assert "no active user" in problem_of(post(root, page, "assign", owner="999999"))
    operation = work_off(made(post(root, page, "assign", owner=str(bo.pk))))
    assert DLQEntry.objects.get(pk=entry.pk).owner == bo
    assert "Finished: 1 assigned." in text_of(root.get(page_of(operation)))
    freed = work_off(made(post(root, ask(root, "assign"), "assign", owner="none")))
    assert DLQEntry.objects.get(pk=entry.pk).owner is None
    assert "nobody" in text_of(root.get(page_of(freed)))


# --- who may


@pytest.mark.parametrize(
    ("kind", "permission"),
    [
        ("reprocess", "reprocess"), ("discard", "discard"), ("reopen", "discard"),
        ("assign", "annotate"), ("check", "annotate"),
    ],
)  # fmt: skip
def test_each_act_needs_its_permission_at_every_step(kind: str, permission: str) -> None:
    make_entry(status="discarded" if kind == "reopen" else "open")
    query = "status=discarded" if kind == "reopen" else "status=open"
    able, unable = worker_of(f"{permission}_dlqentry"), worker_of()
    token = token_of(ask(able, kind, query))
    assert unable.get(f"{BULK}?act={kind}&{query}").status_code == 403
    assert unable.post(BULK, {"act": kind, "filter": query, "across": "1"}).status_code == 403
    assert unable.post(f"{BULK}{kind}/", {"token": token}).status_code == 403
    assert unable.post(f"{BULK}{kind}/look/", {"token": token}).status_code == 403
    answer = able.post(f"{BULK}{kind}/", {"token": token, "reason": "x", "owner": "none", "acknowledged": "1"})
    operation = made(answer)
    for name in ("pause", "resume", "cancel"):
        assert unable.post(f"{OPERATIONS}{operation.pk}/do/{name}/").status_code == 403
    shown = text_of(unable.get(page_of(operation)))
    assert "/do/" not in shown
    assert "/do/pause/" in text_of(able.get(page_of(operation)))


def test_stored_and_corrected_payloads_need_their_own_permission() -> None:
    entry = make_entry()
    PayloadEdit.objects.create(
        entry=entry, before="{}", payload="{}", base_failed_at=entry.last_failed_at, state=EditState.READY, reason="x"
    )
    support, operator = worker_of("reprocess_dlqentry"), worker_of("reprocess_dlqentry", "resend_dlqentry", "edit_dlqentry")
    page = ask(support, "reprocess")
    assert set(re.findall(r'name="mode" value="(\w+)"', text_of(page))) == {"current"}
    for mode in ("stored", "payload", "edited"):
        assert "You may not send that" in problem_of(post(support, page, "reprocess", mode=mode, acknowledged="1"))
    page = ask(operator, "reprocess")
    assert set(re.findall(r'name="mode" value="(\w+)"', text_of(page))) == {"current", "stored", "payload", "edited"}
    assert made(post(operator, page, "reprocess", mode="edited")).mode == "edited", "a correction is a change"


def test_corrections_are_offered_only_where_there_are_some(root: Client) -> None:
    entry = make_entry()
    PayloadEdit.objects.create(
        entry=entry, before="{}", payload="{}", reason="x", base_failed_at=entry.last_failed_at - timedelta(days=1)
    )
    assert 'value="edited"' not in text_of(ask(root, "reprocess")), "made for an earlier failure"


def test_pages_need_the_permission_to_view_operations() -> None:
    make_entry()
    client = Client()
    client.force_login(make_user("view_dlqentry", "discard_dlqentry"))
    answer = client.post(f"{BULK}discard/", {"token": token_of(ask(client, "discard")), "reason": "x"}, follow=True)
    assert "has begun" in text_of(answer)
    operation = BulkOperation.objects.get()
    for address in (OPERATIONS, page_of(operation), f"{OPERATIONS}{operation.pk}/progress/"):
        assert client.get(address).status_code == 403


def test_another_team_sees_neither_the_operation_nor_its_members(root: Client) -> None:
    team = Team.objects.create(name="Theirs")
    hidden, shared = make_run(make_sync(name="Secret sync", team=team)), make_run(make_sync(name="Shared sync"))
    make_entry(hidden, row_key="hidden-row")
    support = worker_of("discard_dlqentry")
    only_theirs = made(post(root, ask(root, "discard", f"status=open&sync={hidden.sync_id}"), "discard", reason="x"))
    work_off(only_theirs)
    assert support.get(page_of(only_theirs)).status_code == 404
    assert support.get(f"{OPERATIONS}{only_theirs.pk}/progress/").status_code == 404
    assert support.post(f"{OPERATIONS}{only_theirs.pk}/do/undo/").status_code == 404
    assert 'data-label="Confirmed"' not in text_of(support.get(OPERATIONS))
    work_off(made(root.post(f"{OPERATIONS}{only_theirs.pk}/do/undo/")))
    make_entry(shared, row_key="shared-row")
    query = f"status=open&sync={hidden.sync_id}&sync={shared.sync_id}"
    both = work_off(made(post(root, ask(root, "discard", query), "discard", reason="x")))
    page = text_of(support.get(page_of(both)))
    assert "shared-row" in page
    assert "hidden-row" not in page
    assert "Secret sync" not in page
    assert "/do/undo/" not in page
    assert support.post(f"{OPERATIONS}{both.pk}/do/undo/").status_code == 403
    assert "<h1>Discard 0 dead letters" not in text_of(support.get(f"{BULK}?act=discard&{query}", follow=True))
    make_entry(shared)
    make_entry(hidden)
    mine = ask(support, "discard")
    assert "<h1>Discard 1 dead letter</h1>" in text_of(mine)
    own = work_off(made(post(support, mine, "discard", reason="x")))
    assert (own.done_count, own.member_count) == (1, 1)
    assert "/do/undo/" in text_of(support.get(page_of(own)))


# --- the page of one


def test_the_page_tells_where_a_discard_stands_and_lists_its_members(root: Client) -> None:
    many(60)
    operation = made(post(root, ask(root, "discard"), "discard", reason="obsolete"))
    page = text_of(root.get(page_of(operation)))
    assert "What was confirmed is being listed." in page
    assert "live.js" in page
    gone = DLQEntry.objects.order_by("pk").first()
    assert gone is not None
    work_off(operation)
    page = text_of(root.get(page_of(operation)))
    assert "Finished: 60 discarded." in page
    assert "live.js" not in page
    assert "It can be undone until" in page
    assert page.count('data-label="Outcome"') == 50
    following = re.search(r'rel="next" href="([^"]+)"', page)
    assert following
    assert text_of(root.get(following.group(1))).count('data-label="Outcome"') == 10


def test_members_are_filtered_by_outcome_and_hostile_addresses_refused(root: Client) -> None:
    many(3)
    operation = made(post(root, ask(root, "discard"), "discard", reason="x"))
    DLQEntry.objects.filter(pk=DLQEntry.objects.order_by("pk")[:1].get().pk).update(updated_at=timezone.now())
    BulkOperation.objects.filter(pk=operation.pk).update(as_of=timezone.now())
    work_off(operation)
    BulkItem.objects.filter(pk=BulkItem.objects.order_by("pk")[:1].get().pk).update(
        outcome=ItemOutcome.LEFT_OUT, note="It is open."
    )
    page = text_of(root.get(f"{page_of(operation)}?outcome=left_out"))
    assert page.count('data-label="Outcome"') == 1
    assert "It is open." in page
    for query in ("outcome=junk", "after=x", "after=" + "9" * 40, "outcome=<script>"):
        answer = root.get(f"{page_of(operation)}?{query}")
        assert answer.status_code == 400
        assert "<script>" not in answer.content.decode().replace('<script src="', "")
    assert root.get(f"{OPERATIONS}{9 * 10**18}/change/").status_code == 404
    assert root.get(f"{OPERATIONS}{10**30}/change/").status_code == 404


def test_the_page_of_a_halted_reprocess_says_why_and_what_to_do(root: Client, tmp_path: Path) -> None:
    count = 150
    world = World(tmp_path, [(n, "x", n) for n in range(count)])
    world.destination.bad = {str(n): BAD for n in range(count)}
    world.run()
    operation = made(post(root, ask(root, "reprocess"), "reprocess", acknowledged="1", in_waves="1", waves="1,10,100"))
    worker.until_idle()
    operation.refresh_from_db()
    assert operation.status == OperationStatus.HALTED
    page = text_of(root.get(page_of(operation)))
    assert "Halted: Waves 1 to 3: 111 of 111 were refused again with the same error." in page
    assert "Nothing else was sent." in page
    assert "See what was refused again" in page
    assert "/do/resume/" in page
    assert page.count('data-label="Runs"') == 3
    for run in Run.objects.filter(trigger="reprocess"):
        assert f'href="/admin/syncs/run/{run.pk}/change/"' in page
    world.destination.bad = {}
    assert root.post(f"{OPERATIONS}{operation.pk}/do/resume/").url == page_of(operation)
    worker.until_idle()
    page = text_of(root.get(page_of(operation)))
    assert "Finished: 39 resolved, 111 refused again." in page
    assert "What still matches its filter" in page


def test_pause_resume_cancel_and_what_is_too_late(root: Client) -> None:
    many(5)
    operation = made(post(root, ask(root, "discard"), "discard", reason="x"))
    act = f"{OPERATIONS}{operation.pk}/do/"

    def do(name: str) -> str:
        return text_of(root.post(f"{act}{name}/", follow=True))

    assert "It was neither paused nor halted" in do("resume")
    assert "Paused by root." in do("pause")
    work_off(operation)
    assert DLQEntry.objects.open().count() == 5
    assert "It goes on." in do("resume")
    assert "It ends; what was done stands." in do("cancel")
    assert "It was over, or ending already." in do("cancel")
    assert work_off(operation).status == OperationStatus.CANCELLED
    assert "Cancelled by root." in text_of(root.get(page_of(operation)))
    assert "Only a discard that" in do("undo") or "It discarded nothing" in do("undo")
    assert root.post(f"{act}explode/").status_code == 404
    assert root.get(f"{act}cancel/").status_code == 405
    assert DLQEntry.objects.open().count() == 5


def test_a_discard_is_undone_from_its_page(root: Client) -> None:
    many(4)
    operation = work_off(made(post(root, ask(root, "discard"), "discard", reason="x")))
    assert "Undo the discard" in text_of(root.get(page_of(operation)))
    undo = made(root.post(f"{OPERATIONS}{operation.pk}/do/undo/", {"reason": "by mistake"}))
    assert made(root.post(f"{OPERATIONS}{operation.pk}/do/undo/")) == undo
    page = text_of(root.get(page_of(operation)))
    assert f"Operation {undo.pk}</a> undoes it" in page
    assert "Undo the discard" not in page
    assert work_off(undo).done_count == 4
    assert DLQEntry.objects.filter(status=EntryStatus.OPEN).count() == 4
    page = text_of(root.get(page_of(undo)))
    assert f"operation {operation.pk}</a> discarded." in page
    BulkOperation.objects.filter(pk=operation.pk).update(undo_until=timezone.now() - timedelta(seconds=1))
    undo.delete() if not undo.items.exists() else None
    assert "It can be undone until" not in text_of(root.get(page_of(operation)))


def test_no_worker_is_noticed(root: Client) -> None:
    make_entry()
    operation = made(post(root, ask(root, "discard"), "discard", reason="x"))
    assert "No worker" not in text_of(root.get(page_of(operation)))
    BulkOperation.objects.filter(pk=operation.pk).update(created_at=timezone.now() - timedelta(minutes=5))
    assert "No worker has taken it yet." in text_of(root.get(page_of(operation)))


def test_progress_is_json_for_as_long_as_it_is_active(root: Client) -> None:
    many(2)
    operation = made(post(root, ask(root, "discard"), "discard", reason="x"))
    body = root.get(f"{OPERATIONS}{operation.pk}/progress/").json()
    assert (body["is_active"], body["status"]) == (True, "queued")
    assert "of 2 settled" in body["html"]
    work_off(operation)
    body = root.get(f"{OPERATIONS}{operation.pk}/progress/").json()
    assert (body["is_active"], body["status"]) == (False, "finished")


# --- the list


def test_the_list_filters_and_refuses_what_it_cannot_read(root: Client) -> None:
    entry = make_entry()
    operation = made(post(root, ask(root, "discard"), "discard", reason="the reason"))
    other = worker_of("annotate_dlqentry")
    made(post(other, ask(other, "assign"), "assign", owner="none"))
    assert entry.pk

    def count(query: str) -> int:
        page = text_of(root.get(f"{OPERATIONS}?{query}"))
        return page.count('data-label="Confirmed"')

    assert [count(q) for q in ("", "who=me", "kind=assign", "status=queued", "status=finished")] == [2, 1, 1, 2, 0]
    assert "the reason" in text_of(root.get(OPERATIONS))
    for query in ("status=junk", "kind=export", "who=bo", "after=x", "colour=red"):
        answer = root.get(f"{OPERATIONS}?{query}")
        assert answer.status_code == 400, query
        assert text_of(answer).count('data-label="Confirmed"') == 0
    assert f"{OPERATIONS}{operation.pk}/change/" in text_of(root.get(f"{OPERATIONS}?after={operation.pk + 1}"))
    assert "No bulk operation matches" in text_of(root.get(f"{OPERATIONS}?after={operation.pk}"))


def test_a_long_list_is_walked_by_position(root: Client) -> None:
    now = timezone.now()
    BulkOperation.objects.bulk_create(
        BulkOperation(kind="discard", reason="x", max_id=1, as_of=now, expected_count=1, token_digest=f"{n:064}")
        for n in range(120)
    )
    seen: list[str] = []
    address = OPERATIONS
    while address:
        page = text_of(root.get(address))
        seen += re.findall(rf'rd-name" href="{OPERATIONS}(\d+)/', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        address = following.group(1) if following else ""
    assert seen == [str(one) for one in BulkOperation.objects.order_by("-pk").values_list("pk", flat=True)]


# --- what they cost


def test_pages_take_a_dozen_queries_at_most(root: Client, tmp_path: Path, django_assert_max_num_queries: Any) -> None:
    for _ in range(4):
        run = make_run(make_sync())
        make_entries(20, run, make_group(run.sync))
    group = make_group(run.sync)
    make_entry(run, group=group)
    query = f"status=open&sync={run.sync_id}&group={group.pk}&failed=7d"
    with django_assert_max_num_queries(12):
        ask(root, "reprocess", query)
    with django_assert_max_num_queries(12):
        page = ask(root, "reprocess")
    with django_assert_max_num_queries(12):
        look(root, page)
    operation = made(post(root, page, "reprocess", acknowledged="1"))
    work_off(operation)
    operation.refresh_from_db()
    assert operation.waves
    with django_assert_max_num_queries(12):
        root.get(page_of(operation))
    with django_assert_max_num_queries(12):
        root.get(f"{OPERATIONS}{operation.pk}/progress/")
    with django_assert_max_num_queries(6):
        root.get(OPERATIONS)
    Team.objects.create(name="Others").syncs.add(make_sync())
    support = worker_of("reprocess_dlqentry")
    for address in (page_of(operation), f"{OPERATIONS}{operation.pk}/progress/", OPERATIONS):
        with django_assert_max_num_queries(12):
            assert support.get(address).status_code == 200
