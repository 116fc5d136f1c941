"""Pages by position, never by offset; counts that stop counting."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db import connection
from django.utils.dateparse import parse_datetime

from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet, Unindexed
from dlq.services import tally
from dlq.services.budget import TooSlowError, budget
from dlq.services.entry_filter import EntryFilter
from dlq.services.tally import Facets

PAGE_SIZE = 50
COUNT_CAP = 2_000
BUDGETS = (0.7, 3.0)  # seconds a statement: for the way that should be the faster one, then for the other
TOO_SLOW = (
    "Nothing was found in time: there are too many dead letters to look through for this filter. Choose a sync, an error group "
    "or a time range as well."
)
_SORTED_TEXT = 100_000
_SORTED = 10_000  # fetched all and sorted; more are dense enough to be met on a walk through the time index
T = TypeVar("T")


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
        if self.estimate is not None and self.estimate > self.count:
            return f"about {_rounded(self.estimate):,}"
        return f"more than {self.count:,}"


def page(
    chosen: DLQEntryQuerySet | EntryFilter,
    *,
    after: Position | None = None,
    before: Position | None = None,
    size: int = PAGE_SIZE,
    facets: Facets | None = None,
) -> Page:
    """The newest entries of the selection, those below ``after``, or those above ``before``.

    A filter (as ``EntryFilter.at`` gave it) is found faster than its queryset: it is known how its rows lie in the indexes.
    ``facets``: its counts, where the tally has them; without, the entries are counted up to COUNT_CAP. What still takes too
    long is stopped.
    """

    def find(is_second: bool) -> Page:
        way = _way(chosen, facets, is_second=is_second)
        if not way.count:
            return Page([], 0, False, None)
        shown, has_newer, has_older = _around(way, after, before, size)
        older = Position.of(shown[-1]) if shown and has_older else None
        newer = Position.of(shown[0]) if shown and has_newer else None
        return Page(shown, way.count, way.is_capped, older, newer, way.estimate)

    return _tried(find) or Page([], 0, False, None, problem=TOO_SLOW)


def _tried(find: Callable[[bool], T]) -> T | None:
    """What ``find`` gives one way or, when that takes too long, the other; None when both do."""
    for is_second, seconds in enumerate(BUDGETS):
        try:
            with budget(seconds):
                return find(bool(is_second))
        except TooSlowError:
            continue
    return None


@dataclass(frozen=True, slots=True)
class _Way:
    """How to find the entries. ``parts``: disjoint, each newer than the next.

    A planner walks the time index for the first fifty that match; where few match, that is the whole index. So first it is
    found out how many there are, and few of them (``is_sorted``) are fetched by another index and sorted.
    """

    parts: tuple[DLQEntryQuerySet, ...]
    count: int
    is_capped: bool = False
    is_sorted: bool = False
    estimate: int | None = None

    def newest(self, part: DLQEntryQuerySet) -> DLQEntryQuerySet:
        return part.order_by(Unindexed("last_failed_at").desc(), "-id") if self.is_sorted else part.newest()

    def oldest(self, part: DLQEntryQuerySet) -> DLQEntryQuerySet:
        return part.order_by(Unindexed("last_failed_at"), "id") if self.is_sorted else part.oldest()


def _way(chosen: DLQEntryQuerySet | EntryFilter, facets: Facets | None, *, is_second: bool) -> _Way:
    if isinstance(chosen, EntryFilter) and facets is not None:
        return _way_by_tally(chosen, facets, is_second)
    found = chosen if isinstance(chosen, EntryFilter) else None
    parts = chosen.parts() if isinstance(chosen, EntryFilter) else (chosen,)
    ids: list[int] = []
    for part in reversed(parts):  # the oldest part is the one that is a plain range
        if len(ids) <= COUNT_CAP:
            ids += part.order_by().values_list("pk", flat=True)[: COUNT_CAP + 1 - len(ids)]
    if len(ids) <= COUNT_CAP:
        return _Way((DLQEntry.objects.filter(pk__in=ids),), len(ids), is_sorted=True)
    estimate = _estimate(parts)
    # Keys often count up, so their beginnings stand for a time: a walk would start at the wrong end.
    few = _SORTED_TEXT if found and found.text else _SORTED
    is_near = found is not None and found.is_in_small_order
    is_sorted = (estimate is not None and estimate <= few and not is_near) != is_second
    if found and not is_sorted:
        parts = found.parts(is_walk=True)
    return _Way(parts, COUNT_CAP, is_capped=True, is_sorted=is_sorted, estimate=estimate)


def _way_by_tally(found: EntryFilter, facets: Facets, is_second: bool) -> _Way:
    if found.is_in_order or (facets.total > _SORTED) != is_second:
        return _Way(found.parts(is_walk=True), facets.total)
    return _Way((found.entries().filter(tally.of_lines(facets.lines)),), facets.total, is_sorted=True)


def _around(way: _Way, after: Position | None, before: Position | None, size: int) -> tuple[list[DLQEntry], bool, bool]:
    """(entries, newest first; whether there are newer ones; whether there are older ones)."""
    if before is not None:
        above = [way.oldest(part.newer_than(before.at, before.id)) for part in reversed(way.parts)]
        rows = _first(above, size + 1)
        if len(rows) > size:
            return rows[size - 1 :: -1], True, True
        after = None  # that is the first page, and it is shown whole
    below = [way.newest(part.older_than(after.at, after.id) if after else part) for part in way.parts]
    rows = _first(below, size + 1)
    return rows[:size], after is not None, len(rows) > size


def _first(parts: Sequence[DLQEntryQuerySet], count: int) -> list[DLQEntry]:
    rows: list[DLQEntry] = []
    for part in parts:
        if len(rows) < count:
            # The inner query sorts ids alone; texts are fetched for the page, not for all that match.
            ids = part.values("pk")[: count - len(rows)]
            rows += DLQEntry.objects.filter(pk__in=ids).for_list().order_by(*part.query.order_by)
    return rows


def _estimate(parts: Sequence[DLQEntryQuerySet]) -> int | None:
    """The planner's guess, where there is one."""
    if connection.vendor != "postgresql":
        return None
    plans = [json.loads(part.order_by().explain(format="json")) for part in parts]
    return sum(int(plan[0]["Plan"]["Plan Rows"]) for plan in plans)


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
    facets = tally.counts(found)
    at, pk = entry.last_failed_at, entry.pk

    def find(is_second: bool) -> Neighbours:
        way = _way(found, facets, is_second=is_second)
        if not way.count:
            return Neighbours()
        newer = [way.oldest(part.newer_than(at, pk)) for part in reversed(way.parts)]
        older = [way.newest(part.older_than(at, pk)) for part in way.parts]
        return Neighbours(_first_id(newer), _first_id(older))

    return _tried(find) or Neighbours()


def _first_id(parts: Sequence[DLQEntryQuerySet]) -> int | None:
    return next((pk for part in parts for pk in part.values_list("pk", flat=True)[:1]), None)
