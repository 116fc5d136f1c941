"""What every page carries and what no page renders: headers, inline code, hostile values, a lost encryption key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.db.models import Model
from django.test import Client

from dlq.models import DLQEntry, ErrorGroup
from syncs.models import Connection, FieldMapping, Run, Step, Sync
from syncs.services import versions
from tests import seeds
from tests.security import walk
from tests.syncs.admin_forms import errors, posted

pytestmark = [pytest.mark.django_db, pytest.mark.once("sqlite")]  # pages behave alike on both databases

HOSTILE = "</textarea></pre>'\"><x-hostile onmouseover=alert(1)>{{ 7|add:7 }}{% now %}\u202e&lt;b&gt;javascript:alert(1)"

POLICY = ("default-src 'self'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'")
HEADERS = {"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


class Reader(HTMLParser):
    """Collects what a strict page does not have."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        if tag in ("x-hostile", "style", "base", "iframe", "object", "embed") or (tag == "script" and "src" not in given):
            self.found.append(f"<{tag}>")
        for name, value in given.items():
            is_code = (value or "").strip().lower().startswith("javascript:")
            if name.startswith("on") or name == "style" or (name in ("href", "src", "action", "formaction") and is_code):
                self.found.append(f"{tag} {name}={value}")


@pytest.fixture
def world(tmp_path: Path) -> SimpleNamespace:
    return walk.world(tmp_path)


@pytest.fixture
def root(world: SimpleNamespace) -> Client:
    client = Client()
    client.force_login(seeds.user("root", is_superuser=True))
    return client


def pages(client: Client, world: SimpleNamespace) -> Iterator[tuple[str, Any]]:
    """Every page, those of filters and errors too."""
    for _, address, answer in walk.walked(client, world, "GET"):
        yield address, answer
    more = (
        "/admin/syncs/connection/add/?role=source&kind=postgresql",
        f"/admin/syncs/connection/{world.source.pk}/change/",
        "/admin/dlq/dlqentry/?status=any",
        f"/admin/dlq/dlqentry/?key={HOSTILE}",
        f"/admin/syncs/run/?status={HOSTILE}",
        f"/admin/syncs/sync/?q={HOSTILE}",
        f"/admin/syncs/sync/?{HOSTILE}=1",
        "/livez",
        "/readyz",
        "/nothing/here",
    )
    for address in more:
        yield address, client.get(address)


def is_html(answer: Any) -> bool:
    return str(answer.headers.get("Content-Type", "")).startswith("text/html")


def test_every_page_carries_the_headers_and_no_inline_code(world: SimpleNamespace, root: Client):
    wrong = []
    for address, answer in [*pages(root, world), ("login", Client().get("/admin/login/"))]:
        policy = answer.headers.get("Content-Security-Policy", "")
        wrong += [f"{address}: {needed}" for needed in POLICY if needed not in policy]
        if "unsafe" in policy:
            wrong.append(f"{address}: {policy}")
        wrong += [f"{address}: {name}" for name, value in HEADERS.items() if answer.headers.get(name) != value]
        if is_html(answer):
            wrong += [f"{address}: {found}" for found in Reader(answer.content.decode()).found]
    assert wrong == []


def test_hostile_values_are_shown_as_the_text_they_are(world: SimpleNamespace, root: Client):
    plant(world)
    wrong, shown = [], 0
    for address, answer in pages(root, world):
        if answer.status_code >= 500:
            wrong.append(f"{address}: {answer.status_code}")
        if is_html(answer):
            html = answer.content.decode()
            wrong += [f"{address}: {found}" for found in Reader(html).found]
            shown += "&lt;x-hostile" in html
        elif "_progress" in address and "<x-hostile" in answer.json()["html"]:
            wrong.append(address)
    assert wrong == []
    assert shown > 20  # it did reach the pages


def test_hostile_values_in_messages_and_confirmations(world: SimpleNamespace, root: Client):
    plant(world)
    act = f"/admin/syncs/sync/{world.sync.pk}/do"
    list_post = {"act": "discard", "entry": [str(world.dlqentry.pk)], "filter": f"status=open&key={HOSTILE}"}
    answers = [
        root.post(f"{act}/pause/", {"reason": HOSTILE}, follow=True),
        root.post(f"{act}/resume/", follow=True),
        root.post(f"{act}/run/", follow=True),
        root.post(f"/admin/syncs/connection/{world.connection.pk}/test/", follow=True),
        root.post(f"/admin/dlq/dlqentry/{world.dlqentry.pk}/act/", {"act": "note", "note": HOSTILE}, follow=True),
        root.post("/admin/dlq/dlqentry/bulk/", list_post, follow=True),
        root.post("/admin/dlq/dlqentry/bulk/", {**list_post, "filter": "status=open"}, follow=True),
    ]
    for answer in answers:
        assert answer.status_code in (200, 400)
        assert Reader(answer.content.decode()).found == []


def plant(world: SimpleNamespace) -> None:
    """Hostile text in every text that people, warehouses and destinations can fill."""
    rename(
        Sync,
        world.sync,
        name=HOSTILE[:115],
        description=HOSTILE,
        status_reason=HOSTILE,
        query="SELECT '<x-hostile>' AS id",
    )
    rename(Connection, world.connection, name=HOSTILE[:98], description=HOSTILE, state="failing", state_message=HOSTILE)
    rename(Connection, world.source, name=HOSTILE[:99], state_message=HOSTILE)
    FieldMapping.objects.filter(sync=world.sync).update(template=HOSTILE, kind="template", constant=HOSTILE, default=HOSTILE)
    FieldMapping.objects.filter(sync=world.sync, position=0).update(destination_field=HOSTILE[:100])
    world.sync.refresh_from_db()
    versions.pin(world.sync, note=HOSTILE[:200])
    Run.objects.filter(sync=world.sync).update(
        failure_message=HOSTILE,
        failure_type="validation",
        status="failed",
        reason=HOSTILE[:250],
        trigger_detail=HOSTILE[:120],
        worker=HOSTILE[:100],
        error_summary=[{"type": HOSTILE, "code": HOSTILE, "field": HOSTILE, "message": HOSTILE, "count": 2}],
    )
    call = {**seeds._attempt(1, world.run.started_at, 422, HOSTILE), "excerpt": HOSTILE, "request": HOSTILE, "message": HOSTILE}
    Step.objects.filter(run=world.run).update(message=HOSTILE, attempts=[{**call, "request_id": HOSTILE}])
    ErrorGroup.objects.update(title=HOSTILE, error_code=HOSTILE[:100], field=HOSTILE[:100])
    row = '{"id": "' + HOSTILE.replace('"', "") + '", "<x-hostile>": 1}'
    texts = {"message": HOSTILE, "response_excerpt": HOSTILE, "payload": row, "source_row": row, "note": HOSTILE}
    DLQEntry.objects.update(error_code=HOSTILE[:100], field=HOSTILE[:100], request_id=HOSTILE[:100], **texts)
    DLQEntry.objects.filter(pk=world.dlqentry.pk).update(row_key=HOSTILE)


def rename(model: type[Model], instance: Model, **values: Any) -> None:
    model._default_manager.filter(pk=instance.pk).update(**values)


def test_hostile_warehouse_rows_in_preview_and_mapper(world: SimpleNamespace, root: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(settings.RETL, "MASK_PAGES", False)
    with sqlite3.connect(world.folder / "warehouse.sqlite3") as warehouse:
        warehouse.execute("UPDATE contacts SET name = ?, email = ?", (HOSTILE, HOSTILE))
    warehouse.close()
    for page in ("preview", "mapping"):
        html = root.get(f"/admin/syncs/sync/{world.sync.pk}/{page}/").content.decode()
        assert "&lt;x-hostile" in html, page
        assert Reader(html).found == []


# -- the encryption key is gone


@pytest.fixture
def lost_key(world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    for connection in Connection.objects.all():
        connection.secrets = {"token": "kept-token-value"}
        connection.save(update_fields=["secrets"])
    monkeypatch.setitem(settings.RETL, "ENCRYPTION_KEYS", [Fernet.generate_key().decode()])


def test_every_page_opens_without_the_key(world: SimpleNamespace, root: Client, lost_key: None):
    broken = [f"{address}: {a.status_code}" for address, a in pages(root, world) if a.status_code >= 500]
    assert broken == []


def test_pages_that_need_the_key_say_which_one(world: SimpleNamespace, root: Client, lost_key: None):
    said = "which is not in RETL_ENCRYPTION_KEYS. Add that key to the list."
    change = f"/admin/syncs/connection/{world.connection.pk}/change/"
    for address in (change, f"/admin/syncs/sync/{world.sync.pk}/preview/"):
        assert said in root.get(address).content.decode(), address
    assert said in root.post(f"/admin/syncs/connection/{world.source.pk}/test/", follow=True).content.decode()
    edit = f"/admin/syncs/sync/{world.sync.pk}/change/"
    refused = root.post(edit, posted(root.get(edit)))
    assert refused.status_code == 200
    assert said in errors(refused)


def test_secrets_entered_anew_replace_those_of_a_lost_key(world: SimpleNamespace, root: Client, lost_key: None):
    change = f"/admin/syncs/connection/{world.connection.pk}/change/"
    answer = root.post(change, {**posted(root.get(change)), "secret__token": "the-new-token"})
    assert answer.status_code == 302, errors(answer)
    assert Connection.objects.get(pk=world.connection.pk).secrets == {"token": "the-new-token"}
