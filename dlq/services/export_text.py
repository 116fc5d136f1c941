"""Rows as CSV, JSON and JSON Lines: UTF-8 without a byte order mark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from dlq.services import documents
from dlq.services.documents import Document
from dlq.services.export_plan import JSON_COLUMNS

# What a spreadsheet takes for a formula, the full-width forms included. A text that only looks guarded is guarded once more,
# so that taking one leading apostrophe off such a text always gives the original back.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\0＝＋－＠]")
_STARTS = frozenset("'=+-@\t\r\n\0＝＋－＠")


def guard(text: str) -> str:
    """A text that no spreadsheet runs as a formula. ``unguard`` gives the original back."""
    return f"'{text}" if text and text[0] in _STARTS and _FORMULA.match(text) else text


def unguard(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def cell(value: Any) -> str:
    """As it stands in a table. Only texts are guarded: a number is none, though it may begin with a minus."""
    if value is None:
        return ""
    if isinstance(value, Document):
        inner = value.value
        return guard(inner) if type(inner) is str else documents.cell(inner) if _is_scalar(inner) else value.text()
    return guard(value) if isinstance(value, str) else str(value)


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, (dict, list))


def csv_parts(names: Sequence[str], slices: Iterable[list[list[Any]]]) -> Iterator[bytes]:
    """As ``csv.writer`` writes it, but that payloads of a thousand quotes cost a third less."""
    yield _csv_line([guard(name) for name in names])
    for rows in slices:
        yield b"".join([_csv_line([guard(value) if type(value) is str else cell(value) for value in row]) for row in rows])


def _csv_line(cells: Sequence[str]) -> bytes:
    line = ",".join([_csv_field(text) for text in cells]) or '""'  # an empty line would be no row
    # A lone surrogate, which only JSON can hold, is written as JSON writes it.
    return line.encode("utf-8", "backslashreplace") + b"\r\n"


def _csv_field(text: str) -> str:
    if not text:
        return ""
    if '"' in text or "," in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def jsonl_parts(names: Sequence[str], slices: Iterable[list[list[Any]]]) -> Iterator[bytes]:
    for part in _objects(names, slices):
        yield b"".join(line + b"\n" for line in part)


def json_parts(names: Sequence[str], slices: Iterable[list[list[Any]]]) -> Iterator[bytes]:
    before = b"[\n"
    for part in _objects(names, slices):
        yield before + b",\n".join(part)
        before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


def _objects(names: Sequence[str], slices: Iterable[list[list[Any]]]) -> Iterator[list[bytes]]:
    is_stored = [name in JSON_COLUMNS for name in names]
    for rows in slices:
        part = []
        for row in rows:
            values = {
                name: orjson.Fragment(value.text()) if isinstance(value, Document) else _stored(value) if is_json else value
                for name, value, is_json in zip(names, row, is_stored, strict=True)
            }
            part.append(orjson.dumps(values))
        if part:
            yield part


def _stored(text: Any) -> orjson.Fragment | str | None:
    """Stored JSON goes out byte for byte (numbers stay exact); what does not parse goes out as the text that it is."""
    if not text:
        return None
    for parser in (orjson.loads, json.loads):  # the second knows lone surrogates and is slower
        try:
            parser(text)
        except (ValueError, RecursionError):
            continue
        return orjson.Fragment(text)
    return str(text)
