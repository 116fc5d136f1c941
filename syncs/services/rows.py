"""What a run reads: the query's rows, chosen keys, or the rows of a reprocess. All come as one stream of tuples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from syncs.engine.hashing import row_key, split_key
from syncs.engine.ports import ReprocessSelection, chunked
from syncs.records import RowValues
from syncs.sources.base import RowStream, Source, SourceQuery

CHUNK_ROWS = 1000
_KEYS_PER_QUERY = 200


class QueryRows:
    """The query's rows; watermark runs add the rows whose last failure was transient, and keep the highest cursor value."""

    def __init__(
        self, source: Source, query: SourceQuery, *, stack: ExitStack, extra_keys: Iterator[list[str]] | None = None
    ) -> None:
        self._source = source
        self._query = query
        self._stream: RowStream = stack.enter_context(source.stream(query, chunk_rows=CHUNK_ROWS))
        self.columns = tuple(self._stream.columns)
        self._extra_keys = extra_keys
        self.highest: Any = None

    def __iter__(self) -> Iterator[list[RowValues]]:
        column = self._query.cursor_column
        if column not in self.columns:
            yield from self._stream
            return
        index = self.columns.index(column)
        for chunk in self._stream:
            self._remember(chunk, index)
            yield chunk
        plain = replace(self._query, cursor_column="", cursor_after=None)
        for keys in self._extra_keys or ():
            yield from rows_of_keys(self._source, plain, keys)

    def _remember(self, chunk: list[RowValues], index: int) -> None:
        values = [row[index] for row in chunk if row[index] is not None]
        if values:
            highest = max(values)
            self.highest = highest if self.highest is None else max(self.highest, highest)


def rows_of_keys(source: Source, query: SourceQuery, keys: Sequence[str]) -> Iterator[list[RowValues]]:
    """The rows of these row keys as the warehouse has them now."""
    width = len(query.key_columns)
    for chunk in chunked(keys, _KEYS_PER_QUERY):
        chosen = replace(query, keys=[split_key(key, width) for key in chunk], limit=None)
        with source.stream(chosen, chunk_rows=CHUNK_ROWS) as stream:
            yield from stream


class KeyRows:
    """Chosen keys only (``run_sync --keys``)."""

    def __init__(self, source: Source, query: SourceQuery, keys: Sequence[str]) -> None:
        self._source = source
        self._query = query
        self._keys = keys
        self.columns = tuple(column.name for column in source.columns(query.sql))

    def __iter__(self) -> Iterator[list[RowValues]]:
        yield from rows_of_keys(self._source, self._query, self._keys)


class ReprocessRows:
    """A reprocess: the warehouse's current rows of the selection, and the rows that are to be sent as stored.

    Keys that the warehouse no longer has are reported to the selection.
    """

    def __init__(self, source: Source, query: SourceQuery, selection: ReprocessSelection) -> None:
        self._source = source
        self._query = query
        self._selection = selection
        self.columns = tuple(column.name for column in source.columns(query.sql))

    def __iter__(self) -> Iterator[list[RowValues]]:
        indexes = [self.columns.index(name) for name in self._query.key_columns]
        for keys in self._selection.chunks():
            missing = set(keys)
            for rows in rows_of_keys(self._source, self._query, keys):
                missing.difference_update(row_key([row[index] for index in indexes]) or "" for row in rows)
                yield rows
            if missing:
                self._selection.gone(sorted(missing))
        for stored in self._selection.stored():
            yield [tuple(row.get(name) for name in self.columns) for _, row in stored]


def watermark_to_json(value: Any) -> dict[str, Any] | None:
    """A cursor value with its type, as kept on the sync: {"type": "timestamp" | "date" | "number" | "text", "value": text}."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return {"type": "timestamp", "value": value.isoformat()}
    if isinstance(value, date):
        return {"type": "date", "value": value.isoformat()}
    if isinstance(value, (int, Decimal, float)):
        return {"type": "number", "value": str(value)}
    return {"type": "text", "value": str(value)}


def watermark_from_json(stored: Any, *, overlap_seconds: int) -> Any:
    """The value to read after: times go back by the overlap, for rows that were committed late."""
    if not isinstance(stored, dict):
        return None
    value = stored["value"]
    if stored["type"] == "timestamp":
        return datetime.fromisoformat(value) - timedelta(seconds=overlap_seconds)
    if stored["type"] == "date":
        return date.fromisoformat(value) - timedelta(days=1)
    if stored["type"] == "number":
        number = Decimal(value)
        return int(number) - 1 if number == number.to_integral_value() else number
    return value
