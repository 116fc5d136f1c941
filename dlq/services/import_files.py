"""Files of corrections, CSV or XLSX, read into lines of texts. What a spreadsheet did to a file is undone or named."""

from __future__ import annotations

import csv
import io
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

import openpyxl

from dlq.services import export_xlsx
from dlq.services.export_text import unguard
from dlq.services.export_xlsx import LONG_SHEET, unescape
from dlq.services.moves import ActRefusedError

MAX_BYTES = 10_000_000
MAX_ROWS = 5_000
_MAX_COLUMNS = 1_000
_MAX_UNPACKED = 200_000_000
_CELL_MAX = 3_000_000
_DELIMITERS = (",", ";", "\t")

csv.field_size_limit(_CELL_MAX)  # a payload may be a megabyte; the module's own limit is 128 kB


@dataclass(slots=True)
class Line:
    """``number``: as a spreadsheet counts, the heading is 1. ``problems``: cells that hold no text, by column."""

    number: int
    cells: dict[str, str]
    problems: dict[str, str] = field(default_factory=dict)


def read(raw: bytes, name: str) -> tuple[tuple[str, ...], list[Line]]:
    """(column names, lines that are not empty). Raises ``ActRefusedError`` (``field`` "file") naming what is wrong."""
    if len(raw) > MAX_BYTES:
        raise refused(f"The file has {len(raw):,} bytes; {MAX_BYTES:,} is the most. Split it.")
    if not raw:
        raise refused("The file is empty.")
    rows = _workbook(raw) if raw.startswith(b"PK\x03\x04") else _csv(raw, name)
    names = next(rows, None)
    if names is None:
        raise refused("The file holds no heading. Export dead letters, correct the payload columns, and choose that file.")
    heading = _heading([value if isinstance(value, str) else "" for value in names])
    lines = []
    for number, row in enumerate(rows, start=2):
        if any(value not in (None, "") for value in row):
            lines.append(_line(number, heading, row))
        if len(lines) > MAX_ROWS:
            raise refused(f"The file holds more than {MAX_ROWS:,} rows. Split it.")
    return heading, lines


def refused(sentence: str) -> ActRefusedError:
    return ActRefusedError(sentence, field="file")


def _heading(names: Sequence[str]) -> tuple[str, ...]:
    found = tuple(unguard(name).strip() for name in names)
    doubled = {name for name in found if name and found.count(name) > 1}
    if doubled:
        raise refused(f"The column “{min(doubled)[:80]}” is there twice. Keep one of the two.")
    return found


def _line(number: int, heading: Sequence[str], row: Sequence[Any]) -> Line:
    line = Line(number, {})
    for name, value in zip(heading, row, strict=False):
        if not name:
            continue
        if isinstance(value, _Unusable):
            line.problems[name] = value.reason
        else:
            line.cells[name] = unguard(value or "")
    if any(value not in (None, "") for value in row[len(heading) :]):
        line.problems[""] = "has more cells than the heading; a text with a delimiter may lack its quotes"
    return line


# --- CSV


def _csv(raw: bytes, name: str) -> Iterator[list[Any]]:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0\0" in raw[:100]:
        raise refused("The file is UTF-16. Save it as “CSV UTF-8”.")
    if raw.startswith(b"\xd0\xcf\x11\xe0"):
        raise refused("This is an old Excel file, or a protected one. Save it as .xlsx or as “CSV UTF-8”.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise refused(
            f"The file is not UTF-8 (byte {problem.start:,}). Save it as “CSV UTF-8”, or use .xlsx: with another encoding "
            "letters would be changed."
        ) from None
    heading = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=heading.count)
    return _csv_rows(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def _csv_rows(reader: Any) -> Iterator[list[Any]]:
    try:
        yield from reader
    except csv.Error as problem:
        raise refused(f"Line {reader.line_num:,} of the file is no CSV: {problem}.") from None


# --- XLSX


@dataclass(frozen=True, slots=True)
class _Unusable:
    reason: str


def _workbook(raw: bytes) -> Iterator[list[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as book:
            if sum(one.file_size for one in book.infolist()) > _MAX_UNPACKED:
                raise refused("The workbook unpacks to more than 200 MB. Use CSV, or split it.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # extensions of the format that hold no values
            found = openpyxl.load_workbook(io.BytesIO(raw), read_only=True)
    except ActRefusedError:
        raise
    except Exception as problem:  # whatever a broken file makes of the reader
        raise refused(f"The workbook cannot be read ({type(problem).__name__}). Save it anew as .xlsx or as CSV.") from problem
    sheets = [sheet for sheet in found.worksheets if sheet.title != LONG_SHEET]
    if not sheets:
        raise refused("The workbook holds no sheet.")
    return _sheet_rows(found, sheets[0])


def _sheet_rows(found: Any, sheet: Any) -> Iterator[list[Any]]:
    try:
        long = _long_values(found)
        for number, row in enumerate(sheet.iter_rows(max_col=_MAX_COLUMNS)):
            if number > 20 * MAX_ROWS:
                raise refused(f"The sheet holds more than {20 * MAX_ROWS:,} lines. Delete the empty ones below the last.")
            yield [_value(cell, long) for cell in row]
    except ActRefusedError:
        raise
    except Exception as problem:
        raise refused(f"The sheet cannot be read ({type(problem).__name__}). Save it anew as .xlsx or as CSV.") from problem
    finally:
        found.close()


def _long_values(found: Any) -> dict[int, str]:
    """The texts that were too long for a cell, put together again."""
    if LONG_SHEET not in found.sheetnames:
        return {}
    parts: dict[int, dict[int, str]] = {}
    size = 0
    for row in _pairs(found[LONG_SHEET].iter_rows(min_row=2, max_col=3, values_only=True)):
        number, part, text = row
        size += len(text)
        if size > _MAX_UNPACKED:
            raise refused("The long values are more than 200 MB. Use CSV, or split the file.")
        parts.setdefault(number, {})[part] = text
    return {number: unguard("".join(found[part] for part in sorted(found))) for number, found in parts.items()}


def _pairs(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[int, int, str]]:
    for row in rows:
        number, part, text = (list(row) + [None] * 3)[:3]
        if str(number or "").isdecimal() and str(part or "").isdecimal():
            yield int(number), int(part), unguard(unescape(str(text or "")))


def _value(cell: Any, long: dict[int, str]) -> Any:
    value = cell.value
    if value is None:
        return None
    if cell.data_type == "f":
        return _Unusable("is a formula; paste its value instead")
    if cell.data_type == "e":
        return _Unusable(f"holds the error {str(value)[:20]}")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (datetime, date, time)):
        return _Unusable("is a date of the spreadsheet; format the cell as text and write the value as it is to be sent")
    text = unescape(str(value))
    number = export_xlsx.long_number(text)
    return long.get(number, text) if number is not None else text
