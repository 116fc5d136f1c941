"""The options of each mapping type, declared once: forms, validation and the user guide follow from here."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from syncs.choices import FieldType
from syncs.connectors import ConfigField

ROUNDINGS = ("half_up", "half_even", "down", "up", "floor", "ceiling", "reject")
TRUE_WORDS = ("true", "t", "yes", "y", "on", "1")
FALSE_WORDS = ("false", "f", "no", "n", "off", "0")
ITEM_TYPES = (
    FieldType.STRING,
    FieldType.INTEGER,
    FieldType.DECIMAL,
    FieldType.BOOLEAN,
    FieldType.DATE,
    FieldType.TIMESTAMP,
    FieldType.JSON,
)


def _choice(name: str, label: str, values: tuple[str, ...], help_text: str) -> ConfigField:
    options = tuple((value, value.replace("_", " ").capitalize()) for value in values)
    return ConfigField(name, label, "choice", help=help_text, default=values[0], choices=options)


_EMPTY = ConfigField("empty_as_null", "Empty text is NULL", "boolean", help="Treat empty or blank text as NULL.", default=False)
_RANGE = (
    ConfigField("min", "Least value", "number", help="Smaller values are dead-lettered."),
    ConfigField("max", "Greatest value", "number", help="Greater values are dead-lettered."),
)
_ZONE = ConfigField(
    "timezone", "Assumed time zone", "timezone", help="IANA name; for values that carry no time zone.", default="UTC"
)
_FORMAT = ConfigField("format", "Format of text", help="For text that is not ISO 8601, for example %d.%m.%Y.")

OPTIONS: dict[FieldType, tuple[ConfigField, ...]] = {
    FieldType.STRING: (
        ConfigField("trim", "Trim", "boolean", help="Remove white space at both ends.", default=False),
        ConfigField("max_length", "Longest text", "integer", help="In characters."),
        _choice("on_overflow", "Longer text", ("reject", "truncate"), "What happens to text beyond the longest."),
        _choice("on_invalid_text", "NUL, lone surrogates", ("reject", "remove"), "Characters no destination can store."),
        _choice("encoding", "Binary data", ("reject", "utf-8", "base64", "hex"), "How binary data becomes text."),
        _EMPTY,
    ),
    FieldType.INTEGER: (*_RANGE, _EMPTY),
    FieldType.DECIMAL: (
        ConfigField("scale", "Digits after the point", "integer", help="Empty: as many as the value has."),
        _choice("rounding", "Rounding", ROUNDINGS, "How surplus digits are dropped."),
        *_RANGE,
        _EMPTY,
    ),
    FieldType.BOOLEAN: (
        ConfigField("true_words", "Words for true", "list", help="In any case.", default=list(TRUE_WORDS)),
        ConfigField("false_words", "Words for false", "list", help="In any case.", default=list(FALSE_WORDS)),
        _EMPTY,
    ),
    FieldType.DATE: (_FORMAT, _ZONE, _EMPTY),
    FieldType.TIMESTAMP: (
        _FORMAT,
        _ZONE,
        _choice("epoch", "Numbers", ("reject", "seconds", "milliseconds", "microseconds"), "What a number counts since 1970."),
        _choice("precision", "Precision", ("auto", "seconds", "milliseconds", "microseconds"), "Digits of the second."),
        _EMPTY,
    ),
    FieldType.ENUM: (
        ConfigField("values", "Allowed values", "list", help="The words the destination knows."),
        ConfigField("map", "Translation", "map", help="Warehouse value to the destination's word."),
        ConfigField("fold_case", "Ignore case", "boolean", help="Accept any case, send it as listed.", default=False),
        _EMPTY,
    ),
    FieldType.ARRAY: (
        ConfigField("separator", "Separator", help="Splits text; empty: text must be a JSON array."),
        _choice("items", "Type of items", ("json", *(str(t) for t in ITEM_TYPES if t != FieldType.JSON)), "Each item becomes."),
        ConfigField("max_items", "Most items", "integer", help="Longer lists are dead-lettered."),
        _EMPTY,
    ),
    FieldType.JSON: (_EMPTY,),
}


def option_problems(field_type: FieldType, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(option, sentence) for every option that is unknown or has a value of the wrong form."""
    known = {option.name: option for option in OPTIONS[field_type]}
    for name, value in options.items():
        if name not in known:
            yield name, f"The type {field_type} has no option “{name}”. It has: {', '.join(known)}."
        elif value is not None and (problem := _value_problem(known[name], value)):
            yield name, f"Option “{name}”: {problem}"
    yield from _together(field_type, options)


def _value_problem(option: ConfigField, value: Any) -> str:
    if option.type == "boolean":
        return "" if isinstance(value, bool) else "write true or false."
    if option.type == "choice":
        allowed = [choice for choice, _ in option.choices]
        return "" if value in allowed else f"choose one of {', '.join(allowed)}."
    if option.type == "integer":
        most = 100 if option.name == "scale" else 100_000_000
        least = 0 if option.name == "scale" else 1
        is_good = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return "" if is_good else f"write a whole number from {least} to {most:,}."
    if option.type == "number":
        return "" if as_number(value) is not None else "write a number."
    if option.type == "list":
        return "" if _is_scalar_list(value) else "write a list of words, at least one."
    if option.type == "map":
        is_good = isinstance(value, dict) and _is_scalar_list(list(value.values()))
        return "" if is_good else "write an object of warehouse value to destination value."
    if option.type == "timezone":
        return _zone_problem(value)
    if option.name == "format":
        return _format_problem(value)
    return "" if isinstance(value, str) else "write text."


def as_number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _is_scalar_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str | int | float | bool) for item in value)


def _zone_problem(value: Any) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        return f"“{value}” is not an IANA time zone; write one like Europe/Berlin."
    return ""


def _format_problem(value: Any) -> str:
    sample = dt.datetime(2001, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    try:
        if not isinstance(value, str) or "%" not in value:
            raise ValueError
        dt.datetime.strptime(sample.strftime(value), value)  # noqa: DTZ007 - only whether it parses at all
    except (ValueError, TypeError):
        return "write a strptime format like %d.%m.%Y."
    return ""


def _together(field_type: FieldType, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Rules that span several options."""
    if field_type == FieldType.ENUM and not options.get("values") and not options.get("map"):
        yield "values", "The type enum needs its allowed values (option “values”) or a translation (option “map”)."
    low, high = as_number(options.get("min")), as_number(options.get("max"))
    if low is not None and high is not None and low > high:
        yield "max", "Option “max” is smaller than “min”: no value could pass."
    if field_type == FieldType.BOOLEAN:
        words = [{str(w).strip().casefold() for w in options.get(n) or d} for n, d in _BOOLEAN_WORDS]
        if both := words[0] & words[1]:
            yield "true_words", f"“{min(both)}” stands for both true and false; keep it in one list."


_BOOLEAN_WORDS = (("true_words", TRUE_WORDS), ("false_words", FALSE_WORDS))
