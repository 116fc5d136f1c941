"""The table of the entry page, field by field: what was sent and what the warehouse held, then and now."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from dlq.choices import RowState
from dlq.models import DLQEntry
from dlq.services.live import Live
from dlq.services.masking_rules import HIDDEN
from dlq.services.payloads import leaves

MAX_FIELDS = 400
Line = Mapping[str, Any]  # of a mapping, as a version's snapshot holds it


class Tone(StrEnum):
    """``same`` is quiet; ``changed`` says that another try differs; ``odd`` is a difference that was there when it failed."""

    SAME = "same"
    ODD = "odd"
    CHANGED = "changed"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class ComparedField:
    """Values are texts as people write them; None: not there at all. ``read``, ``sent``: then. ``now``, ``mapped``: now, None
    also while the warehouse has not been asked. ``difference``: a word or a few."""

    field: str
    source: str
    sent: str | None
    read: str | None
    now: str | None
    mapped: str | None
    difference: str
    tone: Tone
    is_blamed: bool = False
    is_refused: bool = False  # today's mapping refuses the row for this field


@dataclass(frozen=True, slots=True)
class Comparison:
    """``broken``: why the stored texts could not be laid out field by field; the raw texts are shown instead."""

    fields: list[ComparedField]
    left_out_count: int = 0
    broken: str = ""


def compare(
    entry: DLQEntry,
    live: Live | None = None,
    mapping: Sequence[Line] | None = None,
    *,
    shown: tuple[DLQEntry, Live | None] | None = None,
) -> Comparison:
    """Blamed field first, then what differs, then what is equal, then columns that no mapping sends.

    ``live``: what the warehouse holds now; without it the table is about then only. ``mapping``: today's lines. ``shown``: the
    same two with their values masked; then these are laid out, while the differences are those of the true values.
    """
    try:
        rows = _rows(entry, live, mapping)
        if shown is not None:
            rows = _masked(rows, *shown, mapping)
    except (ValueError, RecursionError):
        return Comparison(
            [], broken="The stored row is nested too deeply, or holds numbers too long, to be laid out field by field."
        )
    rows.sort(key=lambda row: (not (row.is_blamed or row.is_refused), _ORDER.get(row.difference, 1)))
    return Comparison(rows[:MAX_FIELDS], max(0, len(rows) - MAX_FIELDS))


def _rows(entry: DLQEntry, live: Live | None, mapping: Sequence[Line] | None) -> list[ComparedField]:
    then = _Side(entry.payload, entry.source_row, entry.version.snapshot.get("mappings", []) if entry.version else [])
    found = live if live is not None and not live.problem else None
    now = _Side(found.payload, found.row, mapping or []) if found else None
    return list(_Table(then, now, found, entry.field).rows())


def _masked(
    rows: list[ComparedField], entry: DLQEntry, live: Live | None, mapping: Sequence[Line] | None
) -> list[ComparedField]:
    """Each with the values of its masked counterpart. Where they do not go together (a mask changed a name that the mapping
    goes by) nothing of the values is shown."""
    try:
        others = _rows(entry, live, mapping)
    except (ValueError, RecursionError):
        others = []
    if [_places(one) for one in others] != [_places(one) for one in rows]:
        return [
            replace(row, sent=_hidden(row.sent), read=_hidden(row.read), now=_hidden(row.now), mapped=_hidden(row.mapped))
            for row in rows
        ]
    return [
        replace(
            row, field=other.field, source=other.source, sent=other.sent, read=other.read, now=other.now, mapped=other.mapped
        )
        for row, other in zip(rows, others, strict=True)
    ]


def _hidden(value: str | None) -> str | None:
    return None if value is None else HIDDEN


def _places(row: ComparedField) -> tuple[bool, ...]:
    return (bool(row.field), row.sent is None, row.read is None, row.now is None, row.mapped is None)


_ORDER = {"Same": 2, "Not mapped": 3, "Not mapped, changed since": 3, "Not mapped, new": 3, "Not mapped, gone": 3}


class _Side:
    """One moment: the payload by path, the row by column, the mapping between them."""

    def __init__(self, payload: str, row: str, lines: Sequence[Line]) -> None:
        self.sent = {path: as_text(value) for path, value in leaves(_object(payload))}
        self.read = {name: as_text(value) for name, value in _object(row).items()}
        self.lines: dict[str, list[Line]] = defaultdict(list)
        for line in lines:
            self.lines[str(line.get("destination_field", ""))].append(line)

    def value(self, name: str) -> str | None:
        values = [self.sent[path] for path in _paths_of(name, self.sent)]
        return "\n".join(values) if values else None

    def columns(self, name: str) -> list[str]:
        return [str(line["column"]) for line in self.lines.get(name, ()) if _is_column(line) and line.get("column")]

    def column_values(self, columns: Sequence[str]) -> str | None:
        values = [self.read[column] for column in columns if column in self.read]
        return "\n".join(values) if values else None


class _Table:
    def __init__(self, then: _Side, now: _Side | None, live: Live | None, blamed: str) -> None:
        self._then, self._now, self._live, self._blamed = then, now, live, blamed
        self._is_gone = live is not None and live.state == RowState.GONE

    def rows(self) -> Iterator[ComparedField]:
        then, now = self._then, self._now
        names = list(dict.fromkeys([*then.lines, *(now.lines if now and not self._is_gone else ())]))
        used_paths = {path for name in names for path in _paths_of(name, then.sent)}
        used_columns = {column for name in names for side in (then, now) if side for column in side.columns(name)}
        for name in names:
            yield self._mapped(name)
        for path, value in then.sent.items():
            if path not in used_paths:
                yield self._row(path, "", sent=value, difference="Not in the mapping", tone=Tone.ODD)
        for column in dict.fromkeys([*then.read, *(now.read if now else ())]):
            if column not in used_columns:
                yield self._unmapped(column)

    def _mapped(self, name: str) -> ComparedField:
        then, now = self._then, self._now
        lines = then.lines.get(name) or (now.lines.get(name) if now else None) or []
        read = then.column_values(then.columns(name))
        current = now.column_values(now.columns(name) or then.columns(name)) if now else None
        sent, mapped = then.value(name), now.value(name) if now else None
        difference, tone = self._difference(name, lines, sent=sent, read=read, current=current, mapped=mapped)
        return self._row(
            name, self._source(name), sent=sent, read=read, now=current, mapped=mapped, difference=difference, tone=tone
        )

    def _difference(
        self, name: str, lines: Sequence[Line], *, sent: str | None, read: str | None, current: str | None, mapped: str | None
    ) -> tuple[str, Tone]:
        at_first = _at_first(lines, sent, read)
        if self._now is None or self._live is None:
            return at_first, Tone.SAME if at_first == "Same" else Tone.ODD
        if self._is_gone:
            return "Gone", Tone.BAD
        if name not in self._then.lines:
            return "New in the mapping", Tone.CHANGED
        if name not in self._now.lines:
            return "Gone from the mapping", Tone.CHANGED
        if self._live.refused and _same_field(name, self._live.refused_field):
            return "Refused by today's mapping", Tone.BAD
        is_row_changed = read != current and bool(self._then.columns(name) or self._now.columns(name))
        is_sent_changed = not self._live.refused and bool(self._then.sent) and sent != mapped
        if is_row_changed and self._then.columns(name) == self._now.columns(name):
            quiet = not is_sent_changed and not self._live.refused and bool(self._then.sent)
            return ("Changed since, sent the same", Tone.ODD) if quiet else ("Changed since", Tone.CHANGED)
        if is_sent_changed:
            return "Changed by today's mapping", Tone.CHANGED
        return at_first, Tone.SAME if at_first == "Same" else Tone.ODD

    def _unmapped(self, column: str) -> ComparedField:
        read, current = self._then.read.get(column), self._now.read.get(column) if self._now else None
        difference = "Not mapped"
        if self._now is not None and not self._is_gone and read != current:
            difference += ", new" if read is None else ", gone" if current is None else ", changed since"
        return self._row("", column, read=read, now=current, difference=difference, blamed_as=column)

    def _row(
        self, name: str, source: str, *, difference: str, tone: Tone = Tone.SAME, blamed_as: str = "", **values: str | None
    ) -> ComparedField:
        known = name or blamed_as
        return ComparedField(
            field=name,
            source=source,
            sent=values.get("sent"),
            read=values.get("read"),
            now=values.get("now"),
            mapped=values.get("mapped"),
            difference=difference,
            tone=tone,
            is_blamed=_same_field(known, self._blamed),
            is_refused=self._live is not None and bool(self._live.refused) and _same_field(known, self._live.refused_field),
        )

    def _source(self, name: str) -> str:
        then = [_source(line) for line in self._then.lines.get(name, ())]
        now = [_source(line) for line in self._now.lines.get(name, ())] if self._now else then
        was, is_now = ", ".join(then), ", ".join(now)
        return was if was == is_now or not is_now else f"{was} → {is_now}" if was else is_now


def _at_first(lines: Sequence[Line], sent: str | None, read: str | None) -> str:
    """How the payload differed from the row when it failed."""
    if sent is None:
        return "Not sent"
    if len(lines) != 1 or not _is_column(lines[0]):
        return "Made by the mapping"
    if read in (None, "null", ""):
        return "Empty in the warehouse" if sent in ("null", "") else "Default of the mapping"
    return "Same" if sent == read else "Changed by the mapping"


def _is_column(line: Line) -> bool:
    return bool(line.get("kind", "column") == "column")


def _source(line: Line) -> str:
    if _is_column(line):
        return str(line.get("column") or "")
    if line.get("kind") == "template":
        return f"template {line.get('template', '')}"
    return f"constant {as_text(line.get('constant'))}"


def _same_field(name: str, blamed: str) -> bool:
    return bool(blamed) and name.casefold() == blamed.casefold()


def _paths_of(name: str, sent: Mapping[str, str]) -> list[str]:
    """The flattened paths that one mapped field fills: itself, or what lies under it (a json or list value)."""
    stem = name.removesuffix("[]")
    if stem in sent:
        return [stem]
    return [path for path in sent if path.startswith((f"{stem}.", f"{stem}["))] if stem else []


def _object(text: str) -> dict[str, Any]:
    loaded = json.loads(text, parse_float=Decimal) if text else {}
    return loaded if isinstance(loaded, dict) else {"": loaded}


def as_text(value: Any) -> str:
    """A JSON value as people write it: text bare, numbers exact, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)
