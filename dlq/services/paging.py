"""Pages by position, never by offset; counts that stop counting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.utils.dateparse import parse_datetime

from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.services import tally
from dlq.services.budget import TooSlowError, budget
from dlq.services.entry_filter import EntryFilter

PAGE_SIZE = 50
COUNT_CAP = 10_000
BUDGET_SECONDS = 3.0
TOO_SLOW = (
    "Nothing was found in time: there are too many dead letters to look through for this filter. Choose a sync, an error group "
    "or a time range as well."
)
_FEW = 1_000


@dataclass(frozen=True, slots=True)
class Position:
    """An entry's place in the list. The page after it starts below it, the page before it ends above it."""

    at: datetime
    id: int

    def __str__(self) -> str:
        return f"{self.at.isoformat()}_{self.id}"

    @classmethod
    def of(cls, entry: DLQEntry) -> Position:
        return cls(entry.last_failed_at, entry.pk)

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
    """``count`` is exact unless ``is_capped``: then there are more than that, and ``estimate`` is the planner's guess, if any.

    ``older`` and ``newer``: the positions for the pages after and before this one; None: there is none. ``problem``: a sentence
    when the database could not find the page in time; the page is empty then.
    """

    entries: list[DLQEntry]
    count: int
    is_capped: bool
    older: Position | None
    newer: Position | None = None
    estimate: int | None = None
    problem: str = ""

    @property
    def count_text(self) -> str:
        if not self.is_capped:
            return f"{self.count:,}"
        if self.estimate is not None:
            return f"about {_rounded(self.estimate):,}"
        return f"more than {self.count:,}"


def page(
    chosen: DLQEntryQuerySet,
    *,
    after: Position | None = None,
    before: Position | None = None,
    size: int = PAGE_SIZE,
    total: int | None = None,
) -> Page:
    """The newest entries of the selection, those below ``after``, or those above ``before``. ``total``: their exact number,
    where the tally knows it; else they are counted up to COUNT_CAP.

    The count comes first, because a rare or empty filter makes a planner walk the whole time index for its fifty rows: no
    hits, no page query; few hits, fetch their ids unordered and sort only those. What still takes too long is stopped.
    """
    try:
        with budget(BUDGET_SECONDS):
            return _page(chosen, after, before, size, total)
    except TooSlowError:
        return Page([], 0, False, None, problem=TOO_SLOW)


def _page(chosen: DLQEntryQuerySet, after: Position | None, before: Position | None, size: int, total: int | None) -> Page:
    count, is_capped, narrowed = _measure(chosen, total)
    if not count:
        return Page([], 0, False, None)
    shown, has_newer, has_older = _around(narrowed, after, before, size)
    return Page(
        shown,
        count,
        is_capped,
        Position.of(shown[-1]) if shown and has_older else None,
        Position.of(shown[0]) if shown and has_newer else None,
        _estimate(chosen) if is_capped else None,
    )


def _measure(chosen: DLQEntryQuerySet, total: int | None) -> tuple[int, bool, DLQEntryQuerySet]:
    """(count, is capped, the selection in a form that a planner cannot get wrong)."""
    if total is not None and (total > _FEW or not total):
        return total, False, chosen
    few = min(_FEW, COUNT_CAP)
    ids = list(chosen.order_by().values_list("pk", flat=True)[: few + 1])
    if len(ids) <= few:
        return len(ids), False, DLQEntry.objects.filter(pk__in=ids)
    if total is not None:
        return total, False, chosen
    count = chosen.order_by()[: COUNT_CAP + 1].count()
    return min(count, COUNT_CAP), count > COUNT_CAP, chosen


def _around(
    chosen: DLQEntryQuerySet, after: Position | None, before: Position | None, size: int
) -> tuple[list[DLQEntry], bool, bool]:
    """(entries, newest first; whether there are newer ones; whether there are older ones)."""
    if before is not None:
        rows = list(chosen.newer_than(before.at, before.id).for_list().oldest()[: size + 1])
        if len(rows) > size:
            return rows[size - 1 :: -1], True, True
        after = None  # that is the first page, and it is shown whole
    if after is not None:
        chosen = chosen.older_than(after.at, after.id)
    rows = list(chosen.for_list().newest()[: size + 1])
    return rows[:size], after is not None, len(rows) > size


def _estimate(chosen: DLQEntryQuerySet) -> int | None:
    """The planner's guess, where it has one above the cap."""
    if connection.vendor != "postgresql":
        return None
    plan = json.loads(chosen.order_by().explain(format="json"))
    guess = int(plan[0]["Plan"]["Plan Rows"])
    return guess if guess > COUNT_CAP else None


def _rounded(number: int) -> int:
    """To two digits that mean something."""
    unit = 10 ** max(0, len(str(number)) - 2)
    return int(round(number / unit) * unit)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Ids of the entries beside one in a filtered list; None: there is none, or it was not found in time."""

    newer: int | None = None
    older: int | None = None


def neighbours(found: EntryFilter, entry: DLQEntry) -> Neighbours:
    """Those before and after ``entry`` in the list of ``found`` (as ``at`` gave it), whether or not it is in that list itself:
    after an act it often no longer is."""
    try:
        with budget(BUDGET_SECONDS):
            count, _is_capped, chosen = _measure(found.entries(), tally.total(found))
            if not count:
                return Neighbours()
            newer = chosen.newer_than(entry.last_failed_at, entry.pk).oldest()
            older = chosen.older_than(entry.last_failed_at, entry.pk).newest()
            return Neighbours(newer.values_list("pk", flat=True).first(), older.values_list("pk", flat=True).first())
    except TooSlowError:
        return Neighbours()
