"""Acts on one dead letter through the API, and on the same one by several at once."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier, Thread

import pytest
from django.contrib.auth.models import Permission
from django.db import connection

from dlq.choices import Door, EntryStatus, ReprocessMode
from dlq.models import DLQEntry, DLQEvent
from syncs.models import ApiKey, Run
from tests.api.kit import Caller, caller, key_of, person, said
from tests.api.test_entries import BAD, at
from tests.dlq.objects import make_entry
from tests.factories import World

pytestmark = pytest.mark.django_db


def test_reprocess_is_asked_for_once() -> None:
    entry = make_entry()
    client = caller("support")
    answer = client.post(at(entry, "/reprocess"), {"reason": "corrected"})
    assert answer.status_code == 202, answer.content
    run = Run.objects.latest("pk")
    assert answer["Location"] == f"/api/v1/runs/{run.pk}"
    assert (answer.json()["run_id"], answer.json()["status"]) == (run.pk, "queued")
    event = DLQEvent.objects.get(kind="queued")
    assert (event.door, event.reason, event.detail["api_key"]) == (Door.API, "corrected", ApiKey.objects.get().prefix)
    status, code, _issues = said(client.post(at(entry, "/reprocess"), {}))
    assert (status, code) == (409, "refused")
    assert Run.objects.latest("pk") == run


def test_resend_needs_both_scopes_and_the_right() -> None:
    entry = make_entry()
    body = {"mode": "payload", "reason": "their fault"}
    assert said(caller("operator", "dlq:act").post(at(entry, "/resend"), body))[:2] == (403, "scope_missing")
    assert said(caller("operator", "dlq:raw").post(at(entry, "/resend"), body))[:2] == (403, "scope_missing")
    assert said(caller("support").post(at(entry, "/resend"), body))[:2] == (403, "forbidden")
    client = caller("operator", "dlq:raw", "dlq:act")
    assert "mode" in said(client.post(at(entry, "/resend"), {"mode": "edited"}))[2]
    assert client.post(at(entry, "/resend"), body).status_code == 202
    entry.refresh_from_db()
    assert (entry.status, entry.reprocess_mode) == (EntryStatus.QUEUED, ReprocessMode.PAYLOAD)


def test_discard_and_reopen() -> None:
    entry = make_entry()
    client = caller("support")
    assert "reason" in said(client.post(at(entry, "/discard"), {}))[2]
    done = client.post(at(entry, "/discard"), {"reason": "a test record"})
    assert (done.status_code, done.json()["status"]) == (200, "discarded")
    assert done["ETag"] == client.get(at(entry))["ETag"]
    assert said(client.post(at(entry, "/discard"), {"reason": "again"}))[:2] == (409, "refused")
    assert client.post(at(entry, "/reopen"), {}).json()["status"] == "open"
    assert said(client.post(at(entry, "/reopen"), {}))[:2] == (409, "refused")
    assert list(entry.events.values_list("kind", "door", "reason")) == [
        ("discarded", "api", "a test record"), ("reopened", "api", ""),
    ]  # fmt: skip


def test_assign_and_note() -> None:
    entry, ana = make_entry(), person("support")
    client = Caller(ana)
    assert client.post(at(entry, "/assign"), {"owner_id": ana.pk}).json()["owner"] == {"id": ana.pk, "username": ana.username}
    assert client.post(at(entry, "/assign"), {"owner_id": ana.pk}).status_code == 200
    assert entry.events.count() == 1  # the second time nothing changed hands
    assert "owner_id" in said(client.post(at(entry, "/assign"), {"owner_id": 999999}))[2]
    assert "owner_id" in said(client.post(at(entry, "/assign"), {}))[2]
    assert client.post(at(entry, "/assign"), {"owner_id": None}).json()["owner"] is None
    etag = client.get(at(entry))["ETag"]
    assert said(client.put(at(entry, "/note"), {"note": "VEND-1"}))[:2] == (428, "precondition_required")
    noted = client.put(at(entry, "/note"), {"note": "VEND-1"}, headers={"If-Match": etag})
    assert noted.json()["note"] == "VEND-1"
    assert client.get(at(entry)).json()["note"] == "VEND-1"
    stale = client.put(at(entry, "/note"), {"note": "mine"}, headers={"If-Match": etag})
    assert said(stale)[:2] == (412, "precondition_failed")
    assert stale["ETag"] == noted["ETag"]
    assert client.put(at(entry, "/note"), {"note": ""}, headers={"If-Match": noted["ETag"]}).json()["note"] == ""
    assert "note" in said(client.put(at(entry, "/note"), {"note": "x" * 10_001}, headers={"If-Match": "*"}))[2]
    entry.refresh_from_db()
    assert entry.note == ""


@pytest.mark.django_db(transaction=True)
def test_row_that_has_left_is_deleted_at_the_destination(tmp_path: Path) -> None:
    world = World(tmp_path, [(2, "Bo", -1)])
    world.destination.bad = {"2": BAD}
    world.run()
    entry = DLQEntry.objects.get()
    client = caller("operator")
    assert said(client.post(at(entry, "/delete-at-destination"), {"reason": "left"}))[:2] == (409, "refused")
    world.sql("DELETE FROM people")
    assert client.post(at(entry, "/check-row")).json()["row_state"] == "gone"
    answer = client.post(at(entry, "/delete-at-destination"), {"reason": "left"})
    assert answer.status_code == 202, answer.content
    world.destination.bad = {}
    assert world.work(Run.objects.get(pk=answer.json()["run_id"])).deleted_count == 1
    assert client.get(at(entry)).json()["status"] == "resolved"


@pytest.mark.django_db(transaction=True)
def test_of_many_clients_one_wins_and_the_others_are_told() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    entry = make_entry()
    clients, heard, start = [caller("operator") for _ in range(6)], [], Barrier(6)

    def work(client: Caller, number: int) -> None:
        start.wait()
        tail, body = [("/discard", {"reason": "x"}), ("/reprocess", {"reason": "x"})][number % 2]
        heard.append(client.post(at(entry, tail), body).status_code)
        connection.close()

    threads = [Thread(target=work, args=(client, number)) for number, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(heard)[1:] == [409] * 5
    assert sorted(heard)[0] in (200, 202)
    assert entry.events.count() == 1
    entry.group.refresh_from_db()
    entry.refresh_from_db()
    assert entry.group.open_count == (0 if entry.status == EntryStatus.DISCARDED else 1)


def test_right_to_act_without_the_right_to_see_is_no_right() -> None:
    entry, user = make_entry(), person("viewer")
    user.groups.clear()
    user.user_permissions.set(
        Permission.objects.filter(
            codename__in=("discard_dlqentry", "annotate_dlqentry", "add_errorrule", "change_fingerprintrule")
        )
    )
    client = Caller(user)
    assert said(client.post(at(entry, "/discard"), {"reason": "x"}))[:2] == (403, "forbidden")
    assert said(client.put(at(entry, "/note"), {"note": "x"}, headers={"If-Match": "*"}))[:2] == (403, "forbidden")
    assert said(client.get(at(entry, "/suggested-error-rule")))[:2] == (403, "forbidden")
    group = f"/api/v1/error-groups/{entry.group_id}"
    assert said(client.post(f"{group}/acknowledge"))[:2] == (403, "forbidden")
    assert said(client.put(f"{group}/note", {"note": "x"}, headers={"If-Match": "*"}))[:2] == (403, "forbidden")
    draft = {"group_id": entry.group_id, "kind": "split", "pattern": "{value}"}
    assert said(client.post("/api/v1/grouping-rules/preview", draft))[:2] == (403, "forbidden")


def test_key_of_somebody_else_is_named_in_the_history() -> None:
    entry, user = make_entry(), person("operator")
    client = Caller()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key_of(user, 'dlq:act')}")
    assert client.put(at(entry, "/note"), {"note": "x"}, headers={"If-Match": "*"}).status_code == 200
    event = entry.events.get()
    assert event.detail == {"note": "x", "api_key": ApiKey.objects.get(user=user).prefix}
