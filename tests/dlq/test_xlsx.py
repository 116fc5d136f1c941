"""Workbooks: read back by another implementation, value for value."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlq.models import DLQEntry
from dlq.services import export, export_plan, export_xlsx
from dlq.services.documents import Document, Literal
from dlq.services.export_plan import ExportFormat, Plan, all_columns
from dlq.services.export_text import unguard
from dlq.services.export_xlsx import escape, unescape
from dlq.services.moves import ActRefusedError
from tests.dlq.objects import make_entry, make_group, make_run
from tests.dlq.test_export import HOSTILE
from tests.syncs.objects import make_sync


def workbook(names: list[str], rows: list[list[Any]]) -> Any:
    file = io.BytesIO()
    export_xlsx.write(file, names, [rows])
    return openpyxl.load_workbook(file, read_only=True)


def read_back(names: list[str], rows: list[list[Any]]) -> list[tuple[Any, ...]]:
    return list(workbook(names, rows)[export_xlsx.SHEET].iter_rows(values_only=True))


@given(st.text())
def test_escape_is_reversible(text: str) -> None:
    escaped = escape(text)
    assert unescape(escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")) == text
    escaped.encode()


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_any_text_is_read_back_exactly_and_is_no_formula(texts: list[str]) -> None:
    _head, row = read_back([f"c{n}" for n in range(len(texts))], [texts])
    assert [unguard(unescape(value)) for value in row] == texts
    assert not any(unescape(value).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝")) for value in row)


def test_hostile_texts_are_texts() -> None:
    texts = [text for text in HOSTILE if text] + ["_x0041_", "a_x000D_b", "\0\ud800\uffff", "]]>&lt;<!--"]
    sheet = workbook([str(n) for n in range(len(texts))], [texts])[export_xlsx.SHEET]
    cells = next(iter(sheet.iter_rows(min_row=2)))
    assert {cell.data_type for cell in cells} == {"s"}
    assert [unguard(unescape(cell.value)) for cell in cells] == texts


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (5, 5), (-12, -12), (0, 0), (Document(1.5, True), 1.5), (Document(Literal("1.5"), False), 1.5),
        (Document(Literal("1.50"), False), "1.50"), (Document(Literal("12345678901234567890"), False), "12345678901234567890"),
        (123456789012345678, "123456789012345678"), (Document(1e300, True), "1e+300"), (Document(True, True), "true"),
        (Document(None, True), "null"), (Document("5", True), "5"), (Document([1, "a"], True), '[1,"a"]'), (None, None),
        (Document(Literal("-0"), False), "-0"), (Document("-5", True), "'-5"), (Document(Literal("-5"), False), -5),
    ],
)  # fmt: skip
def test_only_numbers_that_stay_exact_are_numbers(value: Any, read: Any) -> None:
    found = read_back(["a", "b"], [[value, "x"]])[1][0]
    assert found == read
    assert type(found) is type(read)


def test_long_value_is_split_into_the_other_sheet() -> None:
    long = "=" + "🎈" * 40_000
    book = workbook(["a", "b"], [[long, "short"], ["x" * 32_767, "y" * 32_768]])
    rows = list(book[export_xlsx.SHEET].iter_rows(values_only=True))
    assert rows[1] == ("⟨long value 1⟩", "short")
    assert rows[2] == ("x" * 32_767, "⟨long value 2⟩")
    parts = list(book[export_xlsx.LONG_SHEET].iter_rows(values_only=True))[1:]
    assert all(len(text.encode("utf-16-le")) // 2 <= export_xlsx.CELL_MAX for _number, _part, text in parts)
    joined = "".join(unguard(unescape(text)) for number, _part, text in parts if number == "1")
    assert unguard(joined) == long
    assert "".join(text for number, _part, text in parts if number == "2") == "y" * 32_768
    assert export_xlsx.long_number(rows[2][1]) == 2


def test_workbook_holds_no_markers_of_a_stream() -> None:
    file = io.BytesIO()
    export_xlsx.write(file, ["a"], [[["x"]]])
    with zipfile.ZipFile(file) as book:
        assert book.testzip() is None
        assert not any(one.flag_bits & 0x08 for one in book.infolist())


def test_more_rows_than_a_sheet_holds_are_refused_beforehand() -> None:
    plan = Plan(ExportFormat.XLSX, all_columns())
    export_plan.check_count(plan, 1_048_575)
    with pytest.raises(ActRefusedError, match="Choose CSV"):
        export_plan.check_count(plan, 1_048_576)
    export_plan.check_count(Plan(ExportFormat.CSV, all_columns()), 10_000_000)


@pytest.mark.django_db
def test_export_as_a_workbook_is_exact() -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    for text in HOSTILE:
        make_entry(run, group=group, message=text, payload=json.dumps({"note": text, "n": 1.5}))
    plan = Plan(ExportFormat.XLSX, ("id", "message", "payload"), is_flat=True, is_raw=True)
    made = export.download(DLQEntry.objects.all(), plan)
    head, *rows = list(openpyxl.load_workbook(made.file, read_only=True)[export_xlsx.SHEET].iter_rows(values_only=True))
    assert head == ("id", "message", "payload.note", "payload.n", "payload_rest")
    assert [row[0] for row in rows] == list(DLQEntry.objects.order_by("pk").values_list("pk", flat=True))
    assert [unguard(unescape(row[1] or "")) for row in rows] == HOSTILE
    assert [unguard(unescape(row[2] or "")) for row in rows] == HOSTILE
    assert {row[3] for row in rows} == {1.5}
    assert made.written.rows == len(HOSTILE)
    made.file.close()
