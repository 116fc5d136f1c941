"""The mapping: which destination field gets which value, of which type; compiled once per run, called once per row.

``compile_mapping(fields, columns)`` returns what turns rows into payloads or ``RowError``s. It never raises for a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields
from operator import itemgetter
from typing import Any

from syncs.choices import FieldType, MappingKind, OnNull
from syncs.connectors import Issue
from syncs.engine.coercion import Coercer, compile_coercer
from syncs.engine.mapping_checks import mapping_issues
from syncs.engine.mapping_columns import column_reader, slice_mapper
from syncs.engine.paths import FieldPath, parse_path
from syncs.engine.templates import compile_template
from syncs.engine.values import CoercionError, shown
from syncs.errors import ConfigError, ErrorType
from syncs.records import RowError, RowValues

Getter = Callable[[RowValues], Any]
RowMapper = Callable[[RowValues], dict[str, Any] | RowError]


@dataclass(frozen=True)
class MappingField:
    """One line of the mapping, as a SyncVersion's snapshot holds it. Names and defaults are those of ``FieldMapping``."""

    destination_field: str
    kind: str = MappingKind.COLUMN
    column: str = ""
    constant: Any = None
    template: str = ""
    type: str = FieldType.STRING
    options: Mapping[str, Any] = field(default_factory=dict)
    on_null: str = OnNull.NULL
    default: Any = None
    is_required: bool = False
    is_key: bool = False

    @classmethod
    def from_snapshot(cls, values: Mapping[str, Any]) -> MappingField:
        """Keys that are absent take their defaults; keys that are not the mapping's (position, id) are ignored."""
        known = {name.name for name in fields(cls)}
        given = {name: value for name, value in values.items() if name in known}
        return cls(**{"destination_field": "", **given, "options": given.get("options") or {}})

    @property
    def origin(self) -> str:
        """Where the value comes from, as messages begin."""
        return f"Column {self.column}" if self.kind == MappingKind.COLUMN else str(self.kind).capitalize()


class _Omit:
    """Marks a field that stays out of the payload."""


_OMIT: Any = _Omit()
_REJECT: Any = _Omit()


@dataclass(slots=True)
class _Slot:
    """A compiled field. ``path`` is None where the value goes into the payload's top level under ``name``."""

    field: MappingField
    name: str
    get: Getter
    coerce: Coercer
    if_null: Any
    path: FieldPath | None


def key_fields(mapping: Sequence[MappingField]) -> tuple[str, ...]:
    """Destination fields by which the destination finds its record, in the mapping's order."""
    return tuple(line.destination_field for line in mapping if line.is_key)


def validate_mapping(mapping: Sequence[MappingField], columns: Sequence[str] | None) -> list[Issue]:
    """Everything wrong with the mapping; ``columns``: those of the query, None where they are not known yet.

    An issue's ``field`` is ``mappings.<index>.<attribute>`` (from 0), or ``mappings`` for the whole.
    """
    return mapping_issues(mapping, columns)


def compile_mapping(mapping: Sequence[MappingField], columns: Sequence[str]) -> CompiledMapping:
    """Raises ``ConfigError`` with the first issue of ``validate_mapping``."""
    issues = validate_mapping(mapping, columns)
    if issues:
        more = f" ({len(issues) - 1} more)" if len(issues) > 1 else ""
        raise ConfigError(f"{issues[0].message}{more}", field=issues[0].field)
    slots = [_slot(line, columns) for line in mapping]
    return CompiledMapping(_row_mapper(slots), _by_columns(mapping, slots, columns))


SLICE_ROWS = 100  # mapped by columns together; one row that is not plain sends its whole slice row by row


class CompiledMapping:
    """A mapping over the columns of one query. Call it with a row, or ``many`` with a list of rows."""

    def __init__(self, map_row: RowMapper, map_slice: Callable[[Sequence[RowValues]], list[dict[str, Any]]] | None) -> None:
        self._map_row = map_row
        self._map_slice = map_slice

    def __call__(self, row: RowValues) -> dict[str, Any] | RowError:
        return self._map_row(row)

    def many(self, rows: Sequence[RowValues]) -> list[dict[str, Any] | RowError]:
        mapped: list[dict[str, Any] | RowError] = []
        for start in range(0, len(rows), SLICE_ROWS):
            part = rows[start : start + SLICE_ROWS]
            if self._map_slice is not None:
                try:
                    mapped.extend(self._map_slice(part))
                    continue
                except Exception:  # noqa: BLE001, S110 - row by row it is said which row is at fault, and why
                    pass
            mapped.extend(map(self._map_row, part))
        return mapped


def _by_columns(
    mapping: Sequence[MappingField], slots: Sequence[_Slot], columns: Sequence[str]
) -> Callable[[Sequence[RowValues]], list[dict[str, Any]]] | None:
    """None where a field is made of more than one column or goes below the payload's top level."""
    readers = []
    for line, slot in zip(mapping, slots, strict=True):
        if line.kind != MappingKind.COLUMN or slot.path is not None:
            return None
        has_null = slot.if_null is not _OMIT and slot.if_null is not _REJECT and not isinstance(slot.if_null, dict | list)
        options = {"empty_as_null": True} if line.is_key and line.type == FieldType.STRING else line.options
        read = column_reader(FieldType(line.type), options, slot.coerce, null=slot.if_null, has_null=has_null)
        readers.append((slot.name, list(columns).index(line.column), read))
    return slice_mapper(readers)


def _row_mapper(slots: list[_Slot]) -> RowMapper:
    plan = [(slot.name, slot.get, slot.coerce, slot.if_null, slot.path, slot) for slot in slots]
    omit, reject = _OMIT, _REJECT

    def map_row(row: RowValues) -> dict[str, Any] | RowError:
        payload: dict[str, Any] = {}
        try:
            for name, get, coerce, if_null, path, slot in plan:
                value = get(row)
                if value is not None:
                    value = coerce(value)
                    if value is not None and path is None:  # the usual case
                        payload[name] = value
                        continue
                if value is None:
                    value = if_null
                    if value is not None:
                        if value is omit:
                            continue
                        if value is reject:
                            return _null_error(slot.field)
                        value = deepcopy(value)
                if path is None:
                    payload[name] = value
                else:
                    path.put(payload, value)
        except CoercionError as problem:
            return _row_error(slot.field, problem)
        except Exception as problem:  # noqa: BLE001 - a hostile value may raise anything; its row is refused, the run goes on
            return _unexpected(slot, row, problem)
        return payload

    return map_row


def _slot(line: MappingField, columns: Sequence[str]) -> _Slot:
    path = parse_path(line.destination_field)
    # A blank key is no key: the destination would find any record by it, or none.
    options = {**line.options, "empty_as_null": True} if line.is_key else line.options
    coerce = compile_coercer(FieldType(line.type), options)
    get: Getter
    if line.kind == MappingKind.COLUMN:
        get = itemgetter(list(columns).index(line.column))
    elif line.kind == MappingKind.TEMPLATE:
        get = compile_template(line.template, columns)
    else:
        get, coerce = _constant(line, coerce)
    return _Slot(line, path.name, get, coerce, _if_null(line, coerce), path if path.parents or path.is_item else None)


def _constant(line: MappingField, coerce: Coercer) -> tuple[Getter, Coercer]:
    value = None if line.constant is None else coerce(line.constant)
    if isinstance(value, dict | list):
        return (lambda _row: value), deepcopy
    return (lambda _row: value), _same


def _same(value: Any) -> Any:
    return value


def _if_null(line: MappingField, coerce: Coercer) -> Any:
    """What stands for NULL: ``_REJECT``, ``_OMIT``, None, or the default, which has gone through the coercer itself."""
    if line.on_null == OnNull.DEFAULT:
        return coerce(line.default)
    if line.is_required or line.is_key or line.on_null == OnNull.REJECT:
        return _REJECT
    return _OMIT if line.on_null == OnNull.OMIT else None


def _null_error(line: MappingField) -> RowError:
    if line.is_key:
        why = f"the field {line.destination_field} is the key by which the destination finds the record"
    elif line.is_required:
        why = f"the field {line.destination_field} is required"
    else:
        why = f"the mapping refuses NULL for the field {line.destination_field}"
    what = "is NULL" if line.kind == MappingKind.COLUMN else "gives no value"
    return RowError(
        ErrorType.MISSING_REQUIRED, f"{line.origin} {what}; {why}.", code="null_value", field=line.destination_field
    )


def _row_error(line: MappingField, problem: CoercionError) -> RowError:
    value = "" if problem.value is None else f"“{shown(problem.value)}” "
    message = f"{line.origin}: {value}{problem.reason} (expected: {line.type})."
    return RowError(ErrorType.MAPPING, message, code=problem.code, field=line.destination_field)


def _unexpected(slot: _Slot, row: RowValues, problem: Exception) -> RowError:
    line = slot.field
    if isinstance(problem, IndexError):
        reason = "the row has fewer values than the query has columns"
    else:
        value = f"“{shown(slot.get(row))}” " if line.kind == MappingKind.COLUMN else ""
        reason = f"{value}could not be read ({type(problem).__name__})"
    message = f"{line.origin}: {reason} (expected: {line.type})."
    return RowError(ErrorType.MAPPING, message, code="unreadable", field=line.destination_field)
