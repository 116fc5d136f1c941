"""While a destination has changed under a sync, nothing of it is sent again before a preview; the rest stays possible."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from dlq.choices import Door, ReprocessMode
from dlq.models import BulkOperation, DLQEntry
from dlq.services import drift_guard, entries, operations, snapshots
from dlq.services.drift_guard import DriftHeldError
from dlq.services.entry_filter import EntryFilter
from dlq.services.snapshots import BulkKind, Snapshot
from syncs.models import Run, Sync
from syncs.services import versions
from tests.dlq.objects import make_entry, make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def entry(run: Run) -> DLQEntry:
    return make_entry(run)


@pytest.fixture
def held(entry: DLQEntry) -> Sync:
    drifted(entry.sync)
    return Sync.objects.get(pk=entry.sync_id)


def drifted(sync: Sync) -> None:
    reason = "the new field “<b>tier” is required"
    Sync.objects.filter(pk=sync.pk).update(drift_since=timezone.now(), drift_reason=reason)


def previewed(sync: Sync) -> None:
    digest = versions.digest_of(versions.snapshot(sync))
    Sync.objects.filter(pk=sync.pk).update(previewed_at=timezone.now(), previewed_digest=digest)


def confirmed(user: User, kind: BulkKind = BulkKind.REPROCESS) -> Snapshot:
    return snapshots.take(kind, EntryFilter(), user=user)


def reprocess(user: User, **values: object) -> entries.ActResult:
    return entries.reprocess(DLQEntry.objects.all(), by=user, door=Door.ADMIN, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", list(ReprocessMode))
def test_single_reprocess_is_refused_with_the_way_out(ana: User, held: Sync, mode: ReprocessMode):
    from dlq.models import PayloadEdit

    one = DLQEntry.objects.get()
    PayloadEdit.objects.create(
        entry=one, before=one.payload, payload="{}", base_failed_at=one.last_failed_at, created_by=ana,
        created_at=timezone.now(), door="admin", reason="x",
    )  # fmt: skip
    with pytest.raises(DriftHeldError, match="preview the sync"):
        reprocess(ana, mode=mode)
    assert DLQEntry.objects.get().status == "open"
    assert Run.objects.filter(trigger="reprocess").count() == 0


def test_bulk_reprocess_is_refused_and_makes_no_operation(ana: User, held: Sync):
    with pytest.raises(DriftHeldError, match="“<b>tier” is required"):
        operations.create(confirmed(ana), by=ana, reason="", door=Door.ADMIN)
    assert not BulkOperation.objects.exists()


def test_discard_assign_and_check_stay_possible(ana: User, held: Sync):
    operations.create(confirmed(ana, BulkKind.DISCARD), by=ana, reason="not needed", door=Door.ADMIN)
    operations.create(confirmed(ana, BulkKind.ASSIGN), by=ana, reason="", door=Door.ADMIN, options={"owner": ana.pk})
    operations.create(confirmed(ana, BulkKind.CHECK), by=ana, reason="", door=Door.ADMIN)
    assert entries.discard(DLQEntry.objects.all(), by=ana, reason="not needed", door=Door.ADMIN).taken == 1


def test_clean_preview_of_the_present_version_lifts_it_and_an_edit_brings_it_back(ana: User, held: Sync):
    previewed(held)
    drift_guard.refuse(held)
    assert drift_guard.held_among(DLQEntry.objects.all()) == []
    held.mappings.create(destination_field="tier", kind="constant", constant="gold", position=9)
    with pytest.raises(DriftHeldError):
        drift_guard.refuse(held)
    previewed(held)
    assert operations.create(confirmed(ana), by=ana, reason="", door=Door.ADMIN).pk
    assert reprocess(ana).taken == 1


def test_preview_that_is_older_than_the_break_lifts_nothing(ana: User, entry: DLQEntry):
    previewed(entry.sync)
    drifted(entry.sync)
    with pytest.raises(DriftHeldError):
        reprocess(ana)


def test_other_syncs_go_while_the_drifted_one_is_left_out_by_name(ana: User, held: Sync):
    other = make_entry(make_run(make_sync()))
    result = reprocess(ana)
    assert result.taken == 1
    assert "has changed since its last preview" in str(result.left_out[0])
    other.refresh_from_db()
    assert other.status == "queued"


def test_drift_that_comes_between_two_waves_leaves_the_rest_out(ana: User, run: Run):
    for _ in range(3):
        make_entry(run)
    operation = operations.create(confirmed(ana), by=ana, reason="", door=Door.ADMIN, waves=(1,))
    drifted(run.sync)
    while operations.advance(operation.pk):
        pass
    operation.refresh_from_db()
    assert (operation.status, operation.left_out_count) == ("finished", 3)
    assert operation.items.filter(note__contains="has changed since its last preview").count() == 3
    assert DLQEntry.objects.filter(status="open").count() == 3


def test_second_post_of_a_confirmation_made_before_the_drift_finds_its_operation(ana: User, entry: DLQEntry):
    snapshot = confirmed(ana)
    first = operations.create(snapshot, by=ana, reason="", door=Door.ADMIN)
    drifted(entry.sync)
    assert operations.create(snapshot, by=ana, reason="", door=Door.ADMIN) == first


def test_confirmation_page_says_so_with_a_link_and_refuses_the_post(root: Client, held: Sync):
    url = "/admin/dlq/dlqentry/bulk/?act=reprocess&status=open"
    page = root.get(url)
    text = page.content.decode()
    assert "reprocess waits for a preview" in text
    assert f"/admin/syncs/sync/{held.pk}/preview/" in text
    assert "&lt;b&gt;tier" in text
    assert "<b>tier" not in text
    token = page.context["token"]
    answer = root.post("/admin/dlq/dlqentry/bulk/reprocess/", {"token": token, "acknowledged": "1", "mode": "current"})
    assert answer.status_code == 400
    assert "has changed since its last preview" in answer.content.decode()
    assert not BulkOperation.objects.exists()
    assert "waits for a preview" not in root.get(url.replace("reprocess", "discard")).content.decode()


def test_entry_page_offers_no_reprocess_and_a_forged_post_is_refused_with_a_link(root: Client, held: Sync):
    one = DLQEntry.objects.get()
    text = root.get(f"/admin/dlq/dlqentry/{one.pk}/change/").content.decode()
    assert "reprocess waits for a preview" in text
    assert 'value="reprocess"' not in text
    assert 'value="discard"' in text
    answer = root.post(f"/admin/dlq/dlqentry/{one.pk}/act/", {"act": "reprocess"}, follow=True)
    assert f'<a href="/admin/syncs/sync/{held.pk}/preview/">Preview the sync</a>' in answer.content.decode()
    assert DLQEntry.objects.get().status == "open"
