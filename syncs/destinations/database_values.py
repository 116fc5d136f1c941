"""Payload values as column values: JSON types in, what the column's driver stores in out.

PostgreSQL gets text wherever it parses text itself (it then knows the column's type); SQLite has no types to speak of, so
moments are written the way its own functions read them.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

Converter = Callable[[Any], Any]

_INTEGER = re.compile(r"[+-]?\d{1,400}(\.0+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WORDS = {"true": True, "t": True, "1": True, "yes": True, "false": False, "f": False, "0": False, "no": False}
_BAD_TEXT = re.compile("[\x00\ud800-\udfff]")
_SHOWN = 80


class ValueMisfitError(ValueError):
    """The value does not fit the column; ``str()`` is a sentence."""


def json_text(value: Any) -> str:
    """Compact JSON of a payload value; Decimals as exact numbers."""
    return orjson.dumps(value, default=_exact).decode()


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f").encode())
    return str(value)


def converter(column_type: sa.types.TypeEngine[Any], *, is_sqlite: bool) -> Converter:
    """A function from a non-NULL payload value to the column's value. It raises ``ValueMisfitError``."""
    for kind, build in _BUILDERS:
        if isinstance(column_type, kind):
            return build(column_type, is_sqlite)
    return _sqlite_any if is_sqlite else _text


def _misfit(value: Any, expected: str) -> ValueMisfitError:
    text = value if isinstance(value, str) else json_text(value)
    shown = text[:_SHOWN].encode("utf-8", "replace").decode() + ("…" if len(text) > _SHOWN else "")
    return ValueMisfitError(f"“{shown}” is not {expected}.")


def _text(value: Any) -> str:
    if isinstance(value, str):
        if (not value.isascii() and _BAD_TEXT.search(value)) or "\x00" in value:
            raise ValueMisfitError("The text holds a NUL character or half of a surrogate pair, which no database stores.")
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value) if isinstance(value, int) else json_text(value)


def _integer(_type: Any, is_sqlite: bool) -> Converter:
    def convert(value: Any) -> Any:
        number = _whole(value)
        if is_sqlite and not -(2**63) <= number < 2**63:
            raise _misfit(value, "an integer of 64 bits")
        return number

    return convert


def _whole(value: Any) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal) and value == value // 1:
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    raise _misfit(value, "an integer")


def _numeric(_type: Any, is_sqlite: bool) -> Converter:
    def convert(value: Any) -> Any:
        if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
            # SQLite calls every type it does not know NUMERIC and stores what comes.
            if is_sqlite:
                return _text(value)
            raise _misfit(value, "a number")
        if not isinstance(value, str | int | float | Decimal) or (isinstance(value, bool) and not is_sqlite):
            if is_sqlite:
                return _text(value)
            raise _misfit(value, "a number")
        if is_sqlite:
            return _sqlite_number(value)
        return value.strip() if isinstance(value, str) else value

    return convert


def _sqlite_number(value: Any) -> Any:
    """Text, which the column's affinity turns into the nearest number without a detour over a float of ours."""
    if isinstance(value, int | float) and -(2**63) <= value < 2**63:
        return value
    return format(value, "f") if isinstance(value, Decimal) else str(value).strip()


def _float(_type: Any, is_sqlite: bool) -> Converter:
    def convert(value: Any) -> Any:
        is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        if is_number or (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
            number = float(value) if not isinstance(value, int) or abs(value) < 2**1023 else math.inf
            if math.isfinite(number):
                return number
            raise _misfit(value, "a number the column can hold")
        raise _misfit(value, "a number")

    return convert


def _boolean(_type: Any, is_sqlite: bool) -> Converter:
    def convert(value: Any) -> Any:
        if isinstance(value, bool):
            return value
        found = _WORDS.get(_text(value).strip().casefold()) if not isinstance(value, dict | list) else None
        if found is None:
            raise _misfit(value, "a boolean")
        return found

    return convert


def _parsed(value: Any, expected: str) -> dt.datetime:
    """ISO 8601, with or without a time of day."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        return dt.datetime.fromisoformat(text) if len(text) >= 10 else dt.datetime.fromisoformat("")
    except ValueError:
        raise _misfit(value, expected) from None


def _date(_type: Any, is_sqlite: bool) -> Converter:
    def convert(value: Any) -> Any:
        moment = _parsed(value, "a date (YYYY-MM-DD)")
        return (moment.astimezone(dt.UTC) if moment.tzinfo else moment).date().isoformat()

    return convert


def _timestamp(column_type: Any, is_sqlite: bool) -> Converter:
    keeps_zone = bool(getattr(column_type, "timezone", False)) and not is_sqlite

    def convert(value: Any) -> Any:
        moment = _parsed(value, "a timestamp (YYYY-MM-DDTHH:MM:SSZ)")
        try:
            moment = moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        except OverflowError:
            raise _misfit(value, "a timestamp the column can hold") from None
        return moment.isoformat() if keeps_zone else moment.replace(tzinfo=None).isoformat(" ")

    return convert


def _time(_type: Any, is_sqlite: bool) -> Converter:
    def convert(value: Any) -> Any:
        try:
            return dt.time.fromisoformat(value.strip()).isoformat()
        except (ValueError, AttributeError):
            raise _misfit(value, "a time of day (HH:MM:SS)") from None

    return convert


def _json(_type: Any, is_sqlite: bool) -> Converter:
    def convert(value: Any) -> Any:
        _refuse_bad_text(value)
        return json_text(value)

    return convert


def _refuse_bad_text(value: Any) -> None:
    if isinstance(value, str):
        _text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _text(key)
            _refuse_bad_text(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_bad_text(item)


def _uuid(_type: Any, is_sqlite: bool) -> Converter:
    def convert(value: Any) -> Any:
        try:
            return str(uuid.UUID(value.strip()))
        except (ValueError, AttributeError):
            raise _misfit(value, "a UUID") from None

    return convert


def _binary(_type: Any, is_sqlite: bool) -> Converter:
    return lambda value: _text(value).encode()


def _enum(column_type: Any, is_sqlite: bool) -> Converter:
    allowed = frozenset(column_type.enums)
    listed = ", ".join(column_type.enums)[:160]

    def convert(value: Any) -> Any:
        text = _text(value)
        if text not in allowed:
            raise _misfit(value, f"in the column's list ({listed})")
        return text

    return convert


def _array(column_type: Any, is_sqlite: bool) -> Converter:
    item = converter(column_type.item_type, is_sqlite=is_sqlite)

    def literal(value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, list) and not isinstance(column_type.item_type, sa.JSON):
            return "{" + ",".join(map(literal, value)) + "}"
        text = _text(item(value))
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def convert(value: Any) -> Any:
        if not isinstance(value, list):
            raise _misfit(value, "a list")
        return "{" + ",".join(map(literal, value)) + "}"

    return convert


def _string(_type: Any, is_sqlite: bool) -> Converter:
    return _text


def _sqlite_any(value: Any) -> Any:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _sqlite_number(value)
    return int(value) if isinstance(value, bool) else _text(value)


# In this order: a subclass must stand before its base (Enum is a String, Float a Numeric).
_BUILDERS: tuple[tuple[type[Any] | tuple[type[Any], ...], Callable[[Any, bool], Converter]], ...] = (
    (sa.Boolean, _boolean),
    (sa.Integer, _integer),
    (sa.Float, _float),
    (sa.Numeric, _numeric),
    (sa.DateTime, _timestamp),
    (sa.Date, _date),
    (sa.Time, _time),
    (sa.JSON, _json),
    (sa.ARRAY, _array),
    (postgresql.UUID, _uuid),
    (sa.Uuid, _uuid),
    (sa.LargeBinary, _binary),
    (sa.Enum, _enum),
    (sa.String, _string),
)
