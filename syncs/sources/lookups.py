"""Wraps the user's query: only these keys, only past this cursor, ordered by key, at most so many rows.

Row keys are stored as text, so look-ups often come as text. The text is turned into the column's own type, so that the
warehouse can use its indexes and ``00:00:00+00`` need not be spelt as the warehouse spells it; only where the type is not known
is the column itself compared as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import product
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.elements import ColumnElement, quoted_name
from sqlalchemy.types import NullType

from syncs.sources.base import SourceQuery

ALIAS = "redrive_rows"
_PLACE = "redrive_user_query"

_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"(tiny|small|medium|big|huge|u\w*)?int(eger)?\d*|(small|big)?serial\d?|int\d", "integer"),
    (r"numeric|decimal|number", "numeric"),
    (r"real|double( precision)?|float\d*", "float"),
    (r"bool(ean)?", "boolean"),
    (r"uuid", "uuid"),
    (r"text|varchar|character( varying)?|n?char|bpchar|name|string|citext", "text"),
    (r"date", "date"),
    (r"timestamp(_ntz|_s|_ms|_ns)?( without time zone)?|datetime", "timestamp"),
    (r"timestamptz|timestamp(_tz|_ltz)|timestamp with time zone", "timestamptz"),
    (r"time( without time zone)?", "time"),
    (r"bytea|blob|binary|varbinary", "bytes"),
)


def family(type_name: str) -> str:
    """integer, numeric, float, boolean, uuid, text, date, timestamp, timestamptz, time, bytes; "" for anything else."""
    if type_name.endswith("]"):
        return ""
    plain = re.sub(r"\s+", " ", re.sub(r"\([^)]*\)", "", type_name.lower())).strip()
    return next((name for pattern, name in _FAMILIES if re.fullmatch(pattern, plain)), "")


def _boolean(text: str) -> bool:
    return {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}[text.strip().lower()]


def _timestamp(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _timestamptz(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _date(text: str) -> date:
    return datetime.fromisoformat(text).date() if len(text) > 10 else date.fromisoformat(text)


_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "numeric": Decimal,
    "float": float,
    "boolean": _boolean,
    "uuid": UUID,
    "text": str,
    "date": _date,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "time": time.fromisoformat,
    "bytes": bytes.fromhex,
}


class NoMatch(Exception):
    """Not an error: no value of the column equals this text."""


def converted(value: Any, kind: str) -> Any:
    """The value as the column's type. Raises ``NoMatch`` for text that no value of this type has."""
    if not isinstance(value, str):
        return str(value) if kind == "text" and not isinstance(value, (bytes, bytearray, memoryview)) else value
    try:
        return _FROM_TEXT[kind](value) if kind else value
    except (ValueError, ArithmeticError, KeyError, OverflowError):
        raise NoMatch from None


def sqlite_spellings(value: Any, _kind: str) -> list[Any]:
    """SQLite types values, not columns: a key may be stored as 5 or '5', so both are asked for."""
    if isinstance(value, (UUID, date, time)):  # datetime is a date
        return list(dict.fromkeys([str(value), value.isoformat() if not isinstance(value, UUID) else value.hex]))
    if isinstance(value, bool):
        return [int(value), str(value).lower()]
    if isinstance(value, Decimal):
        return [str(value), int(value) if value == value.to_integral_value() else float(value)]
    if not isinstance(value, str):
        return [value]
    found: list[Any] = [value]
    if re.fullmatch(r"-?\d{1,19}", value):
        found += [int(value)] if -(2**63) <= int(value) < 2**63 else []
    elif re.fullmatch(r"-?(\d+\.\d*|\.?\d+)([eE][-+]?\d+)?", value):
        found.append(float(value))
    if re.fullmatch(r"([0-9a-f]{2})+", value):
        found.append(bytes.fromhex(value))
    return found


@dataclass(frozen=True, slots=True)
class Statement:
    """``sql`` in the driver's paramstyle. ``parameters`` is None when there are none: the driver must then leave % alone."""

    sql: str
    parameters: Any = None


@dataclass(frozen=True, slots=True)
class Wrapper:
    """How one database wants its look-ups. ``spellings``: the values one key value may be stored as. ``collation``: makes text
    order and comparison exact where columns may be case-insensitive. ``has_tuple_in``: knows ``(a, b) IN ((1, 2), ...)``."""

    dialect: Dialect
    spellings: Callable[[Any, str], list[Any]] | None = None
    collation: str = ""
    has_tuple_in: bool = True
    order_as_bytes: bool = False

    def empty(self, sql: str) -> Statement:
        """The query without its rows: what is left are the columns."""
        return self._rendered(self._select().where(sa.text("1 = 0")), sql)

    def wrap(self, sql: str, query: SourceQuery, types: Mapping[str, str], *, limit: int | None) -> Statement:
        """``sql``: checked, without semicolon. ``types``: column name -> the warehouse's word for its type, as far as known."""
        families = {name: family(word) for name, word in types.items()}
        select = self._select().order_by(*self._order(query.key_columns))
        if query.keys is not None:
            select = select.where(self._key_condition(query, families))
        if query.cursor_column and query.cursor_after is not None:
            select = select.where(self._cursor_condition(query, families))
        if limit is not None:
            select = select.limit(limit)
        return self._rendered(select, sql)

    def _select(self) -> sa.Select[Any]:
        return sa.select(sa.text("*")).select_from(sa.table(_PLACE).alias(ALIAS))

    def _column(self, name: str) -> ColumnElement[Any]:
        column: ColumnElement[Any] = sa.column(quoted_name(name, quote=True))
        return sa.collate(column, self.collation) if self.collation else column

    def _order(self, names: Sequence[str]) -> list[ColumnElement[Any]]:
        columns = [self._column(name) for name in names]
        if self.order_as_bytes:  # equal keys must be neighbours even where the collation holds “a” and “A” for equal
            columns += [sa.cast(sa.column(quoted_name(name, quote=True)), sa.BINARY()) for name in names]
        return columns

    def _key_condition(self, query: SourceQuery, families: Mapping[str, str]) -> ColumnElement[bool]:
        kinds = [families.get(name, "") for name in query.key_columns]
        wanted: dict[tuple[Any, ...], None] = {}
        is_text = [False] * len(kinds)
        for key in query.keys or ():
            if len(key) != len(kinds):
                raise ValueError(f"A key of {len(key)} values for {len(kinds)} key columns.")
            if any(value is None for value in key):
                continue  # NULL equals nothing
            for at, (value, kind) in enumerate(zip(key, kinds, strict=True)):
                is_text[at] |= isinstance(value, str) and not kind and self.spellings is None
            try:
                wanted.update(dict.fromkeys(product(*map(self._spelt, key, kinds))))
            except NoMatch:
                continue
        if not wanted or not kinds:
            return sa.text("1 = 0")  # type: ignore[return-value]
        columns = [
            sa.cast(self._column(name), sa.String()) if as_text else self._column(name)
            for name, as_text in zip(query.key_columns, is_text, strict=True)
        ]
        tuples = [tuple(str(v) if t else v for v, t in zip(key, is_text, strict=True)) for key in wanted]
        return self._among(columns, tuples)

    def _spelt(self, value: Any, kind: str) -> list[Any]:
        if isinstance(value, str) and not _is_storable(value):
            raise NoMatch
        return self.spellings(value, kind) if self.spellings else [converted(value, kind)]

    def _among(self, columns: list[ColumnElement[Any]], keys: list[tuple[Any, ...]]) -> ColumnElement[bool]:
        if len(columns) == 1:
            return columns[0].in_([_bound(key[0]) for key in keys])
        if self.has_tuple_in:
            return sa.tuple_(*columns, types=[NullType()] * len(columns)).in_(keys)
        return sa.or_(*(sa.and_(*(c == _bound(v) for c, v in zip(columns, key, strict=True))) for key in keys))

    def _cursor_condition(self, query: SourceQuery, families: Mapping[str, str]) -> ColumnElement[bool]:
        kind = families.get(query.cursor_column, "")
        try:
            value = converted(query.cursor_after, kind)
        except NoMatch:
            raise ValueError(f"“{query.cursor_after}” is no {kind}, as {query.cursor_column} is.") from None
        if self.spellings is not None and not isinstance(value, str):
            value = self.spellings(value, kind)[-1]  # a form that the driver can send
        column = self._column(query.cursor_column)
        if query.is_cursor_loose:
            return sa.or_(column >= _bound(value), column.is_(None))
        return column > _bound(value)

    def _rendered(self, select: sa.Select[Any], sql: str) -> Statement:
        compiled = select.compile(dialect=self.dialect, compile_kwargs={"render_postcompile": True})
        text, values = compiled.string, compiled.params
        doubles = self.dialect.paramstyle in ("format", "pyformat")
        if not values and doubles:
            text = text.replace("%%", "%")
        elif doubles:
            sql = sql.replace("%", "%%")
        # The line break keeps a comment at the query's end from swallowing the parenthesis.
        text = text.replace(_PLACE, f"(\n{sql}\n)", 1)
        if not values:
            return Statement(text)
        order = getattr(compiled, "positiontup", None)
        return Statement(text, tuple(values[name] for name in order) if order is not None else dict(values))


def _is_storable(text: str) -> bool:
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def _bound(value: Any) -> sa.BindParameter[Any]:
    # No type: the driver sends text untyped, and no cast is written around the value.
    return sa.bindparam(None, value, type_=NullType())
