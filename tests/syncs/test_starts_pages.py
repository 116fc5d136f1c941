"""What starts a sync, in the console: triggers and chains are set up where the sync is."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from syncs.choices import ChainWhen
from syncs.models import AuditEvent, ChainFiring, Run, Sync, SyncChain, SyncTrigger, Team, TriggerCall
from syncs.services import chaining, triggering
from tests import seeds
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"
ACTS = [f"syncs.{act}_{what}" for act in ("view", "add", "change", "delete") for what in ("synctrigger", "syncchain")]


@pytest.fixture
def user(client: Client) -> User:
    made = seeds.user("olga", "syncs.view_sync", *ACTS)
    client.force_login(made)
    return made


@pytest.fixture
def sync() -> Sync:
    return make_sync(name="Contacts")


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return str(answer.content.decode())


def act(client: Client, sync: Sync, what: str, **given: Any) -> Any:
    return client.post(f"/admin/syncs/sync/{sync.pk}/starts/act/", {"act": what, **given})


def said(client: Client, sync: Sync, what: str, **given: Any) -> str:
    answer = act(client, sync, what, **given)
    assert (answer.status_code, answer["Location"]) == (302, f"/admin/syncs/sync/{sync.pk}/starts/")
    return str(next(iter(client.get(answer["Location"]).context["messages"])))


def test_trigger_is_added_with_its_secret_shown_once(client: Client, user: User, sync: Sync) -> None:
    answer = act(client, sync, "add_trigger", name=HOSTILE)
    shown = re.search(r'value="(whsec_[^"]+)"', answer.content.decode())
    trigger = SyncTrigger.objects.get()
    assert shown is not None
    assert trigger.secrets == {"current": shown[1]}
    assert "no-store" in answer["Cache-Control"]
    assert HOSTILE not in answer.content.decode()
    page = text(client, f"/admin/syncs/sync/{sync.pk}/starts/")
    assert f"/api/v1/triggers/{trigger.public_id}" in page
    assert shown[1] not in page
    assert HOSTILE not in page
    assert AuditEvent.objects.get().door == "admin"


def test_trigger_is_switched_rotated_and_deleted(client: Client, user: User, sync: Sync) -> None:
    trigger, secret = triggering.add(sync, name="dbt", by=user, door="admin")
    assert "is off" in said(client, sync, "trigger_off", trigger=trigger.pk)
    assert not SyncTrigger.objects.get().is_enabled
    assert "is on" in said(client, sync, "trigger_on", trigger=trigger.pk)
    assert "0 to 168" in said(client, sync, "rotate", trigger=trigger.pk, hours="")
    assert b"whsec_" in act(client, sync, "rotate", trigger=trigger.pk, hours="1").content
    assert SyncTrigger.objects.get().secrets["previous"] == secret
    assert "is deleted" in said(client, sync, "delete_trigger", trigger=trigger.pk)
    assert "not there any more" in said(client, sync, "trigger_on", trigger=trigger.pk)
    assert "1 to 120" in said(client, sync, "add_trigger", name=" ")


def test_chain_is_added_changed_switched_and_deleted(client: Client, user: User, sync: Sync) -> None:
    before = make_sync(name="Orders")
    page = text(client, f"/admin/syncs/sync/{sync.pk}/starts/")
    assert f'<option value="{before.pk}">Orders</option>' in page
    assert "now runs after" in said(client, sync, "add_chain", after=before.pk, when="delivered")
    chain = SyncChain.objects.get()
    assert "circle" in said(client, before, "add_chain", after=sync.pk)
    assert "ended, however" in said(client, sync, "change_chain", chain=chain.pk, when="ended")
    assert "is off" in said(client, before, "chain_off", chain=chain.pk)  # from either side
    chain.refresh_from_db()
    assert (chain.when, chain.is_enabled) == (ChainWhen.ENDED, False)
    assert "no more" in said(client, sync, "delete_chain", chain=chain.pk)
    assert "not there any more" in said(client, sync, "chain_on", chain=chain.pk)
    assert "Choose the sync" in said(client, sync, "add_chain", after="x")


def test_pages_tell_what_starts_the_sync_and_what_it_starts(client: Client, user: User, sync: Sync) -> None:
    before, behind = make_sync(name="Orders"), make_sync(name="Invoices")
    trigger, _ = triggering.add(sync, name="dbt build", by=user, door="admin")
    chain = chaining.add(sync, after=before, by=user, door="admin")
    chaining.add(behind, after=sync, by=user, door="admin")
    now = timezone.now()
    ran = Run.objects.create(sync=before, status="succeeded", started_at=now, finished_at=now)
    ChainFiring.objects.create(chain=chain, after_run=ran, outcome="“Contacts” is paused. Resume it, then run it.")
    TriggerCall.objects.create(trigger=trigger, call_id="m", run=Run.objects.create(sync=sync))
    for address in (f"/admin/syncs/sync/{sync.pk}/", f"/admin/syncs/sync/{sync.pk}/starts/"):
        page = text(client, address)
        assert all(word in page for word in ("dbt build", "Orders", "Invoices")), address
    assert "is paused. Resume it" in page
    assert "Call of “dbt build”" in page


def test_sync_of_another_team_is_neither_named_nor_chosen(client: Client, user: User, sync: Sync) -> None:
    theirs = make_sync(name="Theirs", team=Team.objects.create(name="Finance"))
    chain = chaining.add(theirs, after=sync, by=seeds.user("root"), door="admin")
    for address in (f"/admin/syncs/sync/{sync.pk}/", f"/admin/syncs/sync/{sync.pk}/starts/"):
        assert "Theirs" not in text(client, address)
    assert "not there any more" in said(client, sync, "delete_chain", chain=chain.pk)
    assert "Choose the sync" in said(client, sync, "add_chain", after=theirs.pk)


def test_page_costs_few_queries_however_much_there_is(
    client: Client, user: User, sync: Sync, django_assert_max_num_queries: Any
) -> None:
    for number in range(4):
        trigger, _ = triggering.add(sync, name=f"job {number}", by=user, door="admin")
        TriggerCall.objects.create(trigger=trigger, call_id="m")
        chaining.add(sync, after=make_sync(), by=user, door="admin")
    client.get(f"/admin/syncs/sync/{sync.pk}/starts/")
    with django_assert_max_num_queries(14):
        client.get(f"/admin/syncs/sync/{sync.pk}/starts/")
