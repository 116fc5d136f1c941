"""Payloads sent as they are, corrected ones and deletes, by real runs: what arrives, what is credited, what is refused."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from dlq.choices import Door, EditState, EntryStatus, EventKind, ReprocessMode, RowState
from dlq.models import DLQEntry, PayloadEdit
from dlq.services import edits, entries, groups
from dlq.sink import EntrySelection
from syncs.errors import ErrorType
from syncs.models import DeliveredRow, FieldMapping, Run
from syncs.records import BatchResult, Operation, RowError
from syncs.services import leases, runs
from tests.factories import World

pytestmark = pytest.mark.django_db(transaction=True)

BAD = RowError(ErrorType.VALIDATION, "Property age is not valid", code="E1", field="age", http_status=422)
AS_THEY_ARE = [ReprocessMode.PAYLOAD, ReprocessMode.EDITED]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, [(1, "Ana", 30), (2, "Bo", -1), (3, "Cy", 50)])
    world.destination.bad = {"2": BAD}
    world.run()
    world.destination.bad = {}
    return world


def the_entry() -> DLQEntry:
    return DLQEntry.objects.select_related("sync", "version").get()


def correct(entry: DLQEntry, **values: Any) -> PayloadEdit:
    payload = json.loads(entry.payload) | (values or {"age": 41})
    return edits.save(
        entry, text=json.dumps(payload), reason="age by phone", by=None, door=Door.CLI, seen_failed_at=entry.last_failed_at
    )


def send(world: World, mode: ReprocessMode) -> Run:
    if mode == ReprocessMode.EDITED:
        correct(the_entry())
    result = entries.reprocess(DLQEntry.objects.all(), by=None, mode=mode, door=Door.CLI)
    assert result.left_out == ()
    return world.work(result.runs[0])


def last_body(world: World) -> bytes:
    return world.destination.receipts[-1][2]


def test_a_payload_goes_out_byte_for_byte_whatever_row_and_mapping_say_now(world: World) -> None:
    entry = the_entry()
    world.sql("UPDATE people SET name = 'Bob', age = 7 WHERE id = 2")
    FieldMapping.objects.filter(sync=world.sync, destination_field="age").delete()
    run = send(world, ReprocessMode.PAYLOAD)
    assert last_body(world) == entry.payload.encode() == b'{"age":-1,"id":2,"name":"Bo"}'
    assert (run.status, run.read_count, run.accepted_count) == ("succeeded", 1, 1)
    entry.refresh_from_db()
    assert (entry.status, entry.resolved_run_id) == (EntryStatus.RESOLVED, run.pk)
    assert groups.recount(world.sync) == 0


def test_a_payload_needs_no_warehouse(world: World) -> None:
    world.warehouse.unlink()
    assert send(world, ReprocessMode.PAYLOAD).status == "succeeded"
    assert the_entry().status == EntryStatus.RESOLVED


def test_a_correction_is_sent_once_and_stands_until_the_row_changes(world: World) -> None:
    run = send(world, ReprocessMode.EDITED)
    assert world.destination.rows["2"]["age"] == 41
    edit = PayloadEdit.objects.get()
    assert (edit.state, edit.used_run_id) == (EditState.USED, run.pk)
    assert the_entry().status == EntryStatus.RESOLVED

    calls = len(world.destination.calls)
    assert world.run().unchanged_count == 3
    assert len(world.destination.calls) == calls  # the warehouse still says -1; the correction stays
    world.sql("UPDATE people SET age = 42 WHERE id = 2")
    world.run()
    assert world.destination.rows["2"]["age"] == 42


def test_a_correction_goes_out_under_a_key_of_its_own(world: World) -> None:
    """A destination that keeps answers by key would else repeat its refusal."""
    keys: list[str] = []
    world.destination.behave = lambda batch: keys.append(batch.idempotency_key)
    world.destination.bad = {"2": BAD}
    for mode in (ReprocessMode.PAYLOAD, ReprocessMode.PAYLOAD, ReprocessMode.EDITED):
        send(world, mode)
    assert len(keys) == 3
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("mode", AS_THEY_ARE)
def test_refused_again_it_is_open_with_one_more_attempt_and_keeps_its_row(world: World, mode: ReprocessMode) -> None:
    before = the_entry()
    world.destination.bad = {"2": BAD}
    run = send(world, mode)
    entry = the_entry()
    assert (run.status, run.dead_lettered_count) == ("partial", 1)
    assert (entry.status, entry.attempt_count, entry.failure_count) == (EntryStatus.OPEN, 2, 2)
    assert entry.source_row == before.source_row
    assert entry.content_hash == before.content_hash
    assert json.loads(entry.payload)["age"] == (41 if mode == ReprocessMode.EDITED else -1)
    assert edits.ready(entry) is None
    assert set(PayloadEdit.objects.values_list("state", flat=True)) <= {EditState.USED}
    assert [event.kind for event in entry.events.order_by("pk")][-2:] == [EventKind.QUEUED, EventKind.FAILED]
    world.destination.bad = {}
    assert world.run().skipped_count == 1  # the warehouse row is still the refused one
    world.sql("UPDATE people SET age = 5 WHERE id = 2")
    assert world.run().accepted_count == 1
    assert the_entry().status == EntryStatus.RESOLVED
    assert groups.recount(world.sync) == 0


def test_a_correction_that_was_never_sent_waits_again(world: World) -> None:
    edit = correct(the_entry())
    run = entries.reprocess(DLQEntry.objects.all(), by=None, mode=ReprocessMode.EDITED, door=Door.CLI).runs[0]
    edit.refresh_from_db()
    assert (edit.state, edit.used_run_id) == (EditState.USED, run.pk)
    assert runs.cancel(run, by=None)
    assert edits.ready(the_entry()) == edit


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (ReprocessMode.EDITED, "1 have no correction that was made for their last failure"),
        (ReprocessMode.PAYLOAD, "1 were refused before anything was sent"),
    ],
)
def test_without_anything_to_send_it_is_left_out(world: World, mode: ReprocessMode, said: str) -> None:
    correct(the_entry())
    DLQEntry.objects.update(last_failed_at=timezone.now() + timedelta(seconds=1), payload="")
    result = entries.reprocess(DLQEntry.objects.all(), by=None, mode=mode, door=Door.CLI)
    assert (result.taken, result.runs) == (0, ())
    assert [str(one)[: len(said)] for one in result.left_out] == [said]
    assert the_entry().status == EntryStatus.OPEN
    assert not Run.objects.filter(trigger="reprocess").exists()


def overtake(entry: DLQEntry) -> None:
    DeliveredRow.objects.filter(sync_id=entry.sync_id, row_key=entry.row_key).update(
        payload_hash=99, accepted_at=entry.last_failed_at + timedelta(seconds=1)
    )


@pytest.mark.parametrize("mode", [ReprocessMode.STORED, *AS_THEY_ARE])
def test_stored_content_is_not_queued_over_newer_data(world: World, mode: ReprocessMode) -> None:
    if mode == ReprocessMode.EDITED:
        correct(the_entry())
    overtake(the_entry())
    result = entries.reprocess(DLQEntry.objects.all(), by=None, mode=mode, door=Door.CLI)
    assert result.taken == 0
    assert "a newer version of the row has been delivered since" in str(result.left_out[0])
    assert the_entry().status == EntryStatus.OPEN
    assert entries.reprocess(DLQEntry.objects.all(), by=None, door=Door.CLI).taken == 1  # today's row may go


@pytest.mark.parametrize("mode", [ReprocessMode.STORED, *AS_THEY_ARE])
def test_newer_data_that_lands_while_it_waits_supersedes_it(world: World, mode: ReprocessMode) -> None:
    if mode == ReprocessMode.EDITED:
        correct(the_entry())
    run = entries.reprocess(DLQEntry.objects.all(), by=None, mode=mode, door=Door.CLI).runs[0]
    overtake(the_entry())
    calls = len(world.destination.calls)
    run = world.work(run)
    entry = the_entry()
    assert len(world.destination.calls) == calls
    assert (entry.status, run.read_count, run.status) == (EntryStatus.SUPERSEDED, 0, "succeeded")
    assert entry.events.latest("pk").kind == EventKind.SUPERSEDED
    assert entry.closed_at is not None
    assert edits.standing(entry) is None
    assert groups.recount(world.sync) == 0


@pytest.mark.parametrize("mode", AS_THEY_ARE)
def test_an_interrupted_run_sends_each_payload_once_and_counts_all(tmp_path: Path, mode: ReprocessMode) -> None:
    world = World(tmp_path, [(n, f"name {n}", n) for n in range(1, 8)], batch_records=2)
    world.destination.bad = {str(n): BAD for n in range(1, 8)}
    world.run()
    world.destination.bad = {"3": BAD}
    if mode == ReprocessMode.EDITED:
        for entry in DLQEntry.objects.select_related("version"):
            correct(entry, age=100 + int(entry.row_key))
    run = entries.reprocess(DLQEntry.objects.all(), by=None, mode=mode, door=Door.CLI).runs[0]
    receipts = len(world.destination.receipts)
    calls = {"n": 0}

    def drain_at_the_second(batch: Any) -> BatchResult | None:
        calls["n"] += 1
        if calls["n"] == 2:
            leases.DRAIN.set()
        return None

    world.destination.behave = drain_at_the_second
    claim = runs.claim(run_id=run.pk, worker="first")
    assert claim is not None
    from syncs.services import execution

    try:
        execution.execute(claim)
    finally:
        leases.DRAIN.clear()
    run.refresh_from_db()
    assert run.status == "queued"
    world.destination.behave = None
    run = world.work(run)
    assert (run.read_count, run.accepted_count, run.dead_lettered_count) == (7, 6, 1)
    sent = [key for key, _, _ in world.destination.receipts[receipts:]]
    assert sorted(sent) == ["1", "2", "4", "5", "6", "7"]
    assert dict(DLQEntry.objects.values_list("row_key", "status"))["3"] == "open"
    assert DLQEntry.objects.filter(status="resolved").count() == 6
    assert groups.recount(world.sync) == 0


@pytest.mark.parametrize("text", ["not json", "[1]", '{"a":' * 5_000 + "1" + "}" * 5_000])
def test_a_stored_text_that_is_no_payload_is_refused_as_a_value(world: World, text: str) -> None:
    DLQEntry.objects.update(payload=text)
    run = send(world, ReprocessMode.PAYLOAD)
    entry = the_entry()
    assert (run.status, entry.status, entry.error_code) == ("partial", EntryStatus.OPEN, "not_json")
    assert entry.payload == text


def test_an_operation_that_the_destination_lost_is_refused_as_a_value(world: World) -> None:
    DLQEntry.objects.update(operation="insert")
    capabilities = world.destination.capabilities
    world.destination.capabilities = type(capabilities)(
        capabilities.operations - {Operation.INSERT}, capabilities.idempotent - {Operation.INSERT}
    )
    send(world, ReprocessMode.PAYLOAD)
    assert "has no operation insert any more" in the_entry().message


# --- rows that have left the warehouse


@pytest.fixture
def gone(world: World) -> World:
    world.sql("DELETE FROM people WHERE id = 2")
    world.work(entries.reprocess(DLQEntry.objects.all(), by=None, door=Door.CLI).runs[0])
    return world


def test_a_row_that_has_left_the_warehouse_stays_open_and_says_so(gone: World) -> None:
    entry = the_entry()
    assert (entry.status, entry.row_state) == (EntryStatus.OPEN, RowState.GONE)
    assert entry.row_checked_at is not None
    assert entry.events.latest("pk").kind == EventKind.GONE


def test_it_can_be_deleted_at_the_destination(gone: World) -> None:
    gone.destination.rows["2"] = {"id": 2, "age": 1}  # an older version was accepted once
    result = entries.delete_at_destination(DLQEntry.objects.all(), by=None, reason="left us", door=Door.CLI)
    run = gone.work(result.runs[0])
    entry = the_entry()
    assert (run.accepted_count, run.deleted_count) == (1, 1)
    assert "2" not in gone.destination.rows
    assert (entry.status, entry.resolved_run_id) == (EntryStatus.RESOLVED, run.pk)
    assert not DeliveredRow.objects.filter(sync=gone.sync, row_key="2").exists()
    with sqlite3.connect(gone.warehouse) as database:
        database.execute("INSERT INTO people VALUES (2, 'Bo', 9)")
    database.close()
    gone.run()
    assert gone.destination.rows["2"]["age"] == 9  # back in the warehouse, it is delivered as a new row


def test_a_row_that_is_back_by_then_is_not_deleted(gone: World) -> None:
    result = entries.delete_at_destination(DLQEntry.objects.all(), by=None, reason="left us", door=Door.CLI)
    gone.write_rows([(2, "Bo", 9)])
    calls = len(gone.destination.calls)
    gone.work(result.runs[0])
    entry = the_entry()
    assert len(gone.destination.calls) == calls
    assert (entry.status, entry.row_state) == (EntryStatus.OPEN, RowState.UNKNOWN)
    assert "has the row again" in entry.events.latest("pk").reason


def test_a_refused_delete_keeps_the_row_that_was_read(gone: World) -> None:
    before = the_entry().source_row
    gone.destination.bad = {"2": BAD}
    result = entries.delete_at_destination(DLQEntry.objects.all(), by=None, reason="left us", door=Door.CLI)
    gone.work(result.runs[0])
    entry = the_entry()
    assert (entry.status, entry.operation, entry.source_row) == (EntryStatus.OPEN, "delete", before)
    assert entry.row_state == RowState.GONE


def test_only_what_is_known_to_be_gone_is_deleted_where_the_destination_can(world: World) -> None:
    def ask() -> Any:
        return entries.delete_at_destination(DLQEntry.objects.all(), by=None, reason="left us", door=Door.CLI)

    assert "not known to have left the warehouse" in str(ask().left_out[0])
    DLQEntry.objects.update(row_state=RowState.GONE)
    everything = world.destination.capabilities
    world.destination.capabilities = type(everything)(everything.operations - {Operation.DELETE}, everything.idempotent)
    assert "has no operation to delete" in str(ask().left_out[0])
    assert the_entry().status == EntryStatus.OPEN


def test_a_refused_delete_is_sent_again_as_a_payload(tmp_path: Path) -> None:
    world = World(tmp_path, [(n, "x", n) for n in range(1, 6)], mode="mirror", delete_guard_percent=100)
    world.run()
    world.sql("DELETE FROM people WHERE id = 4")
    world.destination.bad = {"4": BAD}
    world.run()
    world.destination.bad = {}
    run = send(world, ReprocessMode.PAYLOAD)
    assert (run.accepted_count, run.deleted_count) == (1, 1)
    assert "4" not in world.destination.rows
    assert the_entry().status == EntryStatus.RESOLVED
    assert not DeliveredRow.objects.filter(sync=world.sync, row_key="4").exists()


def test_the_selection_of_a_run_of_payloads_needs_no_rows(world: World) -> None:
    for mode in ReprocessMode:
        run = Run(sync=world.sync, options={"mode": mode.value})
        assert EntrySelection(run).reads_warehouse == (mode not in AS_THEY_ARE)
