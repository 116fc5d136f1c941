"""The page of one dead letter: the four columns through the browser's door, rights, acts, corrections, neighbours, queries."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dlq.choices import EditState, EntryStatus, RowState
from dlq.models import DLQEntry, DLQEvent, PayloadEdit
from dlq.services import hints, reveals
from syncs.errors import ErrorType
from syncs.models import FieldMapping, Run, Step, Sync
from syncs.models.team import Team
from syncs.records import Operation, RowError
from syncs.services import versions
from tests.dlq.objects import client_of, make_entries, make_entry, make_group, make_run, make_user
from tests.factories import World
from tests.syncs.objects import make_sync

BAD = RowError(ErrorType.VALIDATION, "Property age is not valid", code="E1", field="age", http_status=422)
EVERYTHING = tuple(f"{word}_dlqentry" for word in ("view", "reprocess", "resend", "edit", "discard", "annotate", "export"))


def url(entry: DLQEntry, name: str = "change") -> str:
    return reverse(f"admin:dlq_dlqentry_{name}", args=(entry.pk,))


def act(client: Client, entry: DLQEntry, name: str, **values: Any) -> Any:
    return client.post(url(entry, "act"), {"act": name, **values}, follow=True)


def table(html: str) -> list[list[str]]:
    """Cells of the comparison, as plain text."""
    body = html.split("rd-compare", 1)[1].split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    rows = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    return [
        [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


# --- then and now


@pytest.mark.django_db(transaction=True)
def test_the_row_of_now_stands_beside_the_row_of_then(tmp_path: Path, root: Client) -> None:
    world = World(tmp_path, [(2, "Bo", -1)])
    world.destination.bad = {"2": BAD}
    world.run()
    entry = DLQEntry.objects.get()
    world.sql("UPDATE people SET age = 40 WHERE id = 2")
    before = entry.updated_at

    page = root.get(url(entry)).content.decode()
    assert table(page)[0] == ["age named in the error", "-1", "-1", "Same"]
    assert f'data-url="{url(entry, "row")}"' in page
    part = root.get(url(entry, "row"))
    assert "<html" not in part.content.decode()
    assert "no-store" in part["Cache-Control"]
    for html in (part.content.decode(), root.get(url(entry), {"live": "1"}).content.decode()):
        assert table(html)[0] == ["age named in the error", "-1", "-1", "40", "40", "Changed since"]
        assert table(html)[1:] == [["id", "2", "2", "2", "2", "Same"], ["name", "Bo", "Bo", "Bo", "Bo", "Same"]]
        assert "The row has changed since." in html
    entry.refresh_from_db()
    assert (entry.row_state, entry.updated_at) == (RowState.UNKNOWN, before)  # to look is no act
    assert not DLQEvent.objects.filter(kind="checked").exists()


@pytest.mark.django_db(transaction=True)
def test_a_warehouse_that_is_down_is_a_sentence_over_the_table_of_then(tmp_path: Path, root: Client) -> None:
    world = World(tmp_path, [(2, "Bo", -1)])
    world.destination.bad = {"2": BAD}
    world.run()
    world.warehouse.unlink()
    html = root.get(url(DLQEntry.objects.get(), "row")).content.decode()
    assert "There is no file" in html
    assert table(html)[0] == ["age named in the error", "-1", "-1", "Same"]
    assert "There is no file" in act(root, DLQEntry.objects.get(), "check").content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_gone_row_offers_discard_and_delete(tmp_path: Path, root: Client) -> None:
    world = World(tmp_path, [(2, "Bo", -1)])
    world.destination.bad = {"2": BAD}
    world.run()
    entry = DLQEntry.objects.get()
    assert 'value="delete"' not in root.get(url(entry)).content.decode()
    world.sql("DELETE FROM people")
    assert "no such row any more" in act(root, entry, "check").content.decode()
    html = root.get(url(entry)).content.decode()
    assert 'value="delete"' in html
    assert hints.GONE[0] in html
    assert "Give a reason" in act(root, entry, "delete").content.decode()
    assert (
        "1 dead letter is queued to be deleted at the destination" in act(root, entry, "delete", reason="left").content.decode()
    )
    world.destination.bad = {}
    assert world.work(Run.objects.latest("pk")).deleted_count == 1
    assert "The row was delivered" in root.get(url(entry)).content.decode()


def test_what_changed_in_the_sync_is_shown_with_both_versions(root: Client) -> None:
    entry = make_entry()
    assert 'id="changes"' not in root.get(url(entry)).content.decode()
    FieldMapping.objects.filter(sync=entry.sync, destination_field="email").update(type="json")
    Sync.objects.filter(pk=entry.sync_id).update(query="select id, email from everybody")
    versions.pin(Sync.objects.get(pk=entry.sync_id))
    html = root.get(url(entry)).content.decode()
    changes = html.split('id="changes"', 1)[1].split("</section>", 1)[0]
    for text in ("column email (string", "column email (json", "from people", "from everybody", "Changed"):
        assert text in changes
    for number in (1, 2):
        assert reverse("admin:syncs_sync_version", args=(entry.sync_id, number)) in html
    assert "The query and mapping of the sync have changed since." in html


def test_calls_of_all_runs_are_listed_with_links_to_their_steps(root: Client) -> None:
    first = make_run(make_sync())
    entry = make_entry(make_run(first.sync), step_number=3)
    attempt = {"number": 1, "started_at": timezone.now().isoformat(), "row_count": 2,
               "request": "POST https://crm.test/contacts",
               "http_status": 409, "request_id": "req-1", "idempotency_key": "k1", "milliseconds": 12}  # fmt: skip
    for run, number, extra in ((first, 5, {"http_status": 500}), (entry.run, 3, {})):
        DLQEvent.objects.create(entry=entry, kind="failed", run=run, detail={"step": number})
        Step.objects.create(
            run=run, number=number, kind="upload", status="failed", started_at=timezone.now(), attempts=[attempt | extra]
        )
    lost = make_run(first.sync)
    DLQEvent.objects.create(entry=entry, kind="failed", run=lost, detail={"step": 9})
    html = root.get(url(entry)).content.decode()
    calls = html.split("Requests and attempts", 1)[1].split("</section>", 1)[0]
    for run, number in ((first, 5), (entry.run, 3), (lost, 9)):
        assert f"{reverse('admin:syncs_run_change', args=(run.pk,))}?from={number}#step-{number}" in calls
    assert "500" in calls
    assert "409" in calls
    assert "POST https://crm.test/contacts" in calls
    assert "The calls of step 9 are no longer kept." in calls
    step_page = root.get(reverse("admin:syncs_run_change", args=(first.pk,)), {"from": 5}).content.decode()
    assert 'id="step-5"' in step_page


# --- queries


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_root", [True, False])
def test_page_and_parts_take_at_most_twelve_queries(tmp_path: Path, is_root: bool) -> None:
    world = World(tmp_path, [(2, "Bo", -1)])
    world.destination.bad = {"2": BAD}
    world.run()
    entry = DLQEntry.objects.get()
    make_entries(60, entry.run, make_group(world.sync))
    FieldMapping.objects.filter(sync=world.sync, destination_field="name").update(on_null="omit")
    PayloadEdit.objects.create(
        entry=entry,
        before=entry.payload,
        payload='{"age":1,"id":2,"name":"Bo"}',
        base_failed_at=entry.last_failed_at,
        reason="x",
    )
    user = User.objects.create_superuser("root") if is_root else make_user(*EVERYTHING)
    user.groups.add(Group.objects.create(name="Some"))
    client = Client()
    client.force_login(user)
    within = quote(f"status=open&sync={world.sync.pk}", safe="")
    for address in (
        f"{url(entry)}?in={within}",
        f"{url(entry, 'row')}",
        f"{url(entry, 'edit')}",
        f"{url(entry, 'passport')}?part=1",
    ):
        client.get(address)
        with CaptureQueriesContext(connection) as captured:
            assert client.get(address).status_code == 200
        assert len(captured) <= 12, [address, len(captured), *[query["sql"][:110] for query in captured]]


# --- who may do what


@pytest.mark.django_db
def test_buttons_follow_the_rights(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    entry = make_entry(make_run(world.sync), row_state=RowState.GONE, payload='{"id":1}')
    buttons = {
        "reprocess": 'value="reprocess"', "resend": 'value="resend_payload"', "edit": "Edit payload",
        "discard": 'value="discard"', "annotate": 'value="assign"',
    }  # fmt: skip
    for right in buttons:
        html = client_of("view_dlqentry", f"{right}_dlqentry").get(url(entry)).content.decode()
        for name, button in buttons.items():
            assert (button in html) == (name == right), (right, name)
        assert ('value="delete"' in html) == (right == "resend")
        assert ('name="note"' in html) == (right == "annotate")


def test_no_delete_is_offered_where_the_destination_has_none(root: Client, tmp_path: Path) -> None:
    world = World(tmp_path, [])
    entry = make_entry(make_run(world.sync), row_state=RowState.GONE)
    assert 'value="delete"' in root.get(url(entry)).content.decode()
    can = world.destination.capabilities
    world.destination.capabilities = type(can)(can.operations - {Operation.DELETE}, can.idempotent)
    assert 'value="delete"' not in root.get(url(entry)).content.decode()
    broken = make_entry(row_state=RowState.GONE)
    assert 'value="delete"' not in root.get(url(broken)).content.decode()


@pytest.mark.django_db
def test_the_edit_page_needs_its_right() -> None:
    entry = make_entry()
    viewer = client_of("view_dlqentry", "resend_dlqentry")
    assert viewer.get(url(entry, "edit")).status_code == 403
    assert viewer.post(url(entry, "edit"), {"payload": "{}"}).status_code == 403
    # What it corrects is masked, so the right to see values is needed as well.
    assert client_of("view_dlqentry", "edit_dlqentry").get(url(entry, "edit")).status_code == 403
    assert client_of("view_dlqentry", "edit_dlqentry", "reveal_dlqentry").get(url(entry, "edit")).status_code == 200


@pytest.mark.django_db
def test_an_entry_of_another_team_is_not_there() -> None:
    entry = make_entry()
    Sync.objects.filter(pk=entry.sync_id).update(team=Team.objects.create(name="Others"))
    client = client_of(*EVERYTHING)
    for name in ("change", "row", "passport", "edit"):
        assert client.get(url(entry, name)).status_code == 404
    assert act(client, entry, "discard", reason="x").status_code == 404
    assert client.get(reverse("admin:dlq_dlqentry_text", args=(entry.pk, "payload"))).status_code == 404
    assert DLQEntry.objects.get().status == EntryStatus.OPEN


# --- acts


def test_it_is_given_to_anybody_who_may_see_it(root: Client) -> None:
    entry = make_entry()
    able, unable = make_user("view_dlqentry", name="able"), make_user(name="unable")
    html = root.get(url(entry)).content.decode()
    assert f'<option value="{able.pk}">able</option>' in html
    assert "unable" not in html
    assert "This dead letter is able&#x27;s." in act(root, entry, "assign", owner=able.pk).content.decode()
    assert DLQEntry.objects.get().owner == able
    for owner in (unable.pk, 999_999, "x", "1 OR 1"):
        assert "There is nobody like that" in act(root, entry, "assign", owner=owner).content.decode()
    assert DLQEntry.objects.get().owner == able
    assert "This dead letter is yours." in act(root, entry, "assign").content.decode()
    assert "has no owner now" in act(root, entry, "release").content.decode()


def test_each_act_is_in_the_history_with_its_way(root: Client) -> None:
    entry = make_entry(payload='{"email":"x","id":1}')
    act(root, entry, "resend_payload", reason="the vendor repaired it")
    entry.refresh_from_db()
    assert (entry.status, entry.reprocess_mode) == (EntryStatus.QUEUED, "payload")
    event = entry.events.get()
    assert (event.kind, event.reason, event.detail, event.door) == (
        "queued", "the vendor repaired it", {"mode": "payload"}, "admin",
    )  # fmt: skip
    html = root.get(url(entry)).content.decode()
    assert "the payload exactly as it was" in html
    assert "the vendor repaired it" in html
    assert (
        "Nothing was queued. Left out: 1 are being reprocessed already." in act(root, entry, "resend_payload").content.decode()
    )


def test_a_correction_is_written_looked_at_kept_and_sent(root: Client) -> None:
    entry = make_entry(payload='{"email":"bo@x","id":7,"price":1.10}')
    assert "1.10" not in root.get(url(entry, "edit")).content.decode()
    form = root.post(url(entry, "edit"), {"step": "open", "reason": "VEND-9"}).content.decode()
    assert "1.10" in form
    opened = re.search(r'name="pass" value="([^"]+)"', form)
    assert opened
    seen = re.search(r'name="seen" value="([^"]+)"', form)
    assert seen
    text = '{"email": "bo@x.test", "id": 7, "price": 1.10}'
    given = {"payload": text, "reason": "VEND-9", "seen": seen.group(1), "in": "status=open", "pass": opened.group(1)}
    look = root.post(url(entry, "edit"), given | {"step": "look"}).content.decode()
    assert "1 field changed" in look
    assert "bo@x.test" in look
    assert not PayloadEdit.objects.exists()
    again = root.post(url(entry, "edit"), given | {"step": "back"}).content.decode()
    assert 'id="id_payload"' in again

    kept = root.post(url(entry, "edit"), given | {"step": "keep"}, follow=True)
    assert kept.redirect_chain == [(f"{url(entry)}?in=status%3Dopen", 302)]
    html = kept.content.decode()
    assert "A correction waits to be sent" in html
    assert 'value="send_edited"' in html
    assert act(root, entry, "send_edited", **{"in": "status=open"}).status_code == 200
    entry.refresh_from_db()
    assert (entry.status, entry.reprocess_mode) == (EntryStatus.QUEUED, "edited")
    edit = PayloadEdit.objects.get()
    assert (edit.state, edit.used_run_id) == (EditState.USED, entry.reprocess_run_id)


def test_kept_and_sent_at_once(root: Client) -> None:
    entry = make_entry(payload='{"email":"bo@x","id":7}')
    given = {"payload": '{"email":"y","id":7}', "reason": "VEND-9", "seen": entry.last_failed_at.isoformat(), "step": "send"}
    given["pass"] = reveals.pass_for(entry, User.objects.get(username="root"))
    assert "1 dead letter is queued" in root.post(url(entry, "edit"), given, follow=True).content.decode()
    assert DLQEntry.objects.get().reprocess_mode == "edited"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"payload": '{"a": '}, "This is not JSON"),
        ({"payload": "\0"}, "This is not JSON"),
        ({"payload": '{"a":"<script>alert(1)</script>","a":1}'}, "Field a is there twice"),
        ({"payload": '{"<img src=x>":"\\u0000"}'}, "contains a NUL character"),
        ({"payload": '{"email":"y","id":8}'}, "id is the key"),
        ({"reason": " "}, "Give a reason"),
        ({"seen": ""}, "The form came back incomplete"),
        ({"seen": "junk\0"}, "The form came back incomplete"),
        ({"seen": "2001-01-01T00:00:00+00:00"}, "failed again since"),
        ({"payload": "[" * 100}, "This is not JSON"),
        ({"payload": '{"a":' * 100_000}, "too deeply"),
    ],
)
def test_a_correction_that_cannot_be_kept_comes_back_with_a_sentence(root: Client, values: dict[str, str], said: str) -> None:
    entry = make_entry(payload='{"email":"bo@x","id":7}')
    given = {"payload": '{"email":"y","id":7}', "reason": "V", "seen": entry.last_failed_at.isoformat(), "step": "keep"}
    given["pass"] = reveals.pass_for(entry, User.objects.get(username="root"))
    answer = root.post(url(entry, "edit"), given | values)
    html = answer.content.decode()
    assert answer.status_code == 400
    assert said in html
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert not PayloadEdit.objects.exists()


def test_a_correction_out_of_date_says_so_and_cannot_be_sent(root: Client) -> None:
    entry = make_entry(payload='{"email":"bo@x","id":7}')
    PayloadEdit.objects.create(
        entry=entry, before=entry.payload, payload='{"email":"y","id":7}', reason="x",
        base_failed_at=entry.last_failed_at - timedelta(seconds=1),
    )  # fmt: skip
    html = root.get(url(entry)).content.decode()
    assert "A correction is out of date" in html
    assert 'value="send_edited"' not in html
    assert "have no correction that was made for their last failure" in act(root, entry, "send_edited").content.decode()
    assert "The correction is withdrawn." in act(root, entry, "withdraw").content.decode()
    assert PayloadEdit.objects.get().state == EditState.DROPPED


def test_what_was_never_sent_offers_no_editor(root: Client) -> None:
    entry = make_entry(payload="")
    assert "Edit payload" not in root.get(url(entry)).content.decode()
    assert "there is no payload to correct" in root.get(url(entry, "edit")).content.decode()


# --- the list one works through


def test_next_and_previous_go_through_the_filtered_list_and_stay_after_an_act(root: Client) -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    make_entries(3, run, group)
    make_entry(row_key="elsewhere", last_failed_at=timezone.now() - timedelta(seconds=1))
    newest, middle, oldest = DLQEntry.objects.filter(group=group).newest()
    within = f"status=open&group={group.pk}"

    def follow(entry: DLQEntry, rel: str) -> Any:
        html = root.get(url(entry), {"in": within}).content.decode()
        link = re.search(rf'rel="{rel}" href="([^"]+)"', html)
        assert link
        return root.get(link.group(1).replace("&amp;", "&"), follow=True)

    keep = f"?in={quote(within, safe='')}"
    assert follow(middle, "prev").redirect_chain == [(url(newest) + keep, 302)]
    assert follow(middle, "next").redirect_chain == [(url(oldest) + keep, 302)]
    end = follow(oldest, "next")
    assert end.redirect_chain == [(url(oldest) + keep, 302)]
    assert "Nothing stands after this one in the list." in end.content.decode()
    assert "Nothing stands before this one in the list." in follow(newest, "prev").content.decode()

    after = act(root, middle, "discard", reason="test", **{"in": within})
    assert after.redirect_chain[-1][0] == url(middle) + keep
    assert "Back to the list" in after.content.decode()
    assert follow(middle, "next").redirect_chain[-1][0] == url(oldest) + keep  # although it is not in the list any more
    assert follow(oldest, "prev").redirect_chain[-1][0] == url(newest) + keep  # which is not shown again


@pytest.mark.parametrize("within", ["junk=1", "status=nonsense", "from=23/11/2026", "%00", "javascript:alert(1)", "a" * 5_000])
def test_a_list_that_cannot_be_read_gives_no_neighbours(root: Client, within: str) -> None:
    entry = make_entry()
    page = root.get(url(entry), {"in": within})
    html = page.content.decode()
    assert page.status_code == 200
    assert 'rel="next"' not in html
    assert "javascript:alert" not in html
    assert root.get(reverse("admin:dlq_dlqentry_beside", args=(entry.pk, "older")), {"in": within}).status_code == 404
    assert act(root, entry, "note", note="x", **{"in": within}).status_code == 200


# --- hints, hostile values


def test_every_error_type_has_steps_in_words() -> None:
    for kind in ErrorType:
        steps = hints.steps(kind, is_gone=False)
        assert len(steps) >= 2
        assert all(step.endswith(".") for step in steps)


def test_do_next_is_shown_while_the_entry_is_open(root: Client) -> None:
    entry = make_entry()
    assert hints.STEPS[ErrorType.VALIDATION][1] in root.get(url(entry)).content.decode()
    act(root, entry, "discard", reason="x")
    assert "Do next" not in root.get(url(entry)).content.decode()


def test_hostile_corrections_and_acts_are_shown_not_run(root: Client) -> None:
    evil = "<script>alert(1)</script>\u202e"
    entry = make_entry(payload=json.dumps({"id": 1, evil: evil, "long": "x" * 1_000_000}), row_key=evil)
    PayloadEdit.objects.create(
        entry=entry,
        before=entry.payload,
        payload=json.dumps({"id": 1, evil: "y"}),
        base_failed_at=entry.last_failed_at,
        reason=evil,
    )
    detail = {"edit": 1, "field_count": 30, "fields": [[evil, evil, None]] * 30, "mode": evil, "state": evil, "owner": evil}
    for kind in ("edited", "queued", "checked", "assigned"):
        DLQEvent.objects.create(entry=entry, kind=kind, reason=evil, detail=detail)
    act(root, entry, "note", note=evil)
    for name in ("change", "edit", "passport"):
        page = root.get(url(entry, name))
        html = page.content.decode()
        assert page.status_code == 200
        assert "<script>alert" not in html
        shown = re.sub(r'(value|href)="[^"]*"|<textarea.*?</textarea>', "", html, flags=re.DOTALL)
        assert "\u202e" not in shown
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=", html)
    assert len(root.get(url(entry)).content) < 700_000
