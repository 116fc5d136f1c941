"""Whether a mapping, and whether one payload, fits what the destination says of its fields.

A mapped name stands for the field of that name, for a field that holds it (``address`` for ``address.city``), or for the fields
below it (``address`` maps all of ``address.*``); ``[]`` at its end is no part of the name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from syncs.choices import FieldType, MappingKind, OnNull, SyncMode
from syncs.connectors import Issue
from syncs.destinations.base import Field
from syncs.engine.mapping import MappingField
from syncs.engine.schema_fields import Family, family
from syncs.records import Operation


class MisfitKind(StrEnum):
    UNKNOWN = "unknown"
    READ_ONLY = "read_only"
    MISSING = "missing"
    NULLABLE = "nullable"
    TYPE = "type"
    LENGTH = "length"
    OPTIONS = "options"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Misfit:
    """``line``: index of the mapping line, from 0; None where a line is lacking. ``field``: the destination's name.
    ``is_certain``: every row (or every row that lacks a value) is refused; else it depends on the values."""

    kind: MisfitKind
    field: str
    line: int | None
    is_certain: bool
    message: str
    remedy: str

    @property
    def issue(self) -> Issue:
        where = "mappings" if self.line is None else f"mappings.{self.line}.{_ATTRIBUTES.get(self.kind, 'destination_field')}"
        return Issue(where, f"{self.message} {self.remedy}")


_ATTRIBUTES = {
    MisfitKind.NULLABLE: "on_null",
    MisfitKind.TYPE: "type",
    MisfitKind.LENGTH: "options",
    MisfitKind.OPTIONS: "options",
    MisfitKind.KEY: "is_key",
}


def creates(mode: str) -> bool:
    """Whether a sync of this mode (or an operation of this name) may make new records, which then need every required field."""
    return mode in (SyncMode.INSERT, SyncMode.UPSERT, SyncMode.MIRROR)


def plain(name: str) -> str:
    return name.removesuffix("[]")


def matching(name: str, fields: Mapping[str, Field]) -> list[Field]:
    """The fields that a mapped name writes to: its own, the one that holds it, or those below it."""
    name = plain(name)
    if name in fields:
        return [fields[name]]
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        holder = fields.get(".".join(parts[:end]))
        if holder is not None:
            return [holder]
    return [field for other, field in fields.items() if other.startswith(f"{name}.")]


def misfits(mapping: Sequence[MappingField], fields: Sequence[Field], *, mode: str) -> list[Misfit]:
    """What of the mapping the fields break, in the order of its lines; lacking lines last."""
    if mode == SyncMode.DELETE:
        lines = [(index, line) for index, line in enumerate(mapping) if line.is_key]
    else:
        lines = list(enumerate(mapping))
    known = {field.name: field for field in fields}
    found: list[Misfit] = []
    filled: set[str] = set()
    for index, line in lines:
        targets = matching(line.destination_field, known)
        filled |= {field.name for field in targets}
        found += _of_line(index, line, targets, known, is_creating=creates(mode))
    if creates(mode):
        found += [_lacking(field) for field in fields if field.is_required and field.is_writable and field.name not in filled]
    return found


def _lacking(field: Field) -> Misfit:
    text = f"The destination requires the field “{field.name}”, and no line fills it."
    return Misfit(MisfitKind.MISSING, field.name, None, True, text, "Add a line for it: a column, a constant or a template.")


def _of_line(
    index: int, line: MappingField, targets: Sequence[Field], known: Mapping[str, Field], *, is_creating: bool
) -> Iterator[Misfit]:
    name = line.destination_field
    if not targets:
        yield Misfit(
            MisfitKind.UNKNOWN, plain(name), index, True, f"The destination names no field “{plain(name)}”.",
            "Take the line out, or map it to another field.",
        )  # fmt: skip
        return
    if plain(name) not in known:
        return  # part of a field, or the whole of several: its own rules are not known
    field = targets[0]
    if not field.is_writable:
        yield Misfit(
            MisfitKind.READ_ONLY, field.name, index, True, f"The field “{field.name}” may not be written.",
            "Take the line out, or ask the destination's administrator for the right to write it.",
        )  # fmt: skip
    if line.is_key and not field.is_key and any(other.is_key for other in known.values()):
        yield Misfit(
            MisfitKind.KEY, field.name, index, False,
            f"The destination does not find its records by “{field.name}”, which the line uses as key.",
            "Mark another line as key, or preview whether the destination takes it.",
        )  # fmt: skip
    if field.is_required and is_creating and _may_be_null(line):
        yield Misfit(
            MisfitKind.NULLABLE, field.name, index, True,
            f"The destination requires “{field.name}”, and the line lets it stay empty.",
            "Give it a default, or mark the line as required.",
        )  # fmt: skip
    if not line.destination_field.endswith("[]"):  # such a line gives one item of the list
        yield from _of_values(index, line, field)


def _may_be_null(line: MappingField) -> bool:
    if line.kind == MappingKind.CONSTANT:
        return line.constant is None
    return not (line.is_required or line.is_key or line.on_null in (OnNull.DEFAULT, OnNull.REJECT))


def _of_values(index: int, line: MappingField, field: Field) -> Iterator[Misfit]:
    if line.kind == MappingKind.CONSTANT and line.constant is not None:
        for kind, problem in _value_problems(line.constant, field):
            yield Misfit(kind, field.name, index, True, f"The constant does not fit: {problem}", "Correct it.")
        return
    if family(field.type) not in {*_TAKES[FieldType(line.type)], Family.ANY}:
        yield Misfit(
            MisfitKind.TYPE, field.name, index, False,
            f"“{field.name}” is of type {field.type}, and the line gives {line.type}.",
            "Choose the fitting type for the line, or preview whether the destination takes it.",
        )  # fmt: skip
    if field.max_length is not None and _is_too_long(line, field.max_length):
        yield Misfit(
            MisfitKind.LENGTH, field.name, index, False,
            f"“{field.name}” takes at most {field.max_length:,} characters, and the line does not shorten its text.",
            f"Set the longest text of the line to {field.max_length:,} where values may be longer.",
        )  # fmt: skip
    if field.options and (strange := _strange_options(line, field)) is not None:
        yield _strange_misfit(index, field, strange)


def _strange_misfit(index: int, field: Field, strange: Sequence[str]) -> Misfit:
    if strange:
        text = f"“{field.name}” does not allow {', '.join(f'“{word[:60]}”' for word in strange[:5])}, which the line may give."
    else:
        text = f"“{field.name}” allows {len(field.options):,} values only, and the line gives whatever the row holds."
    remedy = "Use the type enum with the allowed values, and translate the others."
    return Misfit(MisfitKind.OPTIONS, field.name, index, bool(strange), text, remedy)


def _is_too_long(line: MappingField, longest: int) -> bool:
    if line.type != FieldType.STRING:
        return False
    own = line.options.get("max_length")
    return not isinstance(own, int) or own > longest


def _strange_options(line: MappingField, field: Field) -> list[str] | None:
    """Words that the line may give and the field does not allow; empty: any word may come; None: all fits."""
    if line.type != FieldType.ENUM:
        return [] if line.type == FieldType.STRING else None
    translated = line.options.get("map") or {}
    words = {str(word) for word in (line.options.get("values") or translated.values())}
    strange = sorted(words - set(field.options))
    return strange or None


_ANY_TEXT = {Family.TEXT, Family.SQL_TEXT}
_TAKES: dict[FieldType, set[Family]] = {
    FieldType.STRING: {*_ANY_TEXT, Family.DATE, Family.TIMESTAMP},
    FieldType.INTEGER: {Family.INTEGER, Family.NUMBER, Family.SQL_TEXT, Family.DATE, Family.TIMESTAMP},
    FieldType.DECIMAL: {Family.NUMBER, Family.SQL_TEXT},
    FieldType.BOOLEAN: {Family.BOOLEAN, Family.SQL_TEXT},
    FieldType.DATE: {Family.DATE, Family.TIMESTAMP, *_ANY_TEXT},
    FieldType.TIMESTAMP: {Family.TIMESTAMP, Family.DATE, *_ANY_TEXT},
    FieldType.ENUM: _ANY_TEXT,
    FieldType.ARRAY: {Family.LIST},
    FieldType.JSON: set(Family),
}


# --- one payload


def violations(payload: Mapping[str, Any], fields: Sequence[Field], operation: str) -> list[Issue]:
    """What of one payload the fields would refuse. ``operation``: insert, update, upsert or delete (or a sync's mode);
    an issue's ``field`` is the payload's dotted path."""
    if operation == Operation.DELETE:
        return []
    known = {field.name: field for field in fields}
    values = _leaves(payload, known)
    issues = []
    for path, value in values.items():
        targets = matching(path, known)
        if not targets:
            issues.append(Issue(path, f"The destination names no field “{path}”."))
        elif path in known:
            issues += [Issue(path, text) for text in _problems_of(value, known[path])]
    if creates(operation):
        filled = {field.name for path, value in values.items() if not _is_empty(value) for field in matching(path, known)}
        wanted = (field for field in fields if field.is_required and field.is_writable and field.name not in filled)
        issues += [Issue(field.name, f"The destination requires “{field.name}”, and it is empty.") for field in wanted]
    return issues


def _leaves(payload: Mapping[str, Any], known: Mapping[str, Field], prefix: str = "") -> dict[str, Any]:
    """Dotted path -> value, down to the names that the destination knows."""
    found: dict[str, Any] = {}
    for name, value in payload.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value and path not in known:
            found |= _leaves(value, known, f"{path}.")
        else:
            found[path] = value
    return found


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _problems_of(value: Any, field: Field) -> Iterator[str]:
    if value is None:
        return
    if not field.is_writable:
        yield f"“{field.name}” may not be written."
    yield from (problem for _kind, problem in _value_problems(value, field))


def _value_problems(value: Any, field: Field) -> Iterator[tuple[MisfitKind, str]]:
    wanted = family(field.type)
    if not _is_of(wanted, value):
        yield MisfitKind.TYPE, f"“{field.name}” takes {field.type}, not {_shown(value)}."
        return
    if not isinstance(value, str):
        return
    if field.max_length is not None and len(value) > field.max_length:
        yield MisfitKind.LENGTH, f"“{field.name}” takes at most {field.max_length:,} characters, not {len(value):,}."
    if field.options and value and value not in field.options:
        yield MisfitKind.OPTIONS, f"“{field.name}” allows {len(field.options):,} values, and {_shown(value)} is none of them."


def _is_of(wanted: Family, value: Any) -> bool:
    if wanted is Family.ANY:
        return True
    if isinstance(value, list):
        return wanted is Family.LIST
    if isinstance(value, dict):
        return False
    if isinstance(value, bool):
        return wanted in (Family.BOOLEAN, Family.SQL_TEXT)
    if isinstance(value, int | float | Decimal):
        is_whole = Decimal(str(value)) % 1 == 0
        return wanted in (Family.NUMBER, Family.SQL_TEXT) or (
            is_whole and wanted in (Family.INTEGER, Family.DATE, Family.TIMESTAMP)
        )
    if wanted in (Family.NUMBER, Family.INTEGER):  # some APIs take every value as text
        return _is_number(value, is_whole=wanted is Family.INTEGER)
    if wanted is Family.BOOLEAN:
        return str(value).lower() in ("true", "false")
    return wanted is not Family.LIST


def _is_number(text: Any, *, is_whole: bool) -> bool:
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        return False
    return number.is_finite() and (not is_whole or number == number.to_integral_value())


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = str(value)
    return f"“{text[:80]}{'…' if len(text) > 80 else ''}”"
