"""Reads JSON into typed dataclasses. Strict: every fault is an ``Issue`` with its exact path and the way out."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from syncs.connectors import Issue

T = TypeVar("T")
_MISSING = object()
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def read(cls: type[T], data: Any, path: str, issues: list[Issue]) -> T | None:
    """An instance of the dataclass, or None with at least one issue added. Unknown keys are refused, absent ones defaulted."""
    found_before = len(issues)
    if not isinstance(data, Mapping):
        issues.append(Issue(path, f"Must be an object in braces, not {describe(data)}."))
        return None
    hints = _hints(cast(Any, cls))
    issues += [Issue(join(path, str(key)), _unknown(str(key), tuple(hints))) for key in data if key not in hints]
    values = {}
    for item in dataclasses.fields(cast(Any, cls)):
        where = join(path, item.name)
        if item.name in data:
            value = _value(hints[item.name], data[item.name], where, issues)
            if value is not _MISSING:
                values[item.name] = value
                _check_bounds(item, value, where, issues)
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            issues.append(Issue(where, "Is required."))
    return cls(**values) if len(issues) == found_before else None


def join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def describe(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, (list, tuple)) else "an object"


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls)


def _unknown(key: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    return f"There is no such key. Did you mean “{near[0]}”?" if near else f"There is no such key. Known: {', '.join(known)}."


def _check_bounds(item: dataclasses.Field[Any], value: Any, path: str, issues: list[Issue]) -> None:
    low, high = item.metadata.get("low"), item.metadata.get("high")
    if isinstance(value, (int, float)) and low is not None and high is not None and not low <= value <= high:
        issues.append(Issue(path, f"Must lie between {low:g} and {high:g}."))


def _value(hint: Any, data: Any, path: str, issues: list[Issue]) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if data is None:
            return None
        return _value(next(arg for arg in args if arg is not type(None)), data, path, issues)
    if origin is tuple:
        return _sequence(args[0], data, path, issues)
    if origin is dict:
        return _dict(args[1], data, path, issues)
    if hint is Any:
        return data
    if dataclasses.is_dataclass(hint):
        value = read(cast("type[Any]", hint), data, path, issues)
        return _MISSING if value is None else value
    if issubclass(hint, StrEnum):
        return _choice(hint, data, path, issues)
    return _scalar(hint, data, path, issues)


def _sequence(hint: Any, data: Any, path: str, issues: list[Issue]) -> Any:
    """One value stands for a list of one."""
    items = data if isinstance(data, (list, tuple)) else [data]
    values = [_value(hint, item, f"{path}[{number}]" if items is data else path, issues) for number, item in enumerate(items)]
    return _MISSING if any(value is _MISSING for value in values) else tuple(values)


def _dict(hint: Any, data: Any, path: str, issues: list[Issue]) -> Any:
    if not isinstance(data, Mapping):
        issues.append(Issue(path, f"Must be an object in braces, not {describe(data)}."))
        return _MISSING
    values = {str(key): _value(hint, item, join(path, str(key)), issues) for key, item in data.items()}
    return _MISSING if any(value is _MISSING for value in values.values()) else values


def _choice(enum: type[StrEnum], data: Any, path: str, issues: list[Issue]) -> Any:
    try:
        return enum(data)
    except ValueError:
        known = [member.value for member in enum]
        near = get_close_matches(str(data), known, n=1, cutoff=0.5)
        hint = f" Did you mean “{near[0]}”?" if near else ""
        issues.append(Issue(path, f"“{str(data)[:60]}” is not a choice here.{hint} Known: {', '.join(known)}."))
        return _MISSING


def _scalar(hint: type[Any], data: Any, path: str, issues: list[Issue]) -> Any:
    is_number = isinstance(data, (int, float)) and not isinstance(data, bool)
    if hint is float and is_number:
        return float(data)
    if isinstance(data, hint) and (hint is bool or not isinstance(data, bool)):
        return data
    issues.append(Issue(path, f"Must be {_NAMES.get(hint, hint.__name__)}, not {describe(data)}."))
    return _MISSING
