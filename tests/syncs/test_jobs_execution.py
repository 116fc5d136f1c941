"""Jobs on the database: their rows and names survive, and what they say reaches ledger, dead letters and counts."""

from __future__ import annotations

import pytest
from django.db import connection
from django.utils import timezone

from dlq.choices import EntryStatus
from dlq.models import DLQEntry
from syncs.choices import RunStatus, StepStatus
from syncs.destinations.base import Capabilities
from syncs.models import DeliveredRow, JobBatch, Run, Step
from syncs.records import BatchResult, Job, Operation, Signal
from syncs.services import execution, runs
from tests import memory_destination
from tests.factories import World
from tests.fakes import FakeDestination, invalid
from tests.syncs.objects import expire_lease

pytestmark = pytest.mark.django_db(transaction=True)


class Jobs(FakeDestination):
    """Takes batches in as jobs, which end when asked, unless ``hold``. ``on_hold``: called with each such look."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = Capabilities(
            frozenset(Operation), frozenset(Operation) - {Operation.INSERT}, has_jobs=True, max_open_jobs=4
        )
        self.jobs: dict[str, object] = {}
        self.hold = False
        self.on_hold = lambda: None

    def write(self, batch):
        with self.lock:
            self.calls.append([record.key for record in batch.records])
            name = f"job-{len(self.calls)}"
            self.jobs[name] = batch
            job = Job(name, timezone.now().timestamp(), {"at": f"/jobs/{name}"})
            return BatchResult([], Signal.CONFIRMING, retry_after=0.01, job=job)

    def confirm(self, batch, job):
        if job.id not in self.jobs:
            return BatchResult([], Signal.UNKNOWN, invalid("The job is gone."))
        assert job.data == {"at": f"/jobs/{job.id}"}
        if self.hold:
            self.on_hold()
            connection.close()  # this thread's own
            return BatchResult([], Signal.CONFIRMING, retry_after=0.01)
        with self.lock:
            return self.take(batch)


@pytest.fixture
def world(tmp_path) -> World:
    world = World(tmp_path, [(number, f"name {number}", 20) for number in range(1, 121)], batch_records=30)
    world.destination = Jobs()
    memory_destination.STORES[world.target.config["name"]] = world.destination
    return world


def confirming() -> list[Step]:
    return list(Step.objects.filter(status=StepStatus.CONFIRMING).order_by("run_id", "number"))


def kill(world: World) -> Run:
    """A run whose worker loses its lease while all its batches are jobs."""
    run = runs.request(sync=world.sync, trigger="manual")
    claim = runs.claim(run_id=run.pk, worker="one")
    assert claim is not None
    world.destination.hold = True

    def steal() -> None:
        if Step.objects.filter(run=run, status=StepStatus.CONFIRMING).count() == 4:
            Run.objects.filter(pk=run.pk).update(fence=99)

    world.destination.on_hold = steal
    execution.execute(claim)
    world.destination.hold = False
    run.refresh_from_db()
    assert run.status == RunStatus.RUNNING
    assert len(confirming()) == JobBatch.objects.count() == 4
    return run


def test_run_of_jobs_ends_balanced_and_keeps_nothing_of_them(world):
    world.destination.bad = {"7": invalid()}
    run = world.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count, run.pending_count) == (RunStatus.PARTIAL, 119, 1, 0)
    assert not JobBatch.objects.exists()
    assert not confirming()
    upload = Step.objects.filter(run=run, kind="upload").first()
    assert [attempt["signal"] for attempt in upload.attempts] == ["confirming", "ok"]


def test_jobs_of_a_killed_worker_are_asked_after_by_the_next_which_sends_nothing_again(world):
    world.destination.bad = {"7": invalid()}
    run = kill(world)
    numbers = [step.number for step in confirming()]
    before = {step.number: len(step.attempts) for step in confirming()}
    world.sql("UPDATE people SET name = 'another' WHERE id IN (7, 8)")
    world.sql("DELETE FROM people WHERE id = 9")
    expire_lease(run)
    assert [reaped.pk for reaped in runs.reap()] == [run.pk]
    assert len(confirming()) == 4
    world.work(run)
    assert (run.status, run.read_count, run.pending_count) == (RunStatus.PARTIAL, 119, 0)
    assert (run.accepted_count, run.dead_lettered_count) == (118, 1)
    assert world.destination.calls[4:] == [["7", "8"]]
    assert not confirming()
    assert not JobBatch.objects.exists()
    steps = Step.objects.filter(run=run, number__in=numbers)
    assert {step.status for step in steps} == {StepStatus.SUCCEEDED, StepStatus.PARTIAL}
    assert all(len(step.attempts) > before[step.number] for step in steps), "the same steps go on"
    assert DeliveredRow.objects.get(row_key="9").payload_hash is not None
    entry = DLQEntry.objects.get()
    assert (entry.row_key, entry.status, entry.failure_count) == ("7", EntryStatus.OPEN, 1)
    assert entry.payload_values == {"id": 7, "name": "another", "age": 20}


def test_refused_row_of_a_job_that_another_run_asked_after_shows_what_was_sent(world):
    world.destination.bad = {"7": invalid()}
    run = kill(world)
    assert runs.cancel(run, by=None)
    expire_lease(run)
    runs.reap()
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED
    assert all("next run asks" in step.message for step in confirming())
    world.sql("DELETE FROM people WHERE id = 7")
    after = world.run()
    assert (after.status, after.accepted_count, after.unchanged_count) == (RunStatus.SUCCEEDED, 119, 0)
    assert len(world.destination.calls) == 4
    entry = DLQEntry.objects.get()
    assert entry.payload_values == entry.source_values == {"id": 7, "name": "name 7", "age": 20}
    assert entry.run_id == after.pk
    old = Step.objects.filter(run=run, kind="upload")
    assert {step.status for step in old} == {StepStatus.INTERRUPTED}
    assert {step.message for step in old} == {f"Run {after.pk} asks how its job ended."}


def test_run_of_some_keys_asks_after_open_jobs_first(world):
    run = kill(world)
    runs.cancel(run, by=None)
    expire_lease(run)
    runs.reap()
    del world.destination.jobs["job-2"]
    some = world.run(keys=["1", "2"])
    assert (some.status, some.accepted_count) == (RunStatus.SUCCEEDED, 2)
    left = Step.objects.get(status=StepStatus.INFLIGHT)
    assert (left.run_id, len(left.sends[0]["keys"])) == (some.pk, 30)
    assert DeliveredRow.objects.count() == 90
    lost = left.sends[0]["idempotency_key"]
    after = world.run()
    assert (after.status, after.accepted_count, after.unchanged_count) == (RunStatus.SUCCEEDED, 30, 90)
    assert world.destination.jobs["job-5"].idempotency_key == lost


def test_jobs_of_another_destination_are_not_asked_after(world):
    run = kill(world)
    runs.cancel(run, by=None)
    expire_lease(run)
    runs.reap()
    world.sync.destination_object = "other things"
    world.sync.save(update_fields=["destination_object"])
    world.destination.jobs.clear()
    after = world.run()
    assert (after.status, after.accepted_count) == (RunStatus.SUCCEEDED, 120)
    assert not confirming()
    assert not JobBatch.objects.exists()
