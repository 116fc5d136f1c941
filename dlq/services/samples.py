"""A sample of a selection of dead letters, spread over its syncs and its range of ids, in three queries at most.

Cheap on any size: nothing is sorted, no offset is walked, and no more ids are read than a small selection has.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Min

from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet

SYNCS_MAX = 8  # the largest ones; a look into eight warehouses is as much as a page may ask for
_FEW = 5_000  # so many ids are read whole


@dataclass(slots=True)
class Part:
    """Of one sync: how many dead letters the selection has (``count``), and the ids that stand for them."""

    sync_id: int
    count: int
    first_id: int
    last_id: int
    wanted: int = 0
    ids: list[int] = field(default_factory=list)


def spread(chosen: DLQEntryQuerySet, size: int, *, seed: str) -> list[Part]:
    """At most ``size`` ids, shared among the syncs by their numbers. The same ``seed`` gives the same sample."""
    per_sync = chosen.order_by().values("sync_id").annotate(n=Count("pk"), low=Min("pk"), high=Max("pk"))
    parts = [Part(row["sync_id"], row["n"], row["low"], row["high"]) for row in per_sync]
    parts.sort(key=lambda part: (-part.count, part.sync_id))
    _share(parts[:SYNCS_MAX], size)
    luck = random.Random(seed)  # noqa: S311 - a sample, no secret
    if sum(part.count for part in parts) <= _FEW:
        _pick(parts, chosen.order_by("pk").values_list("sync_id", "pk"), luck)
    else:
        _probe(parts, chosen, luck)
    return parts


def _share(parts: list[Part], size: int) -> None:
    """In proportion, but at least a few of each: a small sync may be the one that was not repaired."""
    total = sum(part.count for part in parts)
    least = size // (2 * SYNCS_MAX)
    for part in parts:
        part.wanted = min(part.count, max(least, size * part.count // total))
    while (over := sum(part.wanted for part in parts) - size) > 0:
        largest = max(parts, key=lambda part: part.wanted)
        largest.wanted -= min(over, max(1, largest.wanted - least))


def _pick(parts: list[Part], rows: Iterable[tuple[int, int]], luck: random.Random) -> None:
    ids: dict[int, list[int]] = {}
    for sync_id, pk in rows:
        ids.setdefault(sync_id, []).append(pk)
    for part in parts:
        there = ids.get(part.sync_id, [])
        part.ids = sorted(luck.sample(there, min(part.wanted, len(there))))


def _probe(parts: list[Part], chosen: DLQEntryQuerySet, luck: random.Random) -> None:
    """For each of ``wanted`` places in the range of ids, the next entry from there on."""
    places = [(part.sync_id, place) for part in parts for place in _places(part.first_id, part.last_id, part.wanted, luck)]
    selected, params = chosen.order_by().values_list("sync_id", "pk").query.sql_with_params()
    listed = ", ".join(f"({int(sync_id)}, {int(place)})" for sync_id, place in places)
    statement = (
        f"WITH chosen(sync_id, id) AS NOT MATERIALIZED ({selected}), probe(sync_id, place) AS (VALUES {listed}) "  # noqa: S608 - numbers
        "SELECT DISTINCT sync_id, (SELECT id FROM chosen WHERE chosen.sync_id = probe.sync_id AND chosen.id >= probe.place "
        "ORDER BY id LIMIT 1) FROM probe"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows: list[tuple[int, Any]] = cursor.fetchall()
    for part in parts:
        part.ids = sorted(pk for sync_id, pk in rows if sync_id == part.sync_id and pk is not None)


def _places(first: int, last: int, wanted: int, luck: random.Random) -> list[int]:
    """One place in each of ``wanted`` equal stretches."""
    width = (last - first + 1) / max(wanted, 1)
    return [min(last, int(first + (n + luck.random()) * width)) for n in range(wanted)]


def scattered(chosen: DLQEntryQuerySet, size: int, *, last_id: int, seed: str) -> list[int]:
    """Some ``size`` ids of a selection too large to be read, from all over the table: ids are drawn, and those kept that the
    selection has. A walk from a drawn id to the next one of the selection would be long where a sync's entries lie together.
    Fewer, or none, where the selection is a small part of the table."""
    first_id = DLQEntry.objects.order_by().aggregate(first=Min("pk"))["first"] or 0
    luck = random.Random(seed)  # noqa: S311 - a sample, no secret
    found: list[int] = []
    for drawn in (10 * size, 40 * size):
        ids = _places(first_id, last_id, min(drawn, last_id - first_id + 1), luck)
        found += chosen.order_by().filter(pk__in=ids).values_list("pk", flat=True)
        if len(found) >= size // 4:
            break
    return sorted(set(luck.sample(found, size) if len(found) > size else found))
