"""The columns of a sync's query with a few values of each: what a person maps by. Read from the warehouse, kept for minutes."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from syncs.choices import FieldType
from syncs.engine.field_types import fits, natural
from syncs.engine.hashing import row_json
from syncs.models import Sync
from syncs.records import RowValues
from syncs.services import connections
from syncs.services.kept import Kept
from syncs.sources.base import Column, SourceQuery

SAMPLE_ROWS = 20
LONGEST_SECONDS = 15  # a person waits
_KEPT_BYTES = 500_000  # of one sync; what is more is read again each time


@dataclass(frozen=True)
class SampleColumn:
    """``type``: the warehouse's own word, "" where it has none. ``values``: as read, one per sample row."""

    name: str
    type: str
    values: tuple[Any, ...]

    @cached_property
    def fits(self) -> frozenset[FieldType]:
        return fits(self.values)

    @cached_property
    def natural(self) -> FieldType:
        return natural(self.values)


@dataclass(frozen=True)
class Samples:
    """``rows``: values in the order of ``columns``."""

    columns: tuple[SampleColumn, ...]
    rows: tuple[RowValues, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def by_name(self) -> dict[str, SampleColumn]:
        return {column.name: column for column in self.columns}


_kept: Kept[Samples] = Kept(seconds=300, count=32)


def look(sync: Sync, *, again: bool = False) -> Samples:
    """Columns and at most ``SAMPLE_ROWS`` rows of the query. Kept in this process for a few minutes, so that checking a mapping
    while it is written does not run the query each time; ``again`` reads anew.

    Raises ``RedriveError`` kinds for a query or connection that cannot work.
    """
    name = _name(sync)
    if not again and (found := _kept.find(name)) is not None:
        return found
    with closing(connections.open_source(sync.source, at_most_seconds=LONGEST_SECONDS)) as source:
        columns, rows = source.preview(SourceQuery(sql=sync.query, limit=SAMPLE_ROWS), limit=SAMPLE_ROWS)
    samples = _samples(columns, [tuple(row) for row in rows])
    _kept.drop(name)
    if sum(len(row_json(samples.names, row)) for row in samples.rows) <= _KEPT_BYTES:
        _kept.keep(name, samples)
    return samples


def _samples(columns: list[Column], rows: list[RowValues]) -> Samples:
    named = (SampleColumn(column.name, column.type, tuple(row[place] for row in rows)) for place, column in enumerate(columns))
    return Samples(tuple(named), tuple(rows))


def _name(sync: Sync) -> str:
    """Another query, connection or setting of it is another name."""
    text = f"{sync.source_id}\x00{sync.source.updated_at.isoformat()}\x00{sync.query}"
    return f"{sync.pk}:{hashlib.sha256(text.encode()).hexdigest()}"
