"""The fields of an object as the API itself describes them: one read, whose answer is understood by paths given as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from syncs.destinations.base import Field
from syncs.destinations.http_api import paths
from syncs.destinations.http_api.config import Discover, Flag
from syncs.errors import ConfigError

MOST = 20_000  # items looked at; whoever keeps the fields takes fewer


def described(read: Callable[[str], Any], config: Discover) -> list[Field]:
    """``read(path)`` gives the JSON of the answer. Raises ``ConfigError`` where the answer is not what the settings say."""
    data = read(config.path)
    found = paths.first(data, config.fields) if config.fields else data
    if isinstance(found, Mapping):  # name -> description; or name -> type
        items = [(str(name), item) for name, item in found.items()]
    elif isinstance(found, list):
        items = [("", item) for item in found]
    else:
        where = f"“{config.fields}”" if config.fields else "its top level"
        raise _strange(config, f"it holds no list or object at {where}")
    if len(items) > MOST:
        raise _strange(config, f"it holds {len(items):,} items")
    return [_field(name, item, config, number) for number, (name, item) in enumerate(items, 1) if _is_wanted(item, config)]


def _strange(config: Discover, why: str) -> ConfigError:
    text = f"The answer from {config.path[:120]} does not describe fields as the settings say: {why}. Correct “discover”."
    return ConfigError(text, field="objects", code="schema_answer")


def _is_wanted(item: Any, config: Discover) -> bool:
    return not config.only or _all(item, config.only)


def _field(name: str, item: Any, config: Discover, number: int) -> Field:
    if not isinstance(item, Mapping):
        if not name:
            raise _strange(config, f"item number {number:,} is no object")
        return Field(name, type=item if isinstance(item, str) else "")
    given = _scalar(item, config.name) if config.name else name
    if not given:
        raise _strange(config, f"item number {number:,} has no name at “{config.name}”")
    return Field(
        given,
        label=_scalar(item, config.label),
        type=_scalar(item, config.type),
        is_required=bool(config.required) and _all(item, config.required),
        is_key=bool(config.key) and _all(item, config.key),
        max_length=_length(item, config.max_length),
        options=tuple(_options(item, config.options)),
        is_writable=not config.writable or _all(item, config.writable),
    )


def _scalar(item: Mapping[str, Any], path: str) -> str:
    value = paths.first(item, path) if path else None
    return value if isinstance(value, str) else str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _all(item: Any, flags: tuple[Flag, ...]) -> bool:
    for flag in flags:
        value = paths.first(item, flag.path)
        value = None if value is paths.MISSING else value
        if not (value in flag.equals if isinstance(flag.equals, list) else value == flag.equals):
            return False
    return True


def _length(item: Mapping[str, Any], path: str) -> int | None:
    value = paths.first(item, path) if path else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _options(item: Mapping[str, Any], path: str) -> list[str]:
    values = paths.every(item, path) if path else []
    return [str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)]
