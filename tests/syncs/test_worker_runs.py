"""Workers with a real run in their hands: a SQLite warehouse, an HTTP API whose answers the test holds back."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from tests.installation import Installation, Started, until
from tests.servers import Answer, Request, Server

pytestmark = [pytest.mark.faults, pytest.mark.once("postgresql")]

ROWS = 60
FREE = 5  # answered at once; later ones wait for the gate


class Api:
    """Accepts people; after the first few it answers only once ``gate`` is open, or drop by drop while somebody drips."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.server = Server(self.answer)
        self.seen: list[int] = []
        self._held: list[threading.Event] = []
        self._dripped_at = 0.0

    def answer(self, request: Request) -> Answer:
        self.seen.append(int(request.json()["id"]))
        answer = Answer.json({"id": request.json()["id"]})
        if len(self.seen) > FREE and not self.gate.is_set():
            answer.release = threading.Event()
            self._held.append(answer.release)
        return answer

    def open(self) -> None:
        self.gate.set()
        self._let_go()

    def drip(self) -> None:
        """Call it again and again: twice a second, what is held is answered."""
        if time.monotonic() - self._dripped_at >= 0.5:
            self._dripped_at = time.monotonic()
            self._let_go()

    def _let_go(self) -> None:
        while self._held:
            self._held.pop().set()


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    with api.server:
        yield api


@pytest.fixture
def redrive() -> Iterator[Installation]:
    with Installation(os.environ.get("REDRIVE_TEST_DB", "sqlite"), RETL_LEASE_SECONDS="9") as installation:
        yield installation


def request_run(redrive: Installation, api: Api) -> int:
    code = (
        "from tests.syncs.people import people_sync\nfrom tests.syncs.objects import queued\n"
        f"print(queued(people_sync({str(redrive.folder)!r}, {api.server.url!r}, {ROWS})).pk)"
    )
    return int(redrive.shell(code).split()[-1])


def start(redrive: Installation) -> Started:
    return redrive.start("retl_worker", "--workers", "1", "--tick-seconds", "0.5", "--canary-seconds", "1")


def reach_the_middle(api: Api, worker: Started) -> None:
    """Some rows are accepted, and answers are waiting."""
    try:
        until(lambda: len(api.seen) >= FREE + 2, what="the middle of the run")
    except AssertionError:
        pytest.fail(f"the run did not get to its middle:\n{worker.text[-3000:]}")


def row(redrive: Installation, run_id: int) -> dict[str, object]:
    names = ("status", "accepted_count", "total_crash_count", "worker", "reason", "read_count")
    (values,) = redrive.query(f"SELECT {', '.join(names)} FROM syncs_run WHERE id = %s", (run_id,))
    return dict(zip(names, values, strict=True))


def test_sigterm_lets_batches_in_flight_end_and_the_next_worker_goes_on(redrive: Installation, api: Api):
    run_id = request_run(redrive, api)
    worker = start(redrive)
    reach_the_middle(api, worker)
    worker.send(signal.SIGTERM)
    worker.wait_for("stopping: runs finish")
    api.open()
    assert worker.wait(45) == 0
    assert redrive.processes() == []
    after = row(redrive, run_id)
    assert after["status"] == "queued", worker.text[-3000:]
    assert after["accepted_count"] == len(api.seen) < ROWS
    assert after["total_crash_count"] == 0
    assert "stopping" in str(after["reason"])
    once = redrive.manage("retl_worker", "--once")
    assert "1 run executed" in once.stdout, once.stderr
    assert redrive.run_status(run_id) == "succeeded"
    assert Counter(api.seen) == dict.fromkeys(range(1, ROWS + 1), 1)


def run_worker_pid(redrive: Installation, run_id: int) -> int:
    return int(str(row(redrive, run_id)["worker"]).rpartition(":")[2])


def recorded_in_flight(redrive: Installation) -> set[int]:
    """Rows whose sending is on record and whose answer is not."""
    found = redrive.query("SELECT sends FROM syncs_step WHERE status = 'inflight'")
    lists = [json.loads(sends) if isinstance(sends, str) else sends for (sends,) in found]
    return {int(key) for sends in lists for send in sends for key in send["keys"]}


def test_run_of_a_killed_process_is_rescued_by_its_worker(redrive: Installation, api: Api):
    run_id = request_run(redrive, api)
    worker = start(redrive)
    reach_the_middle(api, worker)
    pid = run_worker_pid(redrive, run_id)
    os.kill(pid, signal.SIGSTOP)
    in_flight = recorded_in_flight(redrive)
    os.kill(pid, signal.SIGKILL)
    api.open()
    until(lambda: redrive.run_status(run_id) == "succeeded", seconds=60, what="the end of the run")
    after = row(redrive, run_id)
    assert (after["total_crash_count"], after["accepted_count"]) == (1, ROWS)
    counted = Counter(api.seen)
    assert set(counted) == set(range(1, ROWS + 1))
    assert {key for key, count in counted.items() if count > 1} <= in_flight
    assert max(counted.values()) <= 2
    worker.send(signal.SIGTERM)
    assert worker.wait(45) == 0


def test_run_of_a_killed_supervisor_drains_and_leaves_no_orphan(redrive: Installation, api: Api):
    run_id = request_run(redrive, api)
    worker = start(redrive)
    reach_the_middle(api, worker)
    executing = psutil.Process(run_worker_pid(redrive, run_id))
    worker.kill()
    until(lambda: redrive.processes() == [executing], seconds=15, what="the end of every idle process")
    api.open()
    until(lambda: redrive.processes() == [], seconds=15, what="the end of the last process")
    after = row(redrive, run_id)
    assert (after["status"], after["total_crash_count"]) == ("queued", 0)
    assert after["accepted_count"] == len(api.seen)
    redrive.manage("retl_worker", "--once")
    assert Counter(api.seen) == dict.fromkeys(range(1, ROWS + 1), 1)


def test_pause_and_cancel_reach_a_run_in_another_process(redrive: Installation, api: Api):
    run_id = request_run(redrive, api)
    worker = start(redrive)
    reach_the_middle(api, worker)
    on_sync = "from syncs.models import Sync\nfrom syncs.services import syncs\nassert syncs.{}(Sync.objects.get(), by=None)"
    redrive.shell(on_sync.format("pause"))
    until(lambda: dripping(api, redrive, run_id) == "queued", what="the paused run back in the queue")
    sent = len(api.seen)
    assert row(redrive, run_id)["accepted_count"] == sent < ROWS
    redrive.shell(on_sync.format("resume"))
    until(lambda: len(api.seen) > sent, what="the resumed run")
    redrive.shell(
        "from syncs.models import Run\nfrom syncs.services import runs\nassert runs.cancel(Run.objects.get(), by=None)"
    )
    until(lambda: dripping(api, redrive, run_id) == "cancelled", what="the end of the cancelled run")
    ((read, accepted, pending),) = redrive.query(
        "SELECT read_count, accepted_count + unchanged_count, pending_count FROM syncs_run"
    )
    assert accepted == len(api.seen) < ROWS
    assert pending == read - accepted


def dripping(api: Api, redrive: Installation, run_id: int) -> str:
    api.drip()
    return redrive.run_status(run_id)
