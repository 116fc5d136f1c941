"""Stored JSON text, parsed without losing a digit, written back, and laid out flat for a table.

Numbers that a float would change are kept as the text they were (``Literal``). What is no JSON, or is nested deeper than a
parser goes, is not a document: callers keep it as the text it is, or hide it as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from syncs.engine.strict_json import refuse_constant

MAX_DEPTH = 20  # objects nested deeper stay JSON in their cell
_NAMES = {True: "true", False: "false", None: "null"}


class Literal(str):
    """A number, as it stands in the JSON text."""

    __slots__ = ()


@dataclass(slots=True)
class Document:
    """``value``: dict, list, str, int, float, ``Literal``, bool or None. ``is_plain``: orjson writes it back byte for byte."""

    value: Any
    is_plain: bool

    def text(self) -> str:
        """As JSON."""
        return orjson.dumps(self.value).decode() if self.is_plain else _dump(self.value)


def parse(text: str) -> Document | None:
    """None when it is no JSON, or is nested too deep to read."""
    try:
        value = orjson.loads(text)
        if orjson.dumps(value).decode() == text:
            return Document(value, True)
    except (ValueError, TypeError, RecursionError):  # not JSON, lone surrogates, numbers beyond 64 bits, too deep
        pass
    try:
        return Document(json.loads(text, parse_float=Literal, parse_int=Literal, parse_constant=refuse_constant), False)
    except (ValueError, RecursionError):
        return None


def _dump(value: Any) -> str:
    """Without recursion: what a parser could read can be written. ``waiting`` holds values to write and texts between them."""
    parts: list[str] = []
    waiting: list[tuple[Any, bool]] = [(value, False)]
    while waiting:
        one, is_written = waiting.pop()
        if is_written:
            parts.append(one)
        elif isinstance(one, dict):
            waiting.append(("}", True))
            for number, (name, member) in reversed(list(enumerate(one.items()))):
                waiting += [(member, False), (f"{',' if number else '{'}{quoted(name)}:", True)]
            if not one:
                parts.append("{")
        elif isinstance(one, list):
            waiting.append(("]", True))
            for number, member in reversed(list(enumerate(one))):
                waiting += [(member, False), ("," if number else "[", True)]
            if not one:
                parts.append("[")
        else:
            parts.append(quoted(one) if type(one) is str else cell(one))
    return "".join(parts)


def quoted(text: str) -> str:
    """As a JSON string; characters as they are, lone surrogates escaped."""
    try:
        return orjson.dumps(text).decode()
    except TypeError:
        return json.dumps(text)


def cell(value: Any) -> str:
    """A value as the text of a table's cell: texts as they are, everything else as JSON writes it."""
    if isinstance(value, str):
        return value
    if value is None or value is True or value is False:
        return _NAMES[value]
    return orjson.dumps(value).decode() if isinstance(value, (int, float)) else _dump(value)


# --- Flat: an object's members as columns. A path is the names joined by dots; dots and backslashes in a name are escaped.


def join(parent: str, name: str) -> str:
    escaped = name if "." not in name and "\\" not in name else name.replace("\\", "\\\\").replace(".", "\\.")
    return f"{parent}.{escaped}" if parent else escaped


def split(path: str) -> list[str]:
    """The names that ``join`` made a path of."""
    names, name, is_escaped = [], "", False
    for character in path:
        if is_escaped:
            name, is_escaped = name + character, False
        elif character == "\\":
            is_escaped = True
        elif character == ".":
            names.append(name)
            name = ""
        else:
            name += character
    return [*names, name]


def leaves(value: dict[str, Any], parent: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """(path, value) of everything that is no object with members of its own. Lists stay whole: one cell holds them as JSON."""
    for name, one in value.items():
        path = join(parent, name)
        if isinstance(one, dict) and one and depth < MAX_DEPTH:
            yield from leaves(one, path, depth + 1)
        else:
            yield path, one
