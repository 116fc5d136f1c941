"""What pages hide of warehouse rows, named by the settings so that nothing here imports the app that keeps the rules."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from syncs.engine.hashing import canonical_body, row_json
from syncs.records import RowValues


class PageMask(Protocol):
    def row(self, documents: Sequence[str], texts: Sequence[str]) -> tuple[list[str], list[str]]:
        """JSON documents and plain texts about one row, as a page may show them; same numbers of both."""
        ...

    def sentence(self, text: str) -> str:
        """What a destination said of a row that is not at hand, without the values in it."""
        ...


def build() -> PageMask:
    """Raises ``ImportError`` when the settings name none; a system check says so earlier."""
    made: PageMask = import_string(settings.RETL["PAGE_MASK"])()
    return made


def shown(
    mask: PageMask,
    columns: Sequence[str],
    row: RowValues,
    payload: Mapping[str, Any] | None = None,
    texts: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, Any] | None, list[str]]:
    """(the row by column, the payload, the texts) as a page may show them, as JSON values; exact numbers are ``Decimal``."""
    documents = [row_json(columns, row), "" if payload is None else _text(payload)]
    (row_text, payload_text), said = mask.row(documents, texts)
    return _object(row_text), _object(payload_text) if payload is not None else None, said


def _text(payload: Mapping[str, Any]) -> str:
    try:
        return canonical_body(payload).decode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(payload, default=str)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return {"": f"({len(text):,} characters that cannot be read as JSON)"}
    return found if isinstance(found, dict) else {"": found}
