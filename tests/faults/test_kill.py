"""kill -9 of whichever process holds the run, at random moments of one run: nothing is lost, repeats carry the same key."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from syncs.engine.pipeline import MOST_AHEAD
from tests.installation import Installation, until
from tests.servers import Answer, Request, Server

pytestmark = [pytest.mark.faults, pytest.mark.once("postgresql"), pytest.mark.timeout(600)]

KILLS = int(os.environ.get("REDRIVE_KILLS", "20"))
SEED = int(os.environ.get("REDRIVE_SEED", "20261123"))
ROWS = 700 * KILLS
BAD = 17  # every 17th row is refused


class Receiver:
    """Keeps every receipt: row -> [(idempotency key, its record)]. Answers slowly enough for a kill to find calls under way."""

    def __init__(self) -> None:
        self.receipts: dict[int, list[tuple[str, str]]] = defaultdict(list)
        self.lock = threading.Lock()
        self.calls = 0

    def __call__(self, request: Request) -> Answer:
        key = request.headers["idempotency-key"]
        results = []
        with self.lock:
            self.calls += 1
            for record in request.json()["records"]:
                if record["id"] % BAD == 0:
                    results.append({"ok": False, "error": {"code": "BAD", "message": f"'{record['name']}' is not valid"}})
                else:
                    self.receipts[record["id"]].append((key, str(sorted(record.items()))))
                    results.append({"ok": True})
        return Answer.json({"results": results}, delay=0.03)


SET_UP = """
import sqlite3
from syncs.models import Connection, FieldMapping, Sync
from syncs.choices import Trigger
from syncs.services import runs
path = {folder!r} + "/warehouse.sqlite3"
with sqlite3.connect(path) as database:
    database.execute("create table people (id integer primary key, name text)")
    database.executemany("insert into people values (?, ?)", [(n, f"name {{n}}") for n in range(1, {rows} + 1)])
database.close()
upsert = {{
    "method": "POST", "path": "/batch", "per_call": "batch", "body": {{"list_at": "records"}},
    "locator": {{"kind": "position", "results": "results", "ok": {{"path": "ok", "equals": True}},
                "code": "error.code", "message": "error.message"}},
    "idempotency": {{"kind": "header", "header": "Idempotency-Key"}},
}}
config = {{"base_url": {url!r}, "auth": {{"kind": "none"}}, "limits": {{"max_records": 10, "concurrency": 4}},
          "objects": {{"people": {{"operations": {{"upsert": upsert}}}}}}}}
sync = Sync.objects.create(
    name="people",
    source=Connection.objects.create(name="warehouse", role="source", kind="sqlite", config={{"path": path}}),
    destination=Connection.objects.create(name="api", role="destination", kind="http", config=config),
    destination_object="people", query="select id, name from people", key_columns="id",
)
FieldMapping.objects.create(sync=sync, destination_field="id", column="id", type="integer", is_key=True)
FieldMapping.objects.create(sync=sync, destination_field="name", column="name", position=1)
print(runs.request(sync=sync, trigger=Trigger.MANUAL).pk)
"""


@pytest.fixture
def redrive() -> Iterator[Installation]:
    kind = os.environ.get("REDRIVE_TEST_DB", "sqlite")
    with Installation(kind, RETL_LEASE_SECONDS="3") as installation:
        yield installation


def run_of(redrive: Installation, run_id: int) -> dict[str, object]:
    names = (
        "status", "fence", "worker", "read_count", "accepted_count", "unchanged_count", "skipped_count", "dead_lettered_count",
        "pending_count", "total_crash_count", "failure_message",
    )  # fmt: skip
    (values,) = redrive.query(f"SELECT {', '.join(names)} FROM syncs_run WHERE id = %s", (run_id,))
    return dict(zip(names, values, strict=True))


def kill_holder(redrive: Installation, run_id: int, receiver: Receiver, *, beyond: int, moment: float) -> int:
    """Wait for a process that claimed the run anew and began to send, let it work for ``moment`` seconds, and kill it.
    A negative ``moment``: kill it as soon as it has the run. Returns its fence, or -1 when the run has ended."""

    def held() -> dict[str, object] | None:
        run = run_of(redrive, run_id)
        return (
            run
            if run["status"] not in ("queued", "running") or (int(str(run["fence"])) > beyond and run["status"] == "running")
            else None
        )

    run = until(held, seconds=60, what="a worker that takes the run over")
    if run["status"] != "running":
        return -1
    if moment >= 0:
        calls = receiver.calls
        until(lambda: receiver.calls > calls or run_of(redrive, run_id)["status"] != "running", what="the first call")
        time.sleep(moment)
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(str(run["worker"]).rpartition(":")[2]), signal.SIGKILL)
    return int(str(run["fence"]))


def test_run_killed_at_random_moments_ends_by_itself_and_loses_nothing(redrive: Installation):
    chance = random.Random(SEED)
    receiver = Receiver()
    with Server(receiver) as server:
        run_id = int(redrive.shell(SET_UP.format(folder=str(redrive.folder), rows=ROWS, url=server.url)).split()[-1])
        worker = redrive.start("retl_worker", "--workers", "1", "--tick-seconds", "0.3", "--canary-seconds", "1")
        fence, kills = 0, 0
        while kills < KILLS:
            try:
                fence = kill_holder(redrive, run_id, receiver, beyond=fence, moment=chance.uniform(-0.15, 0.9))
            except AssertionError as error:
                pytest.fail(f"after {kills} kills: {error}\n{run_of(redrive, run_id)}\n{worker.text[-8000:]}")
            if fence < 0:
                break
            kills += 1
        until(lambda: run_of(redrive, run_id)["status"] not in ("queued", "running"), seconds=120, what="the end of the run")
    run = run_of(redrive, run_id)
    print(f"seed {SEED}: {kills} kills, {run}")
    bad = ROWS // BAD
    assert run["status"] == "partial", f"{run}\n{worker.text[-2000:]}"
    assert (run["read_count"], run["accepted_count"], run["dead_lettered_count"]) == (ROWS, ROWS - bad, bad)
    assert (run["unchanged_count"], run["skipped_count"], run["pending_count"]) == (0, 0, 0)
    assert kills >= KILLS * 3 // 4, "the run was over before it could be killed often enough"
    assert set(receiver.receipts) == {number for number in range(1, ROWS + 1) if number % BAD}
    repeated = {row: receipts for row, receipts in receiver.receipts.items() if len(receipts) > 1}
    assert all(len(set(receipts)) == 1 for receipts in repeated.values()), repeated
    under_way = (4 + MOST_AHEAD * 4) * 10  # rows: the calls at once and those whose intent is recorded ahead of them
    assert sum(len(receipts) - 1 for receipts in repeated.values()) <= kills * under_way
    entries = redrive.query("SELECT row_key, failure_count, status FROM dlq_dlqentry")
    assert Counter(row for row, _, _ in entries) == {str(number): 1 for number in range(BAD, ROWS + 1, BAD)}
    assert {(count, status) for _, count, status in entries} == {(1, "open")}
    groups = redrive.query("SELECT open_count, total_count FROM dlq_errorgroup")
    assert groups == [(bad, bad)]
