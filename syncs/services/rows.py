"""What a run reads: the query's rows, chosen keys, or the rows of a reprocess. All come as one stream of tuples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from syncs.engine.hashing import row_key, split_key
from syncs.engine.ports import Ready, ReprocessSelection, chunked
from syncs.errors import ConfigError
from syncs.records import Operation, RowError, RowValues
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
            yield from rows_of_keys(self._source, plain, self._not_read_yet(keys))

    def _not_read_yet(self, keys: Sequence[str]) -> list[str]:
        """Without the keys whose rows are past the watermark too: a row that came twice would be sent twice."""
        indexes = [self.columns.index(name) for name in self._query.key_columns]
        window = rows_of_keys(self._source, self._query, keys)
        read = {row_key([row[index] for index in indexes]) for rows in window for row in rows}
        return [key for key in keys if key not in read]

    def _remember(self, chunk: list[RowValues], index: int) -> None:
        values = [row[index] for row in chunk if row[index] is not None]
        if self.highest is not None:
            values.append(self.highest)
        try:
            self.highest = max(values, default=None)
        except (TypeError, ArithmeticError) as error:  # a column without a type, or NaN
            raise ConfigError(
                f"The values of the cursor column {self._query.cursor_column} cannot be compared with each other ({error}). "
                "Cast it to one type in the query, or choose another cursor column.",
                field="cursor_column",
            ) from error


def _parts(key: str, width: int) -> tuple[str, ...] | None:
    """The key columns' texts; None where the key was made of other columns than the sync has now."""
    try:
        parts = split_key(key, width)
    except (ValueError, TypeError):
        return None
    return parts if len(parts) == width else None


def rows_of_keys(source: Source, query: SourceQuery, keys: Sequence[str]) -> Iterator[list[RowValues]]:
    """The rows of these row keys as the warehouse has them now."""
    width = len(query.key_columns)
    for chunk in chunked(keys, _KEYS_PER_QUERY):
        found = [parts for key in chunk if (parts := _parts(key, width)) is not None]
        chosen = replace(query, keys=found, limit=None)
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

    def ready(self) -> Iterator[list[Ready]]:
        """Payloads as they are, and deletes of the rows that the warehouse does not have at this moment either."""
        yield from self._selection.ready()
        indexes = [self.columns.index(name) for name in self._query.key_columns]
        for keys in self._selection.deletes():
            found = {
                row_key([row[i] for i in indexes]) for rows in rows_of_keys(self._source, self._query, keys) for row in rows
            }
            back = [key for key in keys if key in found]
            if back:
                self._selection.back(back)
            yield [Ready(key, Operation.DELETE, "", 0) for key in keys if key not in found]


class ReadyRows:
    """A reprocess that needs neither the warehouse nor the mapping: all its payloads are ready."""

    def __init__(self, key_columns: Sequence[str], selection: ReprocessSelection) -> None:
        self.columns = tuple(key_columns)
        self._selection = selection

    def __iter__(self) -> Iterator[list[RowValues]]:
        return iter(())

    def ready(self) -> Iterator[list[Ready]]:
        return self._selection.ready()

    def many(self, rows: Sequence[RowValues]) -> list[dict[str, Any] | RowError]:
        """``engine.ports.Mapper``, never asked for a row."""
        return []


def watermark_to_json(value: Any, *, scope: str) -> dict[str, Any]:
    """A cursor value with its type, as kept on the sync: {"type": "timestamp" | "date" | "number" | "text", "value": text,
    "scope": what it was read from}."""
    return _typed(value) | {"scope": scope}


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, datetime):
        return {"type": "timestamp", "value": value.isoformat()}
    if isinstance(value, date):
        return {"type": "date", "value": value.isoformat()}
    if isinstance(value, (int, Decimal, float)):
        return {"type": "number", "value": str(value)}
    return {"type": "text", "value": str(value)}


def watermark_from_json(stored: Any, *, overlap_seconds: int, scope: str) -> Any:
    """The value to read from: times go back by the overlap, for rows that were committed late. None: read everything."""
    if not isinstance(stored, dict) or stored.get("scope", scope) != scope:
        return None
    value = stored["value"]
    if stored["type"] == "timestamp":
        return datetime.fromisoformat(value) - timedelta(seconds=overlap_seconds)
    if stored["type"] == "date":
        return date.fromisoformat(value) - timedelta(days=1)
    if stored["type"] == "number":
        number = Decimal(value)
        return int(number) if number == number.to_integral_value() else number
    return value
