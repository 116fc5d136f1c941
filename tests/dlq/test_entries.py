from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from dlq.choices import Door, EntryStatus, EventKind, ReprocessMode
from dlq.models import DLQEntry, DLQEvent, ErrorGroup
from dlq.services import entries, groups, moves, slices
from dlq.services.entries import ActRefusedError
from syncs.choices import RunStatus, Trigger
from syncs.models import DeliveredRow, Run, Sync
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana(db: None) -> User:
    return User.objects.create_user("ana", is_staff=True)


def statuses() -> list[str]:
    return list(DLQEntry.objects.order_by("pk").values_list("status", flat=True))


def counts_agree() -> None:
    for sync in Sync.objects.all():
        assert groups.recount(sync) == 0


def test_reprocess_of_two_syncs_makes_one_run_each_with_its_entries(ana: User) -> None:
    first, second = make_run(make_sync()), make_run(make_sync())
    mine = [make_entry(first), make_entry(first), make_entry(second)]
    other = make_entry(first)

    result = entries.reprocess(
        DLQEntry.objects.filter(pk__in=[entry.pk for entry in mine]), by=ana, reason="fixed", door=Door.ADMIN
    )

    assert result.taken == 3
    assert result.left_out == ()
    assert [run.sync_id for run in result.runs] == [first.sync_id, second.sync_id]
    run = result.runs[0]
    assert (run.trigger, run.status, run.requested_by, run.trigger_detail) == (
        Trigger.REPROCESS,
        RunStatus.QUEUED,
        ana,
        "fixed",
    )
    assert run.is_short
    queued = DLQEntry.objects.filter(reprocess_run=run)
    assert set(queued.values_list("pk", "status", "reprocess_mode")) == {(e.pk, "queued", "current") for e in mine[:2]}
    other.refresh_from_db()
    assert other.status == EntryStatus.OPEN
    events = DLQEvent.objects.filter(kind=EventKind.QUEUED)
    assert {(e.entry_id, e.run_id, e.actor_id, e.door, e.reason) for e in events} == {
        (e.pk, r.pk, ana.pk, "admin", "fixed") for e, r in zip(mine, [run, run, result.runs[1]], strict=True)
    }
    assert events[0].detail == {"mode": "current"}
    counts_agree()


def test_reprocess_leaves_out_what_cannot_go_and_says_why(ana: User) -> None:
    run = make_run(make_sync())
    make_entry(run)
    make_entry(run, error_type="invalid_key")
    make_entry(run, status=EntryStatus.QUEUED)
    make_entry(run, status=EntryStatus.DISCARDED)

    result = entries.reprocess(DLQEntry.objects.all(), by=ana, door=Door.ADMIN, mode=ReprocessMode.STORED)

    assert result.taken == 1
    assert {one.reason: one.count for one in result.left_out} == {entries.NO_KEY: 1, entries.BUSY: 1, entries.CLOSED: 1}
    assert statuses() == ["queued", "open", "queued", "discarded"]


def test_reprocess_of_unknown_outcome_is_allowed(ana: User) -> None:
    make_entry(error_type="unknown_outcome")
    assert entries.reprocess(DLQEntry.objects.all(), by=ana, door=Door.ADMIN).taken == 1


def test_reprocess_of_nothing_makes_no_run(ana: User) -> None:
    make_entry(status=EntryStatus.RESOLVED)
    before = Run.objects.count()
    result = entries.reprocess(DLQEntry.objects.all(), by=ana, door=Door.ADMIN)
    assert (result.taken, result.runs, Run.objects.count()) == (0, (), before)


def test_reprocess_when_others_were_quicker_makes_no_run(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = make_entry()
    before = Run.objects.count()
    real = entries._tally

    def tally_then_lose(chosen: Any) -> Any:
        found = list(real(chosen))
        DLQEntry.objects.filter(pk=entry.pk).update(status=EntryStatus.QUEUED)
        return found

    monkeypatch.setattr(entries, "_tally", tally_then_lose)
    result = entries.reprocess(DLQEntry.objects.all(), by=ana, door=Door.ADMIN)

    assert result.taken == 0
    assert [one.reason for one in result.left_out] == [entries.CHANGED]
    assert Run.objects.count() == before
    assert not DLQEvent.objects.exists()


def test_reprocess_of_an_archived_sync_is_left_out_while_others_go(ana: User) -> None:
    make_entry(make_run(make_sync(is_archived=True, name="Old")))
    make_entry()
    result = entries.reprocess(DLQEntry.objects.all(), by=ana, door=Door.ADMIN)
    assert result.taken == 1
    assert len(result.left_out) == 1
    assert "Old" in result.left_out[0].reason
    assert "archived" in result.left_out[0].reason
    assert statuses() == ["open", "queued"]


def test_reprocess_by_a_filter_over_joined_tables_takes_exactly_those(ana: User) -> None:
    run = make_run(make_sync(name="Wanted"))
    make_entry(run)
    make_entry()
    result = entries.reprocess(DLQEntry.objects.filter(sync__name="Wanted"), by=ana, door=Door.ADMIN)
    assert result.taken == 1
    assert statuses() == ["queued", "open"]


@pytest.mark.parametrize("act", ["reprocess", "discard"])
def test_many_entries_take_few_statements(ana: User, act: str) -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    make_entries(3_000, run, group)
    work: Callable[..., Any] = getattr(entries, act)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        result = work(DLQEntry.objects.all(), by=ana, reason="all", door=Door.CLI)
    assert result.taken == 3_000
    assert len(captured) < 40
    updates = [q for q in captured.captured_queries if q["sql"].startswith("UPDATE") and '"dlq_dlqentry" SET' in q["sql"]]
    assert len(updates) == 1
    assert DLQEvent.objects.count() == 3_000
    counts_agree()


def test_acts_in_several_slices_take_each_entry_once(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "CHUNK", 7)
    monkeypatch.setattr(slices, "REOPEN_SIZE", 7)
    run = make_run(make_sync())
    group = make_group(run.sync)
    make_entries(50, run, group)
    DLQEntry.objects.filter(pk__in=list(DLQEntry.objects.order_by("pk").values_list("pk", flat=True)[10:20])).delete()
    ErrorGroup.objects.update(open_count=40, total_count=40)
    assert entries.reprocess(DLQEntry.objects.all(), by=ana, door=Door.ADMIN).taken == 40
    DLQEntry.objects.update(status=EntryStatus.OPEN)
    assert entries.discard(DLQEntry.objects.all(), by=ana, reason="x", door=Door.ADMIN).taken == 40
    assert DLQEvent.objects.filter(kind=EventKind.DISCARDED).count() == 40
    assert entries.reopen(DLQEntry.objects.all(), by=ana, door=Door.ADMIN).taken == 40
    counts_agree()


def test_discard_closes_with_reason_and_lowers_the_groups(ana: User) -> None:
    run = make_run(make_sync())
    one, two = make_group(run.sync), make_group(run.sync)
    for group in (one, one, two):
        make_entry(run, group=group)
    make_entry(run, group=two, status=EntryStatus.QUEUED)

    result = entries.discard(DLQEntry.objects.all(), by=ana, reason=" obsolete ", door=Door.API)

    assert result.taken == 3
    assert [str(left) for left in result.left_out] == [f"1 {entries.BUSY}"]
    entry = DLQEntry.objects.order_by("pk")[0]
    assert (entry.status, entry.close_reason, entry.closed_by) == ("discarded", "obsolete", ana)
    assert entry.closed_at is not None
    assert list(ErrorGroup.objects.order_by("pk").values_list("open_count", "total_count")) == [(0, 2), (1, 2)]
    assert set(DLQEvent.objects.values_list("kind", "door", "reason")) == {("discarded", "api", "obsolete")}
    counts_agree()


@pytest.mark.parametrize(
    ("reason", "part"), [("", "Give a reason"), ("   ", "Give a reason"), ("x" * 256, "256"), ("a\0b", "NUL")]
)
def test_discard_without_a_usable_reason_is_refused_and_changes_nothing(ana: User, reason: str, part: str) -> None:
    make_entry()
    with pytest.raises(ActRefusedError, match=part):
        entries.discard(DLQEntry.objects.all(), by=ana, reason=reason, door=Door.ADMIN)
    assert statuses() == ["open"]


def test_discard_keeps_the_ledgers_hold_and_makes_a_transient_one_permanent(ana: User) -> None:
    run = make_run(make_sync())
    entry = make_entry(run, is_permanent=False, content_hash=-77)
    other = make_entry(run, is_permanent=False, content_hash=5)
    for row_key, held in ((entry.row_key, -77), (other.row_key, 6)):
        DeliveredRow.objects.create(sync=run.sync, row_key=row_key, held_hash=held, is_hold_permanent=False, run_id=run.pk)
    entries.discard(DLQEntry.objects.all(), by=ana, reason="no", door=Door.ADMIN)
    held = dict(DeliveredRow.objects.values_list("row_key", "is_hold_permanent"))
    assert held == {entry.row_key: True, other.row_key: False}  # the other one's content is newer than the entry's
    assert DeliveredRow.objects.get(row_key=entry.row_key).held_hash == -77

    entries.reopen(DLQEntry.objects.all(), by=ana, door=Door.ADMIN)
    assert not DeliveredRow.objects.filter(is_hold_permanent=True).exists()


def test_reopen_undoes_a_discard(ana: User) -> None:
    make_entry()
    entries.discard(DLQEntry.objects.all(), by=ana, reason="oops", door=Door.ADMIN)
    result = entries.reopen(DLQEntry.objects.all(), by=ana, reason="undo", door=Door.ADMIN)
    entry = DLQEntry.objects.get()
    assert result.taken == 1
    assert (entry.status, entry.closed_at, entry.closed_by, entry.close_reason) == ("open", None, None, "")
    assert entry.group.open_count == 1
    assert [event.kind for event in entry.events.order_by("pk")] == ["discarded", "reopened"]


def test_reopen_is_refused_where_the_row_has_a_newer_dead_letter(ana: User) -> None:
    run = make_run(make_sync())
    old = make_entry(run, row_key="A", status=EntryStatus.DISCARDED)
    newer = make_entry(run, row_key="A", status=EntryStatus.DISCARDED)
    blocked = make_entry(run, row_key="B", status=EntryStatus.DISCARDED)
    make_entry(run, row_key="B")
    resolved = make_entry(run, row_key="C", status=EntryStatus.RESOLVED)
    chosen = DLQEntry.objects.filter(pk__in=[old.pk, newer.pk, blocked.pk, resolved.pk])

    result = entries.reopen(chosen, by=ana, door=Door.ADMIN)

    assert result.taken == 1
    assert {one.reason: one.count for one in result.left_out} == {entries.RIVAL: 2, entries.NOT_DISCARDED: 1}
    assert DLQEntry.objects.get(pk=newer.pk).status == EntryStatus.OPEN
    counts_agree()


def test_note_and_assign_write_history(ana: User) -> None:
    entry = make_entry()
    entries.note(entry, text="asked the vendor\r\ntwice ", by=ana, door=Door.ADMIN)
    assert entries.assign(DLQEntry.objects.all(), owner=ana, by=ana, door=Door.ADMIN) == 1
    assert entries.assign(DLQEntry.objects.all(), owner=ana, by=ana, door=Door.ADMIN) == 0
    entry.refresh_from_db()
    assert (entry.note, entry.owner) == ("asked the vendor\ntwice", ana)
    assert entries.assign(DLQEntry.objects.all(), owner=None, by=ana, door=Door.ADMIN) == 1
    kinds = [(event.kind, event.detail) for event in entry.events.order_by("pk")]
    assert kinds == [
        ("noted", {"note": "asked the vendor\ntwice"}),
        ("assigned", {"owner": "ana"}),
        ("assigned", {"owner": ""}),
    ]


def test_note_that_is_no_text_is_refused(ana: User) -> None:
    with pytest.raises(ActRefusedError, match="10,000"):
        entries.note(make_entry(), text="x" * 10_001, by=ana, door=Door.ADMIN)


def test_recount_repairs_wrong_counters() -> None:
    entry = make_entry()
    ErrorGroup.objects.update(open_count=5, total_count=9)
    assert groups.recount(entry.sync) == 1
    assert ErrorGroup.objects.values_list("open_count", "total_count").get() == (1, 9)
    assert groups.recount(entry.sync) == 0


@pytest.mark.django_db(transaction=True)
def test_two_people_discarding_and_reprocessing_at_once_share_the_entries_out() -> None:
    ana = User.objects.create_user("ana2", is_staff=True)
    run = make_run(make_sync())
    group = make_group(run.sync)
    make_entries(400, run, group)
    gate = threading.Barrier(3)
    taken: list[int] = []

    def work(act: Callable[..., Any]) -> None:
        try:
            gate.wait()
            taken.append(act(DLQEntry.objects.all(), by=ana, reason="both", door=Door.ADMIN).taken)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(act,)) for act in (entries.discard, entries.reprocess, entries.discard)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(taken) == 400
    assert DLQEvent.objects.count() == 400
    assert DLQEntry.objects.filter(status=EntryStatus.OPEN).count() == 0
    counts_agree()
