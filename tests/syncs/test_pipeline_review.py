"""Corners of a run: steps that must end, calls that must stay on record, waits that last for hours."""

from __future__ import annotations

from syncs.choices import StepKind, StepStatus
from syncs.engine.retry import RetryPolicy
from syncs.engine.sending import Sending, UploadStep
from syncs.errors import ErrorType
from syncs.records import WRITTEN, Batch, BatchResult, Operation, Record, RecordOutcome, RecordState, RowError, Signal
from tests.fakes import FakeDestination, MemoryRows, Store, no_answer, run_engine

LOST = RecordOutcome(RecordState.UNKNOWN, RowError(ErrorType.TIMEOUT, "missing from the answer"))


def rows(count: int) -> MemoryRows:
    return MemoryRows(("id", "name"), [(number, f"v{number}") for number in range(count)])


def unanswered_for(key: str):
    def behave(batch: Batch) -> BatchResult:
        return BatchResult([LOST if record.key == key else WRITTEN for record in batch.records])

    return behave


def uploads(store: Store) -> set[StepStatus]:
    return {step.status for step in store.steps.values() if step.kind is StepKind.UPLOAD}


def test_a_step_ends_when_its_unknown_insert_is_dead_lettered():
    store, destination = Store(), FakeDestination(behave=unanswered_for("3"))
    ending = run_engine(rows(5), destination, store, mode="insert")
    assert (ending.counts.accepted, ending.counts.dead_lettered) == (4, 1)
    assert store.dead["3"].error.type is ErrorType.UNKNOWN_OUTCOME
    assert uploads(store) == {StepStatus.PARTIAL}


def test_a_step_ends_when_an_unknown_upsert_has_used_up_its_attempts():
    def behave(batch: Batch) -> BatchResult:
        if len(batch.records) == 1:  # the whole of it unknown would speak of the batch
            return no_answer(None, Signal.UNKNOWN)
        return unanswered_for("3")(batch)

    store, destination = Store(), FakeDestination(behave=behave)
    ending = run_engine(rows(5), destination, store, retry=RetryPolicy(1))
    assert (ending.counts.accepted, ending.counts.dead_lettered) == (4, 1)
    assert uploads(store) == {StepStatus.PARTIAL}


def test_attempts_of_a_dead_letter_are_the_calls_that_carried_it():
    def behave(batch: Batch) -> BatchResult | None:
        return no_answer() if batch.records[0].key == "0" and len(batch.records) == 1 else None

    store, destination = Store(), FakeDestination(behave=behave)
    run_engine(rows(5), destination, store, batch_records=1, retry=RetryPolicy(3))
    assert store.dead["0"].attempts == sum(call == ["0"] for call in destination.calls)


def test_a_stopped_step_stays_in_flight_while_a_part_of_it_is_under_way():
    def sending(key: str) -> Sending:
        return Sending(step, Operation.INSERT, [Record(key, Operation.INSERT, {}, b"{}", 1)], key)

    moment = None
    step = UploadStep(1, moment, 2)
    step.sendings += [sending("1"), sending("2")]
    step.is_stopped = True
    step.sendings[1].is_under_way = True
    assert step.status() is StepStatus.INFLIGHT
    step.sendings[1].is_under_way = False
    assert step.status() is StepStatus.FAILED


def test_waits_stay_finite_however_often_a_call_failed():
    assert RetryPolicy().wait(5000, random=lambda: 1.0) == 60.0
