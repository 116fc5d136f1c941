"""JSON that a person wrote, read strictly: what a lenient parser drops or bends in silence is refused by name."""

from __future__ import annotations

import json
from typing import Any


class DoubledNameError(ValueError):
    """``name`` stands twice in one object; a parser would keep the last one only."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The name “{name}” stands twice in one object.")
        self.name = name


class NoJsonConstantError(ValueError):
    """``name`` is NaN, Infinity or -Infinity, which Python reads and no API takes."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is no JSON value.")
        self.name = name


def strict_loads(text: str, **options: Any) -> Any:
    """``json.loads(text, **options)``. Raises besides ``DoubledNameError`` and ``NoJsonConstantError``."""
    return json.loads(text, parse_constant=refuse_constant, object_pairs_hook=_once, **options)


def refuse_constant(name: str) -> Any:
    """For ``parse_constant`` of ``json.loads``."""
    raise NoJsonConstantError(name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise DoubledNameError(name)
        found[name] = value
    return found
