"""Rows as CSV, JSON and JSON Lines: UTF-8 without a byte order mark."""

from __future__ import annotations

import csv
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
        # A lone surrogate, which only JSON can hold, is written as JSON writes it.
        return text.encode("utf-8", "backslashreplace")


def csv_parts(names: Sequence[str], slices: Iterable[list[list[Any]]]) -> Iterator[bytes]:
    lines = _Lines()
    writer = csv.writer(lines)
    writer.writerow([guard(name) for name in names])
    yield lines.take()
    for rows in slices:
        writer.writerows([[cell(value) for value in row] for row in rows])
        yield lines.take()


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
