"""Tags: on the edit form, in the list's filter, on their own pages; and that they tell nothing of other teams."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from syncs.models import AuditEvent, Sync, SyncTouch, Tag, Team
from syncs.services import clones
from tests import seeds
from tests.syncs.admin_forms import posted

pytestmark = pytest.mark.django_db
SYNCS, TAGS = "/admin/syncs/sync/", "/admin/syncs/tag/"


@pytest.fixture
def world(tmp_path: Path) -> Any:
    source, destination = seeds.connections(str(seeds.warehouse(tmp_path / "warehouse.sqlite3")))
    one, other = (seeds.sync(source, destination, name) for name in ("Contacts", "Deals"))
    tags = [Tag.objects.create(name=name) for name in ("finance", "pilot")]
    return SimpleNamespace(one=one, other=other, finance=tags[0], pilot=tags[1])


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_form_puts_tags_on_a_sync_and_the_audit_log_says_so(world: Any, admin_client: Client):
    address = f"{SYNCS}{world.one.pk}/change/"
    data = {**posted(admin_client.get(address)), "tags": [world.finance.pk, world.pilot.pk]}
    assert admin_client.post(address, data).status_code == 302
    assert [tag.name for tag in world.one.tags.all()] == ["finance", "pilot"]
    event = AuditEvent.objects.get(target_type="sync", target_id=world.one.pk)
    assert event.detail == {"tags": ["[]", '["finance", "pilot"]']}
    page = admin_client.get(f"{SYNCS}{world.one.pk}/").content.decode()
    assert 'href="/admin/?tag=finance"' in page
    assert clones.clone(world.one, name="Copy", by=None, door="cli").tags.count() == 2


def test_list_shows_syncs_that_have_one_of_the_tags_once(world: Any, admin_client: Client):
    world.one.tags.set([world.finance, world.pilot])
    answer = admin_client.get(f"{SYNCS}?tag=finance&tag=pilot")
    assert [sync.name for sync in answer.context["cl"].result_list] == ["Contacts"]
    assert "Tag: there is no “nope”" in admin_client.get(f"{SYNCS}?tag=nope").content.decode()


def test_tag_is_named_renamed_and_taken_away(world: Any, admin_client: Client):
    assert "Enter a valid “slug”" in admin_client.post(f"{TAGS}add/", {"name": "two words"}).content.decode()
    assert admin_client.post(f"{TAGS}add/", {"name": "eu"}).status_code == 302
    world.one.tags.add(world.pilot)
    admin_client.post(f"{TAGS}{world.pilot.pk}/change/", {"name": "beta"})
    assert [tag.name for tag in world.one.tags.all()] == ["beta"]
    assert SyncTouch.objects.filter(sync=world.one).exists()
    admin_client.post(f"{TAGS}{world.pilot.pk}/delete/", {"post": "yes"})
    assert not world.one.tags.exists()
    acts = list(AuditEvent.objects.filter(target_type="tag").order_by("pk").values_list("act", "target_name"))
    assert acts == [("created", "eu"), ("changed", "beta"), ("deleted", "beta")]


def test_tag_pages_tell_nothing_of_another_teams_syncs(world: Any):
    Sync.objects.filter(pk=world.other.pk).update(team=Team.objects.create(name="Theirs"))
    world.other.tags.set([world.finance, world.pilot])
    world.one.tags.set([world.finance])
    rights = ("syncs.view_sync", "syncs.view_tag", "syncs.change_tag", "syncs.delete_tag")
    client = client_of(seeds.user("tim", *rights))
    counts = {tag.name: tag.sync_count for tag in client.get(TAGS).context["cl"].result_list}
    assert counts == {"finance": 1, "pilot": 0}
    options = dict(client.get(SYNCS).context["cl"].filter_specs[3].options)
    assert list(options) == ["finance"]
    answer = client.post(f"{TAGS}{world.finance.pk}/delete/", {"post": "yes"})  # it would be taken off their sync
    assert answer.status_code == client.post(f"{TAGS}{world.pilot.pk}/change/", {"name": "mine"}).status_code == 403
    assert "Deals" not in answer.content.decode()
    world.other.tags.remove(world.finance)
    assert client.post(f"{TAGS}{world.finance.pk}/delete/", {"post": "yes"}).status_code == 302
