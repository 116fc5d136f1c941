"""The ledger's writes: quick for keys it has not, right for keys it has."""

from __future__ import annotations

import pytest

from syncs.models import DeliveredRow
from syncs.records import Operation, Record
from syncs.services.ledger import DatabaseLedger
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db


def record(key: str, content: int, *, in_ledger: bool) -> Record:
    return Record(key, Operation.UPSERT, {}, b"{}", content, in_ledger=in_ledger)


def ledger(run_id: int = 1) -> DatabaseLedger:
    return DatabaseLedger(sync_id=make_sync().pk, run_id=run_id)


def rows() -> dict[str, tuple[int | None, int | None, int]]:
    return {row.row_key: (row.payload_hash, row.held_hash, row.run_id) for row in DeliveredRow.objects.all()}


def test_keys_the_ledger_has_and_keys_it_has_not_go_in_together() -> None:
    books = ledger()
    books.accept([record("a", 1, in_ledger=False)])
    books.accept([record("a", 2, in_ledger=True), record("b", 3, in_ledger=False)])
    assert rows() == {"a": (2, None, 1), "b": (3, None, 1)}


def test_commit_that_is_repeated_leaves_the_same_rows() -> None:
    books, records = ledger(), [record("a", 1, in_ledger=False), record("b", 2, in_ledger=False)]
    books.accept(records)
    books.accept(records)
    assert rows() == {"a": (1, None, 1), "b": (2, None, 1)}


def test_key_that_came_into_the_ledger_after_the_look_up_is_taken_over() -> None:
    books = ledger(run_id=2)
    DeliveredRow.objects.create(sync_id=books._sync_id, row_key="b", payload_hash=8, held_hash=9, run_id=1)
    books.accept([record("a", 1, in_ledger=False), record("b", 2, in_ledger=False)])
    assert rows() == {"a": (1, None, 2), "b": (2, None, 2)}


def test_key_that_comes_twice_counts_as_it_came_last() -> None:
    books = ledger()
    books.accept([record("a", 1, in_ledger=False), record("a", 2, in_ledger=False), record("b", 3, in_ledger=False)])
    assert rows() == {"a": (2, None, 1), "b": (3, None, 1)}


def test_nothing_accepted_writes_nothing() -> None:
    ledger().accept([])
    assert rows() == {}
