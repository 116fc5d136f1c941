"""Which dead letters. Filters only: the acts are in services."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Left
from django.db.models.lookups import BuiltinLookup

from dlq.choices import LIVE, EntryStatus
from syncs.errors import ErrorType

if TYPE_CHECKING:
    from dlq.models import DLQEntry  # noqa: F401

    _Lookup = BuiltinLookup[str]
else:
    _Lookup = BuiltinLookup

HEAVY = ("source_row", "payload", "response_excerpt", "note")  # text of any length that a list does not show
HEAD = 4_000  # characters of the payload and the row that a list looks into; longer ones are not loaded as a whole


@models.CharField.register_lookup
class Begins(_Lookup):
    """``row_key__begins``: a prefix, exact case, answered by the index of the column on each database.

    ``startswith`` is not: on SQLite it becomes LIKE with ESCAPE, which reads every row. There a range does it, since text is
    compared by code points; on PostgreSQL, where the order depends on the database's locale, LIKE uses a pattern index.
    """

    lookup_name = "begins"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        column, params = self.process_lhs(compiler, connection)
        following = _following(self.rhs)
        if following is None:
            return f"{column} >= %s", [*params, self.rhs]
        return f"({column} >= %s AND {column} < %s)", [*params, self.rhs, *params, following]

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        column, params = self.process_lhs(compiler, connection)
        return f"{column} LIKE %s", [*params, f"{connection.ops.prep_for_like_query(self.rhs)}%"]


def _following(prefix: str) -> str | None:
    """The least text, by code points, above everything that begins so; None when there is none."""
    for end in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[end])
        if code < 0x10FFFF:
            return prefix[:end] + chr(0xE000 if code == 0xD7FF else code + 1)
    return None


class Unindexed(models.Func):
    """A column's own value, in a form that no index is in the order of: the planner must choose by the conditions."""

    arity = 1
    template = "(+%(expressions)s)"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(%(expressions)s + INTERVAL '0')", **context)


class DLQEntryQuerySet(models.QuerySet["DLQEntry"]):
    def live(self) -> DLQEntryQuerySet:
        return self.filter(status__in=LIVE)

    def open(self) -> DLQEntryQuerySet:
        return self.filter(status=EntryStatus.OPEN)

    def reprocessable(self) -> DLQEntryQuerySet:
        """Open, and with a row key by which the row can be read again."""
        return self.open().exclude(error_type=ErrorType.INVALID_KEY)

    def frozen(self, *, max_id: int, as_of: datetime) -> DLQEntryQuerySet:
        """Those that were there at ``as_of`` and that nobody has touched since."""
        return self.filter(id__lte=max_id, updated_at__lte=as_of)

    def newest(self) -> DLQEntryQuerySet:
        return self.order_by("-last_failed_at", "-id")

    def oldest(self) -> DLQEntryQuerySet:
        return self.order_by("last_failed_at", "id")

    def older_than(self, at: datetime, entry_id: int) -> DLQEntryQuerySet:
        """What follows (at, id) in ``newest`` order. The last condition bounds the index range, the first is exact."""
        return self.filter(Q(last_failed_at__lt=at) | Q(id__lt=entry_id), last_failed_at__lte=at)

    def newer_than(self, at: datetime, entry_id: int) -> DLQEntryQuerySet:
        """What precedes (at, id) in ``newest`` order."""
        return self.filter(Q(last_failed_at__gt=at) | Q(id__gt=entry_id), last_failed_at__gte=at)

    def for_list(self) -> DLQEntryQuerySet:
        """With the sync; without texts of any length, but with ``payload_head`` and ``source_row_head``: of these one
        character more than HEAD at most, so that a text that was cut is known by its length.
        """
        heads: dict[str, Any] = {f"{name}_head": Left(name, HEAD + 1) for name in ("payload", "source_row")}
        return self.select_related("sync").defer(*HEAVY).annotate(**heads)

    def of_rows(self, keys: Collection[str]) -> DLQEntryQuerySet:
        """Live and discarded ones with these row keys, of any sync. Explicit keys: no planner has to guess how many match."""
        return self.filter(row_key__in=keys, status__in=(*LIVE, EntryStatus.DISCARDED))

    def within(self, ids: range) -> DLQEntryQuerySet:
        return self.filter(id__gte=ids.start, id__lt=ids.stop)

    def id_ranges(self, size: int) -> Iterator[range]:
        """Ranges of ids, ascending, that hold at most ``size`` entries of the selection each; no ids are kept in memory.

        The next range is fixed before the caller acts on this one, so an act that changes what matches loses nothing.
        """
        ids = self.order_by("id").values_list("id", flat=True)
        low, last = ids.first(), ids.last()
        while low is not None and last is not None and low <= last:
            following = next(iter(ids.filter(id__gte=low)[size : size + 1]), None)
            high = last + 1 if following is None or following > last else following
            yield range(low, high)
            low = high
