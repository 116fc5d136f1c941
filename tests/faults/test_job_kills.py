"""kill -9 while a destination works on batches as jobs: what was recorded is asked after by the next process, and only what was
not is sent again, under the same key."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlq.choices import EntryStatus
from syncs.choices import STEP_OPEN, RunStatus, StepStatus
from syncs.models import JobBatch, Run, Step
from syncs.services import runs
from tests.faults.api import POSITION, Api, People
from tests.faults.processes import environment
from tests.installation import ROOT
from tests.servers import Answer, Request
from tests.syncs.objects import expire_lease

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults, pytest.mark.once("postgresql")]

ROWS = 60
BAD = {7, 19, 55}
INVALID = {"code": "INVALID_NAME", "message": "name is not valid", "field": "name"}
JOB = {
    "id": "job.id",
    "poll": {"path": "/jobs/{job.id}", "every_seconds": 0.05},
    "state": "state",
    "working": "working",
    "done": "done",
    "max_open": 3,
}


class JobApi(Api):
    """Each POST becomes a job; it is carried out and told at the second look. ``gone``: so many of the first
    jobs are not known any more."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Request] = []
        self.looks: Counter[str] = Counter()
        self.results: dict[str, Answer] = {}
        self.gone = 0

    def answer(self, request: Request) -> Answer:
        with self._lock:
            if request.method == "POST":
                self.jobs.append(request)
                return Answer.json({"job": {"id": str(len(self.jobs))}}, 202)
            name = request.path.rpartition("/")[2]
            if int(name) <= self.gone:
                return Answer.json({}, 404)
            self.looks[name] += 1
            if self.looks[name] < 2:
                return Answer.json({"state": "working"})
            if name not in self.results:
                job = self.jobs[int(name) - 1]
                done = self.take(job, job.json()["records"])
                self.results[name] = Answer(200, done.headers, b'{"state": "done", ' + done.body[1:])
            return self.results[name]

    def sent(self) -> Counter[int]:
        return Counter(record["id"] for job in self.jobs for record in job.json()["records"])


@pytest.fixture
def api() -> Iterator[JobApi]:
    api = JobApi()
    with api.server:
        yield api


@pytest.fixture
def people(tmp_path: Path, api: JobApi) -> People:
    api.bad = dict.fromkeys(BAD, INVALID)
    people = People(tmp_path, api, ROWS, locator=POSITION)
    people.target.config["objects"]["contacts"]["operations"]["upsert"]["job"] = JOB
    people.target.save(update_fields=["config"])
    return people


def execute_and_die(run: Run, point: str, number: int) -> None:
    command = [sys.executable, "-m", "tests.faults.die_at", str(run.pk), point, str(number)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, f"{point} was not passed {number} times:\n{done.stderr[-3000:]}"


def recorded_rows() -> set[int]:
    """Rows of jobs whose name is recorded."""
    steps = Step.objects.filter(status__in=STEP_OPEN)
    return {int(key) for step in steps for send in step.sends if send.get("job") for key in send["keys"]}


@pytest.mark.parametrize(
    ("point", "number", "jobs"),
    [
        ("after_answer", 1, 0),
        ("in_t2_job_kept", 1, 0),
        ("before_look", 3, 1),
        ("after_look", 4, 1),
        ("in_t2_accepted_written", 1, 1),
    ],
)
def test_run_of_jobs_killed_at_this_point_is_ended_by_another_process(
    people: People, api: JobApi, point: str, number: int, jobs: int
):
    run = people.request()
    execute_and_die(run, point, number)
    recorded, begun = recorded_rows(), api.sent()
    assert len(recorded) >= 10 * jobs
    assert JobBatch.objects.count() * 10 == len(recorded)
    expire_lease(run)
    assert [reaped.pk for reaped in runs.reap()] == [run.pk]
    people.work(run)
    assert (run.status, run.read_count) == (RunStatus.PARTIAL, ROWS)
    assert (run.accepted_count, run.dead_lettered_count, run.pending_count) == (ROWS - len(BAD), len(BAD), 0)
    assert people.accepted() == set(range(1, ROWS + 1)) - BAD
    assert {(entry.status, entry.failure_count) for entry in people.entries().values()} == {(EntryStatus.OPEN, 1)}
    assert people.entries().keys() == BAD
    assert {row for row, count in api.sent().items() if count > 1} <= begun.keys() - recorded
    keys = {(job.headers["idempotency-key"], job.body) for job in api.jobs}
    assert len(keys) == len({key for key, _ in keys}) == ROWS // 10
    assert not Step.objects.filter(status__in=STEP_OPEN).exists()
    assert not JobBatch.objects.exists()


def test_jobs_that_are_gone_when_the_next_process_asks_are_sent_again_under_the_same_keys(people: People, api: JobApi):
    run = people.request()
    execute_and_die(run, "before_look", 3)
    recorded = recorded_rows()
    assert recorded
    api.gone = len(api.jobs)
    first = {job.headers["idempotency-key"] for job in api.jobs}
    expire_lease(run)
    runs.reap()
    people.work(run)
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, ROWS - len(BAD), len(BAD))
    again = {row for row, count in api.sent().items() if count > 1}
    assert recorded <= again
    keys = Counter(job.headers["idempotency-key"] for job in api.jobs)
    assert len(keys) == ROWS // 10
    assert {key for key, count in keys.items() if count > 1} <= first
    assert not Step.objects.filter(status=StepStatus.CONFIRMING).exists()
