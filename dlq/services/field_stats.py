"""What the refused values of an error group have in common: read from a sample of its newest live entries, said in words."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from dlq.fingerprint import field_shape
from dlq.models import ErrorGroup
from dlq.services.group_sample import TEXT_CAP, Sample
from dlq.services.masking import Masker, mask_text
from dlq.services.masking_rules import HIDDEN, is_secret, shape
from dlq.services.value_hints import hints

_SHOWN_VALUES = 10
_VALUES_OF_ENTRY = 20  # of a field inside a list
_KEPT = 400  # characters of a value; its true length is kept beside it
_PARTS = re.compile(r"[^.\[\]]+|\[\]")
MISSING = object()


@dataclass(frozen=True, slots=True)
class Share:
    label: str
    count: int
    percent: int  # of the sample's values, rounded; at least 1 where the count is above 0


@dataclass(frozen=True, slots=True)
class FieldStats:
    """``entry_count``: entries looked at; ``is_whole``: they are all live ones of the group. ``value_count``: values found, the
    empty ones included. Lengths are in characters, of texts that are not empty; None where there are none.
    """

    name: str  # of the field, as the error names it
    origin: str = "payload"  # or "warehouse row", where the payload has no such field
    entry_count: int = 0
    is_whole: bool = True
    value_count: int = 0
    empty_count: int = 0
    unreadable_count: int = 0
    distinct_count: int = 0
    values: list[Share] = field(default_factory=list)  # most frequent first
    kinds: list[Share] = field(default_factory=list)  # text, number, list, ...
    lengths: tuple[int, float, int] | None = None  # shortest, median, longest
    hints: list[str] = field(default_factory=list)
    is_masked: bool = False

    @property
    def empty_percent(self) -> int:
        return percent(self.empty_count, self.value_count)


@dataclass(slots=True)
class _Collected:
    """Values of the sample, never the documents they came from."""

    texts: Counter[str] = field(default_factory=Counter)  # what people read, cut -> how often
    kinds: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)
    values: int = 0
    empty: int = 0
    found: int = 0

    def add(self, value: Any) -> None:
        self.values += 1
        self.found += value is not MISSING
        kind = _kind(value)
        self.kinds[kind] += 1
        if kind in _EMPTY:
            self.empty += 1
            return
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        self.texts[text[:_KEPT]] += 1
        if isinstance(value, str):
            self.lengths.append(len(value))
            self.strings.append(text[:_KEPT])
        elif kind == "number":
            self.numbers.append(float(value))


_EMPTY = ("not there", "null", "empty text")


def field_stats(group: ErrorGroup, sample: Sample, *, column: str = "", masker: Masker | None = None) -> FieldStats | None:
    """Statistics of the field that the group's error names; None when it names none. Reads the sample.

    ``column``: the warehouse column that feeds the field, for rows of which no payload was made. ``masker``: hides values of
    people.
    """
    name = group.field.strip()
    if not name:
        return None
    payloads, rows, unreadable = _Collected(), _Collected(), Counter[str]()
    for entry in sample:
        _collect(payloads, entry.payload, name, unreadable, "payload")
        if not payloads.found:
            _collect(rows, entry.source_row, column or name, unreadable, "row")
    is_of_row = not payloads.found and bool(rows.found)
    chosen = rows if is_of_row else payloads
    return _told(
        name,
        chosen,
        origin="warehouse row" if is_of_row else "payload",
        entry_count=sample.count,
        is_whole=sample.count >= group.open_count,
        unreadable=unreadable["row" if is_of_row else "payload"],
        about=f"{name} {group.title} {group.error_code}",
        masker=masker if masker and (masker.hides(name) or masker.hides(column)) else None,
        is_plain=masker is None,
    )


def _told(
    name: str,
    got: _Collected,
    *,
    origin: str,
    entry_count: int,
    is_whole: bool,
    unreadable: int,
    about: str,
    masker: Masker | None,
    is_plain: bool,
) -> FieldStats:
    """``masker``: where the field itself is hidden. ``is_plain``: not even e-mail addresses and the like are looked for."""
    filled = got.values - got.empty
    shown = got.texts.most_common(_SHOWN_VALUES)

    def _shown(text: str) -> str:
        if masker is not None:
            return _hidden(text, name)
        return text if is_plain else mask_text(text)

    return FieldStats(
        name=name,
        origin=origin,
        entry_count=entry_count,
        is_whole=is_whole,
        value_count=got.values,
        empty_count=got.empty,
        unreadable_count=unreadable,
        distinct_count=len(got.texts),
        values=[Share(_shown(text), n, percent(n, got.values)) for text, n in shown],
        kinds=[Share(kind, n, percent(n, got.values)) for kind, n in got.kinds.most_common()],
        lengths=(min(got.lengths), median(got.lengths), max(got.lengths)) if got.lengths else None,
        hints=_said(
            strings=got.strings,
            lengths=got.lengths,
            numbers=[] if masker else got.numbers,
            filled=filled,
            empty=got.empty,
            distinct=len(got.texts),
            top=None if masker or not shown else shown[0],
            about=about,
            is_plain=is_plain,
        ),
        is_masked=masker is not None,
    )


def _said(*, is_plain: bool, **found: Any) -> list[str]:
    """A hint may quote how the values begin."""
    said = hints(**found)
    return said if is_plain else [mask_text(one) for one in said]


def _hidden(text: str, name: str) -> str:
    return HIDDEN if is_secret(name) else shape(text)


def _collect(into: _Collected, text: str, name: str, unreadable: Counter[str], which: str) -> None:
    if not text:
        return
    try:
        document = json.loads(text) if len(text) <= TEXT_CAP else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        unreadable[which] += 1
        return
    for value in _at(document, name):
        into.add(value)


def _at(document: Mapping[str, Any], name: str) -> Sequence[Any]:
    """The values at a path as errors name it: a key as it stands, ``a.b``, or ``a[3].b`` for the ``b`` of every item."""
    if name in document:
        return [document[name]]
    values: list[Any] = [document]
    for part in _PARTS.findall(field_shape(name)):
        if part == "[]":
            values = [item for value in values if isinstance(value, list) for item in value[:_VALUES_OF_ENTRY]]
        else:
            values = [_under(value, part) for value in values]
        values = values[:_VALUES_OF_ENTRY]
    found = [value for value in values if value is not MISSING]
    return found or [MISSING]


def _under(value: Any, part: str) -> Any:
    """Names differ in case between a destination's errors and its fields."""
    if not isinstance(value, dict):
        return MISSING
    if part in value:
        return value[part]
    return next((value[key] for key in value if key.casefold() == part.casefold()), MISSING)


def _kind(value: Any) -> str:
    if value is MISSING:
        return "not there"
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text" if value.strip() else "empty text"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "number"
    return "list" if isinstance(value, list) else "object"


def percent(part: int, whole: int) -> int:
    if not part or not whole:
        return 0
    return max(1, min(round(part / whole * 100), 99 if part < whole else 100))


def column_of(mappings: Iterable[Mapping[str, Any]], name: str) -> str:
    """The warehouse column that feeds this destination field in a version's mapping; empty where none does."""
    wanted = field_shape(name).casefold()
    for mapping in mappings:
        if field_shape(str(mapping.get("destination_field", ""))).casefold() == wanted:
            return str(mapping.get("column") or "")
    return ""
