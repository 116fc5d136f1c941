"""Warehouse values as JSON values and as text: what every type of the mapping shares.

A payload holds None, bool, int (64-bit), finite float, ``Decimal``, str without NUL or lone surrogates, list, and dict with str
keys.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import math
import re
import reprlib
import uuid
from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from typing import Any, NoReturn

SHOWN_CHARACTERS = 80
MAX_DEPTH = 64
MAX_DIGITS = 400  # of a number, before and after the point; beyond it nothing is a measure or an id any more
INT64_MIN, UINT64_MAX = -(2**63), 2**64 - 1

_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
_ADDRESSES = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)

_SMALL_DECIMAL = Decimal(1).__sizeof__()  # digits that fit into the object itself: about 70

_brief = reprlib.Repr()
_brief.maxlevel = 2


class CoercionError(ValueError):
    """A value that does not fit. ``reason`` continues the sentence "Column x: “value” ..."; ``code`` is for filters."""

    def __init__(self, code: str, reason: str, value: Any = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.value = value


def shown(value: Any) -> str:
    """The value for a message: at most 80 characters, printable, cheap however big the value is. Never raises."""
    try:
        if isinstance(value, str):
            text = str.__str__(value[: SHOWN_CHARACTERS + 1])
            if not text.isprintable():
                text = repr(text)[1:-1]
        elif isinstance(value, bytes | bytearray | memoryview):
            data = bytes(value[:32])
            return f"{data!r:.{SHOWN_CHARACTERS - 20}}{'…' if len(value) > 32 else ''} ({len(value)} bytes)"
        elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
            return f"a number of about {int(value.bit_length() * 0.30103) + 1} digits"
        elif isinstance(value, dt.date | dt.time | dt.timedelta | Decimal | uuid.UUID):
            text = str(value)
        else:
            text = _brief.repr(value)
    except Exception:  # noqa: BLE001 - a value may be hostile even to repr(); the message must come out all the same
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def type_name(value: Any) -> str:
    """The Python type in a support agent's words."""
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        tuple: "a list",
        bytes: "binary data",
        bytearray: "binary data",
        memoryview: "binary data",
        dt.timedelta: "an interval",
        dt.time: "a time of day",
        dt.date: "a date",
        dt.datetime: "a timestamp",
        bool: "a boolean",
        str: "text",
        float: "a number",
        int: "a number",
        Decimal: "a number",
    }
    return names.get(type(value)) or f"a value of type {type(value).__name__}"


def checked_text(value: str) -> str:
    """The text itself. Raises where it holds what no destination can store: NUL or half of a surrogate pair."""
    if _NOT_TEXT.search(value):
        half = _SURROGATE.search(value)
        what = f"the lone surrogate U+{ord(half.group()):04X}" if half else "a NUL character"
        raise CoercionError("invalid_text", f"contains {what}, which no text field can hold", value)
    return value


def without_bad_characters(value: str) -> str:
    return _NOT_TEXT.sub("", value)


def whole(value: int) -> int | Decimal:
    """An int that JSON encoders take; beyond 64 bits the same number as Decimal."""
    if INT64_MIN <= value <= UINT64_MAX:
        return value
    if value.bit_length() > MAX_DIGITS * 3:
        raise CoercionError("out_of_range", f"has more than {MAX_DIGITS} digits", value)
    return Decimal(value)


def bounded(value: Decimal) -> Decimal:
    """The Decimal itself. Raises for NaN, infinity and numbers that would be written with hundreds of digits."""
    if not value.is_finite():
        raise CoercionError("not_finite", "is not a finite number", value)
    if value.__sizeof__() <= _SMALL_DECIMAL and -100 < value.adjusted() < 100:
        return value
    exponent = int(value.as_tuple().exponent)
    if exponent < -MAX_DIGITS or value.adjusted() > MAX_DIGITS or len(value.as_tuple().digits) > MAX_DIGITS * 2:
        raise CoercionError("out_of_range", f"has more than {MAX_DIGITS} digits before or after the point", value)
    return value


def finite(value: float) -> float:
    if not math.isfinite(value):
        raise CoercionError("not_finite", "is not a finite number", value)
    return value


def utc_text(moment: dt.datetime) -> str:
    """An aware moment as ``2024-01-31T12:00:00Z``; microseconds only where there are any."""
    text = moment.isoformat()
    if text.endswith("+00:00"):  # asked of the text: a zone's rules cost more than all the rest
        return text[:-6] + "Z"
    try:
        if moment.utcoffset():
            moment = moment.astimezone(dt.UTC)
        return moment.isoformat()[:19] + "Z" if not moment.microsecond else moment.isoformat()[:26] + "Z"
    except (OverflowError, ValueError):
        raise CoercionError("out_of_range", "lies outside the years 1 to 9999 once it is in UTC", moment) from None


def moment_text(value: dt.datetime) -> str:
    return value.isoformat() if value.tzinfo is None else utc_text(value)


def duration_text(value: dt.timedelta) -> str:
    """ISO 8601, for example ``P1DT2H`` or ``-PT0.5S``."""
    sign, value = ("-", -value) if value < dt.timedelta(0) else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f"{seconds}.{value.microseconds:06d}".rstrip("0").rstrip(".") if value.microseconds else str(seconds)
    time = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (fraction, "S")) if str(n) != "0")
    days = f"{value.days}D" if value.days or not time else ""
    return f"{sign}P{days}{'T' + time if time else ''}"


def number_text(value: Decimal) -> str:
    return format(bounded(value), "f")


def scalar_text(value: Any) -> str | None:
    """The one text form of a scalar; None for what is not a scalar."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        number = whole(int(value))
        return str(number) if isinstance(number, int) else format(number, "f")
    if isinstance(value, float):
        return float.__repr__(finite(value))
    if isinstance(value, Decimal):
        return number_text(value)
    if isinstance(value, dt.datetime):
        return moment_text(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return duration_text(value)
    if isinstance(value, (uuid.UUID, *_ADDRESSES)):
        return str(value)
    return None


def json_value(value: Any, depth: int = 0) -> Any:
    """A deep copy in JSON types plus Decimal. Raises ``CoercionError`` naming what cannot be sent."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return checked_text(value)
    if kind is int:
        return whole(value)
    if depth >= MAX_DEPTH:
        raise CoercionError("too_deep", f"is nested deeper than {MAX_DEPTH} levels", value)
    if isinstance(value, Mapping):
        return {_json_key(key): json_value(item, depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return [json_value(item, depth + 1) for item in value]
    if isinstance(value, Set):
        return sorted((json_value(item, depth + 1) for item in value), key=lambda item: (type(item).__name__, str(item)))
    if isinstance(value, float):
        return finite(float(value))
    if isinstance(value, Decimal):
        return bounded(Decimal(value))
    if isinstance(value, int):
        return whole(int(value))
    text = scalar_text(value)
    if text is None:
        raise CoercionError("wrong_type", f"holds {type_name(value)}, which JSON cannot express", value)
    return checked_text(text)


def _json_key(key: Any) -> str:
    text = scalar_text(key)
    if text is None:
        raise CoercionError("wrong_type", f"has {type_name(key)} as the name of a member", key)
    return checked_text(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_json(text: str) -> Any:
    """JSON text as JSON values; fractions become Decimal, so that no digit is lost. Raises ``CoercionError``."""
    try:
        parsed = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError, ArithmeticError) as problem:
        where = f" (line {problem.lineno}, column {problem.colno})" if isinstance(problem, json.JSONDecodeError) else ""
        raise CoercionError("not_json", f"is not valid JSON{where}", text) from None
    return json_value(parsed)
