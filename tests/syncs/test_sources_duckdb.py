from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from syncs.engine.hashing import row_key, split_key
from syncs.errors import SourceError
from syncs.sources import duckdb as kind
from syncs.sources import faults
from syncs.sources.base import SourceQuery
from syncs.sources.duckdb import DuckdbSource
from tests.syncs.sources_support import read

duckdb = pytest.importorskip("duckdb")

SLOW = "select count(*) as id from range(100000000) a, range(100000000) b where a.range % 7 = b.range % 11"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "ware.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("create table t as select i::integer as id, 'n' || i as name from range(25, 0, -1) r(i)")
        connection.execute("create sequence counter")
    return file


def source(path: Path, **config: Any) -> DuckdbSource:
    return kind.build({"path": str(path), **config}, {})


def test_stream_orders_by_key_and_chunks(path: Path) -> None:
    with source(path).stream(SourceQuery("select * from t;", key_columns=("id",)), chunk_rows=10) as rows:
        assert rows.columns == ("id", "name")
        chunks = list(rows)
    assert [len(chunk) for chunk in chunks] == [10, 10, 5]
    assert chunks[0][0] == (1, "n1")
    assert type(chunks[0][0]) is tuple


KEYED = """
select * from (values
  (1::int, 'a', 1.50::decimal(8,2), 0.25::double, true, '2b1e0f6e-0000-4000-8000-000000000001'::uuid, date '2026-01-02',
   timestamptz '2026-01-02 03:04:05.6+02', timestamp '2026-01-02 03:04:05', 'red'::enum('red', 'blue'), 'x'::blob),
  (2, 'b', 2.00, 2.0, false, '2b1e0f6e-0000-4000-8000-000000000002', '2026-01-03', '2026-01-03 00:00:00+00',
   '2026-01-03 00:00:00', 'blue', 'y')
) as v(i, t, n, f, b, u, d, tz, ts, e, raw)
"""


@pytest.mark.parametrize("column", ["i", "t", "n", "f", "b", "u", "d", "tz", "ts", "e", "raw"])
def test_a_stored_row_key_finds_its_row_for_every_key_type(path: Path, column: str) -> None:
    sql = f"select {column} as k from ({KEYED})"
    for row in read(source(path), sql, key_columns=("k",)):
        assert read(source(path), sql, key_columns=("k",), keys=[(row_key(row),)]) == [row]
        assert read(source(path), sql, key_columns=("k",), keys=[row]) == [row]


def test_composite_keys_cursor_and_limit(path: Path) -> None:
    sql = f"select u, i, tz from ({KEYED})"
    rows = read(source(path), sql, key_columns=("u", "i"))
    stored = [split_key(row_key(row[:2]) or "", 2) for row in rows]
    assert read(source(path), sql, key_columns=("u", "i"), keys=stored) == rows
    after = "2026-01-02T12:00:00+00:00"
    assert read(source(path), sql, key_columns=("i",), cursor_column="tz", cursor_after=after) == rows[1:]
    assert read(source(path), sql, key_columns=("i",), limit=1) == rows[:1]


def test_columns_tells_types_and_both_of_a_doubled_name(path: Path) -> None:
    columns = source(path).columns("select 1 as a, 'x' as a, 2.5::decimal(4,1) as b -- note")
    assert [(c.name, c.type) for c in columns] == [("a", "INTEGER"), ("a", "VARCHAR"), ("b", "DECIMAL(4,1)")]
    with source(path).stream(SourceQuery("select 1 as a, 2 as a")) as rows:
        assert rows.columns == ("a", "a")


def test_odd_values_come_through(path: Path) -> None:
    sql = """select 1 as id, 'NaN'::double as nan, '\\xAA'::blob as b, interval 3 days as iv,
             {'a': [1, 2]} as s, '{"x": 1.5}'::json as j,
             170141183460469231731687303715884105727::hugeint as h, timestamp '20000-01-01' as far, date '2026-01-02' as d,
             timestamptz '2026-01-02 00:00:00+00' as at, 1.10::decimal(5,2) as n, '%s :x ; ?' as t, null as z"""
    (row,) = read(source(path), sql, key_columns=("id",))
    assert str(row[1]) == "nan"
    assert row[2:7] == (b"\xaa", timedelta(days=3), {"a": [1, 2]}, {"x": 1.5}, 2**127 - 1)
    assert row[7] == "20000-01-01 00:00:00"
    assert row[8:] == (date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.10"), "%s :x ; ?", None)
    assert row[9].isoformat() == "2026-01-02T00:00:00+00:00"


ATTACKS = [
    "select 1; create table pwn (a int)",
    "insert into t values (99, 'pwn')",
    "insert into t values (99, 'pwn') returning id",
    "with w as (select 1) insert into t select 99, 'pwn' from w",
    "create table pwn as select 1",
    "drop table t",
    "select nextval('counter')",
    "copy t to 'pwn.csv'",
    "copy (select 1) to 'pwn.parquet'",
    "export database 'pwn'",
    "attach 'pwn.duckdb' as pwn",
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "from '/etc/passwd'",
    "select * from glob('/etc/*')",
    "select * from query('drop table t')",
    "install httpfs",
    "load httpfs",
    "pragma database_list",
    "set enable_external_access = true",
    "call pragma_version()",
    "checkpoint",
    "select * from force_checkpoint()",
    "begin",
    "select 1) as x; drop table t; --",
    "create secret (type s3)",
]


@pytest.mark.parametrize("with_lint", [True, False])
@pytest.mark.parametrize("sql", ATTACKS)
def test_an_attack_is_refused_and_changes_nothing(
    path: Path, sql: str, with_lint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    if not with_lint:
        monkeypatch.setattr(DuckdbSource, "checked", lambda _self, sql: sql)
    before = path.read_bytes()
    victim = source(path, preview_timeout_seconds=5, statement_timeout_seconds=5)
    doors: list[Callable[[], object]] = [
        lambda: victim.preview(SourceQuery(sql)),
        lambda: read(victim, sql),
        lambda: read(victim, sql, key_columns=("id",), keys=[("1",)]),
    ]
    for door in doors:
        with pytest.raises(SourceError):
            door()
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_slow_queries_end_at_the_limit(path: Path) -> None:
    slow = source(path, statement_timeout_seconds=1, preview_timeout_seconds=1)
    with pytest.raises(SourceError, match="limit of 1 s"):
        read(slow, SLOW)


def test_the_sort_goes_to_disk_and_memory_stays_bounded(path: Path) -> None:
    program = f"""
import resource
from syncs.sources import duckdb
from syncs.sources.base import SourceQuery
source = duckdb.build({{"path": {str(path)!r}, "memory_mb": 200}}, {{}})
source.preview(SourceQuery("select 1"))
first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
sql = "select i as id, md5(i::varchar) as k, repeat(md5(i::varchar), 30) as pad from range(300000) r(i)"
with source.stream(SourceQuery(sql, key_columns=("k",))) as rows:
    assert sum(len(chunk) for chunk in rows) == 300_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - first)
"""
    grown = float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
    assert grown < 300  # the rows alone are 300 MB, as Python objects far more


def test_closing_early_lets_a_writer_in(path: Path) -> None:
    with source(path).stream(SourceQuery("select * from t"), chunk_rows=1) as rows:
        next(iter(rows))
    with duckdb.connect(str(path)) as writer:
        writer.execute("insert into t values (26, 'n26')")
    assert len(read(source(path), "from t")) == 26


def test_a_file_that_another_process_writes_is_a_sentence(path: Path) -> None:
    program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        report = source(path).check()
    finally:
        holder.communicate("")
    assert not report.is_ok
    assert "held by another process" in report.message
    assert source(path).check().is_ok


def test_bad_files_and_queries_are_sentences(path: Path) -> None:
    (path.parent / "text.duckdb").write_text("no database " * 500)
    for file, said in (("gone.duckdb", "There is no file"), ("text.duckdb", "cannot be read")):
        with pytest.raises(SourceError, match=said) as refused:
            source(path.parent / file).columns("select 1")
        assert refused.value.field == "path"
    with pytest.raises(SourceError, match=r"DuckDB refused the query at line 2.*nope"):
        source(path).columns("select 1,\n nope from t")


def test_a_missing_driver_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(faults, "import_module", missing)
    report = source(path).check()
    assert not report.is_ok
    assert 'pip install ".[duckdb]"' in report.message


def test_check_and_validate(path: Path) -> None:
    report = source(path).check()
    assert report.is_ok
    assert report.message.startswith("Connected to DuckDB v")
    assert [issue.field for issue in kind.validate({"path": "x.duckdb", "memory_mb": "much"}, {})] == ["memory_mb", "path"]
