"""Before a reprocess: what changed in the sync, and in the warehouse rows of a sample of a real warehouse."""

from __future__ import annotations

import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dlq.choices import EntryStatus, ReprocessMode
from dlq.models import DLQEntry
from dlq.services import estimates, preflight, samples, snapshots, summary
from dlq.services.entries import CLOSED
from dlq.services.entry_filter import EntryFilter
from dlq.services.preflight import needs_acknowledgement, rows_sentence, sync_sentence
from dlq.services.snapshots import BulkKind, Looked, Shown, Snapshot
from dlq.services.summary import summarise
from syncs.choices import ConnectionRole, FieldType, RunStatus
from syncs.errors import ErrorType
from syncs.models import FieldMapping, Run, Sync, Team
from syncs.records import RowError
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.factories import World
from tests.syncs.objects import make_connection, make_sync

pytestmark = pytest.mark.django_db(transaction=True)

BAD = RowError(ErrorType.VALIDATION, "Property age is not valid", code="E1", field="age", http_status=422)


def broken_world(folder: Path, count: int) -> World:
    world = World(folder, [(n, f"name {n}", n % 90) for n in range(1, count + 1)])
    world.destination.bad = {str(n): BAD for n in range(1, count + 1)}
    world.run()
    assert DLQEntry.objects.filter(sync=world.sync).open().count() == count
    return world


def take(by: User, kind: BulkKind = BulkKind.REPROCESS) -> Snapshot:
    return snapshots.take(kind, EntryFilter(), user=by)


def test_a_look_tells_changed_gone_and_same_rows_apart(ana: User, tmp_path: Path) -> None:
    world = broken_world(tmp_path, 20)
    world.sql("UPDATE people SET age = age + 1 WHERE id <= 4")
    world.sql("DELETE FROM people WHERE id = 20")
    assert preflight.look(take(ana)) == Looked(same=15, changed=4, gone=1)


def test_a_sample_is_looked_at_and_no_more(ana: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "SAMPLE", 30)
    world = broken_world(tmp_path, 300)
    world.sql("UPDATE people SET name = 'fixed' WHERE id % 2 = 0")
    looked = preflight.look(take(ana))
    assert looked.total == 30
    assert 3 <= looked.changed <= 27, "both halves are in an even sample"


def test_looking_twice_at_one_confirmation_looks_at_the_same_rows(ana: User, tmp_path: Path) -> None:
    broken_world(tmp_path, 40)
    snapshot = take(ana)
    first = samples.spread(snapshot.entries().reprocessable(), 10, seed=snapshot.nonce)
    again = samples.spread(snapshot.entries().reprocessable(), 10, seed=snapshot.nonce)
    other = samples.spread(snapshot.entries().reprocessable(), 10, seed="another")
    assert first == again
    assert first != other


@pytest.mark.parametrize("few", [5_000, 10])  # read whole, and probed
def test_a_sample_is_spread_over_syncs_and_ids(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_FEW", few)
    large, small = make_run(make_sync()), make_run(make_sync())
    make_entries(900, large, make_group(large.sync))
    make_entries(20, small, make_group(small.sync))
    make_entries(300, large, make_group(large.sync), status="resolved", closed_at=large.started_at)
    parts = samples.spread(DLQEntry.objects.open(), 100, seed="x")
    assert [(part.sync_id, part.count) for part in parts] == [(large.sync_id, 900), (small.sync_id, 20)]
    assert sum(len(part.ids) for part in parts) <= 100
    assert len(parts[0].ids) > 60
    assert len(parts[1].ids) >= 5, "a small sync may be the one that was not repaired"
    chosen = [pk for part in parts for pk in part.ids]
    assert DLQEntry.objects.open().filter(pk__in=chosen).count() == len(chosen) == len(set(chosen))
    first, last = parts[0].first_id, parts[0].last_id
    quarters = {(pk - first) * 4 // (last - first + 1) for pk in parts[0].ids}
    assert quarters == {0, 1, 2, 3}


def test_only_the_largest_syncs_are_looked_at_and_that_is_said(
    ana: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "SYNCS_MAX", 1)
    broken_world(tmp_path, 3)
    broken_world(tmp_path, 2)
    assert preflight.look(take(ana)) == Looked(same=3, notes=("1 smaller sync was not looked at.",))


def test_a_warehouse_that_is_gone_is_said_and_hides_no_other(ana: User, tmp_path: Path) -> None:
    here, there = broken_world(tmp_path, 3), broken_world(tmp_path, 4)
    there.warehouse.unlink()
    looked = preflight.look(take(ana))
    assert (looked.same, looked.changed, looked.gone) == (3, 0, 0)
    assert len(looked.notes) == 1
    assert looked.notes[0].startswith(f"{there.sync.name}: its warehouse could not be read. There is no file")
    assert here.sync.name not in looked.notes[0]


def test_a_silent_warehouse_does_not_keep_the_page_waiting(ana: User) -> None:
    """A server that takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = {"host": "127.0.0.1", "port": silent.getsockname()[1], "database": "x", "user": "x", "sslmode": "disable"}
        source = make_connection(ConnectionRole.SOURCE, kind="postgresql", config=config)
        for _ in range(2):
            make_entry(make_run(make_sync(source=source)))
        began = time.monotonic()
        looked = preflight.look(take(ana))
        spent = time.monotonic() - began
    assert looked.total == 0
    assert "its warehouse could not be read" in looked.notes[0]
    assert looked.notes[1].endswith("not looked at, its warehouse is the same."), "it is not waited for twice"
    assert spent < 6


def test_a_query_that_fails_is_a_sentence(ana: User, tmp_path: Path) -> None:
    world = broken_world(tmp_path, 2)
    Sync.objects.filter(pk=world.sync.pk).update(query="SELECT nothing FROM nowhere")
    looked = preflight.look(take(ana))
    assert looked.total == 0
    assert "could not be read" in looked.notes[0]
    assert rows_sentence(looked, 2) == "No warehouse row could be looked at."


def test_changes_of_syncs_are_exact_and_name_the_part(ana: User) -> None:
    same, mapped, moved = (make_run(make_sync()) for _ in range(3))
    for run, count in ((same, 1), (mapped, 2), (moved, 3)):
        make_entries(count, run, make_group(run.sync))
    FieldMapping.objects.filter(sync=mapped.sync).update(type=FieldType.JSON)
    Sync.objects.filter(pk=moved.sync_id).update(query="select id, email from people where id > 1", destination_object="leads")
    changes = summarise(take(ana)).changes
    assert changes is not None
    assert (changes.total, changes.same, changes.changed, changes.unknown) == (6, 1, 5, 0)
    assert dict(changes.parts) == {"mapping": 2, "query": 3, "destination": 3}
    assert sync_sentence(changes) == (
        "Changed since they failed: the query for 3, the destination for 3 and the mapping for 2 of 6. "
        "For 1 nothing has changed: they will very likely fail again."
    )


def test_entries_of_an_unknown_version_are_neither_changed_nor_the_same(ana: User) -> None:
    make_entry(make_run(make_sync()), version_id=None)
    changes = summarise(take(ana)).changes
    assert changes is not None
    assert (changes.same, changes.changed, changes.unknown) == (0, 0, 1)
    assert "not known what refused them" in sync_sentence(changes)


def test_the_numbers_of_a_confirmation_take_as_many_queries_for_many_syncs(ana: User, django_assert_max_num_queries) -> None:
    for _ in range(15):
        make_entry(make_run(make_sync()))
    snapshot = take(ana)
    with django_assert_max_num_queries(8):
        assert summarise(snapshot).count == 15


@pytest.mark.parametrize(
    ("shown", "mode", "needed"),
    [
        (Shown(10, 0, None), "current", True),  # nobody has looked: nothing is known to have changed
        (Shown(10, 0, Looked(same=10)), "current", True),
        (Shown(10, 0, Looked(notes=("down",))), "current", True),
        (Shown(10, 0, Looked(same=9, changed=1)), "current", False),
        (Shown(10, 0, Looked(same=9, gone=1)), "current", True),  # the nine are as they were
        (Shown(10, 0, Looked(gone=10)), "current", False),  # none of them would be sent
        (Shown(10, 1, None), "current", False),
        (Shown(10, 0, Looked(same=5, changed=5)), "stored", True),  # a changed row is not what is sent
        (Shown(10, 3, None), "stored", False),
        (Shown(10, 0, Looked(changed=10)), "payload", True),
        (Shown(10, 0, None), "edited", False),
    ],
)
def test_acknowledgement_is_needed_exactly_where_nothing_changed(shown: Shown, mode: str, needed: bool) -> None:
    assert needs_acknowledgement(shown, ReprocessMode(mode)) is needed


@pytest.mark.parametrize(
    ("looked", "count", "said"),
    [
        (Looked(177, 20, 3), 200, "Of 200 looked at: 20 changed, 3 gone, 177 the same."),
        (
            Looked(177, 20, 3),
            158_194,
            (
                "Of 200 looked at: 20 changed, 3 gone, 177 the same. "
                "Of all 158,194, about 16,000 have probably changed and about 2,400 are probably gone."
            ),
        ),
        (Looked(200, 0, 0), 158_194, "Of 200 looked at: 0 changed, 0 gone, 200 the same."),
        (
            Looked(199, 1, 0),
            201,
            "Of 200 looked at: 1 changed, 0 gone, 199 the same. Of all 201, about 1 have probably changed.",
        ),
    ],
)
def test_a_sample_is_extrapolated_in_words(looked: Looked, count: int, said: str) -> None:
    assert rows_sentence(looked, count) == said


def test_calls_and_time_come_from_the_newest_runs() -> None:
    sync = make_sync()
    run = make_run(sync, read_count=1_000, accepted_count=900, dead_lettered_count=100, request_count=10)
    make_run(sync, status=RunStatus.FAILED, failure_message="down", dead_lettered_count=0, read_count=0)
    later = make_run(sync, read_count=1_000, accepted_count=1_000, dead_lettered_count=0, request_count=10)
    for one, seconds in ((run, 10), (later, 30)):
        Run.objects.filter(pk=one.pk).update(finished_at=one.started_at + timedelta(seconds=seconds))
    unknown = make_sync(name="Never ran")
    syncs = {one.pk: one for one in estimates.with_newest_runs(Sync.objects.all())}
    found = estimates.estimate(syncs, {sync.pk: 5_001, unknown.pk: 7})
    assert found.calls == 51
    assert found.span is not None
    assert found.span.total_seconds() == pytest.approx(100.02, abs=0.1)
    assert found.unknown == ("Never ran",)
    assert estimates.estimate(syncs, {unknown.pk: 7}) == estimates.Estimate(None, None, ("Never ran",))


def test_a_confirmation_is_narrowed_to_the_syncs_one_may_see(ana: User) -> None:
    mine, theirs = make_run(make_sync()), make_run(make_sync(team=Team.objects.create(name="Others")))
    entry, hidden = make_entry(mine), make_entry(theirs)
    assert list(take(ana).entries()) == [entry]
    ticked = snapshots.take(BulkKind.DISCARD, EntryFilter(), user=ana, ids=(entry.pk, hidden.pk))
    assert ticked.ids == (entry.pk,)
    foreign = snapshots.take(BulkKind.DISCARD, EntryFilter(sync_ids=(theirs.sync_id,)), user=ana)
    assert foreign.count == 0
    assert not foreign.entries().exists()
    root = User.objects.create_superuser("root")
    assert take(root).count == 2


def test_large_selections_are_counted_exactly_and_judged_by_a_sample(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that grows with the selection is read: the tally counts, a sample tells of errors, times and versions."""
    monkeypatch.setattr(summary, "LARGE", 50)
    run = make_run(make_sync())
    often, seldom = make_group(run.sync, title="Often"), make_group(run.sync, title="Seldom", error_type="timeout")
    make_entries(180, run, often)
    make_entries(20, run, seldom, is_permanent=False)
    make_entries(7, run, often, status=EntryStatus.DISCARDED, closed_at=timezone.now(), close_reason="because")
    snapshot = snapshots.take(BulkKind.REPROCESS, EntryFilter(statuses=()), user=ana)
    with CaptureQueriesContext(connection) as seen:
        found = summarise(snapshot)
    assert not [query for query in seen if "GROUP BY" in query["sql"] and "version_id" in query["sql"]]
    assert (found.count, [(line.label, line.count) for line in found.by_type]) == (200, [("Validation", 180), ("Timeout", 20)])
    assert [(one.count, one.reason) for one in found.left_out] == [(7, CLOSED)]
    assert 0 < found.sample_size <= summary.SAMPLE
    assert found.changes is not None
    assert found.changes.total == pytest.approx(200, abs=2)
    assert [line.label for line in found.by_group] == ["Often", "Seldom"]
    assert sum(line.count for line in found.by_group) == pytest.approx(200, abs=2)
    assert found.passing_count == pytest.approx(20, abs=2)
    assert found.oldest_at == DLQEntry.objects.filter(status="open").order_by("first_failed_at")[0].first_failed_at


def test_large_selections_that_the_tally_does_not_know_are_read(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "LARGE", 5)
    run = make_run(make_sync())
    group = make_group(run.sync)
    make_entries(20, run, group)
    found = summarise(snapshots.take(BulkKind.REPROCESS, EntryFilter(group_id=group.pk), user=ana))
    assert (found.count, found.sample_size) == (20, 0)
