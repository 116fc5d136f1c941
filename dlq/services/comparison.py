"""The table of the entry page: each destination field, what was sent, where it came from, what the warehouse held."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dlq.models import DLQEntry

MAX_FIELDS = 400


@dataclass(frozen=True, slots=True)
class ComparedField:
    """``sent`` and ``read`` are texts as people write them; None: not there at all. ``difference``: one word or two."""

    field: str
    sent: str | None
    source: str
    read: str | None
    difference: str
    is_blamed: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """``broken``: why the stored texts could not be laid out field by field; the raw texts are shown instead."""

    fields: list[ComparedField]
    left_out_count: int = 0
    broken: str = ""


def compare(entry: DLQEntry) -> Comparison:
    """Blamed field first, then differing ones, then equal ones, then columns that the mapping does not send."""
    try:
        sent = dict(_flat(entry.payload_values))
        read = {name: as_text(value) for name, value in entry.source_values.items()}
    except (ValueError, RecursionError):
        return Comparison(
            [], broken="The stored row is nested too deeply, or holds numbers too long, to be laid out field by field."
        )
    snapshot = entry.version.snapshot if entry.version else {}
    rows = list(_mapped(snapshot.get("mappings", []), sent, read, entry.field))
    rows.sort(key=lambda row: (not row.is_blamed, _ORDER.get(row.difference, 1)))
    return Comparison(rows[:MAX_FIELDS], max(0, len(rows) - MAX_FIELDS))


_ORDER = {"Same": 2, "Not mapped": 3}


def _mapped(
    mappings: list[Mapping[str, Any]], sent: dict[str, str], read: dict[str, str], blamed: str
) -> Iterator[ComparedField]:
    rest, used = dict(sent), set()
    for mapping in mappings:
        name = str(mapping.get("destination_field", ""))
        values = [rest.pop(path) for path in _paths_of(name, sent) if path in rest]
        value = "\n".join(values) if values else None
        column = str(mapping.get("column") or "")
        warehouse = read.get(column) if column else None
        used.add(column)
        yield ComparedField(
            name,
            value,
            column or _source(mapping),
            warehouse,
            _difference(mapping, value, warehouse),
            _same_field(name, blamed),
        )
    for name, value in rest.items():
        yield ComparedField(name, value, "", None, "Not in the mapping", _same_field(name, blamed))
    for column, value in read.items():
        if column not in used:
            yield ComparedField("", None, column, value, "Not mapped", _same_field(column, blamed))


def _source(mapping: Mapping[str, Any]) -> str:
    if mapping.get("kind") == "template":
        return f"template {mapping.get('template', '')}"
    return f"constant {as_text(mapping.get('constant'))}"


def _difference(mapping: Mapping[str, Any], sent: str | None, read: str | None) -> str:
    if sent is None:
        return "Not sent"
    if mapping.get("kind", "column") != "column":
        return "Made by the mapping"
    if read in (None, "null", ""):
        return "Empty in the warehouse" if sent in ("null", "") else "Default of the mapping"
    return "Same" if sent == read else "Changed by the mapping"


def _same_field(name: str, blamed: str) -> bool:
    return bool(blamed) and name.casefold() == blamed.casefold()


def _paths_of(name: str, sent: Mapping[str, str]) -> list[str]:
    """The flattened paths that one mapped field fills: itself, or what lies under it (a json or list value)."""
    stem = name.removesuffix("[]")
    return [path for path in sent if path == stem or path.startswith((f"{stem}.", f"{stem}["))] if stem else []


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested dicts as dotted paths; lists stay whole."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{path}.")
        else:
            yield path, as_text(value)


def as_text(value: Any) -> str:
    """A JSON value as people write it: text bare, numbers exact, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)
