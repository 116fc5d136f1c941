"""The lines of the dead letter list: what a person needs to see of each entry without opening it.

Values of people are masked here for everybody (``sight``): to see them one opens the entry, where that is asked for and
noted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dlq.models import DLQEntry
from dlq.querysets import HEAD
from dlq.services import documents, masking, sight
from dlq.services.documents import Document
from dlq.services.masking import Masker
from dlq.services.offers import Person

_MESSAGE_MAX = 1_000  # of it so much is masked and handed to the page


@dataclass(frozen=True, slots=True)
class Line:
    """``value``: what the blamed field held, as text; None where it is not known or too long to look for."""

    entry: DLQEntry
    message: str
    value: str | None
    owner: Person | None


def lines(entries: Iterable[DLQEntry], people: Mapping[int, Person]) -> list[Line]:
    masker = sight.masker()
    return [_line(entry, people, masker) for entry in entries]


def _line(entry: DLQEntry, people: Mapping[int, Person], masker: Masker | None) -> Line:
    texts = {name: _whole(entry, name) for name in masking.DOCUMENTS}
    said = entry.message[:_MESSAGE_MAX]
    if masker is None:
        plain, found = {"message": said}, {name: documents.parse(text) if text else None for name, text in texts.items()}
    else:
        plain, found = masker.parsed({**texts, "message": sight.message(said, is_known=any(texts.values()))})
    value = None
    if entry.field:
        value = _held(found["payload"], entry.field)
        if value is None:
            value = _held(found["source_row"], entry.field)
    return Line(entry, plain["message"], value, people.get(entry.owner_id) if entry.owner_id else None)


def _whole(entry: DLQEntry, name: str) -> str:
    """The stored text where the list's query could hold all of it; else nothing: half a document cannot be read."""
    text: str = getattr(entry, f"{name}_head", "")
    return text if len(text) <= HEAD else ""


def _held(document: Document | None, name: str) -> str | None:
    """The value under a field's name, written ``email``, ``address.city`` or ``tags[]``, whatever its case."""
    if document is None or not isinstance(document.value, dict):
        return None
    wanted = name.casefold().removesuffix("[]")
    value: Any = document.value
    members = {key.casefold(): one for key, one in value.items()}
    if wanted in members:
        return documents.cell(members[wanted])
    for part in wanted.split("."):
        if not isinstance(value, dict):
            return None
        members = {key.casefold(): one for key, one in value.items()}
        if part not in members:
            return None
        value = members[part]
    return documents.cell(value)
