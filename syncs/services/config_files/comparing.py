"""Where two contents differ, setting by setting, in words that may be shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_FLAT = ("config", "destination_options")


@dataclass(frozen=True, slots=True)
class Change:
    """``path``: ``query``, ``config.limits.concurrency``, ``mappings.email.type``. None: it is not there."""

    path: str
    before: str | None
    after: str | None

    @property
    def is_long(self) -> bool:
        return any(text is not None and ("\n" in text or len(text) > 100) for text in (self.before, self.after))


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[Change]:
    """In the order of ``after``. ``before`` None: everything is new, and only what is not empty is named."""
    one = {} if before is None else _flat(before)
    other = _flat(after)
    found = []
    for path in [*other, *(path for path in one if path not in other)]:
        was, now = (shown(side[path]) if path in side else None for side in (one, other))
        if before is None and other[path] in (None, "", [], {}):
            continue
        if path not in one or path not in other or canonical(one[path]) != canonical(other[path]):
            found.append(Change(path, was, now))
    return found


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in content.items():
        if name == "secrets":
            continue  # told by what happens to each
        if name == "mappings":
            found |= _lines(value)
        elif name in _FLAT:
            found |= dict(_leaves(name, value))
        else:
            found[name] = value
    return found


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name in sorted(value):
            yield from _leaves(f"{path}.{name}", value[name])
    elif path not in _FLAT:
        yield path, value


def _lines(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Lines by the field they fill, those of a list numbered; and the fields in their order, for what only changed places."""
    found: dict[str, Any] = {}
    names: list[str] = []
    for line in lines:
        field = line["destination_field"]
        number = sum(name == field or name.startswith(f"{field} #") for name in names) + 1
        names.append(field if number == 1 else f"{field} #{number}")
        for key, value in line.items():
            if key != "destination_field":
                found[f"mappings.{names[-1]}.{key}"] = value
    found["mappings"] = names
    return found


def canonical(value: Any) -> str:
    """Equal for values that a database cannot tell apart, and for no others: 1 and true differ, 1e20 and its digits do not."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and (abs(value) >= 1e15 or value == 0):
        return int(value) if value else 0.0
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def shown(value: Any) -> str:
    """A text as it is; anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
