from __future__ import annotations

import csv
import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlq.models import DLQEntry
from dlq.services import export, export_rows
from dlq.services.documents import Document
from dlq.services.export import ExportFormat, Plan, guard, unguard
from dlq.services.export_plan import all_columns
from dlq.services.export_text import csv_parts
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.syncs.objects import make_sync

HOSTILE = [
    "=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\tx", "\rx", "\nx", "'=1", "''=1", "'quoted'", "＝1", "ü李\u202e\u200b🎈",
    'a"b,c\r\nd', "<script>alert(1)</script>", " lead", "",
]  # fmt: skip


def file_of(format: ExportFormat, **plan: Any) -> bytes:
    """Raw unless said otherwise."""
    made = Plan(format, all_columns(), **({"is_raw": True} | plan))
    return b"".join(export.stream(DLQEntry.objects.all(), format, plan=made))


@given(st.text())
def test_guard_is_reversible_and_leaves_no_formula(text: str) -> None:
    guarded = guard(text)
    assert unguard(guarded) == text
    assert not guarded.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠"))


@given(st.text(alphabet="'=+-@\t\r\n\0a"))
def test_guard_is_reversible_for_what_looks_guarded(text: str) -> None:
    assert unguard(guard(text)) == text


@pytest.mark.django_db
def test_csv_holds_exact_values_behind_the_guard() -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    for number, text in enumerate(HOSTILE):
        make_entry(run, group=group, row_key=f"k{number}", message=text, error_code=text[:120])
    raw = file_of(ExportFormat.CSV)
    assert not raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    assert [unguard(row["message"]) for row in rows] == HOSTILE
    assert all(not row["message"].startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows)
    first = DLQEntry.objects.order_by("pk")[0]
    assert rows[0]["payload"] == first.payload
    assert rows[0]["sync"] == run.sync.name
    assert rows[0]["last_failed_at"] == first.last_failed_at.isoformat().replace("+00:00", "Z")
    assert rows[0]["version"] == "1"
    assert rows[0]["owner"] == ""


@pytest.mark.django_db
def test_json_and_json_lines_hold_the_same_exact_objects() -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    payload = (
        '{"price": 12345678901234567890.123456789012345, "big": 123456789012345678901234567890, "name": "ü\\u0000\\ud800"}'
    )
    make_entry(run, group=group, message=HOSTILE[0], payload=payload, source_row="not json")
    make_entry(run, group=group, http_status=None, payload="", source_row='{"a":' * 2000 + "1" + "}" * 2000)
    for text in HOSTILE:
        make_entry(run, group=group, message=text)
    whole = file_of(ExportFormat.JSON)
    lines = [json.loads(line) for line in file_of(ExportFormat.JSONL).split(b"\n")[:-1] if b'"a":{"a"' not in line]
    assert payload.encode() in whole
    assert lines[0]["message"] == "=1+1"
    assert lines[0]["source_row"] == "not json"
    assert lines[0]["payload"]["big"] == 123456789012345678901234567890
    assert [line["message"] for line in lines[1:]][-len(HOSTILE) :] == HOSTILE
    assert lines[1]["payload"] is None or isinstance(lines[1]["payload"], dict)
    DLQEntry.objects.filter(source_row__startswith='{"a":{').delete()
    assert json.loads(file_of(ExportFormat.JSON)) == [json.loads(line) for line in file_of(ExportFormat.JSONL).splitlines()]


@given(st.lists(st.lists(st.text(alphabet="a,\"'\r\n=-ü\0 "), min_size=2, max_size=2)))
def test_csv_is_what_the_library_reads_and_writes(rows: list[list[str]]) -> None:
    raw = b"".join(csv_parts(["a", "b"], [[list(row) for row in rows]]))
    expected = io.StringIO(newline="")
    csv.writer(expected).writerows([["a", "b"], *([guard(text) for text in row] for row in rows)])
    assert raw == expected.getvalue().encode()
    assert [[unguard(text) for text in row] for row in csv.reader(io.StringIO(raw.decode(), newline=""))][1:] == rows


def test_row_of_one_empty_cell_is_a_row() -> None:
    assert b"".join(csv_parts(["a"], [[[None], ["x"], [Document("-1", True)], [-1]]])) == b'a\r\n""\r\nx\r\n\'-1\r\n-1\r\n'


@pytest.mark.django_db
def test_json_of_nothing_is_an_empty_list() -> None:
    assert json.loads(file_of(ExportFormat.JSON)) == []
    assert file_of(ExportFormat.JSONL) == b""
    assert len(file_of(ExportFormat.CSV).splitlines()) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("format", [ExportFormat.CSV, ExportFormat.JSON, ExportFormat.JSONL])
def test_export_of_several_fetches_is_whole(format: ExportFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_rows, "FETCH", 10)
    monkeypatch.setattr(export_rows, "_FIRST", 3)
    run = make_run(make_sync())
    make_entries(35, run, make_group(run.sync))
    raw = file_of(format)
    if format == ExportFormat.CSV:
        keys = [row["row_key"] for row in csv.DictReader(io.StringIO(raw.decode(), newline=""))]
    elif format == ExportFormat.JSON:
        keys = [one["row_key"] for one in json.loads(raw)]
    else:
        keys = [json.loads(line)["row_key"] for line in raw.splitlines()]
    assert keys == list(DLQEntry.objects.order_by("pk").values_list("row_key", flat=True))


@pytest.mark.django_db
@pytest.mark.once("postgresql")
def test_memory_does_not_grow_with_rows() -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    peaks = []
    for more in (4_000, 8_000):
        make_entries(more, run, group, message="m" * 400)
        tracemalloc.start()
        size = sum(len(part) for part in export.stream(DLQEntry.objects.all(), ExportFormat.CSV))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert size > more * 400
    assert peaks[1] < peaks[0] * 1.5  # three times the rows
