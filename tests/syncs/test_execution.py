"""Runs on the database: counts, ledger, dead letters, resume, reprocess. Real models, real SQLite warehouse."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from dlq.choices import EntryStatus, GroupState
from dlq.models import DLQEntry, DLQEvent, ErrorGroup
from syncs.choices import RunStatus, StepKind, StepStatus, Trigger
from syncs.errors import ErrorType
from syncs.models import DeliveredRow, Run, Step
from tests.factories import World
from tests.fakes import invalid, no_answer

pytestmark = pytest.mark.django_db(transaction=True)


def people(count: int) -> list[tuple]:
    return [(number, f"name {number}", 20 + number % 50) for number in range(1, count + 1)]


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path, people(250))


def test_a_clean_run_succeeds_and_a_second_one_sends_nothing(world):
    run = world.run()
    assert run.status == RunStatus.SUCCEEDED, run.failure_message
    assert (run.read_count, run.accepted_count) == (250, 250)
    assert DeliveredRow.objects.filter(sync=world.sync).count() == 250
    assert world.destination.rows["7"] == {"id": 7, "name": "name 7", "age": 27}
    calls = len(world.destination.calls)
    again = world.run()
    assert (again.status, again.unchanged_count) == (RunStatus.SUCCEEDED, 250)
    assert len(world.destination.calls) == calls


def test_steps_hold_their_attempts(world):
    run = world.run()
    upload = Step.objects.filter(run=run, kind=StepKind.UPLOAD).first()
    assert upload.status == StepStatus.SUCCEEDED
    assert upload.attempts[0]["http_status"] == 200
    assert upload.attempts[0]["idempotency_key"]
    assert not upload.sends
    query = Step.objects.get(run=run, kind=StepKind.QUERY)
    assert (query.status, query.row_count) == (StepStatus.SUCCEEDED, 250)


def test_refused_rows_become_dead_letters_with_groups_and_history(world):
    world.destination.bad = {
        "3": invalid("Property 'age' value '41' is not valid"),
        "4": invalid("Property 'age' value '42' is not valid"),
    }
    run = world.run()
    assert (run.status, run.dead_lettered_count, run.accepted_count) == (RunStatus.PARTIAL, 2, 248)
    entry = DLQEntry.objects.get(row_key="3")
    assert (entry.status, entry.error_type, entry.error_code) == (EntryStatus.OPEN, "validation", "invalid")
    assert entry.source_values == {"id": 3, "name": "name 3", "age": 23}
    assert entry.payload_values == {"id": 3, "name": "name 3", "age": 23}
    group = ErrorGroup.objects.get(sync=world.sync)
    assert (group.open_count, group.total_count) == (2, 2)
    assert run.error_summary[0]["count"] == 2
    assert DLQEvent.objects.filter(entry=entry).count() == 1


def test_a_held_row_is_skipped_then_delivered_once_the_warehouse_changes(world):
    world.destination.bad = {"3": invalid()}
    world.run()
    second = world.run()
    assert (second.status, second.skipped_count) == (RunStatus.SUCCEEDED, 1)
    world.destination.bad = {}
    world.sql("UPDATE people SET age = 99 WHERE id = 3")
    third = world.run()
    assert third.accepted_count == 1
    entry = DLQEntry.objects.get(row_key="3")
    assert (entry.status, entry.resolved_run_id) == (EntryStatus.RESOLVED, third.pk)
    assert ErrorGroup.objects.get().open_count == 0


def test_a_row_that_fails_again_raises_the_counts_of_its_one_live_entry(world):
    world.destination.bad = {"3": invalid()}
    world.run()
    world.sql("UPDATE people SET age = 98 WHERE id = 3")
    world.run()
    entry = DLQEntry.objects.get()
    assert (entry.failure_count, entry.attempt_count) == (2, 2)
    assert ErrorGroup.objects.get().open_count == 1


def test_a_new_failure_of_a_resolved_group_regresses_it(world):
    world.destination.bad = {"3": invalid()}
    world.run()
    ErrorGroup.objects.update(state=GroupState.RESOLVED)
    world.destination.bad = {"9": invalid()}
    world.sql("UPDATE people SET age = 98 WHERE id = 9")
    world.run()
    assert ErrorGroup.objects.get().state == GroupState.REGRESSED


def test_mapping_errors_and_bad_keys_are_dead_letters_and_are_closed_when_they_go(world):
    world.write_rows([(None, "no key", 1), (900, "bad age", "abc"), (901, "twin", 1), (901, "twin too", 2)])
    run = world.run()
    assert (run.status, run.dead_lettered_count) == (RunStatus.PARTIAL, 4)
    assert DLQEntry.objects.filter(error_type=ErrorType.INVALID_KEY).count() == 3
    again = world.run()
    assert (again.status, again.skipped_count) == (RunStatus.SUCCEEDED, 4)
    world.sql("DELETE FROM people WHERE id IS NULL OR name = 'twin too'")
    world.sql("UPDATE people SET age = 44 WHERE id = 900")
    after = world.run()
    assert after.accepted_count == 2
    assert not DLQEntry.objects.live().exists()


def test_discarded_content_is_not_sent_again_but_a_changed_row_is(world):
    from dlq.choices import Door
    from dlq.services import entries

    world.destination.bad = {"3": invalid()}
    world.run()
    entries.discard(DLQEntry.objects.all(), by=None, reason="wrong customer", door=Door.CLI)
    world.destination.bad = {}
    assert world.run().skipped_count == 1
    world.sql("UPDATE people SET age = 98 WHERE id = 3")
    assert world.run().accepted_count == 1
    assert DLQEntry.objects.get().status == EntryStatus.DISCARDED


@pytest.mark.parametrize("mode", ["current", "stored"])
def test_reprocess_delivers_fixed_rows_and_reopens_unfixed_ones(world, mode):
    from dlq.choices import Door, ReprocessMode
    from dlq.services import entries

    world.destination.bad = {"3": invalid(), "4": invalid()}
    world.run()
    world.destination.bad = {"4": invalid()}
    entries.reprocess(DLQEntry.objects.all(), by=None, reason="fixed", mode=ReprocessMode(mode), door=Door.CLI)
    run = Run.objects.get(trigger=Trigger.REPROCESS)
    world.work(run)
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, 1, 1), run.failure_message
    assert DLQEntry.objects.get(row_key="3").status == EntryStatus.RESOLVED
    still = DLQEntry.objects.get(row_key="4")
    assert (still.status, still.attempt_count, still.failure_count) == (EntryStatus.OPEN, 2, 2)
    assert ErrorGroup.objects.get().open_count == 1


def test_reprocess_of_a_row_the_warehouse_lost_leaves_the_entry_and_says_so(world):
    from dlq.choices import Door
    from dlq.services import entries

    world.destination.bad = {"3": invalid()}
    world.run()
    world.sql("DELETE FROM people WHERE id = 3")
    entries.reprocess(DLQEntry.objects.all(), by=None, reason="fixed", door=Door.CLI)
    run = world.work(Run.objects.get(trigger=Trigger.REPROCESS))
    assert run.status == RunStatus.SUCCEEDED
    entry = DLQEntry.objects.get()
    assert entry.status == EntryStatus.OPEN
    assert list(entry.events.values_list("kind", flat=True))[-1] == "gone"


def test_an_outage_fails_the_run_with_pending_rows_and_no_dead_letters(world):
    world.destination.behave = lambda batch: no_answer()
    world.sync.max_attempts = 1
    world.sync.save(update_fields=["max_attempts"])
    run = world.run()
    assert (run.status, run.pending_count, run.dead_lettered_count) == (RunStatus.FAILED, run.read_count, 0)
    assert run.failure_message
    assert not DLQEntry.objects.exists()


def test_a_missing_key_column_fails_the_run_with_a_sentence(world):
    world.sync.key_columns = "nope"
    world.sync.save(update_fields=["key_columns"])
    run = world.run()
    assert run.status == RunStatus.FAILED
    assert "nope" in run.failure_message


def test_limit_and_keys_choose_rows(world):
    assert world.run(limit=10).read_count == 10
    assert world.run(keys=["11", "12", "nope"]).accepted_count == 2


def test_a_run_taken_over_by_another_worker_writes_nothing_more(world):
    from syncs.services import execution, runs

    run = runs.request(sync=world.sync, trigger=Trigger.MANUAL)
    claim = runs.claim(run_id=run.pk, worker="one")

    def steal(batch):
        Run.objects.filter(pk=run.pk).update(fence=99)
        connection.close()  # this thread's own

    world.destination.behave = steal
    execution.execute(claim)
    run.refresh_from_db()
    assert run.status == RunStatus.RUNNING
    assert DeliveredRow.objects.count() == 0


def test_calls_of_a_run_that_ended_without_its_worker_are_repeated_by_the_next_run_under_the_same_key(world):
    from syncs.services import execution, runs

    world.sync.batch_records = 100
    world.sync.save(update_fields=["batch_records"])
    run = runs.request(sync=world.sync, trigger=Trigger.MANUAL)
    claim = runs.claim(run_id=run.pk, worker="one")

    def die(batch):
        Run.objects.filter(pk=run.pk).update(fence=99)
        connection.close()  # this thread's own

    world.destination.behave = die
    execution.execute(claim)
    lost = {key: sent for key, sent, _ in world.destination.receipts}
    assert lost
    assert runs.cancel(run, by=None)
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    runs.reap()
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED
    left = Step.objects.filter(run=run, status=StepStatus.INFLIGHT)
    assert {key for step in left for send in step.sends for key in send["keys"]} >= set(lost)

    world.destination.behave = None
    world.destination.receipts.clear()
    world.write_rows([(0, "a new first row", 30)])  # other batches, were they cut afresh
    again = world.run()
    assert (again.status, again.accepted_count) == (RunStatus.SUCCEEDED, 251)
    assert lost.items() <= {key: sent for key, sent, _ in world.destination.receipts}.items()
    assert not Step.objects.filter(status=StepStatus.INFLIGHT).exists()


def test_watermark_runs_read_what_is_new_and_what_failed_for_a_moment(tmp_path):
    world = World(tmp_path, people(50), detection="watermark", cursor_column="age", query="SELECT id, name, age FROM people")
    world.sql("UPDATE people SET age = id")
    first = world.run()
    assert first.accepted_count == 50
    world.sync.refresh_from_db()
    assert (world.sync.watermark["type"], world.sync.watermark["value"]) == ("number", "50")
    world.write_rows([(51, "new", 51)])
    second = world.run()
    assert second.accepted_count == 1
    assert second.read_count < 5
