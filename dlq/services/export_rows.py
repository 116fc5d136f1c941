"""The rows of an export, read in slices by id and laid out as its columns. Memory does not grow with the number of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.resources import columns
from dlq.services import documents, masking
from dlq.services.documents import Document
from dlq.services.export_plan import JSON_COLUMNS, PATHS_MAX, TEXT_COLUMNS, Plan

FETCH = 2_000  # entries a query, at most
_FIRST = 100
_BYTES = 4_000_000  # of JSON text a query should bring: entries may be a megabyte each
_REMEMBERED = 10_000

Row = list[Any]
Note = Callable[[Sequence[int]], None]  # called with the ids of each slice before its rows are handed on


def read(entries: DLQEntryQuerySet, names: Sequence[str], *, note: Note | None = None) -> Iterator[list[Row]]:
    """Slices of rows, oldest entry first; each row holds the columns ``names``, related names looked up once."""
    attributes = {name: attribute for attribute, name in columns()}
    lookups = {index: _Related(path) for index, name in enumerate(names) if "__" in (path := attributes[name])}
    fetched = [lookups[index].source if index in lookups else attributes[name] for index, name in enumerate(names)]
    heavy = [index for index, name in enumerate(names) if name in JSON_COLUMNS]
    ordered = entries.order_by("pk").values_list("pk", *fetched)
    last, size = 0, _FIRST
    while found := list(ordered.filter(pk__gt=last)[:size]):
        last = found[-1][0]
        if note is not None:
            note([row[0] for row in found])
        rows = [list(row[1:]) for row in found]
        for index, related in lookups.items():
            related.fill(rows, index)
        weight = max(1, sum(len(row[index]) for row in rows for index in heavy))
        yield rows  # which the reader may change
        if len(found) < size:
            return
        size = max(1, min(FETCH, size * 4, len(found) * _BYTES // weight))


class _Related:
    """One column of another table: ``sync__name``. Few rows are shared by many entries, so each is asked for once."""

    def __init__(self, path: str) -> None:
        name, self._attribute = path.split("__", 1)
        field: Any = DLQEntry._meta.get_field(name)
        self.source = field.attname
        self._model = field.related_model
        self._known: dict[int, Any] = {}

    def fill(self, rows: list[Row], index: int) -> None:
        wanted = {row[index] for row in rows if row[index] is not None}
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        missing = [pk for pk in wanted if pk not in self._known]
        for start in range(0, len(missing), 500):
            found = self._model._base_manager.filter(pk__in=missing[start : start + 500])
            self._known.update(found.values_list("pk", self._attribute))
        for row in rows:
            row[index] = self._known.get(row[index])


def paths(entries: DLQEntryQuerySet, plan: Plan, *, note: Note | None = None) -> Plan:
    """The first pass of a flat export: the payload's paths, in the order they are met, at most PATHS_MAX."""
    found: dict[str, None] = {}
    seen: set[tuple[str, ...]] = set()
    hider = None if plan.is_raw else masking.masker()
    for rows in read(entries, ("payload",), note=note):
        for (text,) in rows:
            value = _plain(text, hider)
            names = tuple(value)
            if names in seen or len(found) >= PATHS_MAX:
                continue
            for path, _value in documents.leaves(value):
                if len(found) < PATHS_MAX:
                    found.setdefault(path)
            if len(seen) < _REMEMBERED and not any(isinstance(one, dict) for one in value.values()):
                seen.add(names)
    return replace(plan, paths=tuple(found))


def _plain(text: str, hider: masking.Masker | None) -> dict[str, Any]:
    """The payload as an object, or an empty one. Names that are addresses are hidden as in the file itself."""
    if hider is not None and ("@" in text or "%40" in text):
        document = hider.parsed({"payload": text})[1]["payload"]
    else:
        try:
            document = Document(orjson.loads(text), True)
        except (ValueError, RecursionError):
            document = documents.parse(text)
    value = None if document is None else document.value
    return value if isinstance(value, dict) else {}


class Layout:
    """Turns rows as read into rows as written: masked, and flat where asked. ``reads``: the columns it needs."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._hider = None if plan.is_raw else masking.masker()
        self.reads = tuple(plan.columns)
        needed = [name for name in JSON_COLUMNS if self._hider is not None or (plan.is_flat and name == "payload")]
        self.reads += tuple(name for name in needed if name not in self.reads)
        self._texts = [(index, name) for index, name in enumerate(self.reads) if name in (*TEXT_COLUMNS, *JSON_COLUMNS)]
        self._paths = {path: index for index, path in enumerate(plan.paths)}
        self._at = self.reads.index("payload") if plan.is_flat else 0
        self._width = len(plan.columns)

    def row(self, row: Row) -> Row:
        """Values in the order of ``plan.names``: JSON as ``Document`` or text, times as text, None for nothing."""
        plan = self._plan
        found: dict[str, Document | None] = {}
        if self._hider is not None:
            plain, found = self._hider.parsed({name: row[index] or "" for index, name in self._texts})
            for index, name in self._texts:
                row[index] = plain[name] if name in plain else self._whole(found[name])
        for index, value in enumerate(row):
            if type(value) is datetime:
                row[index] = time_text(value)
        if not plan.is_flat:
            return row[: self._width]
        payload = found.get("payload") if self._hider is not None else _parsed(row[self._at])
        flat = self._flat(payload)
        if "payload" not in plan.columns:
            return [*row[: self._width], *flat]
        return [*row[: self._at], *flat, *row[self._at + 1 : self._width]]

    def _whole(self, document: Document | None) -> Document | str | None:
        """A JSON column that is not laid out flat: JSON text in a table's cell, a value in JSON."""
        return document.text() if document is not None and self._plan.is_table else document

    def _flat(self, payload: Document | str | None) -> Row:
        cells: Row = [None] * (len(self._paths) + 1)
        if not isinstance(payload, Document) or not isinstance(payload.value, dict):
            cells[-1] = self._whole(payload) if isinstance(payload, Document) else payload
            return cells
        rest: dict[str, Any] = {}
        for path, value in documents.leaves(payload.value):
            index = self._paths.get(path)
            if index is None:
                rest[path] = value
            else:
                cells[index] = Document(value, payload.is_plain)
        if rest:
            cells[-1] = Document(rest, payload.is_plain)
        return cells


def _parsed(text: str) -> Document | str | None:
    return (documents.parse(text) or text) if text else None


def time_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
