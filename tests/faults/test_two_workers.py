"""Two worker processes, forty syncs due at once, twenty rounds: each slot is started once and executed once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from syncs.choices import Detection, OverlapPolicy, RunStatus, ScheduleKind, Trigger
from syncs.models import Run, Sync
from tests.faults.processes import environment
from tests.installation import ROOT
from tests.servers import Answer, Request, Server
from tests.syncs.objects import make_sync
from tests.syncs.people import people_api, people_source, write_people

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.once("postgresql"),
    pytest.mark.timeout(300),
]

ROUNDS, SYNCS = 20, 40
SENDING = 2  # rounds whose runs read and send; the others are claimed and ended empty, which contends for the same rows
START = timezone.now().replace(microsecond=0) - timedelta(hours=12)


class RoundWorker:
    def __init__(self, stack: ExitStack) -> None:
        command = [sys.executable, "-m", "tests.faults.round_worker"]
        self.process = stack.enter_context(
            subprocess.Popen(
                command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
        )
        stack.callback(self.process.kill)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def begin(self, moment: str, *, is_sending: bool) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{moment}{'' if is_sending else ' empty'}\n")


@pytest.fixture
def workers() -> Iterator[list[RoundWorker]]:
    with ExitStack() as stack:
        found = [RoundWorker(stack) for _ in range(2)]
        assert [worker.line() for worker in found] == ["ready", "ready"]
        yield found


def forty_syncs(folder: Path, url: str) -> list[Sync]:
    """Each sends its one row in every run, with its own name as the path of the call."""
    write_people(folder / "warehouse.sqlite3", 1)
    source, destination = people_source(folder / "warehouse.sqlite3"), people_api(url)
    return [
        make_sync(
            source=source,
            destination=destination,
            query=f"select id, 'sync {number}' as email from people",
            detection=Detection.ALL_ROWS,
            schedule_kind=ScheduleKind.INTERVAL,
            interval_minutes=1,
            next_run_at=START,
            overlap_policy=OverlapPolicy.SKIP,
        )
        for number in range(SYNCS)
    ]


def test_each_slot_is_started_and_executed_once(tmp_path: Path, workers: list[RoundWorker]):
    received: Counter[str] = Counter()

    def receive(request: Request) -> Answer:
        received[request.json()["email"]] += 1
        return Answer.json({"id": 1})

    started: Counter[int] = Counter()
    executed: list[Counter[int]] = [Counter(), Counter()]
    with Server(receive) as server:
        syncs = forty_syncs(tmp_path, server.url)
        for number in range(ROUNDS):
            moment = (START + timedelta(minutes=number, seconds=5)).isoformat()
            for worker in workers:
                worker.begin(moment, is_sending=number < SENDING)
            for worker, own in zip(workers, executed, strict=True):
                said = json.loads(worker.line())
                started.update(said["started"])
                own.update(said["executed"])
    slots = {(sync.pk, START + timedelta(minutes=number)) for sync in syncs for number in range(ROUNDS)}
    found = list(Run.objects.values_list("pk", "sync_id", "scheduled_for", "status", "trigger", "total_crash_count"))
    assert len(found) == ROUNDS * SYNCS
    assert {(sync_id, slot) for _, sync_id, slot, *_ in found} == slots
    assert {tuple(rest) for _, _, _, *rest in found} == {(RunStatus.SUCCEEDED, Trigger.SCHEDULE, 0)}
    everything = dict.fromkeys((pk for pk, *_ in found), 1)
    assert started == executed[0] + executed[1] == everything
    assert min(sum(own.values()) for own in executed) > 0, "one worker did it all: nothing was contended"
    assert received == {f"sync {number}": SENDING for number in range(SYNCS)}
