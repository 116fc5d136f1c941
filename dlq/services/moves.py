"""Set-based mechanics of the acts: events by INSERT ... SELECT, group counters, the ledger's hold.

Each move stamps its entries with one ``updated_at``; that stamp, the new status and the range of ids name exactly the
entries that were moved, and the number of events written is checked against the number of entries moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import OperationalError, connection, models, transaction
from django.db.models import Count, Exists, OuterRef, Q
from django.utils import timezone

from dlq.choices import Door, EventKind
from dlq.models import DLQEntry, DLQEvent, ErrorGroup
from dlq.querysets import DLQEntryQuerySet
from syncs.errors import RedriveError
from syncs.models import DeliveredRow, Run
from syncs.services import audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CHUNK = 50_000  # entries a statement
REASON_MAX = 255
_AGAIN = ("40P01", "40001")  # PostgreSQL chose us as the victim of a deadlock: nothing happened, do it again
T = TypeVar("T")


class ActRefusedError(RedriveError):
    """The act cannot be done as asked. Nothing was changed. ``field``: the input to correct."""


class _ChangedUnderneathError(Exception):
    """Another act stamped entries in the same microsecond; roll back and take a new stamp."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who does what, why, through which door, when."""

    by: User | None
    door: Door
    reason: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=timezone.now)


def checked_reason(text: str, *, is_required: bool) -> str:
    """The reason, trimmed. Raises ``ActRefusedError`` when it is missing, too long, or holds a NUL character."""
    reason = text.strip()
    if is_required and not reason:
        raise ActRefusedError("Give a reason: it is kept with each entry, for whoever asks later.", field="reason")
    if len(reason) > REASON_MAX:
        raise ActRefusedError(
            f"The reason has {len(reason)} characters; at most {REASON_MAX} fit. Shorten it, or put the rest into a note.",
            field="reason",
        )
    if "\0" in reason:
        raise ActRefusedError("The reason holds a NUL character. Take it out.", field="reason")
    return reason


def on_own_columns(entries: models.QuerySet[DLQEntry]) -> DLQEntryQuerySet:
    """The same selection as conditions on the entry table alone, so that an UPDATE re-checks its conditions row by row."""
    plain = entries.order_by()
    tables = sum(1 for alias in plain.query.alias_map if plain.query.alias_refcount.get(alias))
    if tables <= 1 and not plain.query.is_sliced:
        return plain  # type: ignore[return-value]
    return DLQEntry.objects.filter(pk__in=plain.values("pk"))


def in_transaction(work: Callable[[datetime], T]) -> T:
    """Run ``work(stamp)`` in a transaction of its own; a deadlock, or a stamp that is not unique, costs another try."""
    for tries_left in (3, 2, 1, 0):
        try:
            with transaction.atomic():
                return work(timezone.now())
        except _ChangedUnderneathError:
            if not tries_left:
                raise
        except OperationalError as error:
            is_victim = getattr(error.__cause__, "sqlstate", None) in _AGAIN
            if not is_victim or not tries_left or connection.in_atomic_block:
                raise
    raise AssertionError("unreachable")


def lock_groups(entries: DLQEntryQuerySet) -> None:
    """Take the groups' row locks first and in order, as the runs do: two writers then queue instead of deadlocking."""
    groups = ErrorGroup.objects.filter(pk__in=entries.order_by().values("group_id")).order_by("pk")
    for _ in groups.select_for_update().values_list("pk", flat=True).iterator(chunk_size=2000):
        pass


def write_events(entries: DLQEntryQuerySet, *, kind: EventKind, act: Act, at: datetime, run: Run | None = None) -> int:
    """One event for each entry, by one INSERT ... SELECT. Returns how many. What was done with an API key says with which."""
    key = audit.acting_key.get() if act.door == Door.API else ""
    values: dict[str, Any] = {
        "kind": kind.value,
        "at": at,
        "actor": act.by.pk if act.by else None,
        "run": run.pk if run else None,
        "door": act.door.value,
        "reason": act.reason,
        "detail": {**act.detail, **({"api_key": key} if key else {})},
    }
    fields: list[Any] = [DLQEvent._meta.get_field(name) for name in values]
    columns = ", ".join(connection.ops.quote_name(column.column) for column in fields)
    places = ", ".join(_place(column) for column in fields)
    prepared = [column.get_db_prep_save(values[column.name], connection) for column in fields]
    chosen, params = entries.order_by().values("pk").query.sql_with_params()
    quote = connection.ops.quote_name
    statement = (
        f"INSERT INTO {quote(DLQEvent._meta.db_table)} (entry_id, {columns}) "  # noqa: S608 - names only, values are parameters
        f"WITH chosen(id) AS ({chosen}) SELECT id, {places} FROM chosen"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*params, *prepared])
        return int(cursor.rowcount)


def _place(column: Any) -> str:
    """PostgreSQL wants the type of a bare parameter named; SQLite would convert the value by it."""
    return f"CAST(%s AS {column.db_type(connection)})" if connection.vendor == "postgresql" else "%s"


def check_events(written: int, moved: int) -> None:
    if written != moved:
        raise _ChangedUnderneathError(f"{moved} entries moved, {written} events written")


@dataclass(frozen=True, slots=True)
class Share:
    """What a group has of some entries; ``transient``: of these, those whose failure was not permanent."""

    group_id: int
    sync_id: int
    count: int
    transient: int


def shares(entries: DLQEntryQuerySet) -> list[Share]:
    by_group = entries.order_by().values("group_id", "sync_id")
    counted = by_group.annotate(count=Count("pk"), transient=Count("pk", filter=Q(is_permanent=False)))
    return sorted(
        (Share(*row) for row in counted.values_list("group_id", "sync_id", "count", "transient")), key=lambda one: one.group_id
    )


def shift_open_counts(entries: DLQEntryQuerySet, *, sign: int) -> None:
    """Raise (+1) or lower (-1) each group's ``open_count`` by its share of the entries."""
    add_to_open_counts(shares(entries), sign=sign)


def add_to_open_counts(found: Sequence[Share], *, sign: int) -> None:
    """One statement, however many groups."""
    table = ErrorGroup._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"UPDATE {table} SET open_count = open_count + changed.share "  # noqa: S608 - names only, values are parameters
                f"FROM unnest(%s::int[], %s::bigint[]) AS changed(share, id) WHERE {table}.id = changed.id",
                [[sign * one.count for one in found], [one.group_id for one in found]],
            )
        else:
            statement = f"UPDATE {table} SET open_count = open_count + %s WHERE id = %s"  # noqa: S608 - a name only
            cursor.executemany(statement, [(sign * one.count, one.group_id) for one in found])


def is_overtaken() -> Exists:
    """Condition on entries: the destination has accepted the row since it was refused."""
    delivered = DeliveredRow.objects.filter(
        sync_id=OuterRef("sync_id"), row_key=OuterRef("row_key"), accepted_at__gt=OuterRef("last_failed_at")
    )
    return Exists(delivered)


def hold_in_ledger(entries: DLQEntryQuerySet, found: Sequence[Share], *, is_permanent: bool) -> None:
    """A discarded row stays away even where its failure was transient: the ledger's hold on that content becomes permanent.

    Reopening gives the hold its transient nature back. Permanent failures are held permanently anyway. ``found``: the shares of
    these entries.
    """
    for sync_id in sorted({one.sync_id for one in found if one.transient}):
        of_sync = entries.order_by().filter(is_permanent=False, sync_id=sync_id)
        same = of_sync.filter(row_key=OuterRef("row_key"), content_hash=OuterRef("held_hash"))
        DeliveredRow.objects.filter(Exists(same), sync_id=sync_id, row_key__in=of_sync.values("row_key")).update(
            is_hold_permanent=is_permanent
        )
