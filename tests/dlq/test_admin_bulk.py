"""Bulk acts: what the confirmation shows is what the second post acts on, and nothing else."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from dlq.choices import EntryStatus
from dlq.models import BulkOperation, DLQEntry, DLQEvent
from dlq.services import groups, operations
from syncs.choices import FieldType
from syncs.models import FieldMapping, Run, Sync
from tests.dlq.objects import make_entries, make_entry, make_group, make_run, make_user
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db

LIST = "/admin/dlq/dlqentry/"


def ask(client: Client, kind: str, filter: str = "status=open", *ticked: int) -> Any:
    chosen: dict[str, Any] = {"entry": list(ticked)} if ticked else {"across": "1"}
    return client.post(f"{LIST}bulk/", {"act": kind, "filter": filter, **chosen})


def token_of(page: Any) -> str:
    token = re.search(r'name="token" value="([^"]+)"', page.content.decode())
    assert token, page.content.decode()[:3000]
    return token.group(1)


def confirm(client: Client, page: Any, kind: str, **values: Any) -> Any:
    return client.post(f"{LIST}bulk/{kind}/", {"token": token_of(page), **values}, follow=kind != "export")


def work_off() -> BulkOperation:
    """What a worker does with the newest operation until it has to wait."""
    operation = BulkOperation.objects.latest("pk")
    while operations.advance(operation.pk):
        pass
    operation.refresh_from_db()
    return operation


def heading(page: Any) -> str:
    found = re.search(r"<h1>(.*?)</h1>", page.content.decode())
    assert found
    return found.group(1)


def test_all_that_match_acts_on_every_entry_beyond_the_page(root: Client) -> None:
    run = make_run(make_sync(name="Customers"))
    make_entries(1_234, run, make_group(run.sync))
    make_entry(row_key="other")
    page = ask(root, "discard", f"status=open&sync={run.sync_id}")
    assert heading(page) == "Discard 1,234 dead letters"
    assert "Customers" in page.content.decode()
    page = confirm(root, page, "discard", reason="obsolete", typed="1,234")
    assert DLQEntry.objects.open().count() == 1_235, "the post itself touches no dead letter"
    operation = work_off()
    assert page.redirect_chain[-1][0] == f"/admin/dlq/bulkoperation/{operation.pk}/change/"
    assert "Finished: 1,234 discarded." in root.get(page.redirect_chain[-1][0]).content.decode()
    assert DLQEntry.objects.filter(status=EntryStatus.DISCARDED).count() == 1_234
    assert DLQEvent.objects.filter(actor__username="root", door="admin", reason="obsolete").count() == 1_234
    assert DLQEntry.objects.get(row_key="other").status == EntryStatus.OPEN
    for sync in Sync.objects.all():
        assert groups.recount(sync) == 0


def test_entries_that_arrive_or_change_after_the_confirmation_are_not_touched(root: Client) -> None:
    run = make_run(make_sync())
    kept, changed = make_entry(run), make_entry(run)
    page = ask(root, "discard")
    arrived = make_entry(run, updated_at=timezone.now() - timedelta(days=1))
    DLQEntry.objects.filter(pk=changed.pk).update(updated_at=timezone.now(), failure_count=2)
    confirm(root, page, "discard", reason="x")
    work_off()
    assert set(DLQEntry.objects.open().values_list("pk", flat=True)) == {changed.pk, arrived.pk}
    assert DLQEntry.objects.get(pk=kept.pk).status == EntryStatus.DISCARDED


def test_a_relative_time_is_frozen_at_the_confirmation(root: Client) -> None:
    run = make_run(make_sync())
    make_entry(run, last_failed_at=timezone.now() - timedelta(minutes=59))
    page = ask(root, "discard", "status=open&failed=1h")
    assert heading(page) == "Discard 1 dead letter"
    with time_machine.travel(timezone.now() + timedelta(minutes=30), tick=False):
        confirm(root, page, "discard", reason="x")
        assert work_off().done_count == 1


def test_a_second_submit_finds_the_operation_of_the_first(root: Client) -> None:
    make_entry()
    page = ask(root, "reprocess")
    first = confirm(root, page, "reprocess", acknowledged="1")
    assert confirm(root, page, "reprocess", acknowledged="1").redirect_chain == first.redirect_chain
    assert BulkOperation.objects.count() == 1
    work_off()
    assert Run.objects.filter(trigger="reprocess").count() == 1


def test_ticked_rows_only(root: Client) -> None:
    run = make_run(make_sync())
    entries = [make_entry(run) for _ in range(3)]
    page = ask(root, "reprocess", "status=open", entries[0].pk, entries[2].pk)
    assert heading(page) == "Reprocess 2 dead letters"
    assert "The rows you ticked" in page.content.decode()
    confirm(root, page, "reprocess", mode="stored", reason="fixed upstream", acknowledged="1")
    work_off()
    new = Run.objects.latest("pk")
    assert new.trigger_detail.endswith("fixed upstream")
    assert list(DLQEntry.objects.order_by("pk").values_list("status", "reprocess_mode")) == [
        ("queued", "stored"), ("open", ""), ("queued", "stored"),
    ]  # fmt: skip


def test_the_confirmation_says_what_changed_in_the_sync_and_what_is_left_out(root: Client) -> None:
    run = make_run(make_sync(is_paused=True, name="Paused one"))
    make_entry(run)
    make_entry(run, error_type="invalid_key")
    html = ask(root, "reprocess").content.decode()
    assert "Nothing: the same query, the same mapping, the same destination" in html
    assert "likely to recreate the same error" in html
    assert "1 have no usable row key" in html
    assert "Paused one is paused: its 1 wait until it is resumed." in html
    FieldMapping.objects.filter(sync=run.sync).update(type=FieldType.JSON)
    html = ask(root, "reprocess").content.decode()
    assert "Changed since they failed: the mapping for 1 of 1." in html
    make_entry()
    html = ask(root, "reprocess").content.decode()
    assert "Changed since they failed: the mapping for 1 of 2. For 1 nothing has changed" in html


def test_discard_without_a_reason_asks_again_and_changes_nothing(root: Client) -> None:
    make_entry()
    page = ask(root, "discard")
    again = confirm(root, page, "discard", reason=" ")
    assert again.status_code == 400
    assert "Give a reason" in again.content.decode()
    assert DLQEntry.objects.get().status == EntryStatus.OPEN
    assert not BulkOperation.objects.exists()
    confirm(root, again, "discard", reason="x")
    assert work_off().done_count == 1


def test_a_confirmation_is_bound_to_its_act_its_user_and_an_hour(root: Client) -> None:
    make_entry()
    page = ask(root, "export")
    assert "another act or another user" in confirm(root, page, "discard", reason="x").content.decode()
    other = Client()
    other.force_login(make_user("view_dlqentry", "export_dlqentry", "discard_dlqentry"))
    token = token_of(page)
    for text, part in ((token, "another user"), (token[:-2] + "xx", "not valid"), ("", "not valid")):
        answer = other.post(f"{LIST}bulk/export/", {"token": text, "format": "csv"}, follow=True)
        assert part in answer.content.decode()
    with time_machine.travel(timezone.now() + timedelta(minutes=61), tick=False):
        root.force_login(User.objects.get(username="root"))
        late = root.post(f"{LIST}bulk/export/", {"token": token, "format": "csv"}, follow=True)
        assert "older than an hour" in late.content.decode()
    assert DLQEntry.objects.get().status == EntryStatus.OPEN
    assert not DLQEvent.objects.exists()


@pytest.mark.parametrize(
    ("form", "part"),
    [
        ({"filter": "status=open"}, "Nothing is chosen"),
        ({"filter": "status=junk", "across": "1"}, "none of open"),
        ({"filter": "from=23/11/2026", "across": "1"}, "is no time"),
        ({"filter": "status=open", "entry": "1 or 1=1"}, "could not be read"),
        ({"filter": "status=open", "entry": "999999999"}, "No dead letter matches any more"),
        ({"filter": "status=discarded", "across": "1"}, "No dead letter matches any more"),
        ({"filter": "status=open", "entry": [str(number) for number in range(1, 950)]}, "Discard 1 dead letter"),
    ],
)
def test_a_choice_that_cannot_be_read_is_refused_never_widened(root: Client, form: dict[str, Any], part: str) -> None:
    DLQEntry.objects.filter(pk=make_entry().pk).update(id=500) if "Discard 1" in part else make_entry()
    answer = root.post(f"{LIST}bulk/", {"act": "discard", **form}, follow=True)
    assert part in answer.content.decode()


def test_export_streams_a_download_of_the_frozen_selection(root: Client) -> None:
    run = make_run(make_sync())
    make_entries(60, run, make_group(run.sync))
    page = ask(root, "export", "status=open&code=422")
    assert heading(page) == "Export 60 dead letters"
    make_entry(run)
    answer = confirm(root, page, "export", format="csv")
    assert answer.streaming
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["X-Content-Type-Options"] == "nosniff"
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode(), newline="")))
    assert len(rows) == 60
    assert DLQEvent.objects.filter(kind="exported").count() == 60
    for bad in ("", "xls"):
        refused = confirm(root, page, "export", format=bad)
        assert refused.status_code == 400
        assert "Choose a file format" in refused.content.decode()
