"""What an error's text gives away: the field it speaks of, and which records of a batch it may mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syncs.destinations.http_api import paths
from syncs.errors import ErrorType
from syncs.records import Record, RowError

_WORD = re.compile(r"[^\W_][\w-]*")
_QUOTED = re.compile(r"['\"`“‘]([^'\"`“”‘’]{1,255})['\"`”’]")
_LABEL = re.compile(r"\b([A-Z][a-z]+):")
_MAX_TEXT = 4_000
_SHORTEST_VALUE = 3  # shorter values stand in any text


def field_in(text: str, records: Sequence[Record]) -> str:
    """The payload field that the text names as a word, or an empty string. The longest name wins: email_domain over email.
    A word before a colon may be capitalised: “Email: … is not properly formatted”."""
    if not records:
        return ""
    shown = text[:_MAX_TEXT]
    words = set(_WORD.findall(shown)) | set(re.findall(r"[\w.-]+", shown)) | set(map(str.lower, _LABEL.findall(shown)))
    names = sorted((name for name in _names(records[0].payload) if _is_named(name, words)), key=len, reverse=True)
    return names[0] if names else ""


def field_of_value(text: str, record: Record) -> str:
    """The one payload field whose whole value stands in the text in quotes: “node with key "C-17" exists” names no field."""
    quoted = set(_QUOTED.findall(text[:_MAX_TEXT]))
    if not quoted:
        return ""
    values = ((name, paths.first(record.payload, name)) for name in _names(record.payload))
    found = [name for name, value in values if isinstance(value, str) and len(value) >= _SHORTEST_VALUE and value in quoted]
    return found[0] if len(found) == 1 else ""


def is_plainly_named(text: str, field: str) -> bool:
    """The text means the field and does not merely use the word: in quotes, after a dot, beside the word “field”.

    A 403 whose text happens to hold “user” or “name” must stay the connection's fault, not become one dead letter per row.
    """
    name = re.escape(field)
    kinds = "(?:field|property|column|attribute)s?"
    pattern = rf"['\"`“‘]{name}['\"`”’]|\w\.{name}\b|\b{kinds}:? {name}\b|\b{name} {kinds}\b"
    return re.search(pattern, text[:_MAX_TEXT], re.IGNORECASE) is not None


def suspects(text: str, error: RowError, records: Sequence[Record]) -> tuple[int, ...]:
    """Positions that an error without a locator points at. Empty when the hint would mean a large part of the batch.

    Records whose own value stands in the text; or, where a field is said to be missing, records that lack it.
    """
    shown = text[:_MAX_TEXT]
    most = max(1, len(records) // 4)
    for hint in (_by_value(shown, records), _by_gap(error, records)):
        if 0 < len(hint) <= most:
            return tuple(hint)
    return ()


def _by_value(text: str, records: Sequence[Record]) -> list[int]:
    values = [{value for value in map(str, _texts(record.payload)) if value in text} for record in records]
    shared = Counter(value for found in values for value in found)
    return [position for position, found in enumerate(values) if any(shared[value] == 1 for value in found)]


def _by_gap(error: RowError, records: Sequence[Record]) -> list[int]:
    if error.type is not ErrorType.MISSING_REQUIRED or not error.field:
        return []
    return [
        position
        for position, record in enumerate(records)
        if paths.first(record.payload, error.field) in (paths.MISSING, None, "", [], {})
    ]


def _texts(payload: Mapping[str, Any]) -> Iterator[Any]:
    for value in paths.leaves(payload):
        if isinstance(value, bool) or value is None:
            continue
        if len(str(value)) >= _SHORTEST_VALUE:
            yield value


def _names(payload: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in payload.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{name}.")


def _is_named(name: str, words: set[str]) -> bool:
    """A dotted name as a whole or by its last part; a name of another object's field (contact.email) by its last part."""
    return name in words or name.rpartition(".")[2] in words or any(word.rpartition(".")[2] == name for word in words)
