"""kill -9 of the process that holds a bulk operation: at random moments, and at each point within and around its commits."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Count

from dlq.choices import Door, ItemOutcome
from dlq.models import BulkItem, BulkOperation, DLQEntry, DLQEvent, ErrorGroup
from dlq.services import entries, operations, snapshots, tally
from dlq.services.entry_filter import EntryFilter
from dlq.services.snapshots import BulkKind
from syncs.models import DeliveredRow, Run
from tests.dlq.objects import make_entries, make_group, make_run, make_user
from tests.faults.api import Api, People
from tests.faults.processes import environment
from tests.installation import ROOT, Installation, until
from tests.syncs.objects import make_sync

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.once("postgresql"),
    pytest.mark.timeout(600),
]

KILLS = int(os.environ.get("REDRIVE_KILLS", "6"))
SEED = int(os.environ.get("REDRIVE_SEED", "20261123"))
GROUPS = 7


def start(operation: BulkOperation, *arguments: str) -> subprocess.Popen[str]:
    """A worker whose lease is short: the next one need not wait long for it."""
    command = [sys.executable, "-m", "tests.faults.advance", str(operation.pk), *arguments]
    values = environment() | {"RETL_LEASE_SECONDS": "2"}
    return subprocess.Popen(command, cwd=ROOT, env=values, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def ana() -> User:
    return make_user("view_dlqentry", name="ana")


def fill(count: int) -> Run:
    """Open entries in several groups, some of them transient with what the ledger holds for them."""
    run = make_run(make_sync())
    for number in range(GROUPS):
        make_entries(count // GROUPS, run, make_group(run.sync), is_permanent=number > 0)
    transient = DLQEntry.objects.filter(is_permanent=False).values_list("row_key", "content_hash")
    DeliveredRow.objects.bulk_create(
        [
            DeliveredRow(sync_id=run.sync_id, row_key=key, held_hash=content, is_hold_permanent=False, run_id=run.pk)
            for key, content in transient
        ],
        batch_size=5_000,
    )
    return run


def discard(by: User) -> BulkOperation:
    snapshot = snapshots.take(BulkKind.DISCARD, EntryFilter(), user=by)
    return operations.create(snapshot, by=by, reason="T-1", door=Door.ADMIN)


def assert_exact(operation: BulkOperation, touched: set[int]) -> None:
    """Each member was acted on once; those that were touched meanwhile not at all; every counter agrees with the tables."""
    operation.refresh_from_db()
    total = DLQEntry.objects.count()
    assert (operation.status, operation.member_count) == ("finished", total), operation.message
    assert (operation.done_count, operation.left_out_count) == (total - len(touched), len(touched))
    assert Counter(BulkItem.objects.values_list("outcome", flat=True)) == Counter(
        {ItemOutcome.DONE.value: total - len(touched), ItemOutcome.LEFT_OUT.value: len(touched)}
    )
    assert set(BulkItem.objects.filter(outcome="left_out").values_list("entry_id", flat=True)) == touched
    assert set(DLQEntry.objects.open().values_list("pk", flat=True)) == touched
    events = DLQEvent.objects.filter(kind="discarded")
    assert events.count() == total - len(touched)
    assert not events.values("entry").annotate(n=Count("pk")).filter(n__gt=1).exists()
    shares = dict(DLQEntry.objects.open().values_list("group").annotate(n=Count("pk")))
    assert {pk: shares.get(pk, 0) for pk in ErrorGroup.objects.values_list("pk", flat=True)} == dict(
        ErrorGroup.objects.values_list("pk", "open_count")
    )
    assert tally.verify() == []
    held = DeliveredRow.objects.filter(is_hold_permanent=False).values_list("row_key", flat=True)
    assert set(held) == set(DLQEntry.objects.open().filter(is_permanent=False).values_list("row_key", flat=True))


def test_discard_killed_at_random_moments_ends_exact(ana: User):
    chance = random.Random(SEED)
    fill(60_000 if connection.vendor == "postgresql" else 20_000)
    operation = discard(ana)
    touched = set(DLQEntry.objects.order_by("-pk").values_list("pk", flat=True)[:50])
    kills = 0
    while True:
        worker = start(operation)
        assert worker.stdout is not None
        if not worker.stdout.readline():  # over before it could take it
            break
        if kills < KILLS:
            time.sleep(chance.uniform(0, 0.25))
            worker.kill()
            kills += 1
        if kills == KILLS // 2:
            touch_members(operation, touched, ana)
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode in (0, -signal.SIGKILL), errors[-3000:]
        if worker.returncode == 0:
            break
    operation.refresh_from_db()
    print(f"seed {SEED}: {kills} kills, fence {operation.fence}")
    assert kills == KILLS, "it was over before it could be killed often enough"
    assert_exact(operation, touched)


def touch_members(operation: BulkOperation, touched: set[int], ana: User) -> None:
    """Once all members are inserted, so that these are among them."""

    def is_frozen() -> bool:
        operations.advance(operation.pk, budget_seconds=0)
        operation.refresh_from_db()
        return operation.is_frozen

    until(is_frozen, what="the lease of the killed worker to end")
    entries.assign(DLQEntry.objects.filter(pk__in=touched), owner=ana, by=None, door=Door.ADMIN)


POINTS = [
    ("after_claim", 1),
    ("members_inserted", 1),
    ("after_freeze", 1),
    ("entries_moved", 1),
    ("events_written", 1),
    ("events_written", 2),
    ("counters_shifted", 1),
    ("items_marked", 2),
    ("after_slice", 1),
    ("in_finish", 1),
]


@pytest.mark.parametrize(("point", "number"), POINTS, ids=[f"{point}-{number}" for point, number in POINTS])
def test_discard_killed_at_this_point_is_ended_by_another_process(ana: User, point: str, number: int):
    fill(1_400)
    operation = discard(ana)
    die_at(operation, point, number)
    end(operation)
    assert_exact(operation, set())


def die_at(operation: BulkOperation, point: str, number: int) -> None:
    worker = start(operation, point, str(number))
    _, errors = worker.communicate(timeout=120)
    assert worker.returncode == -signal.SIGKILL, f"{point} was not passed {number} times:\n{errors[-3000:]}"


def end(operation: BulkOperation) -> None:
    worker = start(operation)
    _, errors = worker.communicate(timeout=120)
    assert worker.returncode == 0, errors[-3000:]


WAVE_POINTS = [("wave_requested", 1), ("after_wave", 1), ("after_wave", 2), ("wave_counted", 1), ("after_settling", 1)]


@pytest.mark.parametrize(("point", "number"), WAVE_POINTS, ids=[f"{point}-{number}" for point, number in WAVE_POINTS])
def test_reprocess_killed_at_this_point_sends_each_row_once(tmp_path: Path, ana: User, point: str, number: int):
    api = Api()
    with api.server:
        api.bad = {row: {"code": "INVALID_NAME", "message": "name is not valid", "field": "name"} for row in range(1, 41)}
        people = People(tmp_path, api, 40)
        people.work(people.request())
        api.bad = dict.fromkeys(range(1, 31), api.bad[1])
        api.server.requests.clear()
        snapshot = snapshots.take(BulkKind.REPROCESS, EntryFilter(), user=ana)
        operation = operations.create(snapshot, by=ana, reason="", door=Door.ADMIN, waves=[1, 10])
        die_at(operation, point, number)
        end(operation)
        operation.refresh_from_db()
        assert (operation.status, operation.done_count, operation.refused_count) == ("finished", 10, 30)
        assert set(api.held) == set(range(31, 41))
        sent = Counter(receipt.id for receipt in api.receipts)
        assert {row: sent[row] for row in range(31, 41)} == dict.fromkeys(range(31, 41), 1)
    assert DLQEvent.objects.filter(kind="queued").count() == 40
    assert list(ErrorGroup.objects.values_list("open_count", flat=True)) == [30]
    assert tally.verify() == []


SET_UP = """
from django.contrib.auth.models import User
from dlq.choices import Door
from dlq.services import operations, snapshots
from dlq.services.entry_filter import EntryFilter
from dlq.services.snapshots import BulkKind
from tests.dlq.objects import make_entries, make_group, make_run
from tests.syncs.objects import make_sync
run = make_run(make_sync())
make_entries(30_000, run, make_group(run.sync))
user = User.objects.create_superuser("ana")
snapshot = snapshots.take(BulkKind.DISCARD, EntryFilter(), user=user)
print(operations.create(snapshot, by=user, reason="T-1", door=Door.CLI).pk)
"""


def test_worker_processes_that_are_killed_leave_the_operation_to_others():
    """With ``retl_worker`` as it is: its doorbell, its fast cluster, its tick and its supervisor."""
    with Installation(os.environ.get("REDRIVE_TEST_DB", "sqlite"), RETL_LEASE_SECONDS="3") as redrive:
        operation_id = int(redrive.shell(SET_UP).split()[-1])
        columns = "status, fence, worker, settled, open"

        def state() -> dict[str, object]:
            (found,) = redrive.query(
                "SELECT status, fence, worker, done_count + left_out_count, "
                "(SELECT count(*) FROM dlq_dlqentry WHERE status = 'open') FROM dlq_bulkoperation WHERE id = %s",
                (operation_id,),
            )
            return dict(zip(columns.split(", "), found, strict=True))

        redrive.start("retl_worker", "--workers", "1", "--tick-seconds", "0.3", "--canary-seconds", "1")
        kills, fence = 0, 0
        while kills < 2:
            now = until(lambda: state() if state()["status"] == "finished" or state()["worker"] else None, seconds=90)
            if now["status"] == "finished":
                break
            if int(str(now["fence"])) > fence:
                fence, kills = int(str(now["fence"])), kills + 1
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(str(now["worker"]).rpartition(":")[2]), signal.SIGKILL)
        now = until(lambda: state() if state()["status"] == "finished" else None, seconds=180, what="its end")
        assert kills == 2, "it was over before it could be killed"
        assert (now["settled"], now["open"]) == (30_000, 0)
        assert redrive.query("SELECT count(*), count(DISTINCT entry_id) FROM dlq_dlqevent") == [(30_000, 30_000)]
