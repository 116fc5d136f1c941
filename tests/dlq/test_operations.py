"""Bulk operations: frozen when confirmed, done in slices, exact whatever happens in between."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from dlq.choices import Door, EntryStatus, EventKind, ItemOutcome, OperationStatus
from dlq.models import BulkItem, BulkOperation, DLQEntry, DLQEvent, ErrorGroup
from dlq.services import entries, groups, operations, snapshots, tally
from dlq.services.entry_filter import EntryFilter
from dlq.services.moves import ActRefusedError
from dlq.services.operations import acting, members, ownership
from dlq.services.snapshots import BulkKind, Snapshot
from syncs.models import Run
from tests.dlq.objects import make_entries, make_entry, make_group, make_user

pytestmark = pytest.mark.django_db(transaction=True)

OPEN = EntryFilter()
ANY = EntryFilter(statuses=())


def confirm(kind: BulkKind, by: User, found: EntryFilter = OPEN, ids: tuple[int, ...] | None = None) -> Snapshot:
    return snapshots.take(kind, found, user=by, ids=ids)


def discard(by: User, found: EntryFilter = OPEN, **chosen: object) -> BulkOperation:
    return operations.create(confirm(BulkKind.DISCARD, by, found, **chosen), by=by, reason="T-1", door=Door.ADMIN)


def finish(operation: BulkOperation) -> BulkOperation:
    while operations.advance(operation.pk):
        pass
    operation.refresh_from_db()
    return operation


def outcomes(operation: BulkOperation) -> dict[str, int]:
    return dict(Counter(BulkItem.objects.filter(operation=operation).values_list("outcome", flat=True)))


def assert_books_balance(operation: BulkOperation | None = None) -> None:
    """Counters of groups, of the tally and of the operation agree with the tables."""
    for sync_id in ErrorGroup.objects.values_list("sync_id", flat=True).distinct():
        assert groups.recount(Run._meta.get_field("sync").related_model.objects.get(pk=sync_id)) == 0
    assert tally.verify() == []
    if operation is not None:
        counts = {name.value: count for name, count in operations.progress(operation).counts.items() if count}
        assert counts == outcomes(operation)


def test_discard_of_all_that_match_takes_each_entry_once(ana: User, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(acting, "SIZE", 7)
    monkeypatch.setattr(members, "CHUNK", 10)
    group = make_group(run.sync)
    make_entries(33, run, group)
    operation = discard(ana)
    assert DLQEntry.objects.open().count() == 33, "the request itself discards nothing"
    finish(operation)
    assert (operation.status, operation.member_count, operation.done_count) == ("finished", 33, 33)
    assert set(DLQEntry.objects.values_list("status", "close_reason", "closed_by")) == {("discarded", "T-1", ana.pk)}
    assert Counter(DLQEvent.objects.values_list("entry", flat=True)) == dict.fromkeys(
        DLQEntry.objects.values_list("pk", flat=True), 1
    )
    assert set(DLQEvent.objects.values_list("kind", "actor", "reason", "door")) == {("discarded", ana.pk, "T-1", "admin")}
    group.refresh_from_db()
    assert (group.open_count, group.total_count) == (0, 33)
    assert_books_balance(operation)


# -- frozen by predicate


def test_what_arrives_or_changes_after_the_confirmation_is_not_touched(ana: User, run: Run):
    group = make_group(run.sync)
    kept, noted, owned, resolved, reopened = (make_entry(run, group=group) for _ in range(5))
    snapshot = confirm(BulkKind.DISCARD, ana)
    entries.note(noted, text="look here first", by=None, door=Door.ADMIN)
    late = make_entry(run, group=group, last_failed_at=timezone.now() - timedelta(days=9))
    operation = operations.create(snapshot, by=ana, reason="T-1", door=Door.ADMIN)
    members.freeze(ownership.claim(operation.pk))  # members are inserted, and then:
    entries.assign(DLQEntry.objects.filter(pk=owned.pk), owner=ana, by=None, door=Door.ADMIN)
    DLQEntry.objects.filter(pk=resolved.pk).update(status="resolved", closed_at=timezone.now(), updated_at=timezone.now())
    entries.discard(DLQEntry.objects.filter(pk=reopened.pk), by=None, reason="x", door=Door.ADMIN)
    entries.reopen(DLQEntry.objects.filter(pk=reopened.pk), by=None, door=Door.ADMIN)
    release(operation)

    finish(operation)
    assert (operation.expected_count, operation.member_count, operation.done_count, operation.left_out_count) == (5, 4, 1, 3)
    statuses = dict(DLQEntry.objects.values_list("pk", "status"))
    assert statuses.pop(kept.pk) == "discarded"
    assert statuses == {noted.pk: "open", owned.pk: "open", reopened.pk: "open", resolved.pk: "resolved", late.pk: "open"}
    notes = dict(BulkItem.objects.exclude(note="").values_list("entry", "note"))
    assert notes.keys() == {owned.pk, reopened.pk, resolved.pk}
    assert "changed after the confirmation" in notes[owned.pk]
    assert "resolved" in notes[resolved.pk]


def release(operation: BulkOperation) -> None:
    BulkOperation.objects.filter(pk=operation.pk).update(lease_until=None)


def test_last_24_hours_means_those_before_the_confirmation(ana: User, run: Run):
    group = make_group(run.sync)
    inside = make_entry(run, group=group, last_failed_at=timezone.now() - timedelta(hours=23, minutes=59, seconds=59))
    operation = discard(ana, EntryFilter(window="24h"))
    BulkOperation.objects.filter(pk=operation.pk).update(created_at=timezone.now() + timedelta(days=3))
    finish(operation)
    inside.refresh_from_db()
    assert inside.status == EntryStatus.DISCARDED


def test_selection_that_grew_after_the_confirmation_fails_before_anything_is_done(ana: User, run: Run):
    """As when a transaction that had stored entries committed in the very moment of the confirmation."""
    group = make_group(run.sync)
    for _ in range(3):
        make_entry(run, group=group)
    found = confirm(BulkKind.DISCARD, ana)
    smaller = Snapshot(found.kind, found.query, None, found.max_id, found.as_of, 2, ana.pk, found.nonce)
    operation = finish(operations.create(smaller, by=ana, reason="T-1", door=Door.ADMIN))
    assert operation.status == OperationStatus.FAILED
    assert "More dead letters match than were confirmed" in operation.message
    assert outcomes(operation) == {"not_reached": 3}
    assert DLQEntry.objects.open().count() == 3
    assert_books_balance(operation)


def test_check_in_between_adds_nothing_to_a_filter_by_row_state(ana: User, run: Run):
    from dlq.choices import RowState

    group = make_group(run.sync)
    early, late = make_entry(run, group=group), make_entry(run, group=group)
    DLQEntry.objects.filter(pk=early.pk).update(row_state=RowState.CHANGED, row_checked_at=timezone.now())
    found = EntryFilter(row_states=(RowState.CHANGED,))
    snapshot = confirm(BulkKind.DISCARD, ana, found)
    DLQEntry.objects.filter(pk=late.pk).update(row_state=RowState.CHANGED, row_checked_at=timezone.now())
    operation = finish(operations.create(snapshot, by=ana, reason="T-1", door=Door.ADMIN))
    assert (operation.status, operation.member_count) == ("finished", 1)
    assert list(DLQEntry.objects.open()) == [late]


def test_filter_whose_sync_is_gone_fails_with_a_sentence(ana: User, run: Run):
    make_entry(run)
    operation = discard(ana, EntryFilter(sync_ids=(run.sync_id,)))
    BulkOperation.objects.filter(pk=operation.pk).update(query="status=open&sync=999999")
    finish(operation)
    assert operation.status == OperationStatus.FAILED
    assert "999999" in operation.message


def test_ticked_rows_only(ana: User, run: Run):
    group = make_group(run.sync)
    one, _two, three = (make_entry(run, group=group) for _ in range(3))
    operation = finish(discard(ana, ids=(one.pk, three.pk)))
    assert (operation.member_count, operation.done_count) == (2, 2)
    assert DLQEntry.objects.open().count() == 1


# -- making one


def test_double_submit_finds_the_operation_of_the_first(ana: User, run: Run):
    make_entry(run)
    snapshot = confirm(BulkKind.DISCARD, ana)
    loaded = snapshots.load(snapshot.token(), BulkKind.DISCARD, user=ana)
    first = operations.create(snapshot, by=ana, reason="T-1", door=Door.ADMIN)
    assert operations.create(loaded, by=ana, reason="T-1", door=Door.ADMIN) == first
    finish(first)
    assert operations.create(loaded, by=ana, reason="T-1", door=Door.ADMIN) == first
    assert BulkOperation.objects.count() == 1
    assert discard(ana, ANY) != first, "another confirmation of the same filter is another act"


def test_creating_takes_a_handful_of_queries_whatever_the_size(ana: User, run: Run, django_assert_max_num_queries):
    make_entries(500, run, make_group(run.sync))
    snapshot = confirm(BulkKind.DISCARD, ana)
    with django_assert_max_num_queries(8):
        operations.create(snapshot, by=ana, reason="T-1", door=Door.ADMIN)
    assert BulkItem.objects.count() == 0


def test_what_cannot_be_done_is_refused(ana: User, run: Run):
    make_entry(run)
    snapshot = confirm(BulkKind.DISCARD, ana)

    def refusal(of: Snapshot = snapshot, **given: object) -> str:
        values: dict = {"by": ana, "reason": "T-1", "door": Door.ADMIN}
        with pytest.raises(ActRefusedError) as refused:
            operations.create(of, **(values | given))
        return str(refused.value)

    assert "Give a reason" in refusal(reason=" ")
    assert "another user" in refusal(by=make_user())
    assert "for a reprocess only" in refusal(waves=[1])
    assert "no bulk operation" in refusal(confirm(BulkKind.EXPORT, ana))
    assert "earlier version" in refusal(
        Snapshot(snapshot.kind, snapshot.query, None, snapshot.max_id, snapshot.as_of, 1, ana.pk)
    )
    again = confirm(BulkKind.REPROCESS, ana)
    assert "Wave sizes" in refusal(again, waves=[1, 0])
    assert "Wave sizes" in refusal(again, waves=[])
    assert "rows a minute" in refusal(again, rows_per_minute=0)
    assert "percent" in refusal(again, halt_percent=101)
    assert "Choose who" in refusal(confirm(BulkKind.ASSIGN, ana))
    assert "no active user" in refusal(confirm(BulkKind.ASSIGN, ana), options={"owner": 99_999})
    entries.discard(DLQEntry.objects.all(), by=None, reason="x", door=Door.ADMIN)
    assert "matches any more" in refusal(confirm(BulkKind.DISCARD, ana))
    assert BulkOperation.objects.count() == 0


# -- stopping


def test_paused_it_stops_before_the_next_slice_and_resumes_where_it_was(ana: User, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(acting, "SIZE", 10)
    make_entries(35, run, make_group(run.sync))
    operation = discard(ana)
    assert operations.advance(operation.pk, budget_seconds=0), "one slice: the members"
    assert operations.advance(operation.pk, budget_seconds=0)
    assert operations.pause(operation, by=ana)
    assert not operations.pause(operation, by=ana)
    finish(operation)
    assert (operation.status, operation.done_count, operation.message) == ("paused", 10, "Paused by ana.")
    assert operations.progress(operation).phase == "resting"
    assert operations.resume(operation, by=ana)
    assert not operations.resume(operation, by=ana)
    finish(operation)
    assert (operation.status, operation.done_count) == ("finished", 35)
    assert DLQEvent.objects.count() == 35
    assert_books_balance(operation)


def test_paused_before_its_members_are_inserted_it_goes_on_with_them(ana: User, run: Run):
    make_entry(run)
    operation = discard(ana)
    assert operations.pause(operation, by=ana)
    assert not operations.advance(operation.pk)
    assert operations.resume(operation, by=ana)
    operation.refresh_from_db()
    assert operation.status == OperationStatus.QUEUED
    assert finish(operation).done_count == 1


def test_cancelled_what_was_done_stands_and_the_rest_is_not_reached(ana: User, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(acting, "SIZE", 10)
    make_entries(35, run, make_group(run.sync))
    operation = discard(ana)
    for _ in range(3):
        operations.advance(operation.pk, budget_seconds=0)
    assert operations.cancel(operation, by=ana)
    assert not operations.cancel(operation, by=ana)
    assert not operations.resume(operation, by=ana)
    operation.refresh_from_db()
    assert operation.is_ending
    assert operations.progress(operation).phase == "ending"
    finish(operation)
    assert (operation.status, operation.message) == ("cancelled", "Cancelled by ana.")
    assert outcomes(operation) == {"done": 20, "not_reached": 15}
    assert DLQEntry.objects.open().count() == 15
    assert not operations.cancel(operation, by=ana)
    assert_books_balance(operation)


def test_worker_that_lost_its_lease_writes_nothing_more(ana: User, run: Run):
    make_entries(5, run, make_group(run.sync))
    operation = discard(ana)
    late = ownership.claim(operation.pk)
    assert late is not None
    assert ownership.claim(operation.pk) is None, "held"
    assert operations.advance_due() == 0
    BulkOperation.objects.filter(pk=operation.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    members.freeze(ownership.claim(operation.pk))
    with pytest.raises(ownership.StoppedError):
        acting.act(late)
    assert DLQEntry.objects.open().count() == 5
    release(operation)
    assert finish(operation).done_count == 5


def test_error_that_nobody_foresaw_fails_it_with_a_sentence(ana: User, run: Run, monkeypatch: pytest.MonkeyPatch):
    make_entries(5, run, make_group(run.sync))
    operation = discard(ana)

    def broken(*_: object, **__: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setitem(acting._ACTS, "discard", broken)
    finish(operation)
    assert operation.status == OperationStatus.FAILED
    assert "ZeroDivisionError" in operation.message
    assert outcomes(operation) == {"not_reached": 5}


def test_tick_wakes_a_worker_only_where_there_is_something_to_do(ana: User, run: Run, django_assert_max_num_queries):
    from django_q.models import OrmQ

    from syncs.services import schema_watch, worker

    with django_assert_max_num_queries(1):
        assert operations.advance_due() == 0
    make_entry(run)
    operation = discard(ana)
    assert operations.advance_due() == 0, "its own message waits still"
    schema_watch.ring_due()  # the daily reading of the sync's object is rung for, so that the tick need not
    OrmQ.objects.all().delete()
    worker.tick()
    assert [message.func() for message in OrmQ.objects.all()] == ["dlq.tasks.advance"]
    operations.pause(operation, by=ana)
    OrmQ.objects.all().delete()
    assert operations.advance_due() == 0


# -- undo, reopen, assign


def test_undo_reopens_what_the_operation_discarded_and_nothing_else(ana: User, run: Run):
    group = make_group(run.sync)
    plain, elsewhere, anew = (make_entry(run, group=group) for _ in range(3))
    entries.discard(DLQEntry.objects.filter(pk=elsewhere.pk), by=None, reason="other", door=Door.ADMIN)
    first = finish(discard(ana, ANY))
    assert outcomes(first) == {"done": 2, "left_out": 1}
    entries.reopen(DLQEntry.objects.filter(pk=anew.pk), by=None, door=Door.ADMIN)
    entries.discard(DLQEntry.objects.filter(pk=anew.pk), by=None, reason="and again", door=Door.ADMIN)

    undo = operations.undo(first, by=ana, reason="wrong filter", door=Door.ADMIN)
    assert operations.undo(first, by=ana, reason="wrong filter", door=Door.ADMIN) == undo
    finish(undo)
    assert (undo.kind, undo.of_operation, undo.status) == ("reopen", first, "finished")
    assert outcomes(undo) == {"done": 1, "left_out": 1}
    assert list(DLQEntry.objects.open()) == [plain]
    assert [event.kind for event in plain.events.all()] == [EventKind.DISCARDED, EventKind.REOPENED]
    assert plain.events.last().detail == {"operation": undo.pk}
    assert_books_balance(undo)


def test_undo_leaves_out_rows_with_a_newer_dead_letter_or_newer_data(ana: User, run: Run):
    from syncs.models import DeliveredRow

    group = make_group(run.sync)
    for key in ("rivalled", "overtaken", "free"):
        make_entry(run, group=group, row_key=key)
    first = finish(discard(ana))
    make_entry(run, group=group, row_key="rivalled")
    DeliveredRow.objects.create(
        sync_id=run.sync_id,
        row_key="overtaken",
        payload_hash=1,
        accepted_at=timezone.now() + timedelta(seconds=5),
        run_id=run.pk,
    )
    undo = finish(operations.undo(first, by=ana, reason="", door=Door.ADMIN))
    notes = dict(BulkItem.objects.filter(operation=undo).values_list("entry__row_key", "note"))
    assert "newer dead letter" in notes["rivalled"]
    assert "newer version" in notes["overtaken"]
    assert outcomes(undo) == {"done": 1, "left_out": 2}
    assert_books_balance(undo)


def test_undo_is_refused_out_of_its_time_and_for_anything_else(ana: User, run: Run, settings):
    make_entry(run)
    first = discard(ana)
    with pytest.raises(ActRefusedError, match="still under way"):
        operations.undo(first, by=ana, reason="", door=Door.ADMIN)
    finish(first)
    assert first.undo_until == first.finished_at + timedelta(days=settings.RETL["UNDO_DAYS"])
    BulkOperation.objects.filter(pk=first.pk).update(undo_until=timezone.now() - timedelta(seconds=1))
    with pytest.raises(ActRefusedError, match="for 7 days"):
        operations.undo(first, by=ana, reason="", door=Door.ADMIN)
    other = finish(operations.create(confirm(BulkKind.REOPEN, ana, ANY), by=ana, reason="", door=Door.ADMIN))
    with pytest.raises(ActRefusedError, match="Only a discard"):
        operations.undo(other, by=ana, reason="", door=Door.ADMIN)


def test_undo_that_was_cancelled_can_be_made_again(ana: User, run: Run):
    make_entry(run)
    first = finish(discard(ana))
    undo = operations.undo(first, by=ana, reason="", door=Door.ADMIN)
    operations.cancel(undo, by=ana)
    assert finish(undo).status == "cancelled"
    again = operations.undo(first, by=ana, reason="", door=Door.ADMIN)
    assert again != undo
    assert finish(again).done_count == 1
    assert DLQEntry.objects.open().count() == 1


def test_assign_gives_all_an_owner_and_writes_only_what_changed(ana: User, run: Run):
    group = make_group(run.sync)
    mine, free = make_entry(run, group=group, owner=ana), make_entry(run, group=group)
    snapshot = confirm(BulkKind.ASSIGN, ana)
    operation = finish(operations.create(snapshot, by=ana, reason="", door=Door.API, options={"owner": ana.pk}))
    assert outcomes(operation) == {"done": 2}
    assert DLQEntry.objects.filter(owner=ana).count() == 2
    assert not mine.events.exists()
    assert [(event.kind, event.door, event.detail["owner"]) for event in free.events.all()] == [("assigned", "api", "ana")]
    snapshot = confirm(BulkKind.ASSIGN, ana)
    finish(operations.create(snapshot, by=ana, reason="", door=Door.API, options={"owner": None}))
    assert DLQEntry.objects.filter(owner=None).count() == 2


def test_assign_to_a_user_who_has_gone_fails_with_a_sentence(ana: User, run: Run):
    make_entry(run)
    bo = make_user(name="bo")
    operation = operations.create(confirm(BulkKind.ASSIGN, ana), by=ana, reason="", door=Door.ADMIN, options={"owner": bo.pk})
    bo.delete()
    assert finish(operation).status == OperationStatus.FAILED
    assert "not there any more" in operation.message


def test_items_come_in_pages_by_outcome(ana: User, run: Run):
    make_entries(7, run, make_group(run.sync))
    operation = finish(discard(ana))
    first = operations.items(operation, ItemOutcome.DONE, size=5)
    rest = operations.items(operation, ItemOutcome.DONE, first.next_after, size=5)
    assert (len(first.items), len(rest.items), rest.next_after) == (5, 2, None)
    assert len({item.entry.row_key for item in [*first.items, *rest.items]}) == 7
    assert operations.items(operation, ItemOutcome.LEFT_OUT).items == []


def test_progress_of_an_operation_that_is_over(ana: User, run: Run, django_assert_max_num_queries):
    make_entries(7, run, make_group(run.sync))
    operation = finish(discard(ana))
    with django_assert_max_num_queries(1):
        progress = operations.progress(operation)
    assert (progress.phase, progress.percent, progress.total, progress.settled) == ("over", 100, 7, 7)
