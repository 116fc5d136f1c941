"""Reprocess in waves, with real runs between: what is resolved, when it halts, and how it goes with the schedule."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from dlq.choices import Door, EntryStatus, ItemOutcome, ReprocessMode, RowState
from dlq.models import BulkItem, BulkOperation, DLQEntry, DLQEvent
from dlq.services import edits, entries, groups, operations, rowcheck, snapshots, tally
from dlq.services.entry_filter import EntryFilter
from dlq.services.operations.wave import Wave, halt_reason
from dlq.services.snapshots import BulkKind
from syncs.choices import OverlapPolicy, ScheduleKind, Trigger
from syncs.errors import ErrorType
from syncs.models import DeliveredRow, Run, Sync
from syncs.records import Batch, RowError, Signal
from syncs.services import execution, runs, schedules, worker
from tests.factories import World
from tests.fakes import no_answer

pytestmark = pytest.mark.django_db(transaction=True)

BAD = RowError(ErrorType.VALIDATION, "Property age is not valid", code="E1", field="age", http_status=422)
OTHER = RowError(ErrorType.FIELD_PERMISSION, "Property age may not be written", code="E2", field="age", http_status=403)


def broken_world(folder: Path, count: int, **sync: object) -> World:
    """Each row was refused once and is a dead letter."""
    world = World(folder, [(n, f"name {n}", n % 90) for n in range(1, count + 1)], **sync)
    world.destination.bad = {str(n): BAD for n in range(1, count + 1)}
    world.run()
    world.destination.calls.clear()
    assert DLQEntry.objects.filter(sync=world.sync).open().count() == count
    return world


def reprocess(by: User, found: EntryFilter = EntryFilter(), **chosen: object) -> BulkOperation:  # noqa: B008 - frozen
    snapshot = snapshots.take(BulkKind.REPROCESS, found, user=by)
    return operations.create(snapshot, by=by, reason="T-2", door=Door.ADMIN, **chosen)


def work_off(operation: BulkOperation) -> BulkOperation:
    """As ``retl_worker --once``: runs and operations in turn, until nothing is left."""
    worker.until_idle()
    operation.refresh_from_db()
    return operation


def one_wave(operation: BulkOperation) -> list[Run]:
    """Send the next wave; its runs wait."""
    while operations.advance(operation.pk):
        pass
    operation.refresh_from_db()
    return list(Run.objects.filter(options__operation=operation.pk, status="queued"))


def execute(run: Run) -> None:
    claim = runs.claim(run_id=run.pk, worker="test")
    assert claim is not None
    execution.execute(claim)


def outcomes(operation: BulkOperation) -> dict[str, int]:
    return dict(Counter(BulkItem.objects.filter(operation=operation).values_list("outcome", flat=True)))


def assert_books_balance(operation: BulkOperation) -> None:
    for sync in Sync.objects.all():
        assert groups.recount(sync) == 0
    assert tally.verify() == []
    progress = operations.progress(operation)
    assert {name.value: count for name, count in progress.counts.items() if count} == outcomes(operation)
    for name in ("done", "refused", "gone"):
        assert sum(getattr(wave, name) for wave in progress.waves) == getattr(operation, f"{name}_count")


@pytest.mark.once("postgresql")
def test_one_row_in_ten_repaired_resolves_exactly_those(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 2_000)
    fixed = {str(n) for n in range(1_801, 2_001)}  # the last ones: not among the first of any order by id
    for key in fixed:
        del world.destination.bad[key]
    operation = work_off(reprocess(ana))
    assert (operation.status, operation.message) == ("finished", "")
    assert outcomes(operation) == {"done": 200, "refused": 1_800}
    assert set(DLQEntry.objects.filter(status="resolved").values_list("row_key", flat=True)) == fixed
    assert set(world.destination.rows) == fixed
    assert Counter(key for call in world.destination.calls for key in call) == {str(n): 1 for n in range(1, 2_001)}
    assert [wave.sent for wave in Wave.of(operation)] == [1, 10, 100, 1_000, 889]
    assert set(BulkItem.objects.filter(outcome="refused").values_list("note", flat=True)) == {
        "Refused again with the same error."
    }
    assert_books_balance(operation)


def test_nothing_repaired_halts_after_the_first_hundred_or_so(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 600)
    operation = work_off(reprocess(ana))
    assert operation.status == "halted"
    assert operation.message.startswith("Waves 1 to 3: 111 of 111 were refused again with the same error.")
    assert sum(len(call) for call in world.destination.calls) == 111
    assert outcomes(operation) == {"refused": 111, "pending": 489}
    assert DLQEntry.objects.open().count() == 600
    assert work_off(operation).status == "halted", "only a person lets it go on"
    assert_books_balance(operation)

    world.destination.bad.clear()
    assert operations.resume(operation, by=ana)
    work_off(operation)
    assert operation.status == "finished"
    assert outcomes(operation) == {"refused": 111, "done": 489}
    assert [wave.sent for wave in Wave.of(operation)] == [1, 10, 100, 1, 10, 100, 378], "small again after the halt"
    assert_books_balance(operation)


def test_refused_with_another_error_is_said_so_and_halts_too(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 300)
    world.destination.bad = dict.fromkeys(world.destination.bad, OTHER)
    operation = work_off(reprocess(ana))
    assert operation.status == "halted"
    assert "all 111 were refused again, 111 with another error than before" in operation.message
    assert_books_balance(operation)


def test_share_below_a_hundred_is_judged_on_ten(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 60)
    world.destination.bad = {key: error for key, error in world.destination.bad.items() if int(key) % 2}
    operation = work_off(reprocess(ana, halt_percent=20, waves=[10]))
    assert operation.status == "halted"
    assert operation.message.startswith("Wave 1: ")
    assert operation.refused_count + operation.done_count == 10


def test_rule_of_the_halt():
    def waves(*counts: tuple[int, int, int]) -> list[Wave]:
        """(resolved, refused with the same error, refused with another)."""
        return [
            Wave(number, sum(one), "", done=one[0], refused=one[1] + one[2], same=one[1])
            for number, one in enumerate(counts, start=1)
        ]

    def says(*counts: tuple[int, int, int], after: int = 0, percent: int = 100) -> str:
        return halt_reason(waves(*counts), after=after, percent=percent)

    assert says((0, 1, 0)) == ""
    assert says((0, 1, 0), (0, 10, 0)) == ""
    assert says((0, 1, 0), (0, 10, 0), (0, 100, 0)).startswith("Waves 1 to 3: 111 of 111")
    assert says((0, 1, 0), (0, 10, 0), (1, 99, 0)) == ""
    assert says((0, 1, 0), (0, 10, 0), (0, 60, 40)).startswith("Waves 1 to 3: all 111 were refused again, 40 with another")
    assert says((1, 0, 0), (5, 5, 0), (50, 50, 0), (0, 1000, 0)).startswith("Wave 4: 1,000 of 1,000")
    assert says((1, 0, 0), (5, 5, 0), (50, 50, 0), (1, 999, 0)) == ""
    assert says((0, 111, 0), (0, 1, 0), after=1) == "", "decided on before"
    assert says((0, 111, 0), (0, 100, 0), after=1).startswith("Wave 2")
    assert says((9, 1, 0), percent=10).startswith("Wave 1: 1 of 10")
    assert says((9, 1, 0), percent=11) == ""
    assert says((0, 0, 0)) == ""


def test_row_that_left_the_warehouse_is_gone(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 5)
    world.destination.bad.clear()
    world.sql("DELETE FROM people WHERE id = 3")
    operation = work_off(reprocess(ana))
    assert outcomes(operation) == {"done": 4, "gone": 1}
    assert BulkItem.objects.get(outcome="gone").entry.row_key == "3"
    assert DLQEntry.objects.get(row_key="3").status == EntryStatus.OPEN
    assert_books_balance(operation)


def test_waves_go_over_several_syncs_with_a_run_each(tmp_path: Path, ana: User):
    worlds = [broken_world(tmp_path, 20) for _ in range(3)]
    worlds[0].destination.bad.clear()
    Sync.objects.filter(pk=worlds[2].sync.pk).update(is_archived=True)
    operation = work_off(reprocess(ana, waves=[60]))
    assert outcomes(operation) == {"done": 20, "refused": 20, "left_out": 20}
    (wave,) = Wave.of(operation)
    assert sorted(Run.objects.filter(pk__in=wave.runs).values_list("sync", flat=True)) == [w.sync.pk for w in worlds[:2]]
    assert all("archived" in note for note in BulkItem.objects.filter(outcome="left_out").values_list("note", flat=True))
    assert_books_balance(operation)


def test_entry_that_a_scheduled_run_delivers_before_its_wave_is_left_out(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 20)
    operation = reprocess(ana, waves=[5])
    (run,) = one_wave(operation)
    execute(run)
    world.destination.bad.clear()
    waiting = BulkItem.objects.filter(outcome="pending").first()
    assert waiting is not None
    world.sql("UPDATE people SET age = 77 WHERE id = ?", int(waiting.entry.row_key))
    world.run()
    work_off(operation)
    waiting.refresh_from_db()
    assert (waiting.outcome, waiting.note) == ("left_out", "It is resolved: a run has delivered the row.")
    assert world.destination.rows[waiting.entry.row_key]["age"] == 77
    assert sum(waiting.entry.row_key in call for call in world.destination.calls) == 1
    assert_books_balance(operation)


def test_stored_rows_never_go_over_newer_data(tmp_path: Path, ana: User):
    """A row that a run has delivered since closes its entry, so that a stored one is not sent any more."""
    world = broken_world(tmp_path, 3)
    snapshot = snapshots.take(BulkKind.REPROCESS, EntryFilter(), user=ana)
    world.destination.bad.clear()
    world.sql("UPDATE people SET age = 88 WHERE id = 2")
    world.run()
    operation = operations.create(snapshot, by=ana, reason="", door=Door.ADMIN, mode=ReprocessMode.STORED)
    work_off(operation)
    assert world.destination.rows["2"]["age"] == 88
    assert (operation.status, operation.member_count, operation.done_count) == ("finished", 2, 2)
    assert_books_balance(operation)


def test_stored_row_that_was_overtaken_is_left_out(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 2)
    world.destination.bad.clear()
    later = timezone.now() + timedelta(seconds=5)
    DeliveredRow.objects.filter(sync=world.sync, row_key="1").update(payload_hash=1, accepted_at=later)
    operation = work_off(reprocess(ana, mode=ReprocessMode.STORED))
    assert outcomes(operation) == {"done": 1, "left_out": 1}
    assert BulkItem.objects.get(outcome="left_out").note == "A newer version of the row has been delivered since."
    assert set(world.destination.rows) == {"2"}
    assert_books_balance(operation)


def test_corrected_payloads_are_sent_and_entries_without_one_are_left_out(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 2)
    world.destination.bad.clear()
    entry = DLQEntry.objects.get(row_key="1")
    text = json.dumps(entry.payload_values | {"age": 41})
    edits.save(entry, text=text, reason="typo", by=ana, door=Door.ADMIN, seen_failed_at=entry.last_failed_at)
    operation = work_off(reprocess(ana, mode=ReprocessMode.EDITED))
    assert outcomes(operation) == {"done": 1, "left_out": 1}
    assert "no correction" in BulkItem.objects.get(outcome="left_out").note
    assert world.destination.rows == {"1": {"id": 1, "name": "name 1", "age": 41}}
    assert_books_balance(operation)


def test_cancelled_run_halts_it_and_its_rows_are_sent_after_resuming(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 8)
    world.destination.bad.clear()
    operation = reprocess(ana, waves=[5])
    (run,) = one_wave(operation)
    assert outcomes(operation) == {"sent": 5, "pending": 3}
    runs.cancel(run, by=ana)
    work_off(operation)
    assert operation.status == "halted"
    assert operation.message.startswith(f"Run {run.pk} of wave 1 was cancelled; 5 rows it did not get to are pending again.")
    assert outcomes(operation) == {"pending": 8}
    operations.resume(operation, by=ana)
    work_off(operation)
    assert outcomes(operation) == {"done": 8}
    assert_books_balance(operation)


def test_failed_run_halts_it_naming_the_run_and_the_cause(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 4)
    Sync.objects.filter(pk=world.sync.pk).update(query="SELECT id, name FROM people", max_attempts=1)
    operation = work_off(reprocess(ana, waves=[2]))
    run = Run.objects.get(options__operation=operation.pk)
    assert (operation.status, run.status) == ("halted", "failed")
    assert f"Run {run.pk} of wave 1 failed" in operation.message
    assert run.failure_message[:40] in operation.message
    assert DLQEntry.objects.open().count() == 4
    assert_books_balance(operation)


def test_cancelling_takes_back_what_waits_and_keeps_what_was_done(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 9)
    world.destination.bad.clear()
    operation = reprocess(ana, waves=[3])
    execute(*one_wave(operation))
    (second,) = one_wave(operation)
    assert operations.cancel(operation, by=ana)
    while operations.advance(operation.pk):
        pass
    work_off(operation)
    second.refresh_from_db()
    assert (operation.status, second.status) == ("cancelled", "cancelled")
    assert outcomes(operation) == {"done": 3, "not_reached": 6}
    assert set(DLQEntry.objects.values_list("status", flat=True)) == {"resolved", "open"}
    assert sum(len(call) for call in world.destination.calls) == 3
    assert_books_balance(operation)


def test_cancelling_lets_a_running_run_end_its_batches(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 9, batch_records=1)
    operation = reprocess(ana, waves=[6])
    (run,) = one_wave(operation)
    world.destination.bad.clear()

    def cancel_meanwhile(batch: Batch) -> None:
        operations.cancel(operation, by=ana)
        while operations.advance(operation.pk):
            pass
        connection.close()  # of the sending thread

    world.destination.behave = cancel_meanwhile
    execute(run)
    run.refresh_from_db()
    assert run.cancel_requested_at is not None
    work_off(operation)
    assert operation.status == "cancelled"
    assert operation.done_count == len(world.destination.rows) >= 1
    assert outcomes(operation) == {"done": operation.done_count, "not_reached": 9 - operation.done_count}
    assert_books_balance(operation)


def test_paused_while_a_wave_is_out_it_settles_that_wave_and_sends_no_other(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 9)
    world.destination.bad.clear()
    operation = reprocess(ana, waves=[3])
    (run,) = one_wave(operation)
    assert operations.pause(operation, by=ana)
    work_off(operation)
    run.refresh_from_db()
    assert (operation.status, run.status) == ("paused", "succeeded")
    assert outcomes(operation) == {"done": 3, "pending": 6}
    operations.resume(operation, by=ana)
    assert work_off(operation).done_count == 9


def test_discarded_by_somebody_while_it_waits_for_its_wave(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 6)
    world.destination.bad.clear()
    operation = reprocess(ana, waves=[2])
    execute(*one_wave(operation))
    waiting = BulkItem.objects.filter(outcome="pending").first()
    assert waiting is not None
    entries.discard(DLQEntry.objects.filter(pk=waiting.entry_id), by=None, reason="no", door=Door.ADMIN)
    work_off(operation)
    waiting.refresh_from_db()
    assert (waiting.outcome, waiting.note) == ("left_out", "It is discarded.")
    assert outcomes(operation) == {"done": 5, "left_out": 1}
    assert waiting.entry.row_key not in world.destination.rows


def test_without_a_usable_key_it_is_left_out(tmp_path: Path, ana: User):
    world = World(tmp_path, [(1, "Ana", 1), (None, "Bo", 2)])
    world.run()
    operation = work_off(reprocess(ana))
    assert outcomes(operation) == {"left_out": 1}
    assert "no usable row key" in BulkItem.objects.get().note
    assert (operation.status, operation.wave_number) == ("finished", 0)


def test_own_pace_makes_waves_smaller_and_lets_a_minute_pass(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 9)
    world.destination.bad.clear()
    operation = work_off(reprocess(ana, waves=[5], rows_per_minute=3))
    assert (operation.status, operation.done_count) == ("running", 3)
    assert operation.next_wave_at is not None
    assert timedelta(seconds=50) < operation.next_wave_at - timezone.now() <= timedelta(minutes=1)
    assert operations.progress(operation).phase == "waiting"
    assert operations.advance_due() == 0
    BulkOperation.objects.filter(pk=operation.pk).update(next_wave_at=timezone.now())
    assert work_off(operation).done_count == 6


def test_scheduled_runs_and_waves_take_turns(tmp_path: Path, ana: User):
    now = timezone.now()
    world = broken_world(
        tmp_path,
        6,
        schedule_kind=ScheduleKind.INTERVAL,
        interval_minutes=1,
        next_run_at=now + timedelta(minutes=1),
        overlap_policy=OverlapPolicy.SKIP,
    )
    world.destination.bad.clear()
    operation = reprocess(ana, waves=[2])
    order = []
    for minute in range(1, 4):
        (wave,) = one_wave(operation)
        (scheduled,) = schedules.start_due(now=now + timedelta(minutes=minute, seconds=1))
        assert scheduled.status == "queued", "a wave does not use up a slot"
        for _ in range(2):
            claim = runs.claim(worker="test")
            assert claim is not None
            execution.execute(claim)
            order.append(claim.run_id)
        assert order[-2:] == [wave.pk, scheduled.pk], "the one that waited longer is first"
    assert work_off(operation).status == "finished"
    assert Counter(Run.objects.filter(pk__in=order).values_list("trigger", flat=True)) == {
        Trigger.REPROCESS: 3,
        Trigger.SCHEDULE: 3,
    }
    assert operation.done_count == 6


def test_wave_of_a_paused_sync_waits_for_it(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 2)
    world.destination.bad.clear()
    Sync.objects.filter(pk=world.sync.pk).update(is_paused=True)
    operation = work_off(reprocess(ana))
    assert (operation.status, operations.progress(operation).phase) == ("running", "waiting")
    Sync.objects.filter(pk=world.sync.pk).update(is_paused=False)
    assert work_off(operation).status == "finished"
    assert operation.done_count == 2


def test_each_entry_keeps_a_history_that_names_the_operation(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 1)
    world.destination.bad.clear()
    operation = work_off(reprocess(ana))
    failed, queued, resolved = DLQEvent.objects.order_by("pk")
    assert (failed.kind, queued.kind, resolved.kind) == ("failed", "queued", "resolved")
    assert (queued.actor, queued.reason, queued.door) == (ana, "T-2", "admin")
    assert queued.detail == {"operation": operation.pk, "mode": "current", "wave": 1}
    assert queued.run == resolved.run
    assert queued.run is not None
    assert queued.run.trigger_detail == f"Wave 1 of bulk operation {operation.pk}. T-2"


def test_run_that_ends_wakes_its_operation(tmp_path: Path, ana: User):
    from django_q.models import OrmQ

    world = broken_world(tmp_path, 3)
    operation = reprocess(ana, waves=[2])
    (run,) = one_wave(operation)
    assert operations.advance_due() == 0
    OrmQ.objects.all().delete()
    execute(run)
    rung = [(message.func(), message.args()) for message in OrmQ.objects.all()]
    assert ("dlq.tasks.advance", (operation.pk,)) in rung
    assert world.destination.calls


def test_destination_that_refuses_the_credential_fails_the_run_and_halts(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 3)
    world.destination.behave = lambda batch: no_answer(401, Signal.AUTH)
    operation = work_off(reprocess(ana, waves=[3]))
    assert operation.status == "halted"
    assert outcomes(operation) == {"pending": 3}
    world.destination.behave = None
    world.destination.bad.clear()
    operations.resume(operation, by=ana)
    assert work_off(operation).done_count == 3
    assert_books_balance(operation)


# -- check


def test_check_notes_which_rows_changed_and_touches_nothing_else(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 4)
    world.sql("UPDATE people SET age = 99 WHERE id = 2")
    world.sql("DELETE FROM people WHERE id = 3")
    before = dict(DLQEntry.objects.values_list("row_key", "updated_at"))
    snapshot = snapshots.take(BulkKind.CHECK, EntryFilter(), user=ana)
    operation = work_off(operations.create(snapshot, by=ana, reason="", door=Door.ADMIN))
    assert outcomes(operation) == {"done": 4}
    assert dict(DLQEntry.objects.values_list("row_key", "row_state")) == {
        "1": RowState.SAME, "2": RowState.CHANGED, "3": RowState.GONE, "4": RowState.SAME,
    }  # fmt: skip
    assert not DLQEntry.objects.filter(row_checked_at=None).exists()
    assert dict(DLQEntry.objects.values_list("row_key", "updated_at")) == before
    assert DLQEvent.objects.exclude(kind="failed").count() == 0


def test_check_of_a_warehouse_that_cannot_be_read_leaves_out_and_says_why(tmp_path: Path, ana: User):
    good, bad = broken_world(tmp_path, 2), broken_world(tmp_path, 2)
    Sync.objects.filter(pk=bad.sync.pk).update(query="SELECT id, name, age FROM nowhere")
    snapshot = snapshots.take(BulkKind.CHECK, EntryFilter(), user=ana)
    operation = work_off(operations.create(snapshot, by=ana, reason="", door=Door.ADMIN))
    assert outcomes(operation) == {"done": 2, "left_out": 2}
    notes = BulkItem.objects.filter(entry__sync=bad.sync).values_list("note", flat=True)
    assert all("nowhere" in note for note in notes)
    assert BulkItem.objects.filter(entry__sync=good.sync, outcome=ItemOutcome.DONE).count() == 2


def test_new_failure_forgets_what_the_check_found_and_a_delivery_keeps_it(tmp_path: Path, ana: User):
    world = broken_world(tmp_path, 2)
    DLQEntry.objects.update(row_state=RowState.SAME, row_checked_at=timezone.now())
    del world.destination.bad["1"]
    work_off(reprocess(ana))
    assert dict(DLQEntry.objects.values_list("row_key", "row_state")) == {"1": RowState.SAME, "2": RowState.UNKNOWN}


def test_compare_rows_by_the_stored_columns(tmp_path: Path):
    world = broken_world(tmp_path, 2)
    found = list(DLQEntry.objects.order_by("pk"))
    Sync.objects.filter(pk=world.sync.pk).update(query="SELECT 'new' AS more, age, name, id FROM people")
    world.sync.refresh_from_db()
    assert set(rowcheck.compare_rows(world.sync, found).values()) == {RowState.SAME}, "a column more is no difference"
    Sync.objects.filter(pk=world.sync.pk).update(query="SELECT id, name FROM people")
    world.sync.refresh_from_db()
    assert set(rowcheck.compare_rows(world.sync, found).values()) == {RowState.CHANGED}, "a column less is one"
    assert rowcheck.compare_rows(world.sync, []) == {}
