"""What is wrong, or may go wrong, with a mapping that is being written: against the columns, their samples, the fields.

Three levels: an ``error`` keeps the mapping from being saved; a ``warning`` is about rows that will be refused; a ``note``
about rows that may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from syncs.choices import FieldType, MappingKind
from syncs.destinations.base import Field
from syncs.engine import schema_fit
from syncs.engine.mapping import MappingField, compile_mapping, validate_mapping
from syncs.engine.schema_fit import MisfitKind
from syncs.errors import ConfigError
from syncs.records import RowError
from syncs.services.masks import PageMask, shown
from syncs.services.samples import Samples

MISSING = "missing"  # attribute of a finding: a required field that no line fills


class Level(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """``line``: index from 0; None: of the mapping as a whole. ``attribute``: of the line, as ``FieldMapping`` names it."""

    level: Level
    line: int | None
    attribute: str
    message: str


def review(
    mapping: Sequence[MappingField], *, samples: Samples | None, fields: Sequence[Field] | None, mode: str, mask: PageMask
) -> list[Finding]:
    """Everything found, errors first within a line. Values in messages are masked. ``samples`` None: the query cannot be read;
    ``fields`` None: nobody knows the destination's fields."""
    found = _errors(mapping, samples.names if samples else None)
    broken = {one.line for one in found}
    tried = _Trial(samples, {field.name: field for field in fields or ()}, mask)
    for index, line in enumerate(mapping):
        if index not in broken:
            found += tried.of_line(index, line)
    if fields is not None:
        found += _misfits(mapping, fields, mode, broken, tried)
    order = {level: place for place, level in enumerate(Level)}
    return sorted(found, key=lambda one: (one.line is None, one.line or 0, order[one.level]))


def _errors(mapping: Sequence[MappingField], columns: Sequence[str] | None) -> list[Finding]:
    found = []
    for issue in validate_mapping(mapping, columns):
        _, _, rest = issue.field.partition(".")
        number, _, attribute = rest.partition(".")
        found.append(Finding(Level.ERROR, int(number) if number else None, attribute, issue.message))
    return found


def _misfits(
    mapping: Sequence[MappingField], fields: Sequence[Field], mode: str, broken: set[int | None], tried: _Trial
) -> Iterator[Finding]:
    # A broken line still says which field it is meant to fill.
    sound = [_meant(line) if index in broken else line for index, line in enumerate(mapping)]
    for misfit in schema_fit.misfits(sound, fields, mode=mode):
        if misfit.line in broken and misfit.line is not None:
            continue
        if misfit.line in tried.refused:
            continue  # the samples say it, with a value
        _, _, attribute = misfit.issue.field.partition(".")[2].partition(".")
        attribute = MISSING if misfit.kind is MisfitKind.MISSING else attribute
        level = Level.WARNING if misfit.is_certain else Level.NOTE
        yield Finding(level, misfit.line, attribute, f"{misfit.message} {misfit.remedy}")


def _meant(line: MappingField) -> MappingField:
    return MappingField(line.destination_field, type=FieldType.JSON)


class _Trial:
    """Each line by itself over the sample rows: mapped as a run would, then held against its field.

    ``refused``: lines that did not take a sample.
    """

    def __init__(self, samples: Samples | None, fields: dict[str, Field], mask: PageMask) -> None:
        self._samples, self._fields, self._mask = samples, fields, mask
        self.refused: set[int] = set()

    def of_line(self, index: int, line: MappingField) -> Iterator[Finding]:
        if self._samples is None or not self._samples.rows or line.kind == MappingKind.CONSTANT:
            return
        try:
            mapper = compile_mapping([line], self._samples.names)
        except ConfigError:  # said already, of the mapping as a whole
            return
        refused: list[tuple[Any, str, str]] = []
        for row in self._samples.rows:
            result = mapper(row)
            if isinstance(result, RowError):
                refused.append((row, "on_null" if result.code == "null_value" else "type", result.message))
            elif problem := self._misfit(line, result):
                refused.append((row, "destination_field", problem))
        if not refused:
            return
        self.refused.add(index)
        row, attribute, message = refused[0]
        _, _, (said,) = shown(self._mask, self._samples.names, row, texts=[message])
        count, rows = len(refused), len(self._samples.rows)
        yield Finding(Level.WARNING, index, attribute, f"{count} of {rows} sample rows would be refused. {said}")

    def _misfit(self, line: MappingField, payload: dict[str, Any]) -> str:
        """Why the field would not take this line's value; "" where it does, or nobody can tell."""
        field = self._fields.get(schema_fit.plain(line.destination_field))
        if field is None or line.destination_field.endswith("[]"):
            return ""
        issues = schema_fit.violations(payload, [field], "update")
        return issues[0].message if issues else ""
