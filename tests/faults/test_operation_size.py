"""A reprocess of many dead letters of which one in ten is repaired, and one of which none is."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dlq.choices import Door
from dlq.models import BulkItem, BulkOperation, DLQEntry, ErrorGroup
from dlq.services import groups, operations, snapshots, tally
from dlq.services.entry_filter import EntryFilter
from dlq.services.snapshots import BulkKind
from syncs.errors import ErrorType
from syncs.models import Run
from syncs.records import RowError
from syncs.services import worker
from tests.dlq.objects import make_user
from tests.factories import World

ROWS = int(os.environ.get("REDRIVE_BULK_ROWS", "5000"))  # docs/fault-report.md says what was seen at 50,000

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.once("postgresql"),
    pytest.mark.timeout(900 if ROWS <= 10_000 else 7200),
]
BAD = RowError(ErrorType.VALIDATION, "Property age is not valid", code="E1", field="age", http_status=422)


def test_exactly_the_repaired_tenth_is_resolved_or_nothing_beyond_the_canary(tmp_path: Path, settings: Any):
    settings.RETL = {**settings.RETL, "LEASE_SECONDS": 300}  # a slow machine is not what is tested here
    ana = make_user("view_dlqentry")
    world = World(tmp_path, [(n, f"name {n}", n % 90) for n in range(1, ROWS + 1)])
    world.destination.bad = dict.fromkeys(map(str, range(1, ROWS + 1)), BAD)
    world.run()
    world.destination.calls.clear()
    assert DLQEntry.objects.open().count() == ROWS

    def reprocess() -> BulkOperation:
        snapshot = snapshots.take(BulkKind.REPROCESS, EntryFilter(), user=ana)
        operation = operations.create(snapshot, by=ana, reason="", door=Door.CLI)
        worker.until_idle()
        operation.refresh_from_db()
        return operation

    halted = reprocess()
    assert (halted.status, halted.refused_count) == ("halted", 111)
    assert sum(len(call) for call in world.destination.calls) == 111
    operations.cancel(halted, by=ana)

    fixed = {str(n) for n in range(ROWS - ROWS // 10 + 1, ROWS + 1)}
    for key in fixed:
        del world.destination.bad[key]
    world.destination.calls.clear()
    finished = reprocess()
    assert (finished.status, finished.done_count, finished.refused_count) == ("finished", len(fixed), ROWS - len(fixed))
    assert set(DLQEntry.objects.filter(status="resolved").values_list("row_key", flat=True)) == fixed
    assert set(world.destination.rows) == fixed
    sent = Counter(key for call in world.destination.calls for key in call)
    assert len(sent) == ROWS
    assert set(sent.values()) == {1}
    halted.refresh_from_db()
    assert (halted.status, halted.not_reached_count) == ("cancelled", ROWS - 111)
    assert_books_balance(world, finished.pk, len(fixed))


def assert_books_balance(world: World, operation_id: int, resolved: int) -> None:
    """Items, groups, the tally, the runs and the ledger say the same."""
    counts = Counter(BulkItem.objects.filter(operation=operation_id).values_list("outcome", flat=True))
    assert counts == {"done": resolved, "refused": ROWS - resolved}
    assert groups.recount(world.sync) == 0
    assert list(ErrorGroup.objects.values_list("open_count", "total_count")) == [(ROWS - resolved, ROWS)]
    assert tally.verify() == []
    runs = Run.objects.filter(options__operation=operation_id)
    assert sum(runs.values_list("accepted_count", flat=True)) == resolved
    assert sum(runs.values_list("dead_lettered_count", flat=True)) == ROWS - resolved
