from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from syncs.engine.hashing import row_key, split_key
from syncs.errors import ConfigError, SourceError, UnsafeQueryError
from syncs.sources import sqlite
from syncs.sources.base import SourceQuery
from syncs.sources.sqlite import SqliteSource
from tests.syncs.sources_support import read

SLOW = "with recursive n(i) as (select 1 union all select i + 1 from n) select i as id from n where i < 0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "ware house #1?%.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            """
            create table t (id integer primary key, name text, free, real_key real, data blob, folded text collate nocase);
            insert into t values (3, 'c', '5', 1.5, x'00ff', 'A'), (1, 'a', 5, 2.0, x'01', 'a'), (2, 'b', null, 0.25, x'', 'A');
            """
        )
    return file


def source(path: Path, **config: Any) -> SqliteSource:
    return sqlite.build({"path": str(path), **config}, {})


def test_stream_orders_by_key_and_chunks(path: Path) -> None:
    with source(path).stream(SourceQuery("select id, name from t;", key_columns=("id",)), chunk_rows=2) as rows:
        assert rows.columns == ("id", "name")
        assert list(rows) == [[(1, "a"), (2, "b")], [(3, "c")]]


def test_equal_keys_are_neighbours_also_in_a_case_insensitive_column(path: Path) -> None:
    assert read(source(path), "select folded from t", key_columns=("folded",)) == [("A",), ("A",), ("a",)]
    assert read(source(path), "select folded from t", key_columns=("folded",), keys=[("a",)]) == [("a",)]


@pytest.mark.parametrize("column", ["id", "name", "free", "real_key", "data", "id + 0", "free || ''", "real_key * 1.0"])
def test_a_stored_row_key_finds_its_row(path: Path, column: str) -> None:
    sql = f"select {column} as k, id from t"
    for row in read(source(path), sql, key_columns=("k",)):
        key = row_key(row[:1])
        if key is not None:
            assert row in read(source(path), sql, key_columns=("k",), keys=[(key,)])


def test_composite_keys_as_text(path: Path) -> None:
    rows = read(source(path), "select name, id, real_key from t", key_columns=("name", "id"))
    stored = [split_key(row_key(row[:2]) or "", 2) for row in rows]
    assert read(source(path), "select name, id, real_key from t", key_columns=("name", "id"), keys=stored) == rows
    assert read(source(path), "select name, id from t", key_columns=("name", "id"), keys=[("a", "2"), ("a", None)]) == []


def test_four_hundred_composite_keys_fit_one_query(path: Path) -> None:
    keys = [(str(i), str(i + 1)) for i in range(400)]
    assert len(read(source(path), "select 7 as a, 8 as b", key_columns=("a", "b"), keys=keys)) == 1


def test_cursor_limit_and_literal_percents_colons_semicolons(path: Path) -> None:
    sql = "select id, ':x %s ? ; %' as odd from t where name like '%' -- :y ;"
    assert read(source(path), sql, key_columns=("id",), cursor_column="id", cursor_after=1, limit=1) == [(2, ":x %s ? ; %")]


@pytest.mark.parametrize(
    ("column", "after", "expected"),
    [
        ("real_key", Decimal("1.5"), [1]),
        ("real_key", Decimal("1"), [1, 3]),
        ("seen", datetime(2026, 1, 1, 12), [2, 3]),
        ("seen", date(2026, 1, 2), [2, 3]),
        ("seen", "2026-01-02T00:00:00", [3]),
    ],
)
def test_a_cursor_of_any_type_can_be_asked_for(path: Path, column: str, after: Any, expected: list[int]) -> None:
    sql = "select id, real_key, '2026-01-0' || id || 'T00:00:00' as seen from t"
    rows = read(source(path), sql, key_columns=("id",), cursor_column=column, cursor_after=after)
    assert [row[0] for row in rows] == expected


def test_columns_tells_both_of_a_doubled_name(path: Path) -> None:
    found = source(path).columns
    assert [c.name for c in found("select 1 as a, 2 as a, 3 as A, id, count(*) from t")] == ["a", "a", "A", "id", "count(*)"]
    assert [c.name for c in found('select 1 as "x:1"')] == ["x:1"]


ATTACKS = [
    "select 1; commit; create table pwn (a)",
    "insert into t values (9, 'x', 1, 1, 1, 1)",
    "insert into t (id) values (9) returning id",
    "delete from t",
    "update t set name = 'pwn'",
    "drop table t",
    "create table pwn (a)",
    "create temp table pwn (a)",
    "attach database 'pwn.db' as pwn",
    "pragma journal_mode = wal",
    "pragma user_version = 7",
    "select * from pragma_user_version",
    "commit",
    "begin",
    "vacuum",
    "vacuum into 'pwn.db'",
    "reindex",
    "select load_extension('pwn')",
    "select 1) as x; drop table t; --",
    "with a as (select 1) delete from t",
    "select fts3_tokenizer('x', 'y')",
]


@pytest.mark.parametrize("with_lint", [True, False])
@pytest.mark.parametrize("sql", ATTACKS)
def test_an_attack_is_refused_and_changes_nothing(
    path: Path, sql: str, with_lint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    if not with_lint:
        monkeypatch.setattr(SqliteSource, "checked", lambda _self, sql: sql)
    before = path.read_bytes()
    victim = source(path)
    doors: list[Callable[[], object]] = [
        lambda: victim.columns(sql),
        lambda: victim.preview(SourceQuery(sql)),
        lambda: read(victim, sql, key_columns=("id",), keys=[("1",)]),
    ]
    for door in doors:
        with pytest.raises(SourceError):
            door()
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_second_statement_and_a_pragma_are_named_unsafe_without_the_lint(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqliteSource, "checked", lambda _self, sql: sql)
    with pytest.raises(UnsafeQueryError):
        source(path).columns("select * from pragma_user_version")


def test_slow_queries_end_at_the_limit(path: Path) -> None:
    slow = source(path, statement_timeout_seconds=1, preview_timeout_seconds=1)
    for act in (lambda: read(slow, SLOW), lambda: slow.preview(SourceQuery(SLOW))):
        with pytest.raises(SourceError, match="limit of 1 s"):
            act()
    assert not [thread for thread in threading.enumerate() if thread.name == "source-watchdog"]


def test_closing_early_releases_the_file(path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as writer:
        with source(path).stream(SourceQuery("select * from t"), chunk_rows=1) as rows:
            next(iter(rows))
        writer.execute("begin exclusive")
        writer.execute("rollback")


def test_text_that_is_not_utf8_and_odd_values_come_through(path: Path) -> None:
    sql = "select 1 as id, cast(x'ff41' as text) as broken, x'00' as b, 9e999 as inf, null as n, 'é' as t"
    assert read(source(path), sql, key_columns=("id",)) == [(1, b"\xffA", b"\x00", float("inf"), None, "é")]


def test_preview_is_capped(path: Path) -> None:
    many = "with recursive n(i) as (select 1 union all select i + 1 from n limit 5000) select i as id from n"
    columns, rows = source(path).preview(SourceQuery(many, key_columns=("id",)), limit=5000)
    assert ([c.name for c in columns], len(rows)) == (["id"], 1000)


def test_a_file_with_a_write_ahead_log_is_read(path: Path) -> None:
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("insert into t (id) values (4)")
        writer.commit()
        assert len(read(source(path), "select id from t")) == 4
        report = source(path).check()
    assert report.is_ok
    assert report.details
    assert report.details["journal"] == "wal"


def test_check_tells_version_and_journal(path: Path) -> None:
    report = source(path).check()
    assert report.is_ok
    assert report.message.startswith("Connected to SQLite 3.")
    assert "journal_mode=WAL" in report.message


def test_bad_queries_are_sentences(path: Path) -> None:
    with pytest.raises(SourceError, match=r"SQLite refused the query: no such column: nope\."):
        source(path).columns("select nope from t")
    with pytest.raises(SourceError, match=r"no column “key”. It returns: id\."):
        read(source(path), "select id from t", key_columns=("key",))


def test_bad_paths_are_sentences(path: Path) -> None:
    (path.parent / "text.db").write_text("this is no database, but long enough to be looked at " * 20)
    for file, said in (("gone.db", "There is no file"), ("", "is a folder"), ("text.db", "not a database")):
        report = source(path.parent / file).check()
        assert not report.is_ok
        assert said in report.message
        with pytest.raises(SourceError) as refused:
            source(path.parent / file).columns("select 1")
        assert refused.value.field == "path"
    assert not (path.parent / "gone.db").exists()


@pytest.mark.parametrize(
    "config", [{}, {"path": "relative.db"}, {"path": ":memory:"}, {"path": "/x", "preview_timeout_seconds": "soon"}]
)
def test_build_refuses_bad_settings(config: dict[str, Any]) -> None:
    issues = sqlite.validate(config, {})
    assert len(issues) == 1
    with pytest.raises(ConfigError) as refused:
        sqlite.build(config, {})
    assert refused.value.field == issues[0].field
