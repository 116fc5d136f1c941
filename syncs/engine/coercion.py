"""One coercer per mapped field: a closure over the type's options, fast for values that are right already.

A coercer takes a non-NULL value and returns a payload value, or None where the options say that the value stands for NULL.
It raises ``CoercionError``; whatever else a hostile value makes it raise, the mapping turns into a row error too.
"""

from __future__ import annotations

import base64
import decimal
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from syncs.choices import FieldType
from syncs.engine.hashing import canonical_body
from syncs.engine.timestamps import date_coercer, timestamp_coercer
from syncs.engine.type_options import FALSE_WORDS, TRUE_WORDS, as_number
from syncs.engine.values import (
    CoercionError,
    bounded,
    checked_text,
    finite,
    json_value,
    parse_json,
    scalar_text,
    type_name,
    whole,
    without_bad_characters,
)

Coercer = Callable[[Any], Any]

_INTEGER = re.compile(r"[+-]?\d{1,400}(\.0*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,3})?", re.ASCII)
_WIDE = decimal.Context(prec=1600, Emin=-4000, Emax=4000)
_ROUNDING = {
    "half_up": decimal.ROUND_HALF_UP,
    "half_even": decimal.ROUND_HALF_EVEN,
    "down": decimal.ROUND_DOWN,
    "up": decimal.ROUND_UP,
    "floor": decimal.ROUND_FLOOR,
    "ceiling": decimal.ROUND_CEILING,
}


def compile_coercer(field_type: FieldType, options: Mapping[str, Any]) -> Coercer:
    """``options`` must have passed ``type_options.option_problems``."""
    coerce = _BUILDERS[field_type](options)
    if options.get("empty_as_null"):
        return _blank_is_null(coerce)
    return coerce


def _blank_is_null(coerce: Coercer) -> Coercer:
    def blank_or_coerced(value: Any) -> Any:
        if isinstance(value, str) and (not value or value.isspace()):
            return None
        return coerce(value)

    return blank_or_coerced


def _string(options: Mapping[str, Any]) -> Coercer:
    trim = bool(options.get("trim"))
    longest = options.get("max_length") or 0
    truncate = options.get("on_overflow") == "truncate"
    remove = options.get("on_invalid_text") == "remove"
    as_text = _text_reader(options.get("encoding") or "reject")

    def coerce(value: Any) -> Any:
        text = value if value.__class__ is str else as_text(value)
        if not text.isascii() or "\x00" in text:
            text = without_bad_characters(text) if remove else checked_text(text)
        if trim:
            text = text.strip()
        if longest and len(text) > longest:
            if not truncate:
                raise CoercionError("too_long", f"has {len(text):,} characters; the field takes {longest:,}", value)
            text = text[:longest].rstrip() if trim else text[:longest]
        return text

    return coerce


def _text_reader(encoding: str) -> Callable[[Any], str]:
    def as_text(value: Any) -> str:
        text = scalar_text(value)
        if text is not None:
            return text
        if isinstance(value, bytes | bytearray | memoryview):
            return _decoded(bytes(value), encoding)
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return canonical_body(json_value(value)).decode()
        raise CoercionError("wrong_type", f"is {type_name(value)}, which has no text form", value)

    return as_text


def _decoded(data: bytes, encoding: str) -> str:
    if encoding == "hex":
        return data.hex()
    if encoding == "base64":
        return base64.b64encode(data).decode()
    if encoding == "utf-8":
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise CoercionError("invalid_text", "is binary data that is not UTF-8 text", data) from None
    raise CoercionError("wrong_type", "is binary data; say how to write it as text in the option “encoding”", data)


def _integer(options: Mapping[str, Any]) -> Coercer:
    check = _range_check(options)

    def coerce(value: Any) -> Any:
        number: int | Decimal
        if value.__class__ is int and -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
            number = value
        else:
            number = _as_integer(value)
        if check is not None:
            check(number, value)
        return number

    return coerce


def _as_integer(value: Any) -> int | Decimal:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return whole(int(value))
    if isinstance(value, float):
        if not finite(value).is_integer():
            raise CoercionError("wrong_type", "has a fraction and is not an integer", value)
        return whole(int(value))
    if isinstance(value, Decimal):
        bounded(value)
        if value != value.to_integral_value(context=_WIDE):
            raise CoercionError("wrong_type", "has a fraction and is not an integer", value)
        return whole(int(value))
    if isinstance(value, str):
        text = value.strip()
        if _INTEGER.fullmatch(text):
            return whole(int(text.partition(".")[0]))
        raise CoercionError("wrong_type", "is not an integer", value)
    raise CoercionError("wrong_type", f"is {type_name(value)}, not an integer", value)


def _decimal(options: Mapping[str, Any]) -> Coercer:
    scale = options.get("scale")
    rounding = options.get("rounding") or "half_up"
    check = _range_check(options)
    unit = None if scale is None else Decimal(1).scaleb(-scale)
    mode = _ROUNDING.get(rounding, decimal.ROUND_DOWN)

    def coerce(value: Any) -> Any:
        number = bounded(value) if value.__class__ is Decimal else _as_decimal(value)
        if unit is not None:
            rounded = number.quantize(unit, rounding=mode, context=_WIDE)
            if rounding == "reject" and rounded != number:
                raise CoercionError("out_of_range", f"has more than {scale} digits after the point", value)
            number = rounded
        if check is not None:
            check(number, value)
        return number

    return coerce


def _as_decimal(value: Any) -> Decimal:
    if isinstance(value, bool):
        raise CoercionError("wrong_type", "is a boolean, not a decimal number", value)
    if isinstance(value, int):
        return Decimal(whole(int(value)))
    if isinstance(value, float):
        return Decimal(float.__repr__(finite(value)))
    if isinstance(value, Decimal):
        return bounded(Decimal(value))
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return bounded(Decimal(text))
        raise CoercionError("wrong_type", "is not a decimal number", value)
    raise CoercionError("wrong_type", f"is {type_name(value)}, not a decimal number", value)


def _range_check(options: Mapping[str, Any]) -> Callable[[Any, Any], None] | None:
    low, high = as_number(options.get("min")), as_number(options.get("max"))
    if low is None and high is None:
        return None

    def check(number: Any, value: Any) -> None:
        if low is not None and number < low:
            raise CoercionError("out_of_range", f"is less than {low:f}", value)
        if high is not None and number > high:
            raise CoercionError("out_of_range", f"is greater than {high:f}", value)

    return check


def _boolean(options: Mapping[str, Any]) -> Coercer:
    words = {str(word).strip().casefold(): True for word in options.get("true_words") or TRUE_WORDS}
    words |= {str(word).strip().casefold(): False for word in options.get("false_words") or FALSE_WORDS}

    def coerce(value: Any) -> Any:
        if value is True or value is False:
            return value
        if isinstance(value, str):
            word = words.get(value.strip().casefold())
            if word is None:
                raise CoercionError("wrong_type", f"is not a boolean; known words: {', '.join(words)}"[:200], value)
            return word
        if isinstance(value, int | float | Decimal) and value in (0, 1):
            return bool(value)
        raise CoercionError("wrong_type", "is not a boolean", value)

    return coerce


def _enum(options: Mapping[str, Any]) -> Coercer:
    fold = bool(options.get("fold_case"))

    def canonical(word: Any) -> str | None:
        text = scalar_text(word)
        if text is None:
            return None
        return text.strip().casefold() if fold else text.strip()

    table = {canonical(word): word for word in options.get("values") or ()}
    table |= {canonical(word): target for word, target in (options.get("map") or {}).items()}
    listed = ", ".join(str(word) for word in dict.fromkeys(table.values()))
    allowed = listed if len(listed) <= 160 else listed[:159] + "…"
    exact = {word: target for word, target in table.items() if word is not None}

    def coerce(value: Any) -> Any:
        if value.__class__ is str and value in exact:
            return exact[value]
        word = canonical(value)
        if word is None or word not in exact:
            raise CoercionError("not_allowed", f"is not in the list of allowed values ({allowed})", value)
        return exact[word]

    return coerce


def _array(options: Mapping[str, Any]) -> Coercer:
    separator = options.get("separator")
    most = options.get("max_items") or 0
    item_type = FieldType(options.get("items") or FieldType.JSON)
    item = _item if item_type is FieldType.JSON else _BUILDERS[item_type]({})

    def coerce(value: Any) -> Any:
        items = _items(value, separator)
        if most and len(items) > most:
            raise CoercionError("too_long", f"has {len(items):,} items; the field takes {most:,}", value)
        result = []
        for number, member in enumerate(items, start=1):
            try:
                result.append(None if member is None else item(member))
            except CoercionError as problem:
                raise CoercionError(problem.code, f"(item {number}) {problem.reason}", problem.value) from None
        return result

    return coerce


def _item(value: Any) -> Any:
    return json_value(value)


def _items(value: Any, separator: str | None) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=lambda member: (type(member).__name__, str(member)))
    if isinstance(value, str):
        if separator:
            return [part.strip() for part in value.split(separator) if part.strip()]
        try:
            parsed = parse_json(value)
        except CoercionError:
            parsed = None
        if isinstance(parsed, list):
            return parsed
        raise CoercionError("wrong_type", "is no list, nor the JSON text of one; set the option “separator”", value)
    raise CoercionError("wrong_type", f"is {type_name(value)}, not a list", value)


def _json(options: Mapping[str, Any]) -> Coercer:
    def coerce(value: Any) -> Any:
        return parse_json(value) if isinstance(value, str) else json_value(value)

    return coerce


_BUILDERS: dict[FieldType, Callable[[Mapping[str, Any]], Coercer]] = {
    FieldType.STRING: _string,
    FieldType.INTEGER: _integer,
    FieldType.DECIMAL: _decimal,
    FieldType.BOOLEAN: _boolean,
    FieldType.DATE: date_coercer,
    FieldType.TIMESTAMP: timestamp_coercer,
    FieldType.ENUM: _enum,
    FieldType.ARRAY: _array,
    FieldType.JSON: _json,
}
