"""How many dead letters there are, by status, sync, error type and response code, without counting the table.

Triggers on the entry table write signed changes to ``EntryTally``; their sum is the count, exact in every transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db.models import Sum

from dlq.models import EntryTally

if TYPE_CHECKING:
    from dlq.services.entry_filter import EntryFilter

_Line = tuple[int, str, str, int | None, int]  # sync, status, error type, response code, count


@dataclass(slots=True)
class Facets:
    """Exact counts. ``total``: of what the filter selects. Each other counter: value of that filter -> entries that would be
    selected if only this value of it were chosen, all other filters as they are. ``codes``: None is "no response".
    """

    total: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    syncs: Counter[int] = field(default_factory=Counter)
    error_types: Counter[str] = field(default_factory=Counter)
    codes: Counter[int | None] = field(default_factory=Counter)


def counts(found: EntryFilter) -> Facets | None:
    """From one small query. ``found`` as ``EntryFilter.at`` gave it; None when it filters by anything that is not tallied."""
    if not found.is_tallied:
        return None
    facets = Facets()
    if found.is_nothing:
        return facets
    reach = None if found.connection_sync_ids is None else set(found.connection_sync_ids)
    for sync_id, status, error_type, code, count in _lines():
        if reach is not None and sync_id not in reach:
            continue
        misses = (
            bool(found.statuses) and status not in found.statuses,
            bool(found.sync_ids) and sync_id not in found.sync_ids,
            bool(found.error_types) and error_type not in found.error_types,
            bool(found.codes) and code not in found.codes,
        )
        missed = sum(misses)
        if missed == 0:
            facets.total += count
        if missed == misses[0]:
            facets.statuses[status] += count
        if missed == misses[1]:
            facets.syncs[sync_id] += count
        if missed == misses[2]:
            facets.error_types[error_type] += count
        if missed == misses[3]:
            facets.codes[code] += count
    return facets


def total(found: EntryFilter) -> int | None:
    """The exact number of entries that ``found`` selects; None when it filters by anything that is not tallied."""
    facets = counts(found)
    return None if facets is None else facets.total


def _lines() -> Iterator[_Line]:
    columns = ("sync_id", "status", "error_type", "http_status")
    lines = EntryTally.objects.order_by().values_list(*columns).annotate(entries=Sum("count")).exclude(entries=0)
    yield from lines.iterator(chunk_size=10_000)
