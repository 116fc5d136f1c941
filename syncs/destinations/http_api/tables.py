"""CSV, as bulk interfaces take and give it (RFC 4180, UTF-8, a header line, lines end with a line feed)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import orjson

from syncs.destinations.http_api import paths

CONTENT_TYPE = "text/csv"


def written(rows: Iterable[Mapping[str, Any]], *, null_text: str) -> bytes:
    """One column for each name that any row has, in the order of their first sight; ``{"Owner": {"Key": 1}}`` is the column
    ``Owner.Key``. Null is ``null_text``, a name that a row lacks is empty; lists are JSON."""
    flat = [dict(_flat(row, null_text)) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([row.get(name, "") for name in names] for row in flat)
    return out.getvalue().encode()


def _flat(row: Mapping[str, Any], null_text: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in row.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, null_text, f"{prefix}{name}.")
        else:
            yield prefix + name, null_text if value is None else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    return orjson.dumps(value, default=str).decode() if isinstance(value, (list, dict)) else paths.as_text(value)


def read(body: bytes) -> list[dict[str, str]] | None:
    """A row each, by the names in the header; None where this is no CSV: a page, a line of another length."""
    text = body.decode("utf-8-sig", "replace")
    if text.lstrip()[:1] in ("<", "{"):
        return None
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error:
        return None
    if not lines:
        return []
    names, *rows = lines
    if any(len(row) != len(names) for row in rows):
        return None
    return [dict(zip(names, row, strict=True)) for row in rows]
