from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.db import OperationalError
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from syncs import tasks
from syncs.choices import ScheduleKind
from syncs.models import Run
from syncs.services import leases, markers, supervisor, worker
from syncs.services.clusters import Cluster
from syncs.services.supervisor import Pace, Pulse, ensure_tick_schedule
from tests.syncs.objects import claimed, expire_lease, make_sync, queued

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    cluster = Cluster("redrive", workers=1)
    monkeypatch.setenv(markers.FOLDER, str(cluster.folder))
    yield cluster
    cluster.remove()


def pulse(cluster: Cluster) -> Pulse:
    return Pulse([cluster], Pace(canary_limit=60), say=print)


def me() -> str:
    return f"{socket.gethostname()[:100]}:{os.getpid()}"


# -- is it hanging?


def test_silent_cluster_with_an_idle_worker_hangs(cluster: Cluster):
    cluster.rung(time.time() - 61)
    assert pulse(cluster)._hangs(cluster)


def test_cluster_that_answered_does_not_hang(cluster: Cluster):
    cluster.rung(time.time() - 61)
    markers.prove_life()
    assert not pulse(cluster)._hangs(cluster)


def test_cluster_is_given_its_time(cluster: Cluster):
    cluster.rung(time.time() - 59)
    assert not pulse(cluster)._hangs(cluster)
    assert cluster.silent_seconds(time.time()) > 58


def test_worker_in_a_run_whose_lease_holds_is_busy_and_not_hung(cluster: Cluster):
    claimed(make_sync(), worker=me())
    markers.begin("syncs.tasks.work", is_drainable=True)
    os.utime(cluster.folder / "proof", (0, 0))
    cluster.rung(time.time() - 61)
    assert not pulse(cluster)._hangs(cluster)
    cluster.workers = 2  # the other one is idle and says nothing
    assert pulse(cluster)._hangs(cluster)


def test_worker_in_a_run_whose_lease_ended_hangs(cluster: Cluster):
    run, _ = claimed(make_sync(), worker=me())
    expire_lease(run)
    markers.begin("syncs.tasks.work", is_drainable=True)
    os.utime(cluster.folder / "proof", (0, 0))
    cluster.rung(time.time() - 61)
    assert pulse(cluster)._hangs(cluster)


def test_worker_in_another_task_is_busy(cluster: Cluster):
    markers.begin("dlq.tasks.export")
    os.utime(cluster.folder / "proof", (0, 0))
    cluster.rung(time.time() - 61)
    assert not pulse(cluster)._hangs(cluster)


def test_marker_of_a_dead_worker_counts_for_nothing(cluster: Cluster):
    gone = 2**22 + 1  # above the largest process id
    (cluster.folder / str(gone)).write_text('{"function": "x", "is_drainable": true, "began_at": 1}')
    assert cluster.busy() == []
    assert not (cluster.folder / str(gone)).exists()


def test_markers_do_nothing_outside_a_cluster(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(markers.FOLDER, raising=False)
    markers.begin("x")
    markers.end()
    assert markers.folder() is None
    assert not markers.is_orphaned()


def test_canaries_do_not_pile_up_in_a_dead_cluster(cluster: Cluster):
    beat = pulse(cluster)
    for _ in range(20):
        beat._ring(cluster)
    assert OrmQ.objects.filter(key="redrive").count() == 5


def test_first_unanswered_canary_counts(cluster: Cluster):
    cluster.rung(1000.0)
    cluster.rung(1010.0)
    assert cluster.silent_seconds(1070.0) == 70.0


# -- the tick


def test_tick_schedule_is_made_once_and_mended():
    ensure_tick_schedule()
    ensure_tick_schedule()
    Schedule.objects.create(func=supervisor.TICK, schedule_type=Schedule.HOURLY)
    Schedule.objects.filter(func=supervisor.TICK).update(minutes=17, args="(1,)", cluster="fast")
    ensure_tick_schedule()
    (row,) = Schedule.objects.all()
    assert (row.func, row.schedule_type, row.minutes, row.repeats) == ("syncs.tasks.tick", Schedule.MINUTES, 1, -1)
    assert (row.args, row.cluster) == (None, None)


def test_names_that_q2_calls_exist():
    from django.utils.module_loading import import_string

    assert import_string(supervisor.TICK) is tasks.tick
    assert import_string(supervisor.CANARY) is tasks.canary
    assert import_string("syncs.tasks.work") is tasks.work


def test_tick_starts_rescues_and_rings():
    now = timezone.now()
    due = make_sync(schedule_kind=ScheduleKind.INTERVAL, interval_minutes=5, next_run_at=now - timedelta(minutes=1))
    dead, _ = claimed(make_sync())
    expire_lease(dead)
    waiting = queued(make_sync())
    Run.objects.filter(pk=waiting.pk).update(queued_at=now - timedelta(minutes=1))
    OrmQ.objects.all().delete()
    done = worker.tick()
    assert (done.started, done.reaped) == (1, 1)
    assert Run.objects.filter(sync=due).count() == 1
    assert bool(done)
    assert not worker.tick()


def test_pulse_beats_on_after_an_error(monkeypatch: pytest.MonkeyPatch, cluster: Cluster):
    said: list[str] = []
    beat = Pulse([], Pace(tick=0.001, canary=1000), say=said.append)
    outcomes: list[Any] = [OperationalError("gone"), OperationalError("gone"), ValueError("bug"), None]

    def tick() -> Any:
        outcome = outcomes.pop(0)
        if not outcomes:
            beat.stopping.set()
        if outcome is not None:
            raise outcome
        return None

    monkeypatch.setattr(worker, "tick", tick)
    monkeypatch.setattr(supervisor, "ensure_tick_schedule", lambda: None)
    for name in ("beat", "forget_old_workers"):
        monkeypatch.setattr(supervisor.heartbeats, name, lambda *_, **__: None)
    monkeypatch.setattr(supervisor.connections, "close_all", lambda: None)
    beat.run()
    assert said == ["the database does not answer (OperationalError); trying again", "the database answers again"]


# -- work


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    monkeypatch.setattr(worker, "execute", lambda claim: seen.append(claim.run_id))
    return seen


def test_work_executes_the_run_it_was_rung_for(executed: list[int]):
    queued(make_sync())
    run = queued(make_sync())
    tasks.work(run.pk)
    assert executed == [run.pk]


def test_work_with_a_stale_message_takes_the_run_of_its_kind_that_waits(executed: list[int]):
    ended = queued(make_sync())
    tasks.work(ended.pk)
    queued(make_sync(), is_short=True)
    waiting = queued(make_sync())
    tasks.work(ended.pk)
    assert executed == [ended.pk, waiting.pk]


def test_work_is_quiet_when_there_is_nothing_to_do(executed: list[int]):
    run = queued(make_sync())
    tasks.work(run.pk)
    tasks.work(run.pk)
    tasks.work(987654)
    assert executed == [run.pk]


def test_work_takes_nothing_in_a_process_that_drains(executed: list[int]):
    run = queued(make_sync())
    leases.DRAIN.set()
    try:
        tasks.work(run.pk)
    finally:
        leases.DRAIN.clear()
    assert executed == []
    assert Run.objects.get(pk=run.pk).status == "queued"


def test_run_that_meets_a_bug_fails_by_name_and_without_the_text(monkeypatch: pytest.MonkeyPatch):
    from syncs.services import execution

    def explode(claim: Any) -> None:
        raise KeyError("token=hunter2")

    monkeypatch.setattr(execution, "execute", explode)
    run, claim = claimed(make_sync())
    Run.objects.filter(pk=run.pk).update(read_count=5, accepted_count=2)
    worker.execute(claim)
    run.refresh_from_db()
    assert (run.status, run.pending_count, run.failure_type) == ("failed", 3, "unknown")
    assert "KeyError" in run.failure_message
    assert "hunter2" not in run.failure_message


def test_run_whose_database_fails_is_left_to_its_lease(monkeypatch: pytest.MonkeyPatch):
    from syncs.services import execution

    def explode(claim: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(execution, "execute", explode)
    run, claim = claimed(make_sync())
    with pytest.raises(OperationalError):
        worker.execute(claim)
    assert Run.objects.get(pk=run.pk).status == "running"


# -- django-q2 stays behind the scenes


def test_no_page_of_django_q2_is_in_the_console():
    import django_q.models

    admin.autodiscover()
    registered = {model for model in admin.site._registry if model._meta.app_label == "django_q"}
    assert registered == set(), django_q.models.__name__


def test_q2_never_runs_a_task_again_by_itself():
    q = settings.Q_CLUSTER
    assert (q["max_attempts"], q["ack_failures"], q["catch_up"], q["bulk"]) == (1, True, False, 1)
    for timeout, retry in (
        (q["timeout"], q["retry"]),
        (q["ALT_CLUSTERS"]["fast"]["timeout"], q["ALT_CLUSTERS"]["fast"]["retry"]),
    ):
        assert retry > timeout >= 86_400
