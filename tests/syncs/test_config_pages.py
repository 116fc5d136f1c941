"""A sync as a file from its page, and files that are looked at and applied in the console."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from syncs.models import AuditEvent, Connection, Sync
from tests import seeds
from tests.syncs.people import people_sync

pytestmark = pytest.mark.django_db
ADDRESS = "/admin/syncs/sync/apply/"
EDITOR = ("syncs.view_sync", "syncs.add_sync", "syncs.change_sync", "syncs.allteams_sync")


def browser(*rights: str) -> Client:
    client = Client()
    user = seeds.user("eda", *rights) if rights else seeds.user("root", is_superuser=True)
    client.force_login(user)
    return client


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    sync = people_sync(tmp_path, "https://crm.example.org", name="People <b>")
    destination = sync.destination
    destination.config = {**destination.config, "auth": {"kind": "bearer"}}
    destination.secrets = {"token": "s3cret-token"}
    destination.save()
    return sync


def text_of(client: Client, sync: Sync) -> str:
    return client.get(f"/admin/syncs/sync/{sync.pk}/yaml/").content.decode()


def upload(client: Client, *texts: str) -> Any:
    files = [SimpleUploadedFile(f"<i>{number}.yaml", text.encode()) for number, text in enumerate(texts)]
    return client.post(ADDRESS, {"file": files})


def hidden(answer: Any) -> dict[str, str]:
    """What the page posts back when somebody presses Apply."""
    page = answer.content.decode()
    found = {name: html.unescape(value) for name, value in re.findall(r'name="(kept|digest)" value="([^"]*)"', page)}
    assert set(found) == {"kept", "digest"}
    return found


def test_download_has_connections_only_for_who_may_set_them_up(sync: Sync):
    answer = browser().get(f"/admin/syncs/sync/{sync.pk}/yaml/")
    assert answer["Content-Type"] == "application/yaml; charset=utf-8"
    assert answer["Content-Disposition"].startswith('attachment; filename="people-b-')
    text = answer.content.decode()
    assert text.count("connection:") == 2
    assert "s3cret" not in text
    text = text_of(browser("syncs.view_sync"), sync)
    assert "sync: People <b>" in text
    assert "connection:" not in text


def test_upload_shows_the_difference_and_applies_it_after_a_second_look(sync: Sync):
    client = browser()
    text = text_of(client, sync).split("---\n")[-1]
    changed = text.replace("sync: ", "max_attempts: 3\nsync: ").replace("destination_field: email", "destination_field: mail")
    answer = upload(client, changed)
    page = answer.content.decode()
    assert "mappings.mail.column" in page
    assert "&lt;i&gt;0.yaml" in page
    assert "<b>" not in page.split("</h1>")[1].split("<p>")[0]
    sync.refresh_from_db()
    assert sync.max_attempts == 5
    done = client.post(ADDRESS, {**hidden(answer), "paused": "1"})
    assert done["Location"] == f"/admin/syncs/sync/{sync.pk}/"
    sync.refresh_from_db()
    assert sync.max_attempts == 3
    assert list(sync.mappings.values_list("destination_field", flat=True)) == ["id", "mail"]
    event = AuditEvent.objects.get(target_type="sync", act="changed")
    assert (event.door, event.actor.username, event.detail["max_attempts"]) == ("admin", "root", ["5", "3"])  # type: ignore[union-attr]


@pytest.mark.parametrize(("paused", "is_paused"), [("1", True), ("0", False)])
def test_new_sync_begins_paused_unless_somebody_unchecks_it(sync: Sync, paused: str, is_paused: bool):
    client = browser()
    text = text_of(client, sync).split("---\n")[-1].replace("sync: People <b>", "sync: Second")
    answer = upload(client, text)
    assert 'name="paused" value="1" checked' in answer.content.decode()
    client.post(ADDRESS, {**hidden(answer), "paused": ["0", "1"] if is_paused else "0"})
    assert Sync.objects.get(name="Second").is_paused == is_paused


def test_change_between_the_two_looks_is_shown_and_nothing_is_applied(sync: Sync):
    client = browser()
    answer = upload(client, text_of(client, sync).split("---\n")[-1].replace("sync: ", "max_attempts: 3\nsync: "))
    Sync.objects.update(max_attempts=9)
    again = client.post(ADDRESS, hidden(answer))
    assert "Something has changed since you looked" in again.content.decode()
    assert Sync.objects.get().max_attempts == 9
    assert client.post(ADDRESS, hidden(again)).status_code == 302
    assert Sync.objects.get().max_attempts == 3


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({}, "Choose a YAML file."),
        ({"kept": "nonsense"}, "The files were lost on the way."),
        ({"kept": "[[1, 2]]"}, "The files were lost on the way."),
        ({"kept": "[" * 5000}, "The files were lost on the way."),
        ({"file": SimpleUploadedFile("a.yaml", b"x" * 200_001)}, "200,001 bytes together; 200,000 are the most here."),
        ({"file": SimpleUploadedFile("a.yaml", b"\xff\xfe")}, "The file is not UTF-8 text."),
        ({"file": SimpleUploadedFile("a.yaml", b"redrive: 1\nsync: x\n")}, "The key “source” is missing"),
    ],
)
def test_upload_that_cannot_be_read_says_why(data: dict[str, Any], sentence: str):
    answer = browser().post(ADDRESS, data)
    assert answer.status_code == 200
    assert sentence in html.unescape(answer.content.decode())


def test_editor_of_syncs_changes_no_connection_by_a_file(sync: Sync):
    text = text_of(browser(), sync)
    answer = upload(browser(*EDITOR), text.replace("/contacts", "/stolen"))
    page = html.unescape(answer.content.decode())
    assert page.count("You may not set up connections.") == 2
    assert "stolen" not in page
    assert "stolen" not in str(list(Connection.objects.values("config")))


def test_page_needs_both_rights_to_set_up_syncs():
    for rights in (("syncs.view_sync",), ("syncs.view_sync", "syncs.add_sync")):
        client = Client()
        client.force_login(seeds.user(f"u{len(rights)}", *rights))
        assert client.get(ADDRESS).status_code == 403
        assert client.post(ADDRESS).status_code == 403


def test_files_of_many_syncs_take_few_queries_each(sync: Sync):
    client = browser()
    text = text_of(client, sync).split("---\n")[-1]
    counted = []
    for count in (1, 4):
        texts = [text.replace("sync: People <b>", f"sync: New {number}") for number in range(count)]
        with CaptureQueriesContext(
            connection,
        ) as captured:
            upload(client, *texts)
        counted.append(len(captured))
    per_sync = (counted[1] - counted[0]) / 3
    assert counted[0] <= 14, counted
    assert per_sync <= 3  # each opens its destination: secrets, error rules, known fields
