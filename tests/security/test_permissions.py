"""Who may open and do what: every address of the product, walked as four kinds of visitor."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from dlq.models import SavedView
from syncs.models import AuditEvent, Connection, FieldMapping, Sync
from tests import seeds
from tests.security import walk
from tests.syncs.admin_forms import errors, posted

pytestmark = [pytest.mark.django_db, pytest.mark.once("sqlite")]
FOR_ANYBODY_SIGNED_IN = {"index", "login", "password_change", "password_change_done", "jsi18n"}
WANT_A_QUERY = {"dlq_dlqentry_bulk", "dlq_dlqentry_beside", "dlq_errorgroup_rule"}
NOT_THERE = {"", "view_on_site", "syncs_run_add", *WANT_A_QUERY}
OWN_DESK = {"dlq_dlqentry_views"}  # what anybody who sees the list keeps for themselves: a private saved view
READ_ONLY_PAGES = ("app_list", "_changelist", "_history", "_page", "_preview", "_version", "_progress")


@pytest.fixture
def world(tmp_path: Path) -> SimpleNamespace:
    return walk.world(tmp_path)


def signed_in(user: User, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user)
    return client


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_anonymous_visitor_is_sent_to_the_login_everywhere(world: SimpleNamespace, method: str):
    before = walk.state()
    wrong = [
        f"{method} {address}: {answer.status_code}"
        for route, address, answer in walk.walked(Client(), world, method)
        if route.name != "login" and not (answer.status_code == 302 and answer["Location"].startswith("/admin/login/?next="))
    ]
    assert wrong == []
    assert walk.state() == before


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_staff_without_permissions_see_and_do_nothing(world: SimpleNamespace, method: str):
    nobody = seeds.user("nobody")
    before = walk.state()
    wrong = []
    for route, address, answer in walk.walked(signed_in(nobody), world, method):
        is_plain_redirect = not route.name and answer.status_code == 302 and answer["Location"].endswith("/change/")
        if route.name not in FOR_ANYBODY_SIGNED_IN and answer.status_code not in (403, 404, 405) and not is_plain_redirect:
            wrong.append(f"{method} {address}: {answer.status_code}")
        if b"Contacts" in answer.content or b"C-000" in answer.content:
            wrong.append(f"{method} {address} shows data")
    assert wrong == []
    assert walk.state() == before


def test_logging_out_by_a_link_does_nothing(world: SimpleNamespace):
    client = signed_in(seeds.viewer())
    assert client.get("/admin/logout/").status_code == 405
    assert client.get("/admin/").status_code == 200


def test_view_only_staff_can_read_but_not_act(world: SimpleNamespace):
    client = signed_in(seeds.viewer())
    before = walk.state()
    wrong = []
    for route, address, answer in walk.walked(client, world, "POST"):
        if route.name in OWN_DESK:
            assert SavedView.objects.filter(owner__username="vera", is_shared=False).delete()[0] == 1, address
            assert AuditEvent.objects.filter(actor__username="vera", target_type="savedview").delete()[0] == 1, address
            continue
        is_page_for_reading = route.name.endswith(READ_ONLY_PAGES) or not route.name
        if answer.status_code < 400 and route.name not in FOR_ANYBODY_SIGNED_IN and not is_page_for_reading:
            wrong.append(f"{address}: {answer.status_code}")
        assert walk.state() == before, address
    assert wrong == []
    assert client.get("/admin/syncs/sync/").status_code == 200
    assert client.get(f"/admin/dlq/dlqentry/{world.dlqentry.pk}/change/").status_code == 200


def test_opening_pages_changes_nothing(world: SimpleNamespace):
    root = seeds.user("root", is_superuser=True)
    before = walk.state()
    broken = []
    for route, address, answer in walk.walked(signed_in(root), world, "GET"):
        if answer.status_code >= 500 or (answer.status_code == 404 and route.name not in NOT_THERE):
            broken.append(f"{address}: {answer.status_code}")
        assert walk.state() == before, address
    assert broken == []


def test_every_post_needs_its_token(world: SimpleNamespace):
    root = seeds.user("root", is_superuser=True)
    before = walk.state()
    answers = walk.walked(signed_in(root, enforce_csrf_checks=True), world, "POST")
    wrong = [f"{address}: {answer.status_code}" for _, address, answer in answers if answer.status_code != 403]
    assert wrong == []
    assert walk.state() == before


# -- forms take the fields they show, and no others


@pytest.fixture
def editor() -> Client:
    rights = ("syncs.view_sync", "syncs.change_sync", "syncs.view_connection", "syncs.change_connection")
    return signed_in(seeds.user("eda", *rights))


def values_of(instance: Any, shown: set[str]) -> dict[str, Any]:
    """Every stored value that the form does not show."""
    fields = instance._meta.concrete_fields
    return {f.attname: getattr(instance, f.attname) for f in fields if f.name not in shown and f.name != "updated_at"}


def test_sync_form_ignores_what_it_does_not_show(editor: Client, world: SimpleNamespace):
    address = f"/admin/syncs/sync/{world.sync.pk}/change/"
    answer = editor.get(address)
    data, shown = posted(answer), set(answer.context["adminform"].form.fields)
    forged = {f.name: "1" for f in Sync._meta.concrete_fields if f.name not in shown}
    assert {"status", "is_paused", "is_archived", "approved_delete_count", "watermark", "id"} <= forged.keys()
    before = values_of(world.sync, shown | {"status_reason", "current_version"})
    answer = editor.post(address, {**data, **forged, "description": "changed"})
    assert answer.status_code == 302, errors(answer)
    world.sync.refresh_from_db()
    assert world.sync.description == "changed"
    assert values_of(world.sync, shown | {"status_reason", "current_version"}) == before


def test_mapping_line_of_another_sync_cannot_be_taken(editor: Client, world: SimpleNamespace):
    other = world.live.sync.mappings.first()
    assert other is not None
    address = f"/admin/syncs/sync/{world.sync.pk}/change/"
    data = posted(editor.get(address))
    count = FieldMapping.objects.count()
    editor.post(address, {**data, "mappings-0-id": str(other.pk), "mappings-0-destination_field": "stolen"})
    assert FieldMapping.objects.count() == count
    assert not FieldMapping.objects.filter(destination_field="stolen").exists()
    assert FieldMapping.objects.get(pk=other.pk).sync_id == world.live.sync_id


def test_connection_form_ignores_what_it_does_not_show(editor: Client, world: SimpleNamespace):
    target = world.connection
    Connection.objects.filter(pk=target.pk).update(secrets={"token": "kept"})
    address = f"/admin/syncs/connection/{target.pk}/change/"
    answer = editor.get(address)
    data, shown = posted(answer), set(answer.context["adminform"].form.fields)
    forged = {f.name: "1" for f in Connection._meta.concrete_fields if f.name not in shown}
    forged |= {"secrets": '{"token": "forged"}', "role": "source", "kind": "sqlite", "config": "{}", "state": "ok"}
    target.refresh_from_db()
    before = values_of(target, shown)
    answer = editor.post(address, {**data, **forged, "description": "changed"})
    assert answer.status_code == 302, errors(answer)
    target.refresh_from_db()
    assert target.description == "changed"
    assert values_of(target, shown) == before


def test_someone_who_may_only_edit_syncs_sees_no_connection_settings(world: SimpleNamespace):
    Connection.objects.filter(pk=world.source.pk).update(config={"path": str(world.folder / "warehouse.sqlite3")})
    user = seeds.user("sue", "syncs.view_sync", "syncs.change_sync")
    assert Permission.objects.filter(user=user).count() == 2
    client = signed_in(user)
    for address in (f"/admin/syncs/sync/{world.sync.pk}/change/", f"/admin/syncs/sync/{world.sync.pk}/"):
        assert str(world.folder) not in client.get(address).content.decode()
    assert client.get(f"/admin/syncs/connection/{world.source.pk}/change/").status_code == 403
