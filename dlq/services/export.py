"""Dead letters as a file: CSV, JSON or JSON Lines, streamed; memory does not grow with rows."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson
from django.db import models
from django.http import StreamingHttpResponse
from django.utils import timezone

from dlq.choices import Door, EventKind
from dlq.models import DLQEntry
from dlq.resources import columns
from dlq.services import moves
from dlq.services.moves import Act

if TYPE_CHECKING:
    from django.contrib.auth.models import User

FETCH = 2_000
_JSON_COLUMNS = ("payload", "source_row")
# What a spreadsheet takes for a formula, the full-width forms included. A text that only looks guarded is guarded once more,
# so that taking one leading apostrophe off such a text always gives the original back.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\0＝＋－＠]")


class ExportFormat(StrEnum):
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"

    @property
    def content_type(self) -> str:
        return {"csv": "text/csv; charset=utf-8", "json": "application/json", "jsonl": "application/x-ndjson"}[self.value]

    @property
    def label(self) -> str:
        return {"csv": "CSV", "json": "JSON", "jsonl": "JSON Lines"}[self.value]


def guard(text: str) -> str:
    """A text that no spreadsheet runs as a formula. ``unguard`` gives the original back."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def stream(entries: models.QuerySet[DLQEntry], format: ExportFormat) -> Iterator[bytes]:
    """The file in chunks of some thousand rows, UTF-8 without a byte order mark, oldest entry first."""
    declared = columns()
    names = [name for _attribute, name in declared]
    rows = entries.order_by("pk").values_list(*(attribute for attribute, _name in declared)).iterator(chunk_size=FETCH)
    writers = {ExportFormat.CSV: _csv, ExportFormat.JSON: _json, ExportFormat.JSONL: _jsonl}
    return writers[format](names, rows)


def response(
    entries: models.QuerySet[DLQEntry], format: ExportFormat, *, by: User | None, door: Door, reason: str = ""
) -> StreamingHttpResponse:
    """The download; each entry's history gets a line that says who took it out."""
    act = Act(by=by, door=door, reason=moves.checked_reason(reason, is_required=False), detail={"format": format.value})
    chosen = moves.on_own_columns(entries)
    for ids in chosen.id_ranges(moves.CHUNK):
        moves.write_events(chosen.within(ids), kind=EventKind.EXPORTED, act=act, at=act.at)
    answer = StreamingHttpResponse(stream(chosen, format), content_type=format.content_type)
    answer["Content-Disposition"] = f'attachment; filename="dead-letters-{timezone.now():%Y%m%d-%H%M%S}.{format.value}"'
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Cache-Control"] = "no-store"
    return answer


class _Lines:
    """A file for csv.writer that keeps nothing."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def write(self, text: str) -> int:
        self.parts.append(text)
        return len(text)

    def take(self) -> bytes:
        text = "".join(self.parts)
        self.parts.clear()
        return text.encode()


def _csv(names: Sequence[str], rows: Iterator[Sequence[Any]]) -> Iterator[bytes]:
    lines = _Lines()
    writer = csv.writer(lines)
    writer.writerow(names)
    for number, row in enumerate(rows, start=1):
        writer.writerow([_cell(value) for value in row])
        if number % FETCH == 0:
            yield lines.take()
    yield lines.take()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return _time(value)
    return guard(value) if isinstance(value, str) else str(value)


def _jsonl(names: Sequence[str], rows: Iterator[Sequence[Any]]) -> Iterator[bytes]:
    for part in _objects(names, rows):
        yield b"".join(line + b"\n" for line in part)


def _json(names: Sequence[str], rows: Iterator[Sequence[Any]]) -> Iterator[bytes]:
    before = b"[\n"
    for part in _objects(names, rows):
        yield before + b",\n".join(part)
        before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


def _objects(names: Sequence[str], rows: Iterator[Sequence[Any]]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    raw = [name in _JSON_COLUMNS for name in names]
    for row in rows:
        values = {
            name: _document(value) if is_raw else _time(value) if isinstance(value, datetime) else value
            for name, value, is_raw in zip(names, row, raw, strict=True)
        }
        part.append(orjson.dumps(values))
        if len(part) == FETCH:
            yield part
            part = []
    if part:
        yield part


def _document(text: str) -> orjson.Fragment | str | None:
    """Stored JSON goes out byte for byte (numbers stay exact); what does not parse goes out as the text that it is."""
    if not text:
        return None
    for parser in (orjson.loads, json.loads):  # the second knows lone surrogates and is slower
        try:
            parser(text)
        except (ValueError, RecursionError):
            continue
        return orjson.Fragment(text)
    return text


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
