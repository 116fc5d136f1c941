"""Clone, archive, unarchive: as services and as pages; and every place that lists or starts syncs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from dlq.models import DLQEntry
from syncs.choices import OnNull, RunStatus, ScheduleKind, Trigger
from syncs.errors import ConfigError
from syncs.models import AuditEvent, DeliveredRow, FieldMapping, Run, Sync, Team
from syncs.services import archives, clones, runs, schedules, versions
from syncs.services import syncs as sync_service
from syncs.services.versions import MAPPING_FIELDS
from tests import seeds
from tests.syncs.objects import claimed, make_sync, queued

pytestmark = pytest.mark.django_db
EDITOR = ("syncs.view_sync", "syncs.add_sync", "syncs.change_sync", "syncs.run_sync", "syncs.pause_sync", "syncs.view_run")


def browser(*rights: str) -> Client:
    client = Client()
    client.force_login(seeds.user("eda", *(rights or EDITOR)))
    return client


def archived(**values: Any) -> Sync:
    sync = make_sync(**values)
    assert archives.archive(sync, by=None, door="cli")
    return sync


# -- clone


def rich_sync() -> Sync:
    """A sync of which no setting has its default."""
    sync = make_sync(
        name="Rich", description="all", owner=seeds.user("olga"), mode="insert", detection="watermark", cursor_column="id",
        cursor_overlap_seconds=7, on_mapping_error="fail", delete_guard_percent=3, delete_guard_rows=5, batch_records=11,
        max_attempts=2, retry_budget_seconds=60, breaker_threshold=9, schedule_kind="cron", cron="15 6 * * 1-5",
        interval_minutes=30, timezone="Europe/Berlin", overlap_policy="queue", destination_options={"a": [1]},
        watermark={"value": 5}, next_run_at=timezone.now(), approved_delete_count=4, status="failing", status_reason="x",
    )  # fmt: skip
    Sync.objects.filter(pk=sync.pk).update(team=Team.objects.create(name="Blue"))
    FieldMapping.objects.create(
        sync=sync, position=2, destination_field="tags[]", kind="constant", constant={"a": 1}, type="json",
        options={"x": 1}, on_null=OnNull.DEFAULT, default=[], is_required=True,
    )  # fmt: skip
    return Sync.objects.get(pk=sync.pk)


def test_clone_has_every_setting_and_nothing_that_happened():
    sync = rich_sync()
    run = queued(sync)
    DeliveredRow.objects.create(sync=sync, row_key="1", payload_hash=1, run_id=run.pk)
    made = Sync.objects.get(pk=clones.clone(sync, name=" Poor ", by=None, door="cli").pk)
    happened = {
        "id", "name", "is_paused", "paused_at", "pause_reason", "is_archived", "archived_at", "drift_since", "drift_reason",
        "previewed_at", "previewed_digest", "next_run_at", "watermark", "approved_delete_count", "status", "status_reason",
        "status_since", "current_version_id", "created_at", "updated_at",
    }  # fmt: skip
    known = {field.attname for field in Sync._meta.concrete_fields}
    assert known - happened == set(clones.SETTINGS)
    assert {n: getattr(made, n) for n in clones.SETTINGS} == {n: getattr(sync, n) for n in clones.SETTINGS}
    lines = [list(one.mappings.values(*MAPPING_FIELDS)) for one in (sync, made)]
    assert lines[0] == lines[1]
    assert len(lines[1]) == 3
    assert (made.name, made.is_paused, made.next_run_at, made.watermark, made.approved_delete_count) == (
        "Poor",
        True,
        None,
        None,
        None,
    )
    assert not Run.objects.filter(sync=made).exists()
    assert not DeliveredRow.objects.filter(sync=made).exists()
    assert versions.digest_of(versions.snapshot(made)) == versions.digest_of(versions.snapshot(sync))
    event = AuditEvent.objects.get(target_type="sync", target_id=made.pk)
    assert (event.act, event.door, event.detail) == ("cloned", "cli", {"from": "Rich", "from_id": sync.pk})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("", "Give the copy a name"), ("  ", "a name"), ("x" * 121, "121 characters"), ("a\x00b", "NUL"), ("Taken", "already")],
)
def test_clone_refuses_a_name_it_cannot_take(name: str, sentence: str):
    sync = make_sync(name="Taken")
    with pytest.raises(ConfigError, match=sentence):
        clones.clone(sync, name=name, by=None, door="cli")
    assert Sync.objects.count() == 1


def test_free_name_counts_on_and_keeps_to_the_length():
    sync = make_sync(name="n" * 120)
    first = clones.clone(sync, name=clones.free_name(sync), by=None, door="cli")
    assert first.name == "n" * 113 + " (copy)"
    assert clones.free_name(sync) == "n" * 111 + " (copy 2)"


def test_clone_page_makes_the_copy_and_goes_there():
    sync = make_sync(name="<b>Bold</b>")
    client = browser()
    page = client.get(f"/admin/syncs/sync/{sync.pk}/clone/")
    assert 'value="&lt;b&gt;Bold&lt;/b&gt; (copy)"' in page.content.decode()
    refused = client.post(f"/admin/syncs/sync/{sync.pk}/clone/", {"name": sync.name})
    assert "Choose another name" in refused.content.decode()
    answer = client.post(f"/admin/syncs/sync/{sync.pk}/clone/", {"name": "Second"})
    made = Sync.objects.get(name="Second")
    assert answer["Location"] == f"/admin/syncs/sync/{made.pk}/"
    assert AuditEvent.objects.get(act="cloned").actor.username == "eda"  # type: ignore[union-attr]


# -- archive


def test_archived_sync_has_no_schedule_and_starts_nothing():
    sync = make_sync(schedule_kind=ScheduleKind.INTERVAL, interval_minutes=5, next_run_at=timezone.now())
    assert archives.archive(sync, by=None, door="cli")
    assert (sync.is_archived, sync.next_run_at) == (True, None)
    assert schedules.reschedule(sync) is None
    assert schedules.start_due() == []
    for trigger in Trigger:
        with pytest.raises(ConfigError, match="is archived and runs no more"):
            runs.request(sync=sync, trigger=trigger)
    for act in (sync_service.pause, sync_service.resume):
        with pytest.raises(ConfigError, match="is archived"):
            act(sync, by=None)
    assert not Run.objects.exists()
    assert not archives.archive(sync, by=None, door="cli")
    assert AuditEvent.objects.filter(act="archived").count() == 1


@pytest.mark.parametrize(("is_running", "state"), [(True, "is running"), (False, "waits in the queue")])
def test_archive_is_refused_while_a_run_is_live(is_running: bool, state: str):
    sync = make_sync(name="Busy")
    run = claimed(sync)[0] if is_running else queued(sync)
    with pytest.raises(ConfigError, match=rf"Run {run.pk} of “Busy” {state}\. Wait for its end, or cancel it"):
        archives.archive(sync, by=None, door="cli")
    sync.refresh_from_db()
    assert not sync.is_archived
    assert not AuditEvent.objects.exists()


def test_archive_that_cancels_ends_what_waits_and_asks_what_runs():
    sync = make_sync()
    running, claim = claimed(sync)
    waiting = queued(sync)
    assert archives.archive(sync, by=None, door="cli", is_cancelling=True)
    running.refresh_from_db()
    waiting.refresh_from_db()
    assert (waiting.status, running.status) == (RunStatus.CANCELLED, RunStatus.RUNNING)
    assert running.cancel_requested_at is not None
    assert AuditEvent.objects.get(act="archived").detail == {"cancelled_runs": [running.pk, waiting.pk]}
    assert runs.release(claim, reason="drain")  # as when its worker stops: it ends, and never waits for an archived sync
    running.refresh_from_db()
    assert running.status == RunStatus.CANCELLED


def test_unarchived_sync_comes_back_paused_and_runs_once_it_is_resumed():
    sync = archived(schedule_kind=ScheduleKind.INTERVAL, interval_minutes=5)
    assert archives.unarchive(sync, by=None, door="cli")
    assert (sync.is_archived, sync.is_paused) == (False, True)
    assert "Taken out of the archive" in sync.pause_reason
    assert sync_service.resume(sync, by=None)
    assert sync.next_run_at is not None
    assert not archives.unarchive(sync, by=None, door="cli")
    assert list(AuditEvent.objects.order_by("id").values_list("act", flat=True)) == ["archived", "unarchived", "resumed"]


# -- what the console says


def test_list_leaves_archived_syncs_out_until_the_filter_asks_for_them():
    live, old = make_sync(name="Living"), archived(name="Retired")
    client = browser()
    listed = client.get("/admin/syncs/sync/").context["cl"].queryset
    assert list(listed) == [live]
    page = client.get("/admin/syncs/sync/?archived=yes")
    assert list(page.context["cl"].queryset) == [old]
    assert "Archived syncs" in page.content.decode()
    assert "Archive: there is no “maybe”" in client.get("/admin/syncs/sync/?archived=maybe").content.decode()


def test_page_of_an_archived_sync_offers_the_way_back_and_no_run():
    sync = archived(name="Retired")
    client = browser()
    text = client.get(f"/admin/syncs/sync/{sync.pk}/").content.decode()
    assert f"/admin/syncs/sync/{sync.pk}/unarchive/" in text
    assert "Run now" not in text
    assert f"/admin/syncs/sync/{sync.pk}/change/" not in text
    for act in ("run", "pause", "resume"):
        answer = client.post(f"/admin/syncs/sync/{sync.pk}/do/{act}/", follow=True)
        assert "is archived and runs no more" in answer.content.decode()
    answer = client.get(f"/admin/syncs/sync/{sync.pk}/change/", follow=True)
    assert "is archived. Take it out of the archive, then edit it." in answer.content.decode()
    assert not Run.objects.exists()


def test_archive_page_names_the_live_run_and_cancels_it_on_request():
    sync = make_sync(name="Busy")
    run = queued(sync)
    client, address = browser(), f"/admin/syncs/sync/{sync.pk}/archive/"
    assert f"run {run.pk}</a> (queued)" in client.get(address).content.decode()
    assert "Wait for its end, or cancel it" in client.post(address).content.decode()
    assert client.post(address, {"cancel": "1"}).status_code == 302
    run.refresh_from_db()
    sync.refresh_from_db()
    assert (run.status, sync.is_archived) == (RunStatus.CANCELLED, True)


def test_archive_page_cancels_nothing_for_who_may_not():
    sync = make_sync()
    run = queued(sync)
    client = browser("syncs.view_sync", "syncs.change_sync")
    assert client.post(f"/admin/syncs/sync/{sync.pk}/archive/", {"cancel": "1"}).status_code == 200
    run.refresh_from_db()
    assert run.status == RunStatus.QUEUED


def test_unarchive_page_brings_it_back():
    sync = archived()
    client, address = browser(), f"/admin/syncs/sync/{sync.pk}/unarchive/"
    assert "It comes back as it was, and paused" in client.get(address).content.decode()
    client.post(address)
    sync.refresh_from_db()
    assert (sync.is_archived, sync.is_paused) == (False, True)


def test_dead_letters_of_an_archived_sync_stay_and_are_not_reprocessed(tmp_path: Path):
    source, destination = seeds.connections(str(seeds.warehouse(tmp_path / "w.sqlite3")))
    sync = seeds.sync(source, destination, "Retired")
    versions.pin(sync)
    sync.refresh_from_db()
    seeds.entries(seeds.run(sync, "partial", read=10, refused=2), 2)
    archives.archive(sync, by=None, door="cli")
    client = Client()
    client.force_login(seeds.user("root", is_superuser=True))
    entry = DLQEntry.objects.earliest("pk")
    assert entry.row_key in client.get(f"/admin/dlq/dlqentry/?sync={sync.pk}&status=open").content.decode()
    address = f"/admin/dlq/dlqentry/{entry.pk}/change/"
    assert "The sync is archived and runs no more." in client.get(address).content.decode()
    answer = client.post(f"/admin/dlq/dlqentry/{entry.pk}/act/", {"act": "reprocess"}, follow=True)
    assert "archived" in answer.content.decode()
    entry.refresh_from_db()
    assert entry.status == "open"
    assert not Run.objects.filter(sync=sync, trigger=Trigger.REPROCESS).exists()


def test_command_says_that_a_sync_is_archived():
    archived(name="Retired")
    with pytest.raises(CommandError, match="“Retired” is archived and runs no more"):
        call_command("run_sync", "Retired")
