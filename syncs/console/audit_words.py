"""The history of the set-up in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncs.console import formats
from syncs.models import AuditEvent

_ACTS = {
    "created": "Created",
    "changed": "Settings changed",
    "rotated": "Secrets changed",
    "tested": "Tested",
    "logged_in": "Logged in at the destination",
    "login_lost": "Login ended by the destination",
    "tried": "Tried one record",
    "row_taken": "Took a row to try",
}
_TOLD = ("created", "rotated", "tested", "tried")  # a sentence says it all
_FEW = 6


@dataclass(frozen=True, slots=True)
class Line:
    """``changes``: (what, before, after); ``more``: how many of them are not listed."""

    at: datetime
    by: str
    act: str
    text: str
    changes: list[tuple[str, str, str]]
    more: int


def line(event: AuditEvent) -> Line:
    by = event.actor.get_username() if event.actor else {"system": "Redrive", "cli": "the command line"}.get(event.door, "")
    changes = [] if event.act in _TOLD else _changes(event.detail)
    more = len(changes) - _FEW + int(event.detail.get("more", 0)) if len(changes) > _FEW else 0
    act = _ACTS.get(event.act, event.act.replace("_", " ").capitalize())
    return Line(event.at, by, act, _text(event.act, event.detail), changes[:_FEW], more)


def _changes(detail: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    pairs = [(name, value) for name, value in detail.items() if isinstance(value, list) and len(value) == 2]
    return [(name, _value(one), _value(other)) for name, (one, other) in pairs]


def _value(value: Any) -> str:
    return "nothing" if value in (None, "", [], {}) else value if isinstance(value, str) else formats.compact_json(value)


def _text(act: str, detail: Mapping[str, Any]) -> str:
    if act == "tested":
        return f"{detail['message']} ({detail['milliseconds']:,.0f} ms)"
    if act == "rotated":
        parts = (("new value", detail.get("given")), ("removed", detail.get("removed")))
        return "; ".join(f"{word}: {', '.join(names)}" for word, names in parts if names)
    if act == "created" and "kind" in detail:
        return f"kind {detail['kind']}" + (f", secrets: {', '.join(detail['secrets'])}" if detail.get("secrets") else "")
    if act == "tried":
        return f"{detail['operation']} of {detail['object']}: {detail['outcome']}"
    if act == "row_taken":
        return f"row {detail['key']} of {detail['sync']}"
    if act == "logged_in":
        return f"scope {detail['scope']}" if detail.get("scope") else ""
    return str(detail.get("reason") or detail.get("message") or "")
