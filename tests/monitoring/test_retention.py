"""What a purge deletes, and what it leaves: the whole of each kind, on real rows."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dlq.choices import EntryStatus
from dlq.models import BulkItem, BulkOperation, DLQEntry, DLQEvent, ErrorGroup, Export, GroupHour, PayloadEdit
from dlq.services import tally
from monitoring.choices import IncidentState, Retained
from monitoring.models import (
    Channel,
    Delivery,
    DepthHour,
    Incident,
    IncidentEvent,
    IncidentSync,
    Notice,
    Purge,
    RetentionRule,
    StatusChange,
)  # fmt: skip
from monitoring.services.retention import figures, parts, passes, rules, work
from monitoring.services.retention.rules import RetentionRefusedError
from monitoring.services.retention.work import Ended
from syncs.models import AuditEvent, DeliveredRow, Run, Step, Sync, SyncHour
from tests.dlq.objects import make_entry, make_group, make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
NOW = timezone.now()
OLD = NOW - timedelta(days=1_000)


def purge(kind: Retained, **values: Any) -> Purge:
    made = passes.request(kind, by=None, door="cli", is_dry_run=False, **values)
    work.advance(made.pk, seconds=None)
    return Purge.objects.get(pk=made.pk)


def look(kind: Retained, **values: Any) -> Purge:
    made = passes.request(kind, by=None, door="cli", is_dry_run=True, **values)
    work.advance(made.pk, seconds=None)
    return Purge.objects.get(pk=made.pk)


def counts(made: Purge) -> tuple[int, int]:
    assert made.is_over
    assert made.message == ""
    return made.deleted_count, made.kept_count


def old_run(sync: Sync, *, at: datetime = OLD, steps: int = 0, **values: Any) -> Run:
    run = make_run(sync, queued_at=at, started_at=at, finished_at=at, **values)
    Step.objects.bulk_create(
        Step(run=run, number=number, kind="upload", status="succeeded", started_at=at) for number in range(1, steps + 1)
    )
    return run


def open_incident(sync: Sync, **values: Any) -> Incident:
    return Incident.objects.create(
        cause=f"sync:{sync.pk}:run_failed", condition="run_failed", severity="page", title="Runs fail", sync=sync, **values
    )


# --- Runs


@pytest.fixture
def sync() -> Sync:
    return make_sync()


def test_steps_of_old_runs_go_and_the_runs_stay(sync: Sync):
    old, young = old_run(sync, steps=3), old_run(sync, at=NOW, steps=2)
    assert counts(look(Retained.STEPS)) == (3, 0)
    assert counts(purge(Retained.STEPS)) == (3, 0)
    assert not old.steps.exists()
    assert young.steps.count() == 2
    assert Run.objects.filter(pk=old.pk).exists()
    assert counts(purge(Retained.STEPS)) == (0, 0)


def test_steps_stay_while_something_names_their_run(sync: Sync):
    live, first, again, closed, sent, blamed = (old_run(sync, steps=1) for _ in range(6))
    make_entry(live)
    entry = make_entry(old_run(sync), first_run=first)
    DLQEvent.objects.create(entry=entry, kind="failed", run=again)
    make_entry(closed, status="resolved")
    operation = make_operation("running")
    BulkItem.objects.create(operation=operation, entry=entry, run=sent)
    IncidentEvent.objects.create(incident=open_incident(sync), kind="opened", run=blamed)
    assert counts(purge(Retained.STEPS)) == (1, 5)
    assert not closed.steps.exists()
    assert counts(look(Retained.STEPS)) == (0, 5)


def test_a_live_run_keeps_its_steps_however_long_it_runs(sync: Sync):
    run = make_run(sync, status="running", queued_at=OLD, started_at=OLD, finished_at=None, lease_until=NOW)
    Step.objects.create(run=run, number=1, kind="query", status="succeeded", started_at=OLD)
    assert counts(purge(Retained.STEPS)) == (0, 0)
    assert run.steps.exists()


def test_old_runs_go_but_for_the_last_ones_and_those_that_dead_letters_name(sync: Sync):
    gone = [old_run(sync, steps=2), old_run(sync, status="failed", dead_lettered_count=0, pending_count=1)]
    named = [old_run(sync) for _ in range(4)]
    entry = make_entry(named[0], first_run=named[1], status="resolved", resolved_run=named[2], reprocess_run=named[2])
    DLQEvent.objects.create(entry=entry, kind="failed", run=named[3])
    last_good = old_run(sync)
    last = old_run(sync, status="failed", dead_lettered_count=0, pending_count=1)
    group = make_group(sync, first_run=gone[0])
    assert counts(purge(Retained.RUNS)) == (2, 6)
    assert set(Run.objects.values_list("pk", flat=True)) == {run.pk for run in [*named, last_good, last]}
    group.refresh_from_db()
    assert group.first_run is None
    assert not Step.objects.exists()


# --- Dead letters


def make_operation(status: str, **values: Any) -> BulkOperation:
    over = status in ("finished", "cancelled", "failed")
    defaults: dict[str, Any] = {
        "kind": "reprocess", "status": status, "max_id": 10**9, "as_of": NOW, "expected_count": 1, "is_frozen": True,
        "token_digest": f"{BulkOperation.objects.count():064x}", "finished_at": OLD if over else None,
    }  # fmt: skip
    return BulkOperation.objects.create(**(defaults | values))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.services.retention.of_entries.BATCH", 2)
    monkeypatch.setattr("monitoring.services.retention.of_rest.BATCH", 2)


@pytest.mark.usefixtures("small_batches")
def test_old_closed_dead_letters_go_with_all_that_hangs_on_them_and_live_ones_never(sync: Sync):
    run = old_run(sync)
    group = make_group(sync)
    closed = [make_entry(run, group=group, status=one, last_failed_at=OLD) for one in ("resolved", "superseded") * 3]
    live = [make_entry(run, group=group, status=one, last_failed_at=OLD) for one in ("open", "queued", "inflight")]
    young = make_entry(run, group=group, status="resolved", last_failed_at=OLD, closed_at=NOW)
    discarded = make_entry(run, group=group, status="discarded", last_failed_at=OLD)
    for entry in (closed[0], live[0]):
        DLQEvent.objects.create(entry=entry, kind="failed", run=run)
        PayloadEdit.objects.create(entry=entry, before="{}", payload="{}", base_failed_at=OLD, reason="typo")
    BulkItem.objects.create(operation=make_operation("finished"), entry=closed[0], outcome="done")
    before = ErrorGroup.objects.get(pk=group.pk)
    assert counts(look(Retained.RESOLVED_ENTRIES)) == (6, 0)
    assert counts(purge(Retained.RESOLVED_ENTRIES)) == (6, 0)
    assert set(DLQEntry.objects.values_list("pk", flat=True)) == {one.pk for one in [*live, young, discarded]}
    assert DLQEvent.objects.count() == PayloadEdit.objects.count() == 1
    assert not BulkItem.objects.exists()
    assert tally.repair() == []
    after = ErrorGroup.objects.get(pk=group.pk)
    assert (after.open_count, after.total_count) == (before.open_count, before.total_count)
    assert counts(purge(Retained.DISCARDED_ENTRIES)) == (1, 0)


@pytest.mark.usefixtures("small_batches")
def test_closed_dead_letters_stay_while_something_needs_them(sync: Sync):
    run, group = old_run(sync), make_group(sync)
    blamed = [make_entry(run, group=group, status="discarded", last_failed_at=OLD) for _ in range(3)]
    member, undoable, free, over = (make_entry(run, status="discarded", last_failed_at=OLD) for _ in range(4))
    incident = open_incident(sync, group=group)
    at_work, made = make_operation("paused"), NOW + timedelta(days=1)
    BulkItem.objects.create(operation=at_work, entry=member)
    BulkItem.objects.create(operation=make_operation("finished", undo_until=made), entry=undoable)
    BulkItem.objects.create(operation=make_operation("finished", undo_until=OLD), entry=over)
    assert counts(look(Retained.DISCARDED_ENTRIES)) == (2, 5)
    assert counts(purge(Retained.DISCARDED_ENTRIES)) == (2, 5)
    assert not DLQEntry.objects.filter(pk__in=[free.pk, over.pk]).exists()
    Incident.objects.filter(pk=incident.pk).update(state=IncidentState.RESOLVED, resolved_at=NOW)
    BulkOperation.objects.filter(pk=at_work.pk).update(status="cancelled", finished_at=NOW)
    assert counts(purge(Retained.DISCARDED_ENTRIES)) == (4, 1)
    assert not DLQEntry.objects.filter(pk__in=[one.pk for one in blamed]).exists()


def test_a_purge_of_dead_letters_waits_for_an_export_and_for_an_operation_that_chooses(sync: Sync):
    make_entry(old_run(sync), status="resolved", last_failed_at=OLD)
    export = make_export("running")
    made = passes.request(Retained.RESOLVED_ENTRIES, by=None, door="cli", is_dry_run=False)
    assert work.advance(made.pk, seconds=None) is Ended.WAITS
    made.refresh_from_db()
    assert made.message.startswith(f"Waits until export {export.pk} is written")
    Export.objects.update(status="cancelled")
    operation = make_operation("queued", is_frozen=False)
    assert work.advance(made.pk, seconds=None) is Ended.WAITS
    BulkOperation.objects.filter(pk=operation.pk).update(is_frozen=True)
    assert work.advance(made.pk, seconds=None) is Ended.OVER
    made.refresh_from_db()
    assert counts(made) == (1, 0)


def make_export(status: str, **values: Any) -> Export:
    return Export.objects.create(
        status=status, format="csv", max_id=1, as_of=NOW, expected_count=1,
        token_digest=f"{Export.objects.count():064x}", **values,
    )  # fmt: skip


def test_exports_that_are_over_and_members_of_operations_that_are_over_go(sync: Sync):
    entry = make_entry(old_run(sync))
    for operation in (
        make_operation("finished"), make_operation("finished", undo_until=NOW + timedelta(days=1)), make_operation("halted"),
        make_operation("finished", finished_at=NOW),
    ):  # fmt: skip
        BulkItem.objects.create(operation=operation, entry=entry)
    undone = make_operation("finished")
    BulkItem.objects.create(operation=undone, entry=entry)
    make_operation("running", of_operation=undone)
    assert counts(purge(Retained.OPERATIONS)) == (1, 0)
    assert BulkItem.objects.count() == 4
    assert BulkOperation.objects.count() == 6
    gone = [make_export(one, created_at=OLD) for one in ("expired", "failed", "cancelled")]
    stays = [make_export("queued", created_at=OLD), make_export("expired", created_at=OLD, file_name="there.csv")]
    stays.append(make_export("expired"))
    assert counts(purge(Retained.EXPORTS)) == (3, 0)
    assert list(Export.objects.order_by("pk")) == stays
    assert len(gone) == 3


# --- The rest


@pytest.mark.usefixtures("small_batches")
def test_the_ledger_of_archived_syncs_goes_and_holds_stay(sync: Sync):
    archived = make_sync(is_archived=True, archived_at=OLD)
    again = make_sync(is_archived=True, archived_at=OLD)
    lately = make_sync(is_archived=True, archived_at=NOW)
    for of in (sync, archived, again, lately):
        lines = [DeliveredRow(sync=of, row_key=f"C-{n}", payload_hash=n, accepted_at=OLD, run_id=1) for n in range(5)]
        held = DeliveredRow(sync=of, row_key="B-held", payload_hash=1, held_hash=7, run_id=1)
        DeliveredRow.objects.bulk_create([*lines, held])
    assert counts(look(Retained.LEDGER_OF_ARCHIVED)) == (10, 2)
    assert counts(purge(Retained.LEDGER_OF_ARCHIVED)) == (10, 2)
    left = DeliveredRow.objects.filter(sync__in=(archived, again)).values_list("row_key", flat=True)
    assert list(left) == ["B-held", "B-held"]
    assert DeliveredRow.objects.filter(sync__in=(sync, lately)).count() == 12


def test_messages_and_incidents_go_once_they_are_over(sync: Sync):
    channel = Channel.objects.create(name="Ops", kind="slack")
    user = User.objects.create_user("ana")
    going = open_incident(sync)
    over = Incident.objects.create(
        cause="x",
        condition="late",
        severity="info",
        title="Late",
        state="resolved",
        opened_at=OLD,
        resolved_at=OLD,
        follows=going,
    )
    leads = Incident.objects.create(cause="y", condition="late", severity="info", title="L", state="resolved", resolved_at=OLD)
    Incident.objects.filter(pk=going.pk).update(follows=leads)
    IncidentSync.objects.create(incident=over, sync=sync)
    IncidentEvent.objects.create(incident=over, kind="opened")

    def delivery(**values: Any) -> Delivery:
        number = Delivery.objects.count()
        return Delivery.objects.create(
            **{"channel": channel, "event": "test", "subject": str(number), "created_at": OLD} | values
        )

    sent = delivery(state="delivered")
    delivery(state="dead", resent_of=sent)
    stays = [
        delivery(state="pending"), delivery(state="held"), delivery(state="delivered", created_at=NOW),
        delivery(state="delivered", incident=going), delivery(state="delivered", resent_of=sent, created_at=NOW),
    ]  # fmt: skip
    Notice.objects.create(user=user, delivery=sent, event="test", title="old", created_at=OLD)
    Notice.objects.create(user=user, incident=going, event="test", title="open", created_at=OLD)
    assert counts(purge(Retained.DELIVERIES)) == (3, 2)
    assert list(Delivery.objects.order_by("pk")) == stays
    assert Notice.objects.get().title == "open"
    first = StatusChange.objects.create(sync=sync, at=OLD, before="unconfigured", after="healthy")
    newest = StatusChange.objects.create(sync=sync, at=OLD, before="healthy", after="failing")
    assert counts(purge(Retained.INCIDENTS)) == (2, 2)
    assert set(Incident.objects.all()) == {going, leads}
    assert not IncidentEvent.objects.exists()
    assert list(StatusChange.objects.all()) == [newest]
    assert first.pk != newest.pk


def test_hours_and_the_audit_log_go_by_their_own_time(sync: Sync):
    group = make_group(sync)
    for at in (OLD, NOW):
        SyncHour.objects.create(sync=sync, starts_at=at)
        GroupHour.objects.create(group=group, hour=at)
        DepthHour.objects.create(sync=sync, hour=at)
    assert counts(look(Retained.HOURS)) == (3, 0)
    assert counts(purge(Retained.HOURS)) == (3, 0)
    assert [model.objects.count() for model in (SyncHour, GroupHour, DepthHour)] == [1, 1, 1]
    AuditEvent.objects.create(door="cli", act="created", target_type="sync", target_id=1)
    AuditEvent.objects.update(at=OLD)
    rules.keep(Retained.AUDIT, 400, by=None, door="cli")
    made = purge(Retained.AUDIT)
    assert counts(made) == (AuditEvent.objects.none().count() + made.deleted_count, 0)
    assert set(AuditEvent.objects.values_list("act", flat=True)) == {"changed", "purged"}


# --- A purge as a job


def test_a_purge_that_died_goes_on_where_it_stood(sync: Sync, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("monitoring.services.retention.of_entries.BATCH", 2)
    run = old_run(sync)
    for _ in range(5):
        make_entry(run, status="resolved", last_failed_at=OLD)
    made = passes.request(Retained.RESOLVED_ENTRIES, by=None, door="cli", is_dry_run=False)
    held = work.claim(made.pk)
    assert held is not None
    assert work._batch(held, {0: 0, 1: 0}) is None
    assert work.claim(made.pk) is None, "held by somebody who lives"
    assert work.advance(made.pk, seconds=None) is Ended.LOST
    Purge.objects.update(lease_until=NOW - timedelta(minutes=5))
    assert work.advance(made.pk, seconds=None) is Ended.OVER
    made.refresh_from_db()
    assert counts(made) == (5, 0)
    with pytest.raises(work.LostError):
        work._batch(held, {0: 0, 1: 0})


def test_a_purge_that_is_stopped_deletes_no_more(sync: Sync):
    old_run(sync, steps=1)
    made = passes.request(Retained.STEPS, by=None, door="cli", is_dry_run=False)
    with pytest.raises(RetentionRefusedError, match="going on already"):
        passes.request(Retained.STEPS, by=None, door="cli", is_dry_run=True)
    held = work.claim(made.pk)
    assert held is not None
    assert passes.stop(made, by=None, door="cli")
    assert not passes.stop(made, by=None, door="cli")
    with pytest.raises(work.LostError):
        work._batch(held, {0: 0})
    assert Step.objects.count() == 1


def test_what_nobody_foresaw_ends_a_purge_by_name(sync: Sync, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(parts.ById, "look", fail)
    made = purge(Retained.STEPS)
    assert made.is_over
    assert "ZeroDivisionError" in made.message
    assert "stopped by an error" in caplog.text


def test_the_first_purge_by_the_day_only_looks(sync: Sync, settings: Any, django_capture_on_commit_callbacks: Any):
    settings.RETL = {**settings.RETL, "PURGE_HOUR": 3}
    at = datetime.fromisoformat("2026-03-01T03:00:00+00:00")
    passes.stop(passes.request(Retained.STEPS, by=None, door="cli", is_dry_run=False), by=None, door="cli")
    old_run(sync, steps=1)
    made = passes.start_due(at - timedelta(seconds=1))
    assert {one.kind for one in made} == {kind for kind in Retained if rules.KINDS[kind].days}
    assert all(one.is_dry_run for one in made)
    assert passes.advance_here()
    assert Step.objects.count() == 1
    assert passes.start_due(at - timedelta(seconds=1)) == []
    second = passes.start_due(at)
    assert len(second) == len(made)
    assert not any(one.is_dry_run for one in second)
    assert passes.start_due(at + timedelta(hours=20)) == []
    assert passes.advance_here()
    assert not Step.objects.exists()
    settings.RETL = {**settings.RETL, "PURGE_HOUR": None}
    assert passes.start_due(at + timedelta(days=9)) == []
    assert passes.next_slot(at) is None


def test_one_purge_is_rung_for_at_a_time(sync: Sync, monkeypatch: pytest.MonkeyPatch):
    rung: list[int] = []
    monkeypatch.setattr(work, "ring", rung.append)
    one, other = (passes.request(kind, by=None, door="cli", is_dry_run=True) for kind in (Retained.STEPS, Retained.RUNS))
    assert passes.ring_next() == one.pk
    held = work.claim(one.pk)
    assert held is not None
    assert passes.ring_next() is None
    held.mine().update(lease_until=None)
    passes.answer(one.pk)
    assert rung == [one.pk, other.pk]
    passes.look_after(NOW)
    assert rung[2:] == [], "it was rung for a moment ago"


# --- Rules


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (Retained.STEPS, "abc", "not a number of days"),
        (Retained.STEPS, "-4", "not a number of days"),
        (Retained.STEPS, "6", "at least 7"),
        (Retained.STEPS, "40000", "for ever"),
        (Retained.STEPS, "99999999999", "not a number of days"),
        (Retained.AUDIT, "364", "at least 365"),
        (Retained.HOURS, "90", "ninety days by the hour"),
    ],
)
def test_a_time_that_cannot_be_is_refused_with_the_reason(kind: Retained, text: str, words: str):
    with pytest.raises(RetentionRefusedError, match=words) as refused:
        rules.read(kind, text)
    assert refused.value.field == "days"


def test_a_rule_is_kept_and_told(sync: Sync):
    assert rules.days()[Retained.STEPS] == 90
    assert not rules.keep(Retained.STEPS, 90, by=None, door="cli")
    assert rules.keep(Retained.STEPS, rules.read(Retained.STEPS, " "), by=None, door="cli")
    assert rules.days()[Retained.STEPS] is None
    assert RetentionRule.objects.get().days is None
    assert AuditEvent.objects.get().detail == {"days": [90, None]}
    with pytest.raises(RetentionRefusedError, match="kept for ever"):
        passes.request(Retained.STEPS, by=None, door="cli", is_dry_run=False)


def test_figures_of_all_kinds_come_from_a_handful_of_queries(sync: Sync):
    run = old_run(sync, steps=3)
    make_entry(run)
    make_entry(run, status=EntryStatus.RESOLVED, last_failed_at=OLD)
    make_entry(run, status=EntryStatus.DISCARDED, last_failed_at=NOW)
    look(Retained.STEPS)
    with CaptureQueriesContext(connection) as captured:
        found = {one.kind: one for one in figures.all_of_them(NOW)}
    assert len(captured) <= 5
    assert list(found) == list(Retained)
    assert found[Retained.STEPS].count.rows == 3
    assert found[Retained.STEPS].oldest == OLD
    assert found[Retained.RESOLVED_ENTRIES].count.rows == found[Retained.DISCARDED_ENTRIES].count.rows == 1
    assert found[Retained.RESOLVED_ENTRIES].oldest == OLD
    seen = found[Retained.STEPS].look
    assert seen is not None
    assert seen.kept_count == 3
    assert (found[Retained.AUDIT].kept, found[Retained.AUDIT].next_at) == ("for ever", None)


@pytest.mark.django_db(transaction=True)
def test_a_dead_letter_that_somebody_holds_is_passed_over():
    """Somebody opens a discarded one again at the moment of the purge: it stays, whoever is first."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    run = old_run(make_sync())
    held, free = (make_entry(run, status="discarded", last_failed_at=OLD) for _ in range(2))
    locked, purged = threading.Event(), threading.Event()

    def reopen() -> None:
        with transaction.atomic():
            entry = DLQEntry.objects.select_for_update().get(pk=held.pk)
            locked.set()
            assert purged.wait(30)
            DLQEntry.objects.filter(pk=entry.pk).update(status="open", closed_at=None)
        connection.close()

    other = threading.Thread(target=reopen)
    other.start()
    assert locked.wait(30)
    made = purge(Retained.DISCARDED_ENTRIES)
    purged.set()
    other.join(30)
    assert counts(made) == (1, 0)
    assert list(DLQEntry.objects.values_list("pk", "status")) == [(held.pk, "open")]
    assert counts(purge(Retained.DISCARDED_ENTRIES)) == (0, 0)
    assert free.pk != held.pk
