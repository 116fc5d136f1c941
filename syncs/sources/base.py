"""What a source must do. Sources know nothing of Django; the registry builds them from a connection's settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from syncs.connectors import CheckReport
from syncs.records import RowValues


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the query's result. ``type``: the driver's own word for it, for people to read ("" where unknown)."""

    name: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class SourceQuery:
    """One read. The rows come ordered by ``key_columns``, so equal keys stand next to each other.

    ``cursor_column``/``cursor_after``: only rows whose cursor is past the value (exclusive), for watermark detection; with
    ``is_cursor_loose`` also rows at the value itself and rows without a cursor value.
    ``keys``: only the rows whose key columns equal one of these tuples (live look-up for reprocess and previews).
    """

    sql: str
    key_columns: tuple[str, ...] = ()
    cursor_column: str = ""
    cursor_after: Any = None
    is_cursor_loose: bool = False
    keys: Sequence[tuple[Any, ...]] | None = None
    limit: int | None = None


class RowStream(Protocol):
    """Rows in chunks. ``columns`` is known once the stream is open; memory does not grow with the number of rows."""

    columns: tuple[str, ...]

    def __iter__(self) -> Iterator[list[RowValues]]: ...


class Source(Protocol):
    def check(self) -> CheckReport:
        """Connect, read one constant, write nothing. Never raises for what the other side does; says it in the report."""
        ...

    def columns(self, sql: str) -> list[Column]:
        """Columns of the query, without reading its rows.

        Raises ``UnsafeQueryError`` (would write, several statements) or ``SourceError`` (the database's own message).
        """
        ...

    def preview(self, query: SourceQuery, *, limit: int = 20) -> tuple[list[Column], list[RowValues]]:
        """At most ``limit`` rows (capped at 1,000), with the same guards as ``stream``."""
        ...

    def stream(self, query: SourceQuery, *, chunk_rows: int = 1000) -> AbstractContextManager[RowStream]:
        """Read in one read-only transaction, repeatable-read where the warehouse has it, with a statement timeout."""
        ...

    def close(self) -> None: ...
