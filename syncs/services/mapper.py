"""What the mapper page shows: columns with samples beside destination fields, what belongs together, what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncs.choices import FieldType, MappingKind
from syncs.destinations.base import Field
from syncs.engine import schema_fit
from syncs.engine.field_types import type_of
from syncs.engine.mapping import MappingField
from syncs.engine.suggestions import Candidate, Suggestion, Wanted, suggest
from syncs.engine.templates import parse_template, template_columns
from syncs.errors import RedriveError
from syncs.models import Sync
from syncs.services import destination_fields, masks, samples
from syncs.services.destination_fields import Known
from syncs.services.mapping_review import Finding, review
from syncs.services.samples import SampleColumn, Samples

SAMPLES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ColumnView:
    """``values``: up to three different ones, masked, as JSON values. ``used_by``: destination fields."""

    name: str
    type: str
    values: tuple[Any, ...]
    used_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldView:
    """A destination field that no line fills. ``column``: of the suggestion, None without one."""

    field: Field
    score: float = 0.0
    column: ColumnView | None = None

    @property
    def is_needed(self) -> bool:
        return (self.field.is_required or self.field.is_key) and self.field.is_writable


@dataclass(frozen=True)
class View:
    """``needed``, ``others``: fields without a line, required and key fields apart; those with a suggestion first.

    ``problem``: why the query could not be read; "" where it could. ``by_line``: index -> findings; None: of the whole.
    """

    columns: tuple[ColumnView, ...]
    known: Known
    needed: tuple[FieldView, ...]
    others: tuple[FieldView, ...]
    findings: tuple[Finding, ...]
    problem: str = ""
    by_name: Mapping[str, ColumnView] = field(default_factory=dict)

    @property
    def suggested(self) -> list[FieldView]:
        return [one for one in (*self.needed, *self.others) if one.column is not None]

    @property
    def by_line(self) -> dict[int | None, list[Finding]]:
        found: dict[int | None, list[Finding]] = {}
        for one in self.findings:
            found.setdefault(one.line, []).append(one)
        return found


def view(sync: Sync, mapping: Sequence[MappingField], *, again: bool = False) -> View:
    """Everything for these lines, saved or not. Reads the warehouse (bounded; kept for minutes) and writes nothing.

    What cannot be read is said in the view; nothing is raised for it.
    """
    found, problem = _samples(sync, again=again)
    known = destination_fields.known(sync, again=again)
    mask = masks.build()
    columns = _columns(found, mapping, mask)
    fields = _free(known.fields or (), mapping, found, columns)
    return View(
        columns=tuple(columns.values()),
        known=known,
        needed=tuple(one for one in fields if one.is_needed),
        others=tuple(one for one in fields if not one.is_needed),
        findings=tuple(review(mapping, samples=found, fields=known.fields, mode=sync.mode, mask=mask)),
        problem=problem,
        by_name=columns,
    )


def taken(view: View, name: str, mapping: Sequence[MappingField]) -> MappingField:
    """A line for this destination field, from its suggestion where it has one. Not saved."""
    wanted = next((one for one in (*view.needed, *view.others) if one.field.name == name), None)
    if wanted is None:
        return MappingField(name)
    return MappingField(
        name,
        column=wanted.column.name if wanted.column else "",
        type=type_of(wanted.field.type) or FieldType.STRING,
        is_key=wanted.field.is_key and not any(line.is_key for line in mapping),
        is_required=wanted.field.is_required,
    )


def taken_column(sync: Sync, view: View, name: str, mapping: Sequence[MappingField]) -> MappingField:
    """A line for this column, to the field it is suggested for, else to one of its own name. Not saved."""
    for one in view.suggested:
        if one.column is not None and one.column.name == name:
            return taken(view, one.field.name, mapping)
    found, _ = _samples(sync)
    column = found.by_name.get(name) if found else None
    return MappingField(name, column=name, type=column.natural if column else FieldType.STRING)


def _samples(sync: Sync, *, again: bool = False) -> tuple[Samples | None, str]:
    try:
        return samples.look(sync, again=again), ""
    except RedriveError as error:
        return None, error.message


def _columns(found: Samples | None, mapping: Sequence[MappingField], mask: masks.PageMask) -> dict[str, ColumnView]:
    if found is None:
        return {}
    used: dict[str, list[str]] = {}
    for line in mapping:
        for name in _columns_of(line):
            used.setdefault(name, []).append(line.destination_field)
    rows = [masks.shown(mask, found.names, row)[0] for row in found.rows]
    return {
        column.name: ColumnView(column.name, column.type, _few(column, rows), tuple(used.get(column.name, ())))
        for column in found.columns
    }


def _few(column: SampleColumn, rows: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    """Up to three different values, a NULL among them only where there are no three others."""
    different: list[Any] = []
    for row in rows:
        value = row.get(column.name)
        if value is not None and value not in different:
            different.append(value)
    has_null = any(value is None for value in column.values)
    return tuple(different[:SAMPLES_SHOWN] + ([None] if has_null and len(different) < SAMPLES_SHOWN else []))


def _columns_of(line: MappingField) -> list[str]:
    if line.kind == MappingKind.COLUMN:
        return [line.column]
    if line.kind != MappingKind.TEMPLATE:
        return []
    try:
        return list(template_columns(parse_template(line.template)))
    except ValueError:
        return []


def _free(
    fields: Sequence[Field], mapping: Sequence[MappingField], found: Samples | None, columns: Mapping[str, ColumnView]
) -> list[FieldView]:
    by_name = {one.name: one for one in fields}
    filled = {one.name for line in mapping for one in schema_fit.matching(line.destination_field, by_name)}
    free = [one for one in fields if one.name not in filled]
    guessed = _guessed(free, mapping, found)
    seen = [_seen(one, guessed.get(one.name), columns) for one in free]
    return sorted(seen, key=lambda one: (not one.is_needed, one.column is None, not one.field.is_writable))


def _seen(one: Field, guess: Suggestion | None, columns: Mapping[str, ColumnView]) -> FieldView:
    return FieldView(one, guess.score, columns[guess.column]) if guess else FieldView(one)


def _guessed(free: Sequence[Field], mapping: Sequence[MappingField], found: Samples | None) -> dict[str, Suggestion]:
    if found is None:
        return {}
    used = {name for line in mapping for name in _columns_of(line)}
    wanted = [Wanted(one.name, one.label, type_of(one.type)) for one in free if one.is_writable]
    return suggest([Candidate(column.name, column.fits) for column in found.columns], wanted, used=used)
