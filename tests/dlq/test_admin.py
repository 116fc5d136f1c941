"""The list and the entry page, through the browser's door: what they show, refuse and never do."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from dlq.choices import EntryStatus
from dlq.models import DLQEntry, DLQEvent
from dlq.services import sight
from syncs.choices import FieldType
from syncs.models import FieldMapping, Run, Step
from tests.dlq.objects import client_of, make_entries, make_entry, make_group, make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db

LIST = "/admin/dlq/dlqentry/"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "\u202egnp.exe\u2066\u200b",
    "{% csrf_token %}{{ request }}",
    "' onmouseover='alert(1)",
]


def change_url(entry: DLQEntry) -> str:
    return reverse("admin:dlq_dlqentry_change", args=(entry.pk,))


def act(client: Client, entry: DLQEntry, act: str, **values: str) -> Any:
    return client.post(reverse("admin:dlq_dlqentry_act", args=(entry.pk,)), {"act": act, **values}, follow=True)


def keys_of(response: Any) -> list[str]:
    return re.findall(r'class="rd-key"><a href="[^"]+"><bdi>([^<]+)</bdi>', response.content.decode())


# --- the list


def test_list_shows_the_open_ones_newest_first_and_links_every_chip(root: Client) -> None:
    run = make_run(make_sync(name="Customers"))
    group = make_group(run.sync)
    make_entries(3, run, group)
    make_entry(run, status=EntryStatus.RESOLVED, row_key="done")
    page = root.get(LIST)
    assert keys_of(page) == list(DLQEntry.objects.open().newest().values_list("row_key", flat=True))
    page = root.get(LIST, {"status": "open", "sync": run.sync_id, "code": "422", "failed": "24h", "group": group.pk})
    html = page.content.decode()
    assert len(keys_of(page)) == 3
    for chip in ("Status: <bdi>Open", "Sync: <bdi>Customers", "Response code: <bdi>422", "Failed: <bdi>last 24 hours"):
        assert chip in html
    links = [href.replace("&amp;", "&") for href in re.findall(r'rd-chip-remove" href="([^"]+)"', html)]
    assert len(links) == 5
    for href in links:
        assert root.get(href).status_code == 200


@pytest.mark.parametrize("count", [0, 60, 1_100])
def test_list_takes_few_queries_however_many_rows_and_filters(root: Client, count: int) -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    make_entries(count, run, group)
    url = f"{LIST}?sync={run.sync_id}&group={group.pk}&run={run.pk}&code=422&failed=7d&status=open"
    root.get(url)
    with CaptureQueriesContext(connection) as captured:
        page = root.get(url)
    assert page.status_code == 200
    assert len(captured) <= 12, [query["sql"][:90] for query in captured]
    whole = re.compile(r'(?<!\()"dlq_dlqentry"\."(source_row|payload|note)"')
    assert not any(whole.search(query["sql"]) for query in captured)  # their beginnings at most


def test_empty_result_asks_for_no_page(root: Client) -> None:
    make_entry()
    with CaptureQueriesContext(connection) as captured:
        page = root.get(LIST, {"key": "nobody"})
    assert b"Look for it in every status" in page.content
    assert not any('ORDER BY "dlq_dlqentry"' in q["sql"] for q in captured)


def test_pages_follow_each_other(root: Client) -> None:
    run = make_run(make_sync())
    make_entries(120, run, make_group(run.sync))
    url, seen = f"{LIST}?status=open", []
    while url:
        page = root.get(url)
        seen += keys_of(page)
        older = re.search(r'rel="next" href="([^"]+)"', page.content.decode())
        url = older.group(1).replace("&amp;", "&") if older else ""
    assert seen == list(DLQEntry.objects.newest().values_list("row_key", flat=True))
    assert "Newest" in page.content.decode()


@pytest.mark.parametrize(
    "query",
    ["status=junk", "sync=1x", "error_type=x", "code=9999", "failed=1y", "from=23%2F11%2F2026", "group=77", "sttus=open",
     "after=x", "after=2026-11-23_1", "run=0", "key=a%00b"],
)  # fmt: skip
def test_a_wrong_filter_shows_a_message_no_rows_and_no_bulk_acts(root: Client, query: str) -> None:
    make_entry()
    page = root.get(f"{LIST}?{query}")
    html = page.content.decode()
    assert page.status_code == 400
    assert "This filter cannot be read, so nothing is shown." in html
    assert keys_of(page) == []
    assert 'name="act"' not in html


def test_hostile_texts_are_shown_not_run(root: Client) -> None:
    run = make_run(make_sync(name=HOSTILE[0]))
    for text in HOSTILE:
        group = make_group(run.sync, title=text, error_code=text)
        entry = make_entry(
            run, group=group, row_key=text, message=text * 40, field=text, error_code=text, note=text, request_id=text,
            response_excerpt=text, step_number=1, close_reason=text,
            payload=json.dumps({text: text, "email": text + "\0"}), source_row=json.dumps({"email": text, text: [text]}),
        )  # fmt: skip
        DLQEvent.objects.create(entry=entry, kind="noted", reason=text, detail={"note": text, "message": text})
    Step.objects.create(
        run=run, number=1, kind="upload", status="failed", started_at=timezone.now(),
        attempts=[{"number": 1, "started_at": HOSTILE[0], "request": HOSTILE[1], "excerpt": HOSTILE[0], "message": HOSTILE[0],
                   "http_status": 400, "request_id": HOSTILE[1], "idempotency_key": HOSTILE[1], "row_count": 1,
                   "milliseconds": 2.0}],
    )  # fmt: skip
    pages = [root.get(LIST), root.get(f"/admin/dlq/errorgroup/?sync={run.sync_id}")]
    pages += [root.get(change_url(entry)) for entry in DLQEntry.objects.all()]
    pages.append(root.get(LIST, {"key": HOSTILE[1]}))
    pages.append(root.get(LIST, {HOSTILE[1]: HOSTILE[1], "status": HOSTILE[0]}))
    pages.append(root.post(f"{LIST}bulk/", {"act": "reprocess", "across": "1", "filter": "status=open"}))
    for page in pages:
        html = page.content.decode()
        assert page.status_code in (200, 400)
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert not re.search(r"""<[^>]+\son\w+\s*=(?!=)\s*['"]""", re.sub(r'="[^"]*"', '=""', html))
        shown = re.sub(r'(value|href)="[^"]*"|<textarea.*?</textarea>', "", html, flags=re.DOTALL)  # fields keep it exact
        assert "\u202e" not in shown
        assert "\0" not in html


def test_huge_deep_and_broken_texts_do_not_break_the_page(root: Client) -> None:
    megabyte = "x" * 1_000_000
    run = make_run(make_sync())
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    texts = [
        json.dumps({"email": megabyte, "id": 1}), deep, "not json", "[1, 2]", '{"n": 1' + "0" * 5_000 + "}",
        json.dumps({f"f{n}": n for n in range(3_000)}), '"text"', "null",
    ]  # fmt: skip
    for text in texts:
        entry = make_entry(run, payload=text, source_row=text, message=megabyte, response_excerpt=megabyte)
        page = root.get(change_url(entry))
        assert page.status_code == 200, text[:40]
        assert len(page.content) < 700_000
        whole = root.get(reverse("admin:dlq_dlqentry_text", args=(entry.pk, "payload")))
        assert whole.content.decode() == sight.masked({"payload": text})["payload"]
        assert whole["Content-Type"] == "text/plain; charset=utf-8"
        assert whole["Content-Disposition"].startswith("attachment")
        assert whole["X-Content-Type-Options"] == "nosniff"
    assert len(root.get(LIST).content) < 200_000


def test_pages_carry_no_inline_script_or_style(root: Client) -> None:
    entry = make_entry()
    pages = [root.get(LIST), root.get(change_url(entry)), root.get("/admin/dlq/errorgroup/")]
    pages.append(root.post(f"{LIST}bulk/", {"act": "discard", "entry": entry.pk, "filter": "status=open"}))
    for page in pages:
        html = page.content.decode()
        assert "'self'" in page["Content-Security-Policy"]
        assert "unsafe" not in page["Content-Security-Policy"]
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=", html)
        assert all('src="' in tag for tag in re.findall(r"<script[^>]*>", html))


# --- who may do what


def test_nobody_adds_changes_or_deletes_here_superusers_included(root: Client) -> None:
    entry = make_entry()
    for name in ("add", "delete", "history"):
        with pytest.raises(NoReverseMatch):
            reverse(f"admin:dlq_dlqentry_{name}", args=() if name == "add" else (entry.pk,))
    assert root.post(LIST, {"action": "delete_selected", "_selected_action": entry.pk}).status_code == 405
    assert root.post(change_url(entry), {"status": "resolved"}).status_code == 405
    assert root.get(f"{LIST}{entry.pk}/delete/").status_code == 404
    assert root.get(f"{LIST}bulk/").status_code == 404  # without an act there is nothing to confirm
    assert DLQEntry.objects.get().status == EntryStatus.OPEN


def test_without_the_view_permission_nothing_is_shown() -> None:
    entry = make_entry()
    client = client_of("reprocess_dlqentry")
    text = reverse("admin:dlq_dlqentry_text", args=(entry.pk, "payload"))
    for url in (LIST, change_url(entry), text, "/admin/dlq/errorgroup/"):
        assert client.get(url).status_code == 403
    assert client.post(f"{LIST}bulk/", {"act": "reprocess", "across": "1"}).status_code == 403
    assert Client().get(LIST).status_code == 302


@pytest.mark.parametrize("kind", ["reprocess", "discard", "export"])
def test_a_bulk_act_needs_its_own_permission_and_shows_its_button_only_then(kind: str) -> None:
    entry = make_entry()
    form = {"act": kind, "entry": entry.pk, "filter": "status=open"}
    viewer, able = client_of("view_dlqentry"), client_of("view_dlqentry", f"{kind}_dlqentry")
    assert f'value="{kind}"' not in viewer.get(LIST).content.decode()
    assert viewer.post(f"{LIST}bulk/", form).status_code == 403
    assert viewer.post(f"{LIST}bulk/{kind}/", {"token": "x"}).status_code == 403
    assert f'value="{kind}"' in able.get(LIST).content.decode()
    assert able.post(f"{LIST}bulk/", form).status_code == 200


@pytest.mark.parametrize(
    ("name", "permission"),
    [("reprocess", "reprocess"), ("resend", "resend"), ("resend_payload", "resend"), ("delete", "resend"),
     ("discard", "discard"), ("reopen", "discard"), ("note", "annotate"), ("assign", "annotate"), ("release", "annotate"),
     ("send_edited", "edit"),
     ("withdraw", "edit")],
)  # fmt: skip
def test_an_act_on_an_entry_needs_its_permission(name: str, permission: str) -> None:
    entry = make_entry()
    viewer, able = client_of("view_dlqentry"), client_of("view_dlqentry", f"{permission}_dlqentry")
    assert act(viewer, entry, name, reason="x").status_code == 403
    assert not DLQEvent.objects.exists()
    assert act(able, entry, name, reason="x").status_code == 200


# --- the entry page


def test_entry_page_shows_the_blamed_field_first_and_says_that_nothing_changed(root: Client) -> None:
    run = make_run(make_sync())
    entry = make_entry(
        run, field="email", payload='{"id": 7, "email": "BO@x"}', source_row='{"id": 7, "email": "bo@x", "age": 3}'
    )
    with CaptureQueriesContext(connection) as captured:
        html = root.get(change_url(entry)).content.decode()
    assert len(captured) <= 12, [query["sql"][:90] for query in captured]
    rows = re.findall(r'<th scope="row" data-label="Field">(.*?)</th>.*?rd-diff">(.*?)</td>', html, re.DOTALL)
    plain = [tuple(re.sub(r"<[^>]+>", "", part).strip() for part in row) for row in rows]
    assert plain == [("email named in the error", "Changed by the mapping"), ("id", "Same"), ("none from age", "Not mapped")]
    assert "Nothing has changed in the sync since." in html
    assert "reprocessing will very likely fail again" in html
    assert entry.info.remedy in html


def test_entry_page_says_when_the_mapping_has_changed(root: Client) -> None:
    entry = make_entry()
    FieldMapping.objects.filter(sync=entry.sync, destination_field="email").update(type=FieldType.JSON)
    assert "The mapping of the sync has changed since." in root.get(change_url(entry)).content.decode()


def test_entry_acts_change_the_entry_and_tell(root: Client) -> None:
    entry = make_entry()
    assert "Give a reason" in act(root, entry, "discard").content.decode()
    assert "Discarded by root: VEND-1" in act(root, entry, "discard", reason="VEND-1").content.decode()
    assert "1 dead letter is reopened." in act(root, entry, "reopen").content.decode()
    assert "Give it back" in act(root, entry, "assign").content.decode()
    assert "asked &lt;them&gt;" in act(root, entry, "note", note="asked <them>").content.decode()
    page = act(root, entry, "resend").content.decode()
    entry.refresh_from_db()
    run = Run.objects.latest("pk")
    assert (entry.status, entry.reprocess_mode, entry.reprocess_run_id) == ("queued", "stored", run.pk)
    assert f"It waits for run {run.pk}" in page
    assert "Nothing was queued. Left out: 1 are being reprocessed already." in act(root, entry, "reprocess").content.decode()
    kinds = list(DLQEvent.objects.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["discarded", "reopened", "assigned", "noted", "queued"]


def test_unknown_pages_and_acts_are_not_found(root: Client) -> None:
    entry = make_entry()
    assert root.get(f"{LIST}999999/change/").status_code == 404
    assert act(root, entry, "explode").status_code == 404
    assert root.get(reverse("admin:dlq_dlqentry_text", args=(entry.pk, "secrets"))).status_code == 404
    assert root.post(f"{LIST}bulk/explode/").status_code == 404
