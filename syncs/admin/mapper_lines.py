"""Lines of the mapper's form: texts as posted, and the mapping that they say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.forms import ValidationError

from syncs.admin.form_fields import ObjectField, loose_text, loose_value
from syncs.choices import FieldType, MappingKind, OnNull
from syncs.engine.mapping import MappingField
from syncs.services.mapping_review import Finding, Level
from syncs.services.mappings import MOST_LINES

_LONGEST = {"destination_field": 255, "value": 20_000, "options": 20_000, "default": 5_000}
_LONGEST_COLUMN = 255
_OBJECT = ObjectField(required=False)


@dataclass(frozen=True, slots=True)
class Line:
    """All texts, so that what is wrong comes back as it was written."""

    destination_field: str = ""
    kind: str = MappingKind.COLUMN
    value: str = ""
    type: str = FieldType.STRING
    options: str = ""
    on_null: str = OnNull.NULL
    default: str = ""
    is_required: bool = False
    is_key: bool = False

    @property
    def is_blank(self) -> bool:
        return not self.destination_field and not self.value

    @property
    def is_long(self) -> bool:
        return self.kind == MappingKind.TEMPLATE or "\n" in self.value


_TEXTS = ("destination_field", "kind", "value", "type", "options", "on_null", "default")


def posted(data: Mapping[str, Any]) -> list[Line]:
    """The lines of a posted form, in its order. Names: ``lines-<n>-<attribute>`` from 0, ``lines-count``."""
    try:
        count = min(int(data.get("lines-count", 0)), MOST_LINES)
    except (TypeError, ValueError):
        count = 0
    return [_posted(data, f"lines-{number}-") for number in range(count)]


def _posted(data: Mapping[str, Any], prefix: str) -> Line:
    texts = {name: str(data.get(prefix + name, getattr(Line, name, ""))) for name in _TEXTS if prefix + name in data}
    texts = {name: text.replace("\r\n", "\n") for name, text in texts.items()}
    if "destination_field" in texts:
        texts["destination_field"] = texts["destination_field"].strip()
    flags = {name: bool(data.get(prefix + name)) for name in ("is_required", "is_key")}
    return Line(**texts, **flags)  # type: ignore[arg-type]


def written(field: MappingField) -> Line:
    """The line that says this."""
    values = {MappingKind.COLUMN: field.column, MappingKind.TEMPLATE: field.template}
    value = values.get(MappingKind(field.kind), loose_text(field.constant)) if field.kind in list(MappingKind) else field.column
    options = json.dumps(field.options, ensure_ascii=False) if field.options else ""
    return Line(
        field.destination_field, field.kind, value, field.type, options, field.on_null, loose_text(field.default),
        field.is_required, field.is_key,
    )  # fmt: skip


def moved(lines: Sequence[Line], place: int, by: int) -> list[Line]:
    found = list(lines)
    other = place + by
    if 0 <= place < len(found) and 0 <= other < len(found):
        found[place], found[other] = found[other], found[place]
    return found


def said(lines: Sequence[Line]) -> tuple[list[MappingField], list[Finding]]:
    """(the mapping that the lines say, what cannot be read of them). As many fields as lines."""
    fields, findings = [], []
    for number, line in enumerate(lines):
        field, problems = _said(line)
        fields.append(field)
        findings += [Finding(Level.ERROR, number, attribute, text) for attribute, text in problems]
    return fields, findings


def _said(line: Line) -> tuple[MappingField, list[tuple[str, str]]]:
    problems = []
    for name, longest in _LONGEST.items():
        if len(getattr(line, name)) > longest:
            problems.append((name, f"This is longer than {longest:,} characters."))
            line = replace(line, **{name: ""})  # type: ignore[arg-type]
    options: dict[str, Any] = {}
    try:
        options = _OBJECT.clean(line.options)
    except ValidationError as error:
        problems.append(("options", f"Options: {' '.join(error.messages)}"))
    value = line.value
    column = value.strip() if line.kind == MappingKind.COLUMN else ""
    if len(column) > _LONGEST_COLUMN:
        problems.append(("value", f"A column's name has at most {_LONGEST_COLUMN} characters."))
        column = ""
    field = MappingField(
        destination_field=line.destination_field,
        kind=line.kind,
        column=column,
        constant=loose_value(value) if line.kind == MappingKind.CONSTANT and value else None,
        template=value if line.kind == MappingKind.TEMPLATE else "",
        type=line.type,
        options=options,
        on_null=line.on_null,
        default=loose_value(line.default.strip()) if line.default.strip() else None,
        is_required=line.is_required,
        is_key=line.is_key,
    )
    return field, problems
