"""The members of a bulk operation: inserted from the frozen predicate, taken in slices, marked with what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Max, Q, QuerySet

from dlq.choices import ItemOutcome, OperationStatus
from dlq.models import BulkItem, BulkOperation, DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.services import moves
from dlq.services.ids import AnyOf
from dlq.services.operations import ownership
from dlq.services.operations.ownership import Claim
from dlq.services.snapshots import BulkKind, Snapshot

CHUNK = 50_000  # members inserted a statement
GREW = (
    "More dead letters match than were confirmed: some arrived in the very moment of the confirmation, or were grouped anew "
    "since. Nothing was done. Choose them again."
)


def freeze(claim: Claim) -> bool:
    """Insert the next members. Returns that there is more to do."""

    def work(at: datetime) -> None:
        operation = ownership.hold(claim)
        is_last = operation.expected_count - operation.member_count <= CHUNK
        count = _insert(operation, limit=None if is_last else CHUNK)
        total = operation.member_count + count
        values: dict[str, object] = {"member_count": total, "progress_at": at}
        if total > operation.expected_count:
            values |= {"ends_as": OperationStatus.FAILED, "message": GREW}
        elif is_last or count < CHUNK:
            values |= {"is_frozen": True, "status": OperationStatus.RUNNING, "inserted_through": operation.max_id}
        else:
            members = BulkItem.objects.filter(operation=operation)
            values["inserted_through"] = members.aggregate(last=Max("entry_id"))["last"]
        BulkOperation.objects.filter(pk=operation.pk).update(**values)

    moves.in_transaction(work)
    return True


def _insert(operation: BulkOperation, *, limit: int | None) -> int:
    """By one INSERT ... SELECT, in the order of the entries' ids. Returns how many."""
    chosen = _selection(operation)
    if limit is not None:  # only then: the order by id would keep the planner from the filter's index
        chosen = chosen.order_by("id")[:limit]
    selected, params = chosen.values("pk").query.sql_with_params()
    statement = (
        f"INSERT INTO {BulkItem._meta.db_table} (operation_id, entry_id, outcome, fingerprint, note) "  # noqa: S608 - names only
        f"WITH chosen(id) AS ({selected}) SELECT {operation.pk:d}, id, '{ItemOutcome.PENDING.value}', '', '' FROM chosen "
        "WHERE id IS NOT NULL ORDER BY id ON CONFLICT DO NOTHING"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return int(cursor.rowcount)


def _selection(operation: BulkOperation) -> DLQEntryQuerySet:
    """What was confirmed, less what was touched since, past what is inserted already."""
    if operation.of_operation_id is not None:
        done = BulkItem.objects.filter(operation_id=operation.of_operation_id, outcome=ItemOutcome.DONE)
        chosen = DLQEntry.objects.filter(pk__in=done.values("entry_id"))
    else:
        chosen = _confirmed(operation).entries()
        if "row=" in operation.query:  # what a look into the warehouse found since then was not confirmed
            chosen = chosen.filter(Q(row_checked_at__isnull=True) | Q(row_checked_at__lte=operation.as_of))
    return chosen.filter(pk__gt=operation.inserted_through).order_by()


def _confirmed(operation: BulkOperation) -> Snapshot:
    return Snapshot(
        kind=BulkKind(operation.kind),
        query=operation.query,
        ids=None if operation.ids is None else tuple(operation.ids),
        max_id=operation.max_id,
        as_of=operation.as_of,
        count=operation.expected_count,
        user_id=operation.created_by_id or 0,
    )


@dataclass(frozen=True, slots=True)
class Part:
    """The next pending members: item ids up to ``through``, the last one."""

    operation_id: int
    after: int
    through: int
    entry_ids: Sequence[int]

    @property
    def count(self) -> int:
        return len(self.entry_ids)

    def pending(self) -> QuerySet[BulkItem]:
        return BulkItem.objects.filter(
            operation_id=self.operation_id, pk__gt=self.after, pk__lte=self.through, outcome=ItemOutcome.PENDING
        )

    def among(self) -> DLQEntryQuerySet:
        return DLQEntry.objects.filter(AnyOf("pk", self.entry_ids))


def next_part(operation: BulkOperation, size: int) -> Part | None:
    pending = BulkItem.objects.filter(operation=operation, outcome=ItemOutcome.PENDING, pk__gt=operation.position)
    rows = list(pending.order_by("pk").values_list("pk", "entry_id")[:size])
    if not rows:
        return None
    return Part(operation.pk, operation.position, rows[-1][0], [entry_id for _pk, entry_id in rows])
