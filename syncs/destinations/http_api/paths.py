"""Paths into a JSON answer or a payload: ``errors[].context.ids``, ``result[0].id``; an empty path is the whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

_PART = re.compile(r"[^.\[\]]+|\[\d*\]")
_WHOLE = re.compile(r"[^.\[\]]*(\[\d*\])*(\.[^.\[\]]+(\[\d*\])*)*")
_EACH = object()
MISSING: Any = object()


@lru_cache(maxsize=2048)
def parse(path: str) -> tuple[Any, ...]:
    """Names as text, ``[3]`` as a number, ``[]`` as a mark for each item. Raises ``ValueError``."""
    if not _WHOLE.fullmatch(path) or path.startswith("."):
        raise ValueError(path)
    return tuple(_part(part) for part in _PART.findall(path))


def _part(part: str) -> Any:
    if part == "[]":
        return _EACH
    return int(part[1:-1]) if part.startswith("[") else part


def first(data: Any, path: str) -> Any:
    """The first value at the path, or ``MISSING``."""
    if type(data) is dict and path in data:  # by far the most paths are one name
        return data[path] if "." not in path and "[" not in path else next(_walk(data, parse(path)), MISSING)
    return next(_walk(data, parse(path)), MISSING)


def every(data: Any, path: str) -> list[Any]:
    """All values at the path; a list at its end is opened."""
    found: list[Any] = []
    for value in _walk(data, parse(path)):
        if isinstance(value, list):
            found.extend(value)
        else:
            found.append(value)
    return found


def text(data: Any, path: str) -> str:
    """The values at the path as text, joined by “; ”. Empty where the path is empty or leads nowhere."""
    if not path:
        return ""
    return "; ".join(dict.fromkeys(as_text(value) for value in every(data, path) if value not in (None, "")))


def as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "; ".join(leaf for leaf in map(as_text, leaves(value)) if leaf)
    return "" if value is None else str(value)


def leaves(value: Any, depth: int = 20) -> Iterator[Any]:
    """Every scalar below the value."""
    if isinstance(value, dict) and depth:
        for item in value.values():
            yield from leaves(item, depth - 1)
    elif isinstance(value, list) and depth:
        for item in value:
            yield from leaves(item, depth - 1)
    elif not isinstance(value, (dict, list)):
        yield value


def put(data: dict[str, Any], path: str, value: Any) -> None:
    """Set a value below nested objects, which are made as needed."""
    *parents, last = path.split(".")
    for name in parents:
        data = data.setdefault(name, {})
    data[last] = value


def without(data: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A copy that lacks the value at the (dotted) path."""
    name, _, rest = path.partition(".")
    copy = dict(data)
    if not rest:
        copy.pop(name, None)
    elif isinstance(copy.get(name), Mapping):
        copy[name] = without(copy[name], rest)
    return copy


def _walk(data: Any, parts: tuple[Any, ...]) -> Iterator[Any]:
    if not parts:
        yield data
        return
    head, rest = parts[0], parts[1:]
    if head is _EACH:
        for item in data if isinstance(data, list) else ():
            yield from _walk(item, rest)
    elif isinstance(head, int):
        if isinstance(data, list) and head < len(data):
            yield from _walk(data[head], rest)
    elif isinstance(data, dict) and head in data:
        yield from _walk(data[head], rest)
