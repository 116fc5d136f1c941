"""What can be wrong with a mapping before a single row is read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from syncs.choices import FieldType, MappingKind, OnNull
from syncs.connectors import Issue
from syncs.engine.coercion import compile_coercer
from syncs.engine.paths import FieldPath, conflict, parse_path
from syncs.engine.templates import parse_template, template_columns
from syncs.engine.type_options import option_problems
from syncs.engine.values import CoercionError, shown


class Line(Protocol):
    """The mapping's line as far as the checks read it; see ``mapping.MappingField``."""

    @property
    def destination_field(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def column(self) -> str: ...
    @property
    def constant(self) -> Any: ...
    @property
    def template(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def on_null(self) -> str: ...
    @property
    def default(self) -> Any: ...
    @property
    def is_required(self) -> bool: ...
    @property
    def is_key(self) -> bool: ...


Finding = tuple[str, str]  # attribute of the line, sentence


def mapping_issues(mapping: Sequence[Line], columns: Sequence[str] | None) -> list[Issue]:
    if not mapping:
        return [Issue("mappings", "The sync maps no field; map at least one column to a destination field.")]
    issues: list[Issue] = []
    paths: list[FieldPath] = []
    for index, line in enumerate(mapping):
        for attribute, message in _line_findings(line, columns, paths):
            issues.append(Issue(f"mappings.{index}.{attribute}", message))
    keys = [line for line in mapping if line.is_key]
    if keys and all(line.kind == MappingKind.CONSTANT for line in keys):
        issues.append(Issue("mappings", "Every key field is a constant, so all rows are one record; key by a column."))
    return issues


def _line_findings(line: Line, columns: Sequence[str] | None, paths: list[FieldPath]) -> Iterator[Finding]:
    yield from _path_findings(line, paths)
    if line.kind not in list(MappingKind):
        yield "kind", f"{_name(line)}: “{line.kind}” is not a kind of mapping; choose column, constant or template."
    elif line.kind == MappingKind.COLUMN:
        yield from _column_findings(line, line.column, columns)
    elif line.kind == MappingKind.TEMPLATE:
        yield from _template_findings(line, columns)
    if line.type not in list(FieldType):
        yield "type", f"{_name(line)}: “{line.type}” is not a type; choose one of {', '.join(FieldType)}."
        return
    if not isinstance(line.options, Mapping):
        yield "options", f"{_name(line)}: the options must be an object of name to value."
        return
    problems = list(option_problems(FieldType(line.type), line.options))
    yield from (("options", f"{_name(line)}: {message}") for _, message in problems)
    yield from _key_findings(line)
    yield from _null_findings(line)
    if not problems:
        yield from _value_findings(line)


def _name(line: Line) -> str:
    return f"Field “{line.destination_field}”"


def _path_findings(line: Line, paths: list[FieldPath]) -> Iterator[Finding]:
    try:
        path = parse_path(line.destination_field)
    except ValueError as problem:
        yield "destination_field", str(problem)
        return
    if sentence := conflict(path, paths):
        yield "destination_field", sentence
    paths.append(path)
    if path.is_item and line.is_key:
        yield "is_key", f"{_name(line)}: a list cannot be the key; map the key to a field of its own."


def _column_findings(line: Line, name: str, columns: Sequence[str] | None) -> Iterator[Finding]:
    if not name:
        yield "column", f"{_name(line)}: choose the column it takes its value from."
    elif columns is None:
        return
    elif name not in columns:
        close = difflib.get_close_matches(name, columns, n=1)
        hint = f" Did you mean “{close[0]}”?" if close else f" It returns: {', '.join(columns)[:300]}."
        yield "column", f"{_name(line)}: the query returns no column “{name}”.{hint}"
    elif list(columns).count(name) > 1:
        yield "column", f"{_name(line)}: the query returns several columns named “{name}”; give each its own name with AS."


def _template_findings(line: Line, columns: Sequence[str] | None) -> Iterator[Finding]:
    try:
        wanted = template_columns(parse_template(line.template))
    except ValueError as problem:
        yield "template", f"{_name(line)}: {problem}"
        return
    for name in wanted:
        for _, message in _column_findings(line, name, columns):
            yield "template", message


def _key_findings(line: Line) -> Iterator[Finding]:
    if not line.is_key:
        return
    if line.type in (FieldType.ARRAY, FieldType.JSON):
        yield "type", f"{_name(line)}: a key must be one value; choose a type other than {line.type}."
    if line.on_null == OnNull.DEFAULT:
        yield (
            "on_null",
            f"{_name(line)}: a default would give many rows the same key; choose to dead-letter rows without one.",
        )


def _null_findings(line: Line) -> Iterator[Finding]:
    if line.on_null not in list(OnNull):
        yield "on_null", f"{_name(line)}: “{line.on_null}” says nothing for NULL; choose one of {', '.join(OnNull)}."
    elif line.on_null == OnNull.DEFAULT and line.default is None:
        yield "default", f"{_name(line)}: NULL is to become the default, but there is no default."


def _value_findings(line: Line) -> Iterator[Finding]:
    """Constants and defaults go through the same coercer as rows."""
    coerce = compile_coercer(FieldType(line.type), line.options)
    values = []
    if line.kind == MappingKind.CONSTANT:
        values.append(("constant", line.constant))
    if line.on_null == OnNull.DEFAULT:
        values.append(("default", line.default))
    for attribute, value in values:
        if value is None:
            continue
        try:
            result = coerce(value)
        except CoercionError as problem:
            yield attribute, f"{_name(line)}: the {attribute} “{shown(value)}” {problem.reason} (expected: {line.type})."
            continue
        if result is None and attribute == "default":
            yield attribute, f"{_name(line)}: the default is empty, which the option empty_as_null turns back into NULL."
    if line.kind == MappingKind.CONSTANT and line.constant is None and (line.is_required or line.is_key):
        yield "constant", f"{_name(line)}: it is required, but its constant is empty."
