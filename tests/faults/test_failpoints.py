"""kill -9 at each point around a commit; another process ends the run. Nothing is lost, nothing is dead-lettered twice, and
what is sent again carries the same idempotency key and the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dlq.choices import Door, EntryStatus
from dlq.models import DLQEntry, DLQEvent, ErrorGroup
from dlq.services import entries as acts
from syncs.choices import RunStatus, StepStatus
from syncs.models import Run, Step
from syncs.services import execution, runs
from tests.faults.api import BATCH, Api, People
from tests.faults.processes import environment
from tests.installation import ROOT
from tests.syncs.objects import expire_lease

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults, pytest.mark.once("postgresql")]

ROWS = 120  # at most four batches share a commit, so every point is passed as often as it is asked for
BAD = {7, 19, 20, 115}
INVALID = {"code": "INVALID_NAME", "message": "name is not valid", "field": "name"}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "random", SimpleNamespace(random=lambda: 0.03))


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    with api.server:
        yield api


@pytest.fixture
def people(tmp_path: Path, api: Api) -> People:
    api.bad = dict.fromkeys(BAD, INVALID)
    return People(tmp_path, api, ROWS)


def execute_and_die(run: Run, point: str, number: int = 1) -> None:
    """In a process of its own, which kills itself there."""
    command = [sys.executable, "-m", "tests.faults.die_at", str(run.pk), point, str(number)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, f"{point} was not passed {number} times:\n{done.stderr[-3000:]}"


def rescue(run: Run) -> None:
    """The lease runs out, and the reaper gives the run back."""
    expire_lease(run)
    assert [reaped.pk for reaped in runs.reap()] == [run.pk]


def in_flight() -> set[int]:
    """Rows of calls that are recorded as made, with no answer recorded."""
    steps = Step.objects.filter(status=StepStatus.INFLIGHT, kind="upload")
    return {int(key) for step in steps for send in step.sends for key in send["keys"]}


def receipts_of(api: Api) -> Counter[int]:
    return Counter(receipt.id for receipt in api.receipts)


def assert_settled_once(people: People, run: Run) -> None:
    """All good rows are there; each bad one is one dead letter that failed once; nothing is in flight."""
    assert run.status == RunStatus.PARTIAL, run.failure_message
    assert (run.read_count, run.accepted_count, run.dead_lettered_count) == (ROWS, ROWS - len(BAD), len(BAD))
    assert people.api.held.keys() == people.accepted() == set(range(1, ROWS + 1)) - BAD
    found = people.entries()
    assert found.keys() == BAD
    assert {(entry.status, entry.failure_count) for entry in found.values()} == {(EntryStatus.OPEN, 1)}
    assert Counter(DLQEvent.objects.values_list("entry__row_key", flat=True)) == {str(number): 1 for number in BAD}
    assert list(ErrorGroup.objects.values_list("open_count", "total_count")) == [(len(BAD), len(BAD))]
    assert not Step.objects.filter(status=StepStatus.INFLIGHT).exists()
    people.assert_accounted(run)


POINTS = [
    ("after_claim", 1),
    ("before_t1", 1),
    ("before_send", 1),
    ("before_send", 5),
    ("after_answer", 1),
    ("after_answer", 4),
    ("in_t2_steps_written", 3),
    ("in_t2_accepted_written", 1),
    ("in_t2_accepted_written", 2),
    ("in_t2_dead_letters_written", 1),
    ("in_t2_dead_letters_written", 2),
    ("after_commit", 1),
    ("after_commit", 2),
    ("after_commit", 3),
    ("in_finish", 1),
]


@pytest.mark.parametrize(("point", "number"), POINTS, ids=[f"{point}-{number}" for point, number in POINTS])
def test_run_killed_at_this_point_is_ended_by_another_process(people: People, api: Api, point: str, number: int):
    run = people.request()
    execute_and_die(run, point, number)
    recorded = in_flight()
    rescue(run)
    people.work(run)
    assert_settled_once(people, run)
    assert run.total_crash_count == 1
    repeated = {number for number, count in receipts_of(api).items() if count > 1}
    assert repeated <= recorded, "what is sent again was in flight at the crash"
    assert max(receipts_of(api).values()) <= 2
    if point in ("after_claim", "before_t1", "in_finish"):
        assert repeated == set()
    bodies = {(request.headers["idempotency-key"], request.body) for request in api.server.requests}
    assert len(bodies) == len({key for key, _ in bodies}) == ROWS // BATCH


def test_run_killed_again_and_again_at_its_worst_point_still_ends(people: People, api: Api):
    """Each worker is killed when the first answer is there and not recorded; by and by rows go out one by one."""
    run = people.request()
    for _ in range(2):
        execute_and_die(run, "after_answer", 1)
        rescue(run)
    people.work(run)
    assert_settled_once(people, run)
    assert run.total_crash_count == 2


def test_run_killed_after_its_end_was_recorded_has_ended(people: People, api: Api):
    run = people.request()
    execute_and_die(run, "after_finish")
    run.refresh_from_db()
    assert_settled_once(people, run)
    assert runs.reap() == []
    again = people.run()
    assert (again.status, again.request_count, again.skipped_count) == (RunStatus.SUCCEEDED, 0, len(BAD))


def test_run_killed_while_it_takes_over_lost_calls_repeats_them(people: People, api: Api):
    run = people.request()
    execute_and_die(run, "after_answer", 2)
    rescue(run)
    execute_and_die(run, "after_adoption")
    rescue(run)
    people.work(run)
    assert_settled_once(people, run)
    assert run.total_crash_count == 2


# -- inserts: nothing may be sent twice


@pytest.mark.parametrize("point", ["after_answer", "in_t2_accepted_written"])
def test_insert_in_flight_at_the_crash_is_left_to_a_person(tmp_path: Path, api: Api, point: str):
    people = People(tmp_path, api, ROWS, mode="insert")
    run = people.request()
    execute_and_die(run, point)
    rescue(run)
    landed = set(receipts_of(api))
    assert landed
    people.work(run)
    assert run.status == RunStatus.PARTIAL, run.failure_message
    assert max(receipts_of(api).values()) == 1, "an insert went out twice"
    found = people.entries()
    assert landed <= found.keys()
    assert {(entry.error_type, entry.error_code) for entry in found.values()} == {("unknown_outcome", "unanswered")}
    assert run.accepted_count + run.dead_lettered_count == ROWS
    assert people.accepted() == set(range(1, ROWS + 1)) - found.keys()


# -- a reprocess


@pytest.mark.parametrize("point", ["entries_in_flight", "after_answer", "in_t2_entries_resolved", "in_finish"])
def test_reprocess_killed_at_this_point_settles_each_entry_once(people: People, api: Api, point: str):
    people.run()
    api.bad = dict.fromkeys({7, 19}, INVALID)
    result = acts.reprocess(DLQEntry.objects.all(), by=None, reason="fixed there", door=Door.CLI)
    (run,) = result.runs
    execute_and_die(run, point)
    rescue(run)
    people.work(run)
    found = people.entries()
    assert {number: (entry.status, entry.failure_count) for number, entry in found.items()} == {
        7: (EntryStatus.OPEN, 2),
        19: (EntryStatus.OPEN, 2),
        20: (EntryStatus.RESOLVED, 1),
        115: (EntryStatus.RESOLVED, 1),
    }
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, 2, 2)
    assert {found[20].resolved_run_id, found[115].resolved_run_id} == {run.pk}
    assert all(entry.reprocess_run_id is None for entry in found.values() if entry.is_live)
    assert ErrorGroup.objects.get().open_count == 2
    assert max(receipts_of(api)[number] for number in (20, 115)) <= 2
