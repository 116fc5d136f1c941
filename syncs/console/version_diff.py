"""Two snapshots of a sync side by side."""

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


def by_field(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Destination field -> its line of the mapping in words; several lines of one list are joined."""
    found: dict[str, Any] = {}
    for line in snapshot.get("mappings", []):
        name = line["destination_field"]
        found[name] = f"{found[name]}\n{_line(line)}" if name in found else _line(line)
    return found


def _line(line: Mapping[str, Any]) -> str:
    source = {"column": line["column"], "template": line["template"]}.get(line["kind"], line["constant"])
    extras = [line["type"], f"if empty: {line['on_null']}"]
    extras += [word for word, flag in (("required", line["is_required"]), ("key", line["is_key"])) if flag]
    extras += [compact_json(line["options"])] if line["options"] else []
    return f"{line['kind']} {source} ({', '.join(extras)})"


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and set(value) == {"id", "name"}:
        return str(value["name"])
    if value is None or value in ("", {}, []):
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else compact_json(value)
