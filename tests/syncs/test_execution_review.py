"""What must not be lost or doubled when settings change between runs, or when a run reads only a part. Real database."""

from __future__ import annotations

import pytest
from django.utils import timezone

from dlq.choices import Door, EntryStatus, ReprocessMode
from dlq.models import DLQEntry
from dlq.services import entries
from syncs.choices import ConnectionRole, RunStatus, StepStatus, Trigger
from syncs.errors import ErrorType
from syncs.models import Connection, DeliveredRow, Run, Step, Sync
from syncs.records import Batch, BatchResult, RowError, Signal
from syncs.services import runs
from tests import memory_destination
from tests.factories import World
from tests.fakes import FakeDestination, invalid

pytestmark = pytest.mark.django_db(transaction=True)
BUSY = RowError(ErrorType.TIMEOUT, "no answer in time")


def people(count: int) -> list[tuple]:
    return [(number, f"name {number}", number) for number in range(1, count + 1)]


def watermark_world(folder, count: int = 20, **sync) -> World:
    return World(folder, people(count), detection="watermark", cursor_column="age", **sync)


def edit(world: World, **values) -> None:
    Sync.objects.filter(pk=world.sync.pk).update(**values)
    world.sync.refresh_from_db()


def second_destination(world: World) -> FakeDestination:
    """Point the sync to another connection."""
    other = FakeDestination()
    name = f"other-{world.sync.pk}"
    memory_destination.STORES[name] = other
    target = Connection.objects.create(name=name, role=ConnectionRole.DESTINATION, kind="memory", config={"name": name})
    edit(world, destination=target)
    return other


# -- the watermark


def test_a_limited_run_does_not_move_the_watermark_past_rows_it_never_read(tmp_path):
    world = watermark_world(tmp_path)
    world.sql("UPDATE people SET age = 100 - id")  # the first rows by key are the newest
    world.run(limit=3)
    assert len(world.destination.rows) == 3
    world.run()
    assert len(world.destination.rows) == 20


def test_rows_at_the_watermark_itself_and_rows_without_a_cursor_are_read_again(tmp_path):
    world = watermark_world(tmp_path)
    world.sql("UPDATE people SET age = '2026-01-01'")
    world.sync.mappings.filter(destination_field="age").update(type="string")
    world.run()
    world.write_rows([(21, "same moment", "2026-01-01"), (22, "no moment", None)])
    run = world.run()
    assert run.accepted_count == 2
    assert {"21", "22"} <= world.destination.rows.keys()


@pytest.mark.parametrize(
    "change",
    [{"cursor_column": "name"}, {"query": "SELECT id, name, age FROM people WHERE 1 = 1"}],
    ids=["cursor column", "query"],
)
def test_a_watermark_of_another_column_or_query_is_not_compared_with(tmp_path, change):
    world = watermark_world(tmp_path, query="SELECT id, name, age FROM people WHERE id <> 5")
    world.run()
    world.sql("UPDATE people SET name = ''")
    edit(world, **change)
    run = world.run()
    assert run.status == RunStatus.SUCCEEDED, run.failure_message
    assert run.read_count == 19 + ("query" in change)
    assert world.destination.rows["3"]["name"] == ""


def test_a_row_that_failed_for_a_moment_and_is_new_as_well_is_read_once(tmp_path):
    world = watermark_world(tmp_path)
    world.destination.bad = {"20": BUSY}
    edit(world, max_attempts=1)
    world.run()
    entry = DLQEntry.objects.get()
    assert (entry.row_key, entry.is_permanent) == ("20", False)
    world.destination.bad = {}
    calls = len(world.destination.calls)
    run = world.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.SUCCEEDED, 1, 0)
    assert world.destination.calls[calls:] == [["20"]]
    assert not DLQEntry.objects.filter(error_type=ErrorType.INVALID_KEY).exists()


def test_cursor_values_that_cannot_be_compared_fail_the_run_by_name(tmp_path):
    world = watermark_world(tmp_path)
    world.sql("UPDATE people SET age = 'soon' WHERE id = 7")
    world.sync.mappings.filter(destination_field="age").delete()
    run = world.run()
    assert run.status == RunStatus.FAILED
    assert "age" in run.failure_message
    assert "unforeseen" not in run.failure_message


def test_a_watermark_run_repeats_the_call_that_a_cancelled_run_left_unanswered(tmp_path):
    world = watermark_world(tmp_path)
    world.run()
    world.write_rows([(21, "new", 21)])
    lost = Run.objects.create(
        sync=world.sync, version=world.sync.versions.last(), status=RunStatus.CANCELLED, finished_at=timezone.now()
    )
    send = {"operation": "upsert", "keys": ["21"], "idempotency_key": "k", "attempt": 1, "crash_count": 0}
    step = Step.objects.create(
        run=lost, number=1, kind="upload", status=StepStatus.INFLIGHT, started_at=timezone.now(),
        sends=[send | {"is_under_way": True, "may_have_landed": True}],
    )  # fmt: skip
    assert world.run().accepted_count == 1
    step.refresh_from_db()
    assert step.status == StepStatus.INTERRUPTED
    assert not Step.objects.filter(status=StepStatus.INFLIGHT).exists()


# -- the ledger speaks of one destination


def test_another_destination_gets_every_row_and_closes_the_dead_letters_it_takes(tmp_path):
    world = World(tmp_path, people(30))
    world.destination.bad = {"3": invalid()}
    world.run()
    other = second_destination(world)
    run = world.run()
    assert (run.status, run.accepted_count) == (RunStatus.SUCCEEDED, 30)
    assert len(other.rows) == 30
    assert DLQEntry.objects.get().status == EntryStatus.RESOLVED
    assert world.run().unchanged_count == 30


def test_another_destination_is_filled_though_a_run_to_it_failed_before_it_sent_anything(tmp_path):
    world = World(tmp_path, people(5))
    world.run()
    other = second_destination(world)
    query = world.sync.query
    edit(world, query="SELECT nothing FROM nowhere")
    assert world.run().status == RunStatus.FAILED
    edit(world, query=query)
    world.run()
    assert len(other.rows) == 5


def test_a_mirror_deletes_nothing_at_a_destination_it_never_wrote_to(tmp_path):
    world = World(tmp_path, people(5), mode="mirror", delete_guard_percent=100)
    world.run()
    world.sql("DELETE FROM people WHERE id = 5")
    other = second_destination(world)
    run = world.run()
    assert (run.vanished_count, len(other.rows)) == (0, 4)


def test_a_watermark_does_not_hide_old_rows_from_another_destination(tmp_path):
    world = watermark_world(tmp_path)
    world.run()
    other = second_destination(world)
    world.run()
    assert len(other.rows) == 20


def test_rows_are_deleted_after_a_change_from_upsert_to_delete(tmp_path):
    world = World(tmp_path, people(5))
    world.run()
    edit(world, mode="delete")
    assert world.run().deleted_count == 5
    assert not world.destination.rows


def test_a_queued_run_writes_to_the_destination_of_its_version(tmp_path):
    world = World(tmp_path, people(5))
    queued = runs.request(sync=world.sync, trigger=Trigger.MANUAL)
    other = second_destination(world)
    world.work(queued)
    assert (len(world.destination.rows), len(other.rows)) == (5, 0)
    world.run()
    assert len(other.rows) == 5


def test_a_dead_letter_whose_key_had_other_columns_is_left_open_not_a_fault(tmp_path):
    world = World(tmp_path, people(5))
    world.destination.bad = {"3": invalid()}
    world.run()
    edit(world, key_columns="id,name")
    result = entries.reprocess(DLQEntry.objects.all(), by=None, door=Door.CLI)
    run = world.work(result.runs[0])
    assert run.status == RunStatus.SUCCEEDED, run.failure_message
    assert DLQEntry.objects.get().status == EntryStatus.OPEN


# -- mirror: what was approved, what was refused


def test_an_approval_of_deletes_waits_for_the_run_that_reads_every_row(tmp_path):
    world = World(tmp_path, people(10), mode="mirror")
    world.run()
    edit(world, approved_delete_count=7)
    world.run(keys=["3"])
    world.sync.refresh_from_db()
    assert world.sync.approved_delete_count == 7
    world.run()
    world.sync.refresh_from_db()
    assert world.sync.approved_delete_count is None


@pytest.mark.parametrize("mode", [ReprocessMode.CURRENT, ReprocessMode.STORED])
def test_a_refused_delete_is_tried_again_after_a_reprocess(tmp_path, mode):
    world = World(tmp_path, people(5), mode="mirror", delete_guard_percent=100)
    world.run()
    world.sql("DELETE FROM people WHERE id = 4")
    world.destination.bad = {"4": invalid("still referenced")}
    world.run()
    entry = DLQEntry.objects.get()
    assert entry.operation == "delete"
    world.destination.bad = {}
    assert world.run().deleted_count == 0
    world.work(entries.reprocess(DLQEntry.objects.all(), by=None, mode=mode, door=Door.CLI).runs[0])
    assert world.run().deleted_count == 1
    entry.refresh_from_db()
    assert entry.status == EntryStatus.RESOLVED
    assert DLQEntry.objects.count() == 1


# -- counts of a run with several workers


def drained(world: World, run: Run) -> None:
    """Work on the run until its second call, then take it away as a drain does."""
    from syncs.services import leases

    calls = {"n": 0}

    def behave(batch: Batch) -> BatchResult | None:
        calls["n"] += 1
        if calls["n"] == 2:
            leases.DRAIN.set()
            return BatchResult([], Signal.RATE_LIMITED, None, 0.01)
        return None

    world.destination.behave = behave
    try:
        world.work(run)
    finally:
        leases.DRAIN.clear()
        world.destination.behave = None
    assert run.status == RunStatus.QUEUED


def test_a_reprocess_that_changed_its_worker_counts_what_both_did(tmp_path):
    world = World(tmp_path, people(30), batch_records=10)
    world.destination.bad = {str(number): invalid() for number in range(1, 31)}
    world.run()
    world.destination.bad = {}
    run = entries.reprocess(DLQEntry.objects.all(), by=None, door=Door.CLI).runs[0]
    drained(world, run)
    assert 0 < run.accepted_count < 30
    first_requests = run.request_count
    world.work(run)
    assert (run.status, run.read_count, run.accepted_count) == (RunStatus.SUCCEEDED, 30, 30)
    assert run.request_count > first_requests
    assert DLQEntry.objects.filter(resolved_run=run).count() == 30


def test_a_run_whose_next_worker_cannot_begin_keeps_its_counts(tmp_path):
    world = World(tmp_path, people(30), batch_records=10)
    run = runs.request(sync=world.sync, trigger=Trigger.MANUAL)
    drained(world, run)
    accepted = run.accepted_count
    assert accepted
    world.sql("ALTER TABLE people RENAME TO persons")
    world.work(run)
    assert (run.status, run.accepted_count) == (RunStatus.FAILED, accepted)


def test_a_reason_with_characters_no_database_stores_still_ends_the_run(tmp_path):
    world = World(tmp_path, people(3))
    error = RowError(ErrorType.AUTH, "bad\x00 \ud800 token", code="bad\x00", excerpt="\ud800")
    world.destination.behave = lambda batch: BatchResult([], Signal.AUTH, error)
    run = world.run()
    assert (run.status, run.failure_code) == (RunStatus.FAILED, "bad")
    assert "token" in run.failure_message


# -- older data never overwrites newer data


def test_a_discarded_dead_letter_that_newer_data_overtook_is_not_reopened(tmp_path):
    world = World(tmp_path, people(5))
    world.destination.bad = {"3": invalid()}
    world.run()
    entries.discard(DLQEntry.objects.all(), by=None, reason="known", door=Door.CLI)
    world.destination.bad = {}
    world.sql("UPDATE people SET name = 'newer' WHERE id = 3")
    world.run()
    assert DeliveredRow.objects.get(row_key="3").held_hash is None
    result = entries.reopen(DLQEntry.objects.all(), by=None, door=Door.CLI)
    assert result.taken == 0
    assert "newer version" in str(result.left_out[0])
