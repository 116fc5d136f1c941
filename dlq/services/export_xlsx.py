"""Rows as an Excel workbook, written as they come: neither rows nor texts are kept in memory.

Two rules make every value fit, and both can be undone (``unescape``; the sheet of long values):
- characters that XML cannot hold are written as the format itself does, ``_x0000_``, texts that look like that too;
- a text too long for a cell is written in parts to the sheet ``long values``, and its cell says where.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from typing import IO, Any

from dlq.services import documents
from dlq.services.documents import Document
from dlq.services.export_text import cell, guard
from dlq.services.moves import ActRefusedError

CELL_MAX = 32_767  # UTF-16 units Excel takes
SHEET = "dead letters"
LONG_SHEET = "long values"
LONG_HEADER = ("number", "part", "text")
_PART = 16_000  # characters; each may be two units
_ROWS_MAX = 1_048_576
_ILLEGAL = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_LONG = re.compile(r"⟨long value (\d{1,7})⟩")
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,14})?")
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def escape(text: str) -> str:
    """Ready for XML."""
    if _ILLEGAL.search(text):
        text = _ILLEGAL.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescape(text: str) -> str:
    """A cell's text as it was, once XML is read."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def long_number(text: str) -> int | None:
    """The number in the sheet of long values that a cell points to."""
    found = _LONG.fullmatch(text)
    return int(found[1]) if found else None


def write(file: IO[bytes], names: Sequence[str], slices: Iterable[list[list[Any]]]) -> None:
    """Write a workbook to a seekable file. Raises ``ActRefusedError`` for what no workbook can hold."""
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as book, _LongValues() as long:
            with book.open("xl/worksheets/sheet1.xml", "w") as sheet:
                _sheet(sheet, names, slices, long)
            with book.open("xl/worksheets/sheet2.xml", "w") as sheet:
                long.copy_to(sheet)
            for name, text in _frame().items():
                book.writestr(name, _HEAD + text)
    except RuntimeError as error:  # zipfile's word for more than 2 GiB in one part
        raise ActRefusedError(
            "The sheet would be larger than 2 GB. Choose CSV, fewer columns, or narrow the filter."
        ) from error


def _sheet(sheet: IO[bytes], names: Sequence[str], slices: Iterable[list[list[Any]]], long: _LongValues) -> None:
    letters = [_letters(index) for index in range(len(names))]
    sheet.write(_sheet_start(is_frozen=True))
    sheet.write(_row(1, letters, [_text(guard(name), long) for name in names]).encode())
    number = 1
    for rows in slices:
        parts = []
        for row in rows:
            number += 1
            parts.append(_row(number, letters, [_cell(value, long) for value in row]))
        sheet.write("".join(parts).encode())
    sheet.write(b"</sheetData></worksheet>")


def _sheet_start(*, is_frozen: bool) -> bytes:
    pane = '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>' if is_frozen else ""
    view = f'<sheetViews><sheetView workbookViewId="0">{pane}</sheetView></sheetViews>'
    return f'{_HEAD}<worksheet xmlns="{_MAIN}">{view}<sheetData>'.encode()


def _row(number: int, letters: Sequence[str], cells: Sequence[tuple[str, str]]) -> str:
    inner = "".join(
        f'<c r="{letter}{number}"{kind}>{text}</c>' for letter, (kind, text) in zip(letters, cells, strict=True) if text
    )
    return f'<row r="{number}">{inner}</row>'


def _cell(value: Any, long: _LongValues) -> tuple[str, str]:
    """(attributes, content). Numbers that a spreadsheet keeps exactly are numbers; all else is text."""
    if value is None or value == "":
        return "", ""
    inner = value.value if isinstance(value, Document) else value
    if isinstance(inner, (int, float, documents.Literal)) and not isinstance(inner, bool):
        text = documents.cell(inner)
        if _is_exact(text):
            return "", f"<v>{text}</v>"
        return _text(text, long)
    return _text(cell(value), long)


def _is_exact(text: str) -> bool:
    """Whether a spreadsheet's numbers give back this very text."""
    if len(text) > 17 or not _PLAIN_NUMBER.fullmatch(text) or (text.startswith("-0") and not float(text)):
        return False
    return sum(map(str.isdigit, text)) <= 15 and repr(float(text)) in (text, f"{text}.0")


def _text(text: str, long: _LongValues) -> tuple[str, str]:
    if len(text) > _PART and len(text.encode("utf-16-le", "surrogatepass")) // 2 > CELL_MAX:
        text = long.keep(text)
    return ' t="inlineStr"', f'<is><t xml:space="preserve">{escape(text)}</t></is>' if text else ""


class _LongValues:
    """The second sheet, kept in a temporary file until the first is written."""

    def __enter__(self) -> _LongValues:
        self._file = tempfile.SpooledTemporaryFile(max_size=1_000_000)
        self._number = 0
        self._row = 1
        self._put(LONG_HEADER)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def keep(self, text: str) -> str:
        self._number += 1
        for part, start in enumerate(range(0, len(text), _PART), start=1):
            self._put((str(self._number), str(part), guard(text[start : start + _PART])))
        return f"⟨long value {self._number}⟩"

    def _put(self, texts: Sequence[str]) -> None:
        if self._row > _ROWS_MAX:
            raise ActRefusedError(
                "There are more long values than a sheet holds. Choose CSV, fewer columns, or narrow the filter."
            )
        cells = [(' t="inlineStr"', f'<is><t xml:space="preserve">{escape(text)}</t></is>') for text in texts]
        self._file.write(_row(self._row, ("A", "B", "C"), cells).encode())
        self._row += 1

    def copy_to(self, sheet: IO[bytes]) -> None:
        sheet.write(_sheet_start(is_frozen=True))
        self._file.seek(0)
        while part := self._file.read(1_000_000):
            sheet.write(part)
        sheet.write(b"</sheetData></worksheet>")


def _letters(index: int) -> str:
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _frame() -> dict[str, str]:
    """What a workbook needs beside its sheets."""
    sheets = "".join(
        f'<sheet name="{name}" sheetId="{number}" r:id="rId{number}"/>'
        for number, name in enumerate((SHEET, LONG_SHEET), start=1)
    )
    relation = "".join(
        f'<Relationship Id="rId{number}" Type="{_RELATIONS}/{kind}" Target="{target}"/>'
        for number, kind, target in (
            (1, "worksheet", "worksheets/sheet1.xml"),
            (2, "worksheet", "worksheets/sheet2.xml"),
            (3, "styles", "styles.xml"),
        )
    )
    parts = "".join(
        f'<Override PartName="/xl/{part}.xml" ContentType="{_TYPES}.{kind}+xml"/>'
        for part, kind in (
            ("workbook", "sheet.main"),
            ("worksheets/sheet1", "worksheet"),
            ("worksheets/sheet2", "worksheet"),
            ("styles", "styles"),
        )
    )
    return {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{parts}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>{sheets}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{relation}</Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}">'
        '<fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
        '<fills count="2"><fill><patternFill patternType="none"/></fill>'
        '<fill><patternFill patternType="gray125"/></fill></fills>'
        '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
        '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
        '<cellXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/></cellXfs>'
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>',
    }
