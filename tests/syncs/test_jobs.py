"""Batches that become jobs: nothing is known at once, nothing is lost or sent again before the job was asked after."""

from __future__ import annotations

import pytest

from syncs.choices import StepStatus, SyncMode
from syncs.engine.ports import Flag
from syncs.engine.retry import RetryPolicy
from syncs.errors import ConfigError, ErrorType, FenceLostError
from syncs.records import BatchResult, Job, Operation, RecordOutcome, RecordState, Signal
from tests.fakes import FakeClock, FakeControl, FakeDestination, MemoryRows, Store, invalid, no_answer, run_engine

UNKNOWN = BatchResult([], Signal.UNKNOWN, invalid("The job is gone."))


def rows(count: int, *, value: str = "v") -> MemoryRows:
    return MemoryRows(("id", "name"), [(number, f"{value}{number}") for number in range(count)])


class JobDestination(FakeDestination):
    """Takes every batch in as a job that ends at the ``looks``-th look. ``lost``: names of jobs that it forgets."""

    def __init__(self, clock: FakeClock, *, looks: int = 1, retry_after: float | None = 5.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.clock, self.looks, self.retry_after = clock, looks, retry_after
        self.jobs: dict[str, list] = {}
        self.asked: list[str] = []
        self.most_open = 0
        self.lost: set[str] = set()
        self.hold = False
        self.at_most_seconds = 3600.0
        self.confirm_with = None

    def write(self, batch):
        with self.lock:
            self.calls.append([record.key for record in batch.records])
            name = f"job-{len(self.jobs) + 1}"
            self.jobs[name] = [batch, 0]
            self.most_open = max(self.most_open, sum(state[1] is not None for state in self.jobs.values()))
            job = Job(name, self.clock.now().timestamp(), {"n": len(batch.records)}, self.at_most_seconds)
            return BatchResult([], Signal.CONFIRMING, retry_after=self.retry_after, job=job)

    def confirm(self, batch, job):
        with self.lock:
            self.asked.append(job.id)
            if self.confirm_with and (result := self.confirm_with(batch, job)) is not None:
                return result
            if job.id in self.lost:
                return UNKNOWN
            state = self.jobs[job.id]
            assert [record.body for record in batch.records] == [record.body for record in state[0].records]
            state[1] = (state[1] or 0) + 1
            if self.hold or state[1] < self.looks:
                return BatchResult([], Signal.CONFIRMING, retry_after=self.retry_after, job=None)
            state[1] = None
            return self.take(batch)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def run(destination: JobDestination, store: Store, source: MemoryRows | None = None, **kwargs):
    kwargs.setdefault("has_jobs", True)
    return run_engine(source or rows(30), destination, store, clock=destination.clock, **kwargs)


def statuses(store: Store) -> set[StepStatus]:
    return {step.status for step in store.steps.values() if step.kind == "upload"}


def test_jobs_are_asked_until_they_end_and_refused_rows_are_dead_lettered(clock):
    store, destination = Store(), JobDestination(clock, looks=3, bad={"7": invalid(), "25": invalid()})
    ending = run(destination, store)
    assert ending.is_complete
    assert (ending.counts.accepted, ending.counts.dead_lettered, ending.counts.pending) == (28, 2, 0)
    assert ending.counts.requests == 3 + 9
    assert set(store.dead) == {"7", "25"}
    assert statuses(store) == {StepStatus.SUCCEEDED, StepStatus.PARTIAL}
    (step,) = [step for step in store.steps.values() if step.number == 2]
    assert [attempt.signal for attempt in step.attempts] == ["confirming", "confirming", "confirming", "ok"]
    assert [attempt.number for attempt in step.attempts] == [1, 2, 3, 4]
    assert clock.time >= 1015


def test_job_is_recorded_with_its_rows_as_soon_as_it_is_known(clock):
    store, destination = Store(), JobDestination(clock, looks=2)
    run(destination, store)
    seen = [step for commit in store.commits for step in commit.steps if step.status is StepStatus.CONFIRMING]
    (send,) = seen[0].sends
    assert send.job is not None
    assert (seen[0].has_jobs, len(send.records), send.is_under_way, send.may_have_landed) == (True, 10, False, True)
    assert seen[0].finished_at is None


def test_open_jobs_are_bounded_and_take_no_place_among_the_calls(clock):
    store, destination = Store(), JobDestination(clock, looks=4)
    ending = run(destination, store, rows(200), concurrency=1, open_jobs=5)
    assert ending.counts.accepted == 200
    assert destination.most_open == 5


@pytest.mark.parametrize(("retry_after", "least"), [(None, 2 + 4 + 8 + 16 + 32 + 60), (1.0, 6)])
def test_job_that_names_no_time_is_asked_ever_more_rarely(clock, retry_after, least):
    store, destination = Store(), JobDestination(clock, looks=6, retry_after=retry_after)
    assert run(destination, store, rows(5)).is_complete
    assert least <= clock.time - 1000 < least + 5


def test_lost_look_is_repeated_and_a_rate_limit_is_obeyed(clock):
    answers = [no_answer(), no_answer(429, Signal.RATE_LIMITED, 40.0)]
    store, destination = Store(), JobDestination(clock)
    destination.confirm_with = lambda batch, job: answers.pop(0) if answers else None
    ending = run(destination, store, rows(10))
    assert (ending.counts.accepted, len(destination.calls), len(destination.asked)) == (10, 1, 3)
    assert clock.time >= 1045
    assert any("slow down" in step.message for step in store.steps.values())


def test_destination_that_never_says_how_a_job_ended_stops_the_run_and_the_next_one_asks_first(clock):
    store, destination = Store(), JobDestination(clock)
    destination.confirm_with = lambda batch, job: no_answer()
    ending = run(destination, store, rows(10), retry=RetryPolicy(budget_seconds=100))
    assert ending.failure is not None
    assert "how a job ended" in str(ending.failure)
    assert (ending.counts.pending, store.dead) == (10, {})
    assert statuses(store) == {StepStatus.CONFIRMING}
    destination.confirm_with = None
    after = run(destination, store, rows(10), run_id=2)
    assert (after.counts.accepted, after.counts.pending, len(destination.calls)) == (10, 0, 1)


# -- a job whose end nobody knows


def test_forgotten_job_is_sent_again_under_the_same_key(clock):
    store, destination = Store(), JobDestination(clock)
    destination.lost = {"job-1"}
    ending = run(destination, store, rows(10))
    assert (ending.counts.accepted, len(destination.calls)) == (10, 2)
    first, second = (state[0] for state in destination.jobs.values())
    assert first.idempotency_key == second.idempotency_key
    assert statuses(store) == {StepStatus.SUCCEEDED}


def test_forgotten_job_of_inserts_is_left_to_a_person(clock):
    store, destination = Store(), JobDestination(clock)
    destination.lost = {"job-1"}
    ending = run(destination, store, rows(10), mode=SyncMode.INSERT)
    assert (ending.counts.dead_lettered, len(destination.calls)) == (10, 1)
    assert {item.error.type for item in store.dead.values()} == {ErrorType.UNKNOWN_OUTCOME}


def test_job_that_works_too_long_counts_as_lost(clock):
    store, destination = Store(), JobDestination(clock, retry_after=30.0)
    destination.at_most_seconds, destination.hold = 100.0, True
    ending = run(destination, store, rows(10), mode=SyncMode.INSERT)
    assert ending.counts.dead_lettered == 10
    assert "more than 100 seconds" in store.dead["3"].error.message
    assert 1100 <= clock.time < 1105


@pytest.mark.parametrize("job", [None, Job("", 0.0), Job("a\x00b", 0.0), Job("x" * 501, 0.0), Job("j", 0.0, {"a": "b" * 5000})])
def test_job_whose_name_cannot_be_kept_counts_as_lost(clock, job):
    store, destination = Store(), JobDestination(clock)
    destination.write = lambda batch: BatchResult([], Signal.CONFIRMING, job=job)
    ending = run(destination, store, rows(3), mode=SyncMode.INSERT)
    assert ending.counts.dead_lettered == 3
    assert {item.error.code for item in store.dead.values()} == {"no_job"}


@pytest.mark.parametrize("is_raised", [True, False], ids=["raised", "answered"])
@pytest.mark.parametrize("mode", [SyncMode.UPSERT, SyncMode.INSERT])
def test_job_that_cannot_be_asked_after_stops_runs_until_its_time_is_over(clock, mode, is_raised):
    store, destination = Store(), JobDestination(clock)

    def broken(batch, job):
        if job.id != "job-1":
            return None
        if is_raised:
            raise ConfigError("The path of the poll is wrong.")
        return BatchResult([], Signal.CONFIG, invalid("The path of the poll is wrong."))

    destination.confirm_with = broken
    for run_id in (1, 2):
        ending = run(destination, store, rows(10), mode=mode, run_id=run_id)
        assert "path of the poll" in str(ending.failure)
        assert (ending.counts.pending, store.dead, len(destination.calls)) == (ending.counts.read, {}, 1)
    clock.time += 3600
    after = run(destination, store, rows(10), mode=mode, run_id=3)
    assert (after.failure, after.counts.pending) == (None, 0)
    if mode is SyncMode.UPSERT:
        assert (after.counts.accepted, len(destination.calls)) == (10, 2)
    else:
        assert {item.error.code for item in store.dead.values()} == {"job_lost"}


def test_some_rows_of_a_job_are_sent_again(clock):
    """Not attempted, refused for a moment, and without a word: all in the same answer."""
    store, destination = Store(), JobDestination(clock)
    odd = {"1": RecordState.NOT_ATTEMPTED, "2": RecordState.RETRYABLE, "3": RecordState.UNKNOWN}

    def first_time(batch, job):
        if job.id != "job-1":
            return None
        plain = [RecordOutcome(odd.get(record.key, RecordState.WRITTEN), invalid()) for record in batch.records]
        return BatchResult(plain)

    destination.confirm_with = first_time
    ending = run(destination, store, rows(10))
    assert (ending.counts.accepted, ending.counts.dead_lettered) == (10, 0)
    assert sorted(key for call in destination.calls[1:] for key in call) == ["1", "2", "3"]


# -- stopped, and taken over


def test_run_that_stops_leaves_its_jobs_and_the_next_one_asks_before_it_sends(clock):
    store, destination = Store(), JobDestination(clock, bad={"4": invalid()})
    first = interrupted(destination, store, rows(20), jobs=2, flag=Flag.DRAIN)
    assert first.flag is Flag.DRAIN
    assert first.counts.pending == first.counts.read
    assert all("next run asks" in step.message for step in store.steps.values() if step.status is StepStatus.CONFIRMING)
    calls = len(destination.calls)
    after = run(destination, store, rows(20), is_resumed=True)
    assert after.is_complete
    assert (after.counts.accepted, after.counts.dead_lettered, after.counts.pending) == (19, 1, 0)
    assert len(destination.calls) == calls
    assert StepStatus.CONFIRMING not in statuses(store)


@pytest.mark.parametrize("die_after", range(1, 14))
def test_killed_worker_leaves_jobs_that_are_asked_after_by_the_next(clock, die_after: int):
    store, destination = Store(), JobDestination(clock, looks=2, bad={"5": invalid(), "77": invalid()})
    try:
        run(destination, store, rows(120), die_after=die_after)
    except FenceLostError:
        recorded = {s.job.id for step in store.steps.values() for s in step.sends if s.job is not None}
        asked_before = len(destination.asked)
        ending = run(destination, store, rows(120), is_resumed=True)
        assert (ending.counts.read, ending.counts.accepted, ending.counts.dead_lettered) == (120, 118, 2)
        if recorded:
            assert set(destination.asked[asked_before : asked_before + len(recorded)]) <= recorded
    assert set(store.dead) == {"5", "77"}
    by_row: dict[str, set] = {}
    for key, idempotency, body in destination.receipts:
        by_row.setdefault(key, set()).add((idempotency, body))
    assert all(len(values) == 1 for values in by_row.values())


class StopsOnce(FakeControl):
    """Stops the run once so many looks were answered."""

    def __init__(self, destination: JobDestination, looks: int, flag: Flag) -> None:
        super().__init__()
        self._destination, self._looks, self._stop = destination, len(destination.asked) + looks, flag

    def flag(self) -> Flag:
        return self._stop if len(self._destination.asked) >= self._looks else Flag.GO


def interrupted(
    destination: JobDestination, store: Store, source: MemoryRows, *, jobs: int = 1, flag: Flag = Flag.CANCEL, **kwargs
):
    """A run that stops while the destination works on all its rows."""
    destination.hold = True
    ending = run(destination, store, source, control=StopsOnce(destination, jobs, flag), **kwargs)
    destination.hold = False
    assert [step.status for step in store.steps.values()].count(StepStatus.CONFIRMING) == jobs
    return ending


def test_changed_row_is_sent_after_its_job_has_ended(clock):
    store, destination = Store(), JobDestination(clock)
    interrupted(destination, store, rows(10))
    order = []
    destination.confirm_with = lambda batch, job: order.append(("asked", job.id))
    write = destination.write
    destination.write = lambda batch: order.append(("sent", len(batch.records))) or write(batch)
    changed = MemoryRows(("id", "name"), [(n, "new" if n == 3 else f"v{n}") for n in range(10)])
    after = run(destination, store, changed, run_id=2)
    assert order[:2] == [("asked", "job-1"), ("sent", 1)]
    assert (after.counts.accepted, after.counts.pending) == (10, 0)
    assert destination.rows["3"] == {"id": 3, "name": "new"}


def test_row_that_went_back_to_what_was_accepted_is_sent_again_after_its_job(clock):
    store, destination = Store(), JobDestination(clock)
    run(destination, store, rows(3))
    interrupted(destination, store, rows(3, value="w"), run_id=2)
    after = run(destination, store, rows(3), run_id=3)
    assert (after.counts.accepted, after.counts.unchanged) == (3, 0)
    assert destination.rows["2"] == {"id": 2, "name": "v2"}


def test_row_that_was_refused_and_changed_since_is_delivered_and_its_entry_closed(clock):
    store, destination = Store(), JobDestination(clock, bad={"4": invalid()})
    interrupted(destination, store, rows(10))
    destination.take = lambda batch, take=destination.take: (
        take(batch) if len(batch.records) > 1 else BatchResult([RecordOutcome(RecordState.WRITTEN)])
    )
    changed = MemoryRows(("id", "name"), [(n, "good" if n == 4 else f"v{n}") for n in range(10)])
    after = run(destination, store, changed, run_id=2)
    assert (after.counts.accepted, after.counts.dead_lettered, store.dead) == (10, 0, {})
    assert any("4" in {item.key for item in commit.rejected} for commit in store.commits)


def test_refused_row_of_an_adopted_job_keeps_what_was_sent_though_the_warehouse_lost_it(clock):
    store, destination = Store(), JobDestination(clock, bad={"4": invalid()})
    interrupted(destination, store, rows(10))
    after = run(destination, store, rows(4), run_id=2)
    assert (after.counts.read, after.counts.accepted, after.counts.dead_lettered) == (4, 4, 0)
    assert store.dead["4"].record.body == b'{"id":4,"name":"v4"}'
    assert store.ledger["9"].payload_hash is not None


@pytest.mark.parametrize(("mode", "calls"), [(SyncMode.UPSERT, 2), (SyncMode.INSERT, 1)])
def test_adopted_job_that_is_gone_a_day_later(clock, mode, calls):
    store, destination = Store(), JobDestination(clock)
    interrupted(destination, store, rows(10), mode=mode)
    clock.time += 86_400
    destination.lost = {"job-1"}
    after = run(destination, store, rows(10), run_id=2, mode=mode)
    assert destination.asked[:2] == ["job-1", "job-1"]
    assert len(destination.calls) == calls
    assert after.counts.pending == 0
    if mode is SyncMode.INSERT:
        assert after.counts.dead_lettered == 10
        assert {item.error.type for item in store.dead.values()} == {ErrorType.UNKNOWN_OUTCOME}
    else:
        assert after.counts.accepted == 10
        assert len({state[0].idempotency_key for state in destination.jobs.values()}) == 1


def test_run_of_some_rows_asks_after_open_jobs_and_leaves_what_nobody_knows_to_a_whole_run(clock):
    store, destination = Store(), JobDestination(clock)
    interrupted(destination, store, rows(20), jobs=2)
    destination.lost = {"job-2"}
    some = run(destination, store, rows(2), run_id=2, reads_all=False)
    assert (some.counts.accepted, some.counts.pending, len(destination.calls)) == (2, 0, 2)
    assert statuses(store) >= {StepStatus.INFLIGHT}
    whole = run(destination, store, rows(20), run_id=3)
    assert (whole.counts.accepted, whole.counts.unchanged) == (10, 10)
    assert destination.jobs["job-3"][0].idempotency_key == destination.jobs["job-2"][0].idempotency_key
    assert statuses(store) <= {StepStatus.SUCCEEDED, StepStatus.INTERRUPTED}


def test_long_wait_for_jobs_gives_the_worker_back_and_the_next_goes_on(clock):
    store, destination = Store(), JobDestination(clock, retry_after=3000.0)
    ending = run(destination, store, rows(10))
    assert (ending.waits_for_jobs, ending.failure, ending.counts.pending) == (True, None, 10)
    assert 2900 < ending.wait_seconds <= 3000
    clock.time += 3000
    destination.retry_after = None
    after = run(destination, store, rows(10), is_resumed=True)
    assert (after.is_complete, after.counts.accepted, len(destination.calls)) == (True, 10, 1)


def test_adopted_job_that_works_on_keeps_the_run_from_reading(clock):
    store, destination = Store(), JobDestination(clock, retry_after=3000.0)
    run(destination, store, rows(10))
    destination.hold = True
    again = run(destination, store, rows(10, value="w"), is_resumed=True)
    assert (again.waits_for_jobs, again.counts.read, len(destination.calls)) == (True, 0, 1)


def test_mirror_counts_deletes_that_a_job_of_an_earlier_worker_carried_out(clock):
    store, destination = Store(), JobDestination(clock)
    run(destination, store, rows(10), mode=SyncMode.MIRROR, delete_guard_percent=100)
    store.steps.clear()
    interrupted(destination, store, rows(8), run_id=2, mode=SyncMode.MIRROR, delete_guard_percent=100)
    assert [s.operation for step in store.steps.values() for s in step.sends] == [Operation.DELETE]
    after = run(destination, store, rows(8), run_id=2, mode=SyncMode.MIRROR, delete_guard_percent=100, is_resumed=True)
    assert (after.counts.deleted, after.counts.vanished, after.counts.pending) == (2, 2, 0)
    assert set(destination.rows) == {str(n) for n in range(8)}
