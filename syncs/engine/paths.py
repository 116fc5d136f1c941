"""Destination paths: ``name``, ``address.city`` (nests), ``tags[]`` (each mapping adds one value to a list)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAX_SEGMENTS = 16
MAX_LENGTH = 255


@dataclass(frozen=True, slots=True)
class FieldPath:
    """``parents``: names of the objects around the value, outermost first. ``is_item``: the value joins the list ``name``."""

    parents: tuple[str, ...]
    name: str
    is_item: bool = False

    @property
    def segments(self) -> tuple[str, ...]:
        return (*self.parents, self.name)

    def put(self, payload: dict[str, Any], value: Any) -> None:
        node = payload
        for parent in self.parents:
            node = node.setdefault(parent, {})
        if self.is_item:
            node.setdefault(self.name, []).append(value)
        else:
            node[self.name] = value


def parse_path(text: str) -> FieldPath:
    """Raises ``ValueError`` with a sentence that says what is wrong and what to write instead."""
    if not text.strip():
        raise ValueError("The destination field has no name.")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"The destination field's name is longer than {MAX_LENGTH} characters.")
    if not text.isprintable():
        raise ValueError("The destination field's name holds a character that cannot be printed.")
    is_item = text.endswith("[]")
    segments = (text[:-2] if is_item else text).split(".")
    if any("[" in segment or "]" in segment for segment in segments):
        raise ValueError(
            f"“{text}”: [] may stand only once and at the end (tags[]). "
            "For a list of objects, build it in the query and map it with the type JSON."
        )
    if any(not segment or segment != segment.strip() for segment in segments):
        raise ValueError(f"“{text}”: a name is missing or has spaces beside a dot; write it like address.city.")
    if len(segments) > MAX_SEGMENTS:
        raise ValueError(f"“{text}” nests deeper than {MAX_SEGMENTS} levels.")
    return FieldPath(tuple(segments[:-1]), segments[-1], is_item)


def conflict(path: FieldPath, others: Sequence[FieldPath]) -> str:
    """Why ``path`` cannot stand beside ``others``: a sentence, or "" when it can."""
    mine = path.segments
    for other in others:
        theirs = other.segments
        if mine == theirs:
            if path.is_item and other.is_item:
                continue
            if path.is_item or other.is_item:
                return f"“{'.'.join(mine)}” is mapped both as one value and as a list ([]); keep one of the two."
            return f"“{'.'.join(mine)}” is mapped twice; keep one of the two."
        short, long = sorted((mine, theirs), key=len)
        if long[: len(short)] == short:
            whole, part = ".".join(short), ".".join(long)
            return f"“{whole}” cannot be a value and at the same time hold “{part}”; map the whole or its parts."
    return ""
