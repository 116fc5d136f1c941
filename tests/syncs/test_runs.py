from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from syncs.choices import RunStatus, StepKind, StepStatus, Trigger
from syncs.engine.ports import Counts
from syncs.errors import ConfigError, ErrorType
from syncs.models import Run, Step, Sync, SyncVersion
from syncs.records import RowError
from syncs.services import runs, sinks
from syncs.services.ownership import HARD_STOP
from syncs.signals import run_finished
from tests.syncs.objects import claimed, expire_lease, make_sync, queued

pytestmark = pytest.mark.django_db


def messages() -> list[tuple[str, int]]:
    """(queue, run id) of the doorbells that wait."""
    return [(row.key, SignedPackage.loads(row.payload)["args"][0]) for row in OrmQ.objects.order_by("id")]


@pytest.fixture
def finished_runs() -> Any:
    seen: list[int] = []

    def receive(run_id: int, **kwargs: Any) -> None:
        seen.append(run_id)

    run_finished.connect(receive)
    yield seen
    run_finished.disconnect(receive)


# -- request


def test_request_pins_the_version_and_rings_in_one_commit():
    sync = make_sync()
    run = queued(sync)
    sync.refresh_from_db()
    assert run.version_id == sync.current_version_id
    assert run.version.snapshot["query"] == sync.query
    assert messages() == [("redrive", run.pk)]


def test_request_rolled_back_leaves_no_message():
    sync = make_sync()
    with transaction.atomic():
        queued(sync)
        transaction.set_rollback(True)
    assert (Run.objects.count(), OrmQ.objects.count(), SyncVersion.objects.count()) == (0, 0, 0)


def test_short_run_rings_the_fast_cluster():
    run = queued(make_sync(), is_short=True)
    assert messages() == [("fast", run.pk)]


def test_asking_twice_gives_the_run_that_waits():
    sync = make_sync()
    assert queued(sync).pk == queued(sync, trigger=Trigger.API).pk
    assert Run.objects.count() == 1


@pytest.mark.parametrize("other", [{"options": {"full": True}}, {"trigger": Trigger.REPROCESS}, {"trigger": Trigger.SCHEDULE}])
def test_asking_for_something_else_gives_a_run_of_its_own(other: dict[str, Any]):
    sync = make_sync()
    assert queued(sync).pk != queued(sync, **other).pk


def test_asking_again_after_an_edit_gives_a_run_with_the_new_version():
    sync = make_sync()
    first = queued(sync)
    Sync.objects.filter(pk=sync.pk).update(query="select 1 as id, 'x' as email")
    second = queued(sync)
    assert second.pk != first.pk
    assert second.version.number == 2


def test_request_of_a_paused_sync_is_refused_with_the_way_out():
    sync = make_sync(is_paused=True)
    with pytest.raises(ConfigError, match=r"is paused\. Resume it"):
        queued(sync)
    assert Run.objects.count() == 0
    assert SyncVersion.objects.count() == 0
    assert queued(sync, trigger=Trigger.REPROCESS).status == RunStatus.QUEUED


def test_request_of_an_archived_sync_is_always_refused():
    with pytest.raises(ConfigError, match="archived"):
        queued(make_sync(is_archived=True), trigger=Trigger.REPROCESS)


# -- claim


def test_claim_takes_lease_and_raises_the_fence():
    before = timezone.now()
    run, claim = claimed(make_sync(), worker="host:7")
    assert (run.status, run.fence, run.worker, claim.fence) == (RunStatus.RUNNING, 1, "host:7", 1)
    assert run.lease_until is not None
    assert run.lease_until > before + timedelta(seconds=25)


def test_claim_twice_gives_nothing_the_second_time():
    run, _ = claimed(make_sync())
    assert runs.claim(run_id=run.pk, worker="w:2") is None


def test_claim_waits_for_the_other_run_of_the_sync():
    sync = make_sync()
    _, claim = claimed(sync)
    second = queued(sync, options={"full": True})
    assert runs.claim(run_id=second.pk, worker="w:2") is None
    runs.finish(claim, status=RunStatus.SUCCEEDED, counts=Counts())
    assert runs.claim(run_id=second.pk, worker="w:2") is not None


def test_claim_loses_quietly_when_the_database_refuses_a_second_live_run(monkeypatch: pytest.MonkeyPatch):
    """The look at other runs saw nothing, and the partial unique constraint decides."""
    sync = make_sync()
    claimed(sync)
    second = queued(sync, options={"full": True})
    monkeypatch.setattr("syncs.querysets.RunQuerySet.claimable", lambda self, now: self.filter(status=RunStatus.QUEUED))
    assert runs.claim(run_id=second.pk, worker="w:2") is None
    second.refresh_from_db()
    assert second.status == RunStatus.QUEUED


@pytest.mark.parametrize("held", [{"is_paused": True}, {"is_archived": True}])
def test_claim_leaves_runs_of_paused_and_archived_syncs(held: dict[str, bool]):
    sync = make_sync()
    run = queued(sync)
    Sync.objects.filter(pk=sync.pk).update(**held)
    assert runs.claim(run_id=run.pk, worker="w:1") is None


def test_claim_respects_not_before():
    run = queued(make_sync())
    Run.objects.filter(pk=run.pk).update(not_before=timezone.now() + timedelta(hours=1))
    assert runs.claim(worker="w:1") is None
    Run.objects.filter(pk=run.pk).update(not_before=timezone.now() - timedelta(seconds=1))
    assert runs.claim(worker="w:1") is not None


def test_claim_without_an_id_takes_the_one_that_waits_longest():
    first, second = queued(make_sync()), queued(make_sync(), is_short=True)
    assert runs.claim(worker="w:1", is_short=True).run_id == second.pk
    assert runs.claim(worker="w:1").run_id == first.pk
    assert runs.claim(worker="w:1") is None


def test_started_at_stays_on_resume():
    run, claim = claimed(make_sync())
    assert runs.release(claim, reason="drained")
    again = runs.claim(run_id=run.pk, worker="w:2")
    after = Run.objects.get(pk=run.pk)
    assert again is not None
    assert (after.started_at, after.fence, after.worker) == (run.started_at, 2, "w:2")


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_claiming_at_once_one_wins():
    run = queued(make_sync())
    won: list[object] = []
    start = threading.Barrier(6)

    def take(number: int) -> None:
        try:
            start.wait()
            claim = runs.claim(run_id=run.pk, worker=f"w:{number}")
            if claim is not None:
                won.append(claim)
        finally:
            connection.close()

    in_threads(6, take)
    assert len(won) == 1
    run.refresh_from_db()
    assert run.fence == 1


def in_threads(count: int, target: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=target, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- release, finish, cancel


def test_release_by_a_former_owner_changes_nothing():
    run, old = claimed(make_sync())
    expire_lease(run)
    runs.reap()
    new = runs.claim(run_id=run.pk, worker="w:2")
    assert not runs.release(old, reason="late")
    assert not runs.finish(old, status=RunStatus.SUCCEEDED, counts=Counts())
    assert not runs.abandon(old, "late")
    assert runs.finish(new, status=RunStatus.SUCCEEDED, counts=Counts())


def test_release_rings_again():
    run, claim = claimed(make_sync())
    OrmQ.objects.all().delete()
    assert runs.release(claim, reason="The worker is stopping.")
    run.refresh_from_db()
    assert (run.status, run.lease_until, run.reason) == (RunStatus.QUEUED, None, "The worker is stopping.")
    assert messages() == [("redrive", run.pk)]


def test_release_with_a_wait_does_not_ring():
    run, claim = claimed(make_sync())
    OrmQ.objects.all().delete()
    until = timezone.now() + timedelta(minutes=20)
    assert runs.release(claim, reason="Asked to wait.", not_before=until)
    assert messages() == []
    assert Run.objects.get(pk=run.pk).not_before == until


def test_release_of_a_run_that_was_cancelled_meanwhile_ends_it():
    run, claim = claimed(make_sync())
    assert runs.cancel(run, by=None)
    assert runs.release(claim, reason="drained")
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED


def test_finish_balances_counts_and_announces_after_commit(finished_runs: list[int], django_capture_on_commit_callbacks: Any):
    run, claim = claimed(make_sync())
    counts = Counts(read=10, accepted=4, unchanged=3, skipped=1, dead_lettered=1)
    failure = RowError(ErrorType.AUTH, "The CRM refused the token.")
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        assert runs.finish(claim, status=RunStatus.FAILED, counts=counts, failure=failure, error_summary=[{"count": 1}])
        assert finished_runs == []
    run.refresh_from_db()
    assert (run.status, run.pending_count, run.failure_type) == (RunStatus.FAILED, 1, "auth")
    assert run.failure_message == "The CRM refused the token."
    assert run.lease_until is None
    assert finished_runs == [run.pk]


def test_finish_survives_a_receiver_that_fails(django_capture_on_commit_callbacks: Any):
    def broken(**kwargs: Any) -> None:
        raise ValueError

    run_finished.connect(broken)
    try:
        run, claim = claimed(make_sync())
        with django_capture_on_commit_callbacks(execute=True):
            assert runs.finish(claim, status=RunStatus.SUCCEEDED, counts=Counts())
    finally:
        run_finished.disconnect(broken)
    assert Run.objects.get(pk=run.pk).status == RunStatus.SUCCEEDED


def test_finish_wakes_the_run_that_waited_behind():
    sync = make_sync()
    _, claim = claimed(sync)
    behind = queued(sync, options={"full": True})
    OrmQ.objects.all().delete()
    runs.finish(claim, status=RunStatus.SUCCEEDED, counts=Counts())
    assert messages() == [("redrive", behind.pk)]


def test_cancel_ends_a_queued_run_at_once(finished_runs: list[int], django_capture_on_commit_callbacks: Any):
    user = get_user_model().objects.create_user("alice")
    run = queued(make_sync())
    with django_capture_on_commit_callbacks(execute=True):
        assert runs.cancel(run, by=user)
    run.refresh_from_db()
    assert (run.status, run.cancel_requested_by) == (RunStatus.CANCELLED, user)
    assert "alice" in run.reason
    assert finished_runs == [run.pk]
    assert not runs.cancel(run, by=user)


def test_cancel_asks_a_running_run_once():
    run, _ = claimed(make_sync())
    assert runs.cancel(run, by=None)
    assert not runs.cancel(run, by=None)
    run.refresh_from_db()
    assert run.status == RunStatus.RUNNING
    assert run.cancel_requested_at is not None


def test_cancel_of_a_resumed_run_keeps_its_counts_balanced():
    run, claim = claimed(make_sync())
    Run.objects.filter(pk=run.pk).update(read_count=9, accepted_count=4)
    runs.release(claim, reason="drained")
    assert runs.cancel(run, by=None)
    run.refresh_from_db()
    assert (run.status, run.pending_count) == (RunStatus.CANCELLED, 5)


class RecordingSink:
    put_back: list[int] = []

    def __init__(self, run: Run) -> None:
        self.run = run

    def finish(self, *, is_complete: bool) -> None:
        assert not is_complete
        self.put_back.append(self.run.pk)


def test_cancel_of_a_queued_reprocess_puts_its_dead_letters_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sinks, "build", RecordingSink)
    monkeypatch.setattr(RecordingSink, "put_back", [])
    run = queued(make_sync(), trigger=Trigger.REPROCESS)
    assert runs.cancel(run, by=None)
    assert RecordingSink.put_back == [run.pk]


# -- reap


def test_reap_leaves_runs_whose_lease_holds():
    claimed(make_sync())
    assert runs.reap() == []


def test_reap_returns_the_run_and_counts_the_crash():
    run, _ = claimed(make_sync())
    OrmQ.objects.all().delete()
    expire_lease(run)
    assert [reaped.pk for reaped in runs.reap()] == [run.pk]
    run.refresh_from_db()
    assert (run.status, run.crash_count, run.total_crash_count) == (RunStatus.QUEUED, 1, 1)
    assert messages() == [("redrive", run.pk)]
    assert runs.reap() == []


def test_reap_gives_up_after_three_crashes_without_progress():
    run, _ = claimed(make_sync(), worker="host:9")
    Run.objects.filter(pk=run.pk).update(read_count=100, accepted_count=40)
    expire_lease(run, crash_count=2, total_crash_count=5)
    runs.reap()
    run.refresh_from_db()
    assert (run.status, run.failure_type, run.pending_count) == (RunStatus.FAILED, "worker_crash", 60)
    assert "3 times in a row" in run.failure_message
    assert (run.crash_count, run.total_crash_count) == (3, 6)


def inflight_step(run: Run) -> Step:
    return Step.objects.create(
        run=run, number=1, kind=StepKind.UPLOAD, status=StepStatus.INFLIGHT, started_at=timezone.now(), sends=[{"keys": ["1"]}]
    )


def test_reap_goes_on_while_a_batch_is_in_flight_to_find_the_row_that_kills():
    run, _ = claimed(make_sync())
    step = inflight_step(run)
    expire_lease(run, crash_count=2)
    runs.reap()
    run.refresh_from_db()
    step.refresh_from_db()
    assert (run.status, step.status, step.sends) == (RunStatus.QUEUED, StepStatus.INFLIGHT, [{"keys": ["1"]}])


def test_reap_stops_at_the_hard_limit_and_keeps_what_may_have_landed():
    run, _ = claimed(make_sync())
    step = inflight_step(run)
    query = Step.objects.create(run=run, number=2, kind=StepKind.QUERY, status=StepStatus.INFLIGHT, started_at=timezone.now())
    expire_lease(run, crash_count=HARD_STOP - 1)
    runs.reap()
    for row in (run, step, query):
        row.refresh_from_db()
    assert (run.status, step.status, step.sends) == (RunStatus.FAILED, StepStatus.INFLIGHT, [{"keys": ["1"]}])
    assert "next full run" in step.message
    assert query.status == StepStatus.INTERRUPTED
    assert query.finished_at is not None


def test_reap_ends_a_run_that_was_asked_to_cancel():
    run, _ = claimed(make_sync())
    runs.cancel(run, by=None)
    expire_lease(run)
    runs.reap()
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED


def test_reap_looks_at_the_lease_again_before_it_takes_the_run(monkeypatch: pytest.MonkeyPatch):
    """The worker renews between the reaper's look and its update."""
    run, _ = claimed(make_sync())
    expire_lease(run)
    stale = list(Run.objects.lease_expired(timezone.now()))
    renewed = timezone.now() + timedelta(seconds=30)
    Run.objects.filter(pk=run.pk).update(lease_until=renewed)
    from syncs.services import ownership

    assert not ownership._reap(stale[0], timezone.now())
    run.refresh_from_db()
    assert (run.status, run.lease_until, run.crash_count) == (RunStatus.RUNNING, renewed, 0)


def test_one_run_that_cannot_be_reaped_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    broken, _ = claimed(make_sync())
    other, _ = claimed(make_sync())
    expire_lease(broken, crash_count=2)
    expire_lease(other)
    Run.objects.filter(pk=broken.pk).update(trigger=Trigger.REPROCESS)

    def fails(run: Run) -> None:
        raise ImportError("no sink")

    monkeypatch.setattr(sinks, "build", fails)
    assert [run.pk for run in runs.reap()] == [other.pk]
    broken.refresh_from_db()
    assert broken.status == RunStatus.RUNNING
    assert "next tick tries again" in caplog.text


# -- lost doorbells


def test_lost_doorbell_is_rung_again_once():
    run = queued(make_sync())
    Run.objects.filter(pk=run.pk).update(queued_at=timezone.now() - timedelta(minutes=1))
    assert runs.ring_lost() == 0  # its message is still there
    OrmQ.objects.all().delete()
    assert runs.ring_lost() == 1
    assert runs.ring_lost() == 0
    assert messages() == [("redrive", run.pk)]


def test_message_that_a_dead_cluster_took_counts_as_lost():
    run = queued(make_sync())
    Run.objects.filter(pk=run.pk).update(queued_at=timezone.now() - timedelta(minutes=1))
    OrmQ.objects.update(lock=timezone.now() + timedelta(days=8))
    assert runs.ring_lost() == 1


def test_runs_that_could_not_start_are_not_rung():
    old = timezone.now() - timedelta(minutes=1)
    sync = make_sync()
    claimed(sync)
    queued(sync, options={"full": True})
    paused = make_sync()
    queued(paused)
    Sync.objects.filter(pk=paused.pk).update(is_paused=True)
    Run.objects.update(queued_at=old)
    queued(make_sync())  # too young
    OrmQ.objects.all().delete()
    assert runs.ring_lost() == 0
