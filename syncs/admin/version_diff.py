"""Two snapshots side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syncs.console.formats import compact_json

_APART = {"mappings"}  # shown in a table of its own


@dataclass(frozen=True, slots=True)
class Difference:
    """``now`` is None where there is nothing to compare with."""

    name: str
    then: str
    now: str | None

    @property
    def is_changed(self) -> bool:
        return self.now is not None and self.now != self.then

    @property
    def is_long(self) -> bool:
        return "\n" in self.then or "\n" in (self.now or "") or max(len(self.then), len(self.now or "")) > 120


def differences(then: Mapping[str, Any], now: Mapping[str, Any] | None) -> list[Difference]:
    """Every name of either side, in the order of the first; what only one side has shows as empty on the other."""
    names = [*then, *(name for name in now or () if name not in then)]
    return [
        Difference(name, _text(then.get(name)), _text(now.get(name)) if now is not None else None)
        for name in names
        if name not in _APART
    ]


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and set(value) == {"id", "name"}:
        return str(value["name"])
    if value is None or value in ("", {}, []):
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else compact_json(value)
