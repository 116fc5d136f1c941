"""YAML of configuration files, read strictly: what is not plain data, or too much of it, is refused with its line.

Values are those of JSON (YAML 1.2, core schema): ``no`` and ``2024-01-01`` are texts, as the person who wrote them meant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

MOST_BYTES = 500_000
MOST_NODES = 30_000
MOST_DEPTH = 40
MOST_DIGITS = 40

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file. ``line``: from 1, 0 where no line can be named; ``key``: ``mappings.2.type``, or empty."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = [self.file, *([f"line {self.line}"] if self.line else []), *([self.key] if self.key else [])]
        return f"{', '.join(place)}: {self.message}"


class UnreadableError(Exception):
    """The file as a whole cannot be read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True)
class Document:
    """One document of a file. ``lines``: where each value stands, by its path; the empty path is the document's first line."""

    file: str
    values: dict[str, Any]
    lines: Mapping[Path, int] = field(default_factory=dict)

    def line(self, *path: str | int) -> int:
        """Of the value, or of the nearest one around it that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def problem(self, path: Path, message: str) -> Problem:
        return Problem(self.file, self.line(*path), ".".join(map(str, path)), message)


class _Loader(yaml.SafeLoader):
    """Composes nodes and constructs nothing. Refuses what would make a small file large, or data anything but data."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self.count += 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _refused(event, "Anchors (&name) and aliases (*name) are not taken. Write the value where it belongs.")
        if event.tag is not None:
            raise _refused(event, "Tags (!name) are not taken: a configuration file holds plain values.")
        if self.count > MOST_NODES:
            raise _refused(event, f"The file has more than {MOST_NODES:,} values. Divide it into several files.")
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise _refused(event, f"Values are nested deeper than {MOST_DEPTH} levels.")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


NULL, BOOL, INT, FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
# YAML 1.2.2, section 10.3.2, without the octal and hexadecimal forms: nobody means 8 by 0o10 here.
CORE: tuple[tuple[str, re.Pattern[str], list[str | None]], ...] = (
    (NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    (BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    (INT, re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789")),
    (FLOAT, re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"), list("-+.0123456789")),
)
for _tag, _pattern, _first in CORE:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)


def _refused(where: Any, message: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=where.start_mark)


def read(file: str, data: bytes) -> list[Document]:
    """The documents of a file, in order. ``file``: what it is called in sentences. Raises ``UnreadableError``."""
    text = _decoded(file, data)
    try:
        return list(_documents(file, _Loader(text)))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise UnreadableError(Problem(file, line, "", _sentence(error))) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"The character U+{error.character:04X} cannot stand in YAML. Write it as an escape in double quotes."
        raise UnreadableError(Problem(file, line, "", message)) from None
    except RecursionError:
        raise UnreadableError(Problem(file, 0, "", f"Values are nested deeper than {MOST_DEPTH} levels.")) from None


def _decoded(file: str, data: bytes) -> str:
    if len(data) > MOST_BYTES:
        message = f"The file has {len(data):,} bytes; {MOST_BYTES:,} are the most. Divide it into several files."
        raise UnreadableError(Problem(file, 0, "", message))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(Problem(file, line, "", "The file is not UTF-8 text.")) from None


def _sentence(error: yaml.MarkedYAMLError) -> str:
    said = " ".join(filter(None, (error.context, error.problem)))
    return said if said.endswith((".", "?")) else f"This is not valid YAML: {said}."


def _documents(file: str, loader: _Loader) -> Iterator[Document]:
    while loader.check_node():
        node: Any = loader.get_node()
        if isinstance(node, yaml.ScalarNode) and node.tag == NULL:
            continue  # nothing between two ---
        lines: dict[Path, int] = {}
        if not isinstance(node, yaml.MappingNode):
            raise _refused(node, "A document is a list of keys and values that begins with “redrive: 1”.")
        yield Document(file, _mapping(node, (), lines), lines)


def _value(node: Any, path: Path, lines: dict[Path, int]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines)
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, index), lines) for index, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: Any, path: Path, lines: dict[Path, int]) -> dict[str, Any]:
    lines[path] = node.start_mark.line + 1
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _refused(key_node, "A key must be a text.")
        if key_node.tag in (NULL, BOOL, INT, FLOAT):
            raise _refused(key_node, f"The key {key_node.value or 'null'} is not a text. Write it in quotes.")
        key = _text(key_node)
        if key in found:
            raise _refused(key_node, f"The key “{key}” stands here twice. Keep one of the two.")
        found[key] = _value(value_node, (*path, key), lines)
        lines[(*path, key)] = key_node.start_mark.line + 1
    return found


def _scalar(node: Any) -> Any:
    if node.tag == NULL:
        return None
    if node.tag == BOOL:
        return node.value.lower() == "true"
    if node.tag in (INT, FLOAT):
        if len(node.value) > MOST_DIGITS:
            raise _refused(node, f"A number of more than {MOST_DIGITS} digits. Write it in quotes, as a text.")
        number = int(node.value) if node.tag == INT else float(node.value)
        if not math.isfinite(number):
            raise _refused(node, f"The number {node.value} is too large.")
        return number
    return _text(node)


def _text(node: Any) -> str:
    text = str(node.value)
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise _refused(node, "A text with a NUL character or half of a surrogate pair cannot be stored.")
    return text
