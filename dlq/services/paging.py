"""Pages by position, never by offset; counts that stop counting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.dateparse import parse_datetime

from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet

PAGE_SIZE = 50
COUNT_CAP = 10_000
_FEW = 1_000


@dataclass(frozen=True, slots=True)
class Position:
    """The last entry of a page; the next one starts below it."""

    at: datetime
    id: int

    def __str__(self) -> str:
        return f"{self.at.isoformat()}_{self.id}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """None when it is no position."""
        moment, _, number = text.rpartition("_")
        try:
            at = parse_datetime(moment.replace(" ", "+"))  # a bare + in an address arrives as a blank
        except ValueError:
            return None
        if at is None or at.tzinfo is None or not (number.isascii() and number.isdigit() and len(number) <= 18):
            return None
        return cls(at, int(number))


@dataclass(frozen=True, slots=True)
class Page:
    """``count`` is exact up to COUNT_CAP; ``is_capped``: there are more than that."""

    entries: list[DLQEntry]
    count: int
    is_capped: bool
    older: Position | None

    @property
    def count_text(self) -> str:
        return f"more than {COUNT_CAP:,}" if self.is_capped else f"{self.count:,}"


def page(chosen: DLQEntryQuerySet, *, after: Position | None = None, size: int = PAGE_SIZE) -> Page:
    """The newest entries of the selection, or those below ``after``.

    The capped count comes first, because a rare or empty filter makes a planner walk the whole time index for its fifty
    rows: no hits, no page query; few hits, fetch their ids unordered and sort only those.
    """
    count = chosen.order_by()[: COUNT_CAP + 1].count()
    if not count:
        return Page([], 0, False, None)
    if count <= _FEW:
        chosen = DLQEntry.objects.filter(pk__in=list(chosen.order_by().values_list("pk", flat=True)[: _FEW * 2]))
    if after is not None:
        chosen = chosen.older_than(after.at, after.id)
    rows = list(chosen.for_list().newest()[: size + 1])
    shown = rows[:size]
    older = Position(shown[-1].last_failed_at, shown[-1].pk) if len(rows) > size else None
    return Page(shown, min(count, COUNT_CAP), count > COUNT_CAP, older)
