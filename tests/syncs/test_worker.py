from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.installation import Installation, Started, until

pytestmark = [pytest.mark.faults, pytest.mark.once("sqlite")]

QUICK = ("--workers", "2", "--tick-seconds", "0.5", "--canary-seconds", "0.5")


@pytest.fixture
def redrive() -> Iterator[Installation]:
    with Installation(os.environ.get("REDRIVE_TEST_DB", "sqlite")) as installation:
        yield installation


def group_leaders(worker: Started) -> list[psutil.Process]:
    """First processes of the two clusters."""
    return psutil.Process(worker.pid).children()


def idle_workers(leader: psutil.Process) -> list[psutil.Process]:
    """The pool of a cluster: the sentinel starts its workers first, then the monitor and the pusher."""
    (sentinel,) = [child for child in leader.children() if child.children()]
    return sorted(sentinel.children(), key=lambda child: child.pid)[:-2]


def answered(redrive: Installation) -> bool:
    """Both clusters have worked off what was in the queue."""
    return redrive.query("SELECT count(*) FROM django_q_ormq") == [(0,)]


def started(redrive: Installation, *options: str) -> Started:
    worker = redrive.start("retl_worker", *QUICK, *options)
    worker.wait_for("cluster redrive: started")
    worker.wait_for("cluster fast: started")
    until(lambda: worker.text.count("running.") >= 2, what="two clusters")
    return worker


def test_worker_keeps_one_schedule_and_sigterm_ends_every_process(redrive: Installation):
    double = (
        "insert into django_q_schedule (func, schedule_type, repeats, next_run) values (%s, 'H', 3, '2020-01-01 00:00:00+00')"
    )
    for _ in range(3):
        redrive.query(double, ("syncs.tasks.tick",))
    worker = started(redrive)
    schedules = "select func, schedule_type, minutes, repeats from django_q_schedule"
    until(lambda: redrive.query(schedules) == [("syncs.tasks.tick", "I", 1, -1)], what="one schedule")
    worker.send(signal.SIGTERM)
    assert worker.wait(45) == 0
    assert "cluster redrive: ended" in worker.text
    assert "cluster fast: ended" in worker.text
    assert redrive.processes() == []


def test_cluster_whose_idle_worker_was_killed_is_restarted(redrive: Installation):
    """The killed worker held the queue's lock: nothing runs any more and SIGTERM alone would not end the cluster."""
    worker = started(redrive, "--canary-limit", "4", "--drain-seconds", "5")
    until(lambda: answered(redrive), what="first canaries")
    leader = min(group_leaders(worker), key=lambda process: process.pid)
    for process in idle_workers(leader):
        os.kill(process.pid, signal.SIGKILL)
    worker.wait_for("answered no canary", seconds=40)
    until(lambda: worker.text.count("cluster redrive: started") == 2, what="a new cluster")
    until(lambda: not leader.is_running(), what="the end of the old cluster")
    until(lambda: worker.text.count("running.") >= 3, what="the new cluster")
    until(lambda: "Processed 'syncs.tasks.canary'" in worker.text.rpartition("cluster redrive: started")[2], what="work done")
    worker.send(signal.SIGTERM)
    assert worker.wait(45) == 0
    assert redrive.processes() == []


def test_cluster_that_ends_is_started_again(redrive: Installation):
    worker = started(redrive)
    os.killpg(group_leaders(worker)[0].pid, signal.SIGKILL)
    worker.wait_for("ended by itself (exit code -9)")
    until(lambda: len(group_leaders(worker)) == 2, what="two clusters again")


def test_nothing_outlives_a_killed_worker(redrive: Installation):
    worker = started(redrive)
    assert len(redrive.processes()) >= 10
    worker.kill()
    until(lambda: redrive.processes() == [], seconds=10, what="the end of every process")


def test_nothing_outlives_a_killed_cluster_leader(redrive: Installation):
    worker = started(redrive)
    leader = group_leaders(worker)[0]
    below = leader.children(recursive=True)
    os.kill(leader.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(below, timeout=10)
    assert alive == []
