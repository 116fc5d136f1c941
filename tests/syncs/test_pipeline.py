"""The engine on its own: every way a run can go, with the five outcomes adding up."""

from __future__ import annotations

import pytest

from syncs.choices import Detection, StepStatus, SyncMode
from syncs.engine.ports import Flag
from syncs.engine.retry import RetryPolicy
from syncs.errors import ErrorType, FatalError, FenceLostError
from syncs.records import Batch, BatchResult, RecordOutcome, RecordState, RowError, Signal
from tests.fakes import FakeClock, FakeControl, FakeDestination, MemoryRows, Store, invalid, no_answer, run_engine


def rows(count: int, *, start: int = 0, value: str = "v") -> MemoryRows:
    return MemoryRows(("id", "name"), [(number, f"{value}{number}") for number in range(start, start + count)])


def balanced(ending) -> bool:
    return ending.counts.pending == 0


def test_all_rows_are_accepted_and_a_second_run_sends_nothing():
    store, destination = Store(), FakeDestination()
    first = run_engine(rows(95), destination, store)
    assert first.is_complete
    assert (first.counts.read, first.counts.accepted) == (95, 95)
    assert len(destination.rows) == 95
    calls = len(destination.calls)
    second = run_engine(rows(95), destination, store, run_id=2)
    assert (second.counts.read, second.counts.unchanged) == (95, 95)
    assert len(destination.calls) == calls


def test_only_changed_rows_are_sent():
    store, destination = Store(), FakeDestination()
    run_engine(rows(50), destination, store)
    changed = MemoryRows(("id", "name"), [(n, "new" if n in (3, 40) else f"v{n}") for n in range(50)])
    ending = run_engine(changed, destination, store, run_id=2)
    assert (ending.counts.accepted, ending.counts.unchanged) == (2, 48)


def test_refused_rows_are_dead_lettered_and_batch_mates_accepted():
    store, destination = Store(), FakeDestination(bad={"3": invalid(), "44": invalid("other")})
    ending = run_engine(rows(95), destination, store)
    assert balanced(ending)
    assert (ending.counts.accepted, ending.counts.dead_lettered) == (93, 2)
    assert set(store.dead) == {"3", "44"}
    assert store.dead["44"].error.message == "other"


def test_a_held_back_row_is_skipped_until_it_changes_and_its_success_closes_the_entry():
    store, destination = Store(), FakeDestination(bad={"3": invalid()})
    run_engine(rows(10), destination, store)
    again = run_engine(rows(10), destination, store, run_id=2)
    assert (again.counts.skipped, again.counts.unchanged) == (1, 9)
    destination.bad = {}
    fixed = run_engine(rows(10, value="w"), destination, store, run_id=3)
    assert fixed.counts.accepted == 10
    assert not store.dead


def test_a_row_that_went_back_to_what_was_accepted_closes_its_entry_without_a_call():
    store, destination = Store(), FakeDestination()
    run_engine(rows(5), destination, store)
    destination.bad = {"2": invalid()}
    run_engine(MemoryRows(("id", "name"), [(n, "bad" if n == 2 else f"v{n}") for n in range(5)]), destination, store, run_id=2)
    assert set(store.dead) == {"2"}
    calls = len(destination.calls)
    ending = run_engine(rows(5), destination, store, run_id=3)
    assert ending.counts.unchanged == 5
    assert not store.dead
    assert len(destination.calls) == calls


def test_an_atomic_destination_without_a_locator_is_halved_down_to_the_bad_rows():
    bad = {str(number): invalid() for number in (1, 17, 18)}
    store, destination = Store(), FakeDestination(bad=bad, atomic=True)
    ending = run_engine(rows(40), destination, store, batch_records=20)
    assert (ending.counts.accepted, ending.counts.dead_lettered) == (37, 3)
    assert set(store.dead) == set(bad)


def test_a_rate_limit_never_dead_letters_and_is_obeyed():
    calls = {"n": 0}

    def limited(batch: Batch) -> BatchResult | None:
        calls["n"] += 1
        return no_answer(429, Signal.RATE_LIMITED, 12.0) if calls["n"] <= 15 else None

    store, destination, clock = Store(), FakeDestination(behave=limited), FakeClock()
    ending = run_engine(rows(60), destination, store, clock=clock)
    assert (ending.counts.accepted, ending.counts.dead_lettered) == (60, 0)
    assert clock.time >= 1012
    waits = [step for step in store.steps.values() if "slow down" in step.message]
    assert waits
    assert {(step.finished_at - step.started_at).total_seconds() for step in waits} == {12.0}
    assert all(step.finished_at <= clock.now() for step in waits)


def test_a_very_long_wait_gives_the_worker_back():
    store = Store()
    destination = FakeDestination(behave=lambda batch: no_answer(429, Signal.RATE_LIMITED, 3600.0))
    ending = run_engine(rows(60), destination, store)
    assert ending.wait_seconds == pytest.approx(3600)
    assert not store.dead
    assert ending.counts.pending == ending.counts.read


def test_a_short_outage_is_retried_and_nothing_is_lost():
    seen = {"n": 0}

    def flaky(batch: Batch) -> BatchResult | None:
        seen["n"] += 1
        return no_answer() if seen["n"] % 3 == 1 else None

    store, destination = Store(), FakeDestination(behave=flaky)
    ending = run_engine(rows(100), destination, store)
    assert ending.is_complete
    assert (ending.counts.accepted, ending.counts.dead_lettered) == (100, 0)
    assert ending.counts.retries > 0


def test_a_lasting_outage_opens_the_breaker_and_rows_stay_pending():
    store, destination = Store(), FakeDestination(behave=lambda batch: no_answer())
    ending = run_engine(rows(1000), destination, store, breaker_threshold=3)
    assert ending.failure is not None
    assert "kept failing" in str(ending.failure)
    assert not store.dead
    assert ending.counts.accepted == 0
    assert len(destination.calls) < 60


def test_a_small_run_against_a_dead_destination_fails_without_dead_letters():
    store, destination = Store(), FakeDestination(behave=lambda batch: no_answer(None))
    ending = run_engine(rows(5), destination, store)
    assert ending.failure is not None
    assert not store.dead
    assert ending.counts.pending == 5


def test_one_poison_row_behind_a_500_is_found_while_others_get_through():
    def poisoned(batch: Batch) -> BatchResult | None:
        return no_answer(500) if any(record.key == "13" for record in batch.records) else None

    store, destination = Store(), FakeDestination(behave=poisoned)
    ending = run_engine(rows(60), destination, store)
    assert ending.failure is None
    assert set(store.dead) == {"13"}
    assert not store.dead["13"].error.permanent
    assert ending.counts.accepted == 59


def test_a_transient_dead_letter_is_tried_again_by_the_next_run():
    broken = {"on": True}

    def poisoned(batch: Batch) -> BatchResult | None:
        return no_answer(500) if broken["on"] and any(record.key == "13" for record in batch.records) else None

    store, destination = Store(), FakeDestination(behave=poisoned)
    run_engine(rows(60), destination, store)
    broken["on"] = False
    ending = run_engine(rows(60), destination, store, run_id=2)
    assert (ending.counts.accepted, ending.counts.unchanged) == (1, 59)
    assert not store.dead


def test_a_lost_answer_is_repeated_with_the_same_key_where_that_is_harmless():
    lost = set()

    def lossy(batch: Batch) -> BatchResult | None:
        if batch.idempotency_key not in lost:
            lost.add(batch.idempotency_key)
            destination.take(batch)
            return no_answer(None, Signal.UNKNOWN)
        return None

    store, destination = Store(), FakeDestination()
    destination.behave = lossy
    ending = run_engine(rows(40), destination, store)
    assert ending.counts.accepted == 40
    keys: dict[str, set] = {}
    for key, idempotency, body in destination.receipts:
        keys.setdefault(key, set()).add((idempotency, body))
    assert len(destination.receipts) == 80
    assert all(len(values) == 1 for values in keys.values())


def test_a_lost_answer_of_an_insert_is_left_to_a_person():
    store = Store()
    destination = FakeDestination(behave=lambda batch: no_answer(None, Signal.UNKNOWN) if "3" in keys_of(batch) else None)
    ending = run_engine(rows(20), destination, store, mode=SyncMode.INSERT)
    assert ending.counts.dead_lettered == 10
    assert {item.error.type for item in store.dead.values()} == {ErrorType.UNKNOWN_OUTCOME}
    assert ending.counts.accepted == 10


def keys_of(batch: Batch) -> list[str]:
    return [record.key for record in batch.records]


def test_an_answer_with_fewer_results_than_records_is_never_taken_for_success():
    def short(batch: Batch) -> BatchResult | None:
        return BatchResult([RecordOutcome(RecordState.WRITTEN)] * (len(batch.records) - 1))

    store, destination = Store(), FakeDestination(behave=short)
    ending = run_engine(rows(10), destination, store)
    assert ending.counts.accepted == 0
    assert ending.failure is not None


def test_batch_mates_that_were_not_attempted_are_sent_again_and_never_dead_lettered():
    def located(batch: Batch) -> BatchResult | None:
        if "7" not in keys_of(batch):
            return None
        outcomes = [
            RecordOutcome(RecordState.REJECTED, invalid()) if key == "7" else RecordOutcome(RecordState.NOT_ATTEMPTED)
            for key in keys_of(batch)
        ]
        return BatchResult(outcomes)

    store, destination = Store(), FakeDestination(behave=located)
    ending = run_engine(rows(10), destination, store)
    assert (ending.counts.accepted, set(store.dead)) == (9, {"7"})


def test_refused_credentials_stop_the_run_and_dead_letter_nothing():
    store = Store()
    destination = FakeDestination(behave=lambda batch: no_answer(401, Signal.AUTH))
    ending = run_engine(rows(300), destination, store)
    assert ending.failure is not None
    assert ending.failure.error_type is ErrorType.AUTH
    assert not store.dead
    assert all(step.status is not StepStatus.INFLIGHT for step in store.steps.values())


def test_a_connector_fault_stops_the_run_with_its_name():
    def broken(batch: Batch) -> BatchResult:
        raise ZeroDivisionError("oops")

    ending = run_engine(rows(10), FakeDestination(behave=broken), Store())
    assert "ZeroDivisionError" in str(ending.failure)


@pytest.mark.parametrize("flag", [Flag.CANCEL, Flag.PAUSE, Flag.DRAIN])
def test_a_stop_between_batches_leaves_pending_rows_and_the_next_run_sends_them(flag: Flag):
    store, destination = Store(), FakeDestination()
    ending = run_engine(rows(500), destination, store, control=FakeControl(stop_after=4, flag=flag))
    assert ending.flag is flag
    assert not ending.is_complete
    assert 0 < ending.counts.accepted < 500
    assert all(not step.sends for step in store.steps.values())
    after = run_engine(rows(500), destination, store, run_id=2)
    assert after.counts.accepted + after.counts.unchanged == 500
    assert len(destination.receipts) == 500


@pytest.mark.parametrize("die_after", range(1, 12))
def test_a_killed_worker_loses_nothing_and_repeats_calls_with_the_same_key(die_after: int):
    store, destination = Store(), FakeDestination(bad={"5": invalid(), "77": invalid()})
    try:
        run_engine(rows(120), destination, store, die_after=die_after)
    except FenceLostError:
        ending = run_engine(rows(120), destination, store, is_resumed=True)
        assert ending.counts.read == 120
        assert (ending.counts.accepted, ending.counts.dead_lettered) == (118, 2)
    assert set(store.dead) == {"5", "77"}
    assert len(destination.rows) == 118
    by_row: dict[str, set] = {}
    for key, idempotency, body in destination.receipts:
        by_row.setdefault(key, set()).add((idempotency, body))
    assert all(len(values) == 1 for values in by_row.values())


def test_a_row_that_keeps_killing_workers_is_set_aside_alone():
    store, destination = Store(), FakeDestination()

    endings = []
    for attempt in range(12):

        def poison(batch: Batch) -> BatchResult | None:
            if "13" in keys_of(batch):
                raise FenceLostError("the worker died")
            return None

        destination.behave = poison
        try:
            endings.append(run_engine(rows(30), destination, store, is_resumed=attempt > 0))
            break
        except FenceLostError:
            continue
    assert endings
    assert endings[0].is_complete
    assert store.dead["13"].error.type is ErrorType.WORKER_CRASH
    assert len(destination.rows) == 29


def test_null_and_doubled_keys_are_dead_lettered_and_never_merged():
    source = MemoryRows(("id", "name"), [(None, "a"), (1, "b"), (2, "c"), (2, "d"), (2, "d"), (3, "e"), ("", "f")], chunk=3)
    store, destination = Store(), FakeDestination()
    ending = run_engine(source, destination, store)
    assert (ending.counts.accepted, ending.counts.dead_lettered) == (2, 5)
    assert len(store.dead) == 5
    assert {item.error.type for item in store.dead.values()} == {ErrorType.INVALID_KEY}
    assert set(destination.rows) == {"1", "3"}


def test_a_row_that_cannot_be_mapped_is_dead_lettered_once_and_then_skipped():
    def mapper(row):
        return RowError(ErrorType.MAPPING, "no number", field="age") if row[0] == 4 else {"id": row[0]}

    store, destination = Store(), FakeDestination()
    first = run_engine(rows(10), destination, store, mapper=mapper)
    assert (first.counts.accepted, first.counts.dead_lettered) == (9, 1)
    second = run_engine(rows(10), destination, store, mapper=mapper, run_id=2)
    assert (second.counts.unchanged, second.counts.skipped) == (9, 1)


def test_mended_mapping_delivers_rows_whose_fields_are_named_like_their_columns():
    """The raw row and its payload read the same then; they are not the same content."""

    def broken(row: tuple) -> RowError:
        return RowError(ErrorType.MAPPING, "name is not a whole number", field="name")

    store, destination = Store(), FakeDestination()
    run_engine(rows(5), destination, store)
    assert run_engine(rows(8), destination, store, mapper=broken, run_id=2).counts.dead_lettered == 8
    assert run_engine(rows(8), destination, store, mapper=broken, run_id=3).counts.skipped == 8
    mended = run_engine(rows(8), destination, store, run_id=4).counts
    assert (mended.unchanged, mended.accepted, mended.skipped) == (5, 3, 0)
    assert store.dead == {}


def test_a_mapping_error_can_fail_the_run():
    ending = run_engine(
        rows(10), FakeDestination(), Store(), mapper=lambda row: RowError(ErrorType.MAPPING, "no"), fail_on_mapping_error=True
    )
    assert isinstance(ending.failure, FatalError)


def test_too_large_rows_are_dead_lettered_without_a_call():
    source = MemoryRows(("id", "name"), [(1, "x" * 500), (2, "y")])
    store, destination = Store(), FakeDestination()
    ending = run_engine(source, destination, store, record_bytes=200)
    assert store.dead["1"].error.type is ErrorType.TOO_LARGE
    assert ending.counts.accepted == 1


def test_mirror_deletes_what_vanished():
    store, destination = Store(), FakeDestination()
    run_engine(rows(100), destination, store, mode=SyncMode.MIRROR)
    ending = run_engine(rows(95), destination, store, run_id=2, mode=SyncMode.MIRROR, key_fields=("id",))
    assert (ending.counts.vanished, ending.counts.deleted, ending.counts.unchanged) == (5, 5, 95)
    assert balanced(ending)
    assert len(destination.rows) == 95
    third = run_engine(rows(95), destination, store, run_id=3, mode=SyncMode.MIRROR)
    assert third.counts.vanished == 0


@pytest.mark.parametrize("left", [0, 80])
def test_the_delete_guard_stops_a_mirror_run_and_an_approval_lets_it_through(left: int):
    store, destination = Store(), FakeDestination()
    run_engine(rows(100), destination, store, mode=SyncMode.MIRROR)
    ending = run_engine(rows(left), destination, store, run_id=2, mode=SyncMode.MIRROR)
    assert "delete guard" in str(ending.failure)
    assert len(destination.rows) == 100
    approved = run_engine(rows(left), destination, store, run_id=3, mode=SyncMode.MIRROR, approved_delete_count=100 - left)
    assert approved.is_complete
    assert len(destination.rows) == left


def test_all_rows_detection_sends_everything_each_run():
    store, destination = Store(), FakeDestination()
    for run_id in (1, 2):
        ending = run_engine(rows(30), destination, store, run_id=run_id, detection=Detection.ALL_ROWS)
        assert ending.counts.accepted == 30


def test_insert_mode_sends_a_key_once():
    store, destination = Store(), FakeDestination()
    run_engine(rows(10), destination, store, mode=SyncMode.INSERT)
    ending = run_engine(rows(12, value="w"), destination, store, run_id=2, mode=SyncMode.INSERT)
    assert (ending.counts.accepted, ending.counts.unchanged) == (2, 10)


def test_delete_mode_sends_deletes_once():
    store, destination = Store(), FakeDestination()
    destination.rows = {str(n): {} for n in range(10)}
    ending = run_engine(rows(4), destination, store, mode=SyncMode.DELETE)
    assert (ending.counts.accepted, ending.counts.deleted, len(destination.rows)) == (4, 4, 6)
    again = run_engine(rows(4), destination, store, run_id=2, mode=SyncMode.DELETE)
    assert again.counts.unchanged == 4


def test_a_reprocess_sends_what_is_held_back():
    store, destination = Store(), FakeDestination(bad={"3": invalid()})
    run_engine(rows(10), destination, store)
    destination.bad = {}
    ending = run_engine(rows(1, start=3), destination, store, run_id=2, is_forced=True, is_complete_read=False)
    assert ending.counts.accepted == 1
    assert not store.dead


def test_retries_end_within_the_attempts_allowed():
    outcome = RecordOutcome(RecordState.RETRYABLE, RowError(ErrorType.DESTINATION_UNAVAILABLE, "locked"))

    def locked(batch: Batch) -> BatchResult | None:
        return BatchResult([outcome if key == "2" else RecordOutcome(RecordState.WRITTEN) for key in keys_of(batch)])

    store, destination = Store(), FakeDestination(behave=locked)
    ending = run_engine(rows(5), destination, store, retry=RetryPolicy(max_attempts=3))
    assert sum("2" in call for call in destination.calls) == 3
    assert (ending.counts.accepted, set(store.dead)) == (4, {"2"})
    assert store.dead["2"].attempts == 3


def test_missing_key_column_is_a_sentence():
    from syncs.errors import ConfigError

    with pytest.raises(ConfigError, match="does not return the key column nope"):
        run_engine(rows(3), FakeDestination(), Store(), key_columns=("nope",))
