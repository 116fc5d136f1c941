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
from dlq.services.operations import acting, members
from dlq.services.snapshots import BulkKind, Snapshot
from syncs.models import Run
from tests.dlq.objects import make_entries, make_entry, make_group, make_run, make_user
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db(transaction=True)

OPEN = EntryFilter()
ANY = EntryFilter(statuses=())


@pytest.fixture
def ana() -> User:
    return make_user("view_dlqentry", name="ana")


@pytest.fixture
def run() -> Run:
    return make_run(make_sync())


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
