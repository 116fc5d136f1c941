"""Acts on dead letters between real runs: what is sent afterwards, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlq.choices import Door, EntryStatus
from dlq.models import DLQEntry
from dlq.services import entries, groups
from syncs.errors import ErrorType
from syncs.models import Run
from syncs.records import RowError
from syncs.services import runs
from tests.factories import World

pytestmark = pytest.mark.django_db(transaction=True)

BAD = RowError(ErrorType.VALIDATION, "Property age is not valid", code="E1", field="age", http_status=422)
BRIEF = RowError(ErrorType.VALIDATION, "Try later", code="E2", is_permanent=False)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, [(1, "Ana", 30), (2, "Bo", -1), (3, "Cy", 50)])


def sent_to(world: World) -> list[str]:
    return [key for call in world.destination.calls for key in call]


@pytest.mark.parametrize("error", [BAD, BRIEF], ids=["permanent", "transient"])
def test_discarded_content_is_not_sent_again_but_a_changed_row_is(world: World, error: RowError) -> None:
    world.destination.bad = {"2": error}
    world.run()
    assert entries.discard(DLQEntry.objects.all(), by=None, reason="test data", door=Door.CLI).taken == 1
    world.destination.bad = {}
    world.destination.calls.clear()

    run = world.run()
    assert sent_to(world) == []
    assert (run.unchanged_count, run.skipped_count) == (2, 1)

    world.sql("UPDATE people SET age = 40 WHERE id = 2")
    world.run()
    assert sent_to(world) == ["2"]
    assert DLQEntry.objects.get().status == EntryStatus.DISCARDED
    assert groups.recount(world.sync) == 0


def test_reopened_and_reprocessed_it_is_delivered_and_resolved_by_that_run(world: World) -> None:
    world.destination.bad = {"2": BAD}
    world.run()
    entries.discard(DLQEntry.objects.all(), by=None, reason="by mistake", door=Door.CLI)
    assert entries.reopen(DLQEntry.objects.all(), by=None, door=Door.CLI).taken == 1
    world.destination.bad = {}

    result = entries.reprocess(DLQEntry.objects.all(), by=None, door=Door.CLI)
    run = world.work(result.runs[0])

    entry = DLQEntry.objects.get()
    assert (entry.status, entry.resolved_run_id) == (EntryStatus.RESOLVED, run.pk)
    assert [event.kind for event in entry.events.order_by("pk")] == ["failed", "discarded", "reopened", "queued", "resolved"]
    assert set(world.destination.rows) == {"1", "2", "3"}
    assert groups.recount(world.sync) == 0


def test_cancelling_the_waiting_run_gives_the_entries_back(world: World) -> None:
    world.destination.bad = {"2": BAD}
    world.run()
    run = entries.reprocess(DLQEntry.objects.all(), by=None, door=Door.CLI).runs[0]
    assert runs.cancel(run, by=None)
    entry = DLQEntry.objects.get()
    assert (entry.status, entry.reprocess_run_id) == (EntryStatus.OPEN, None)
    assert Run.objects.get(pk=run.pk).status == "cancelled"
    assert entries.reprocess(DLQEntry.objects.all(), by=None, door=Door.CLI).taken == 1
