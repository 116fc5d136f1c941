from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from syncs.errors import ConfigError, SourceError, UnsafeQueryError
from syncs.sources import any_url, registry
from syncs.sources.any_url import UrlSource
from syncs.sources.base import SourceQuery
from syncs.sources.duckdb import DuckdbSource
from syncs.sources.postgresql import PostgresqlSource
from syncs.sources.settings import Timeouts
from syncs.sources.sqlite import SqliteSource
from tests.syncs.sources_support import read


def generic(url: str) -> UrlSource:
    """The reader for dialects without a module, here on a database that can be had."""
    return UrlSource(make_url(url.replace("postgresql://", "postgresql+psycopg://")), Timeouts(), {})


def test_every_registered_kind_has_its_parts() -> None:
    for kind in registry.SOURCE_KINDS:
        module = registry.module(kind)
        assert all(field.label and field.name for field in module.FIELDS)
        assert module.validate({}, {}), kind
        with pytest.raises(ConfigError):
            registry.build(kind, {}, {})


@pytest.mark.postgres
def test_postgresql_urls_are_read_with_the_guards_of_that_kind(postgres_url: str) -> None:
    source = registry.build("sqlalchemy", {"url": postgres_url}, {})
    assert isinstance(source, PostgresqlSource)
    assert read(source, "select current_setting('transaction_read_only')") == [("on",)]


def test_file_urls_are_read_with_the_guards_of_their_kinds(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("create table t as select 1 as id")
    source = any_url.build({"url": f"sqlite:///{tmp_path}/a.db"}, {})
    assert isinstance(source, SqliteSource)
    assert read(source, "select * from t") == [(1,)]
    assert isinstance(any_url.build({"url": f"duckdb:///{tmp_path}/a.duckdb?memory_mb=99"}, {}), DuckdbSource)
    assert any_url.validate({"url": "sqlite:///relative.db"}, {})[0].field == "url"


@pytest.mark.parametrize(
    ("config", "secrets", "field", "said"),
    [
        ({}, {}, "url", "required"),
        ({"url": "no url"}, {}, "url", "cannot be read"),
        ({"url": "mysql://joe:tops3cret@host/db"}, {}, "url", "password field"),
        ({"url": "databricks://host?access_token=tops3cret"}, {}, "url", "access_token"),
        ({"url": "bigquery://project"}, {"credentials_json": "tops3cret"}, "credentials_json", "JSON"),
        ({"url": "mysql://host/db", "connect_timeout_seconds": "x"}, {}, "connect_timeout_seconds", "whole number"),
    ],
)
def test_bad_settings_are_named_without_the_secret(
    config: dict[str, Any], secrets: dict[str, Any], field: str, said: str
) -> None:
    issues = any_url.validate(config, secrets)
    assert (issues[0].field, said in issues[0].message) == (field, True)
    assert "tops3cret" not in str(issues)


@pytest.mark.parametrize(
    ("url", "extra"),
    [
        ("bigquery://project/dataset", "bigquery"),
        ("databricks://token@host?http_path=/sql/1.0", "databricks"),
        ("redshift://joe@host:5439/db", "redshift"),
        ("redshift+psycopg2://joe@host:5439/db", "redshift"),
        ("mysql://joe@host/db", "mysql"),
        ("mariadb://joe@host/db", "mysql"),
    ],
)
def test_a_missing_driver_names_the_extra(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_url: Any, **_options: Any) -> Any:
        raise ModuleNotFoundError(name="driver_of_it")

    monkeypatch.setattr(sa, "create_engine", missing)
    source = any_url.build({"url": url}, {"password": "tops3cret"})
    with pytest.raises(SourceError, match=rf'pip install "\.\[{extra}\]"'):
        source.columns("select 1")
    report = source.check()
    assert not report.is_ok
    assert extra in report.message
    assert "tops3cret" not in report.message


def test_an_unknown_dialect_is_a_sentence() -> None:
    report = any_url.build({"url": "marsbase://host/db"}, {}).check()
    assert not report.is_ok
    assert "no SQLAlchemy dialect “marsbase”" in report.message


@pytest.mark.parametrize(
    ("url", "name"), [("mysql://h/d", "mysql+pymysql"), ("redshift://h/d", "redshift+psycopg2"), ("mysql+asyncmy://h/d", None)]
)
def test_urls_without_a_driver_get_ours(url: str, name: str | None) -> None:
    source = any_url.build({"url": url}, {"password": "p@ss:word/"})
    assert isinstance(source, UrlSource)
    assert source.url.drivername == (name or "mysql+asyncmy")
    assert source.url.password == "p@ss:word/"


@pytest.mark.parametrize("sql", [r"select '\'; drop table t; --'", r"select 'a\\'; drop table t; --'", "drop table t"])
def test_unknown_dialects_are_read_both_ways(sql: str) -> None:
    with pytest.raises(UnsafeQueryError):
        any_url.build({"url": "marsbase://host/db"}, {}).checked(sql)


@pytest.mark.postgres
def test_the_generic_reader_streams_keys_cursor_and_literals(postgres_url: str) -> None:
    source = generic(postgres_url)
    sql = "select i as id, '%s :x %' as odd, 'n' || i as name from generate_series(2500, 1, -1) i -- ;"
    with source.stream(SourceQuery(sql, key_columns=("id",)), chunk_rows=1000) as rows:
        assert rows.columns == ("id", "odd", "name")
        chunks = list(rows)
    assert [len(chunk) for chunk in chunks] == [1000, 1000, 500]
    assert chunks[0][0] == (1, "%s :x %", "n1")
    assert type(chunks[0][0]) is tuple
    assert [row[0] for row in read(source, sql, key_columns=("id",), keys=[("7",), ("1e1",), (None,)])] == [7]
    assert [row[0] for row in read(source, sql, key_columns=("id", "name"), keys=[("7", "n7"), ("8", "n7")])] == [7]
    assert [row[0] for row in read(source, sql, key_columns=("id",), keys=[(5,), (4,)], limit=1)] == [4]
    assert len(read(source, sql, key_columns=("id",), cursor_column="id", cursor_after=2490)) == 10
    assert [c.name for c in source.columns(sql)] == ["id", "odd", "name"]
    assert [c.name for c in source.columns("select 1 as a, 2 as a")] == ["a", "a"]
    columns, preview = source.preview(SourceQuery(sql, key_columns=("id",)), limit=3)
    assert ([c.name for c in columns], [row[0] for row in preview]) == (["id", "odd", "name"], [1, 2, 3])
    source.close()


@pytest.mark.postgres
@pytest.mark.parametrize(
    "sql", ["select 1; create table pwn(a int)", "create table pwn(a int)", "with w as (insert into t values (1)) select 1"]
)
def test_the_generic_reader_refuses_writes(postgres_url: str, sql: str) -> None:
    source = generic(postgres_url)
    for door in (lambda: source.columns(sql), lambda: source.preview(SourceQuery(sql)), lambda: read(source, sql)):
        with pytest.raises(UnsafeQueryError):
            door()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select to_regclass('pwn')").fetchone() == (None,)


@pytest.mark.postgres
def test_the_generic_readers_faults_are_sentences(postgres_url: str) -> None:
    source = generic(postgres_url)
    with pytest.raises(SourceError, match=r'refused the query: column "nope" does not exist\.'):
        read(source, "select nope")
    assert source.check().is_ok
    dead = UrlSource(make_url("postgresql+psycopg://joe:tops3cret@127.0.0.1:1/db"), Timeouts(), {"password": "tops3cret"})
    report = dead.check()
    assert not report.is_ok
    assert "Check URL" in report.message
    assert "tops3cret" not in report.message
    assert "\n" not in report.message


@pytest.mark.postgres
def test_the_generic_reader_lets_go_when_closed_early(postgres_url: str) -> None:
    sql = "select i as id, repeat('x', 500) as x from generate_series(1, 100000) i"
    with generic(postgres_url).stream(SourceQuery(sql), chunk_rows=100) as rows:
        next(iter(rows))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for _ in range(1000):
            left = connection.execute(
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
                " and backend_type = 'client backend'"
            ).fetchone()
            if left == (0,):
                break
            connection.execute("select pg_sleep(0.005)")
        assert left == (0,)
