"""Nothing that a query says may change the warehouse. Each attack runs twice: as a person would meet it, and with the lint
switched off, so that it reaches the server and the barrier itself is proved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from syncs.errors import SourceError
from syncs.sources.base import SourceQuery
from syncs.sources.postgresql import PostgresqlSource
from tests import postgres
from tests.syncs.sources_support import postgres_source, read

pytestmark = pytest.mark.postgres

ATTACKS = [
    "select 1; commit; create table pwn(a int)",
    "select 1 as a; insert into victim values (666)",
    "select 1) as x; commit; create table pwn(a int); --",
    "select 1 as a) as x; commit; create table pwn(a int); select * from (select 1 as a",
    "with w as (insert into victim values (666) returning id) select * from w",
    "with w as (delete from victim returning id) select * from w",
    "with w as (update victim set id = 666 returning id) select id from w",
    "with w as (select 1 as a) insert into victim select a from w returning id",
    "select * into pwn from victim",
    "create table pwn as select 1",
    "insert into victim values (666) returning id",
    "delete from victim",
    "truncate victim",
    "drop table victim",
    "copy victim to stdout",
    "copy victim from stdin",
    "copy (select 1) to program 'touch /tmp/pwn'",
    "do $$ begin create table pwn(a int); end $$",
    "call make_pwn()",
    "select make_pwn_function()",
    "select setval('counter', 4711)",
    "select nextval('counter')",
    "select lo_creat(-1)",
    "select lo_from_bytea(0, 'x')",
    "select set_config('transaction_read_only', 'off', false), make_pwn_function()",
    "select id from victim for update",
    "commit",
    "rollback; create table pwn(a int)",
    "begin read write",
    "set transaction read write",
    "reset all",
    "prepare p as create table pwn(a int)",
    "explain analyze insert into victim values (666)",
    "select 1 /* ; */ ; create table pwn(a int)",
    "select ';' as a; create table pwn(a int)",
    "select $$;$$ as a; create table pwn(a int)",
    "select $x$ $$ ; $x$ as a; create table pwn(a int) --",
    "select e'\\'' as a; create table pwn(a int) --'",
    "select 'a\\' as a; create table pwn(a int) --'",
    "select 1 -- ;\n; create table pwn(a int)",
    "select query_to_xml('insert into victim values (666)', true, true, '')",
    "values (1); create table pwn(a int)",
    "table victim; create table pwn(a int)",
    "notify x; create table pwn(a int)",
    "listen x",
    "vacuum victim",
    "alter table victim add column pwn int",
    "grant all on victim to public",
    "lock table victim",
]

# Servers before 16 let these run in a read-only transaction; the transaction is never committed.
ROLLED_BACK = ("select lo_creat(-1)", "select lo_from_bytea(0, 'x')")


@pytest.fixture(scope="module")
def victim_url() -> Iterator[str]:
    url = postgres.create_database(name := f"t_{uuid4().hex[:12]}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table victim (id int)")
        connection.execute("insert into victim values (1), (2)")
        connection.execute("create sequence counter")
        connection.execute("create procedure make_pwn() language sql as 'create table pwn(a int)'")
        connection.execute(
            "create function make_pwn_function() returns int language plpgsql as 'begin create table pwn(a int); return 1; end'"
        )
    yield url
    postgres.drop_database(name)


def state(url: str) -> list[Any]:
    """Everything an attack could have changed."""
    with psycopg.connect(url) as connection:
        return [
            connection.execute(
                "select relname, relnatts from pg_class where relnamespace = 'public'::regnamespace order by 1"
            ).fetchall(),
            connection.execute("select id from victim order by id").fetchall(),
            connection.execute("select last_value, is_called from counter").fetchall(),
            connection.execute("select count(*) from pg_largeobject_metadata").fetchall(),
            connection.execute("select relacl::text from pg_class where relname = 'victim'").fetchall(),
        ]


def doors(source: PostgresqlSource, sql: str) -> list[Callable[[], object]]:
    return [
        lambda: source.columns(sql),
        lambda: source.preview(SourceQuery(sql)),
        lambda: read(source, sql),
        lambda: read(source, sql, key_columns=("id",)),
        lambda: read(source, sql, key_columns=("id",), keys=[("1",)], limit=3),
    ]


@pytest.mark.parametrize("sql", ATTACKS)
def test_an_attack_is_refused_and_changes_nothing(victim_url: str, sql: str) -> None:
    before = state(victim_url)
    source = postgres_source(victim_url, preview_timeout_seconds=5, statement_timeout_seconds=5)
    for door in doors(source, sql)[1:]:
        with pytest.raises(SourceError):
            door()
    with suppress(SourceError):  # telling columns runs nothing, so it may tell those of a function that would write
        source.columns(sql)
    assert state(victim_url) == before


@pytest.mark.parametrize("sql", ATTACKS)
def test_the_server_refuses_it_also_without_the_lint(victim_url: str, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresqlSource, "checked", lambda _self, sql: sql)
    before = state(victim_url)
    source = postgres_source(victim_url, preview_timeout_seconds=5, statement_timeout_seconds=5)
    refused = 0
    for door in doors(source, sql):
        try:
            door()
        except SourceError:
            refused += 1
    assert state(victim_url) == before
    assert refused >= 4 or sql in ROLLED_BACK


def test_the_session_is_read_only_repeatable_read_and_bounded(victim_url: str) -> None:
    (row,) = read(
        postgres_source(victim_url, statement_timeout_seconds=77, idle_timeout_seconds=88),
        "select current_setting('transaction_read_only'), current_setting('transaction_isolation'), "
        "current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'), "
        "current_setting('lock_timeout')",
    )
    assert row == ("on", "repeatable read", "77s", "88s", "1min")


def test_each_stream_has_a_connection_of_its_own(victim_url: str) -> None:
    source = postgres_source(victim_url)
    with (
        source.stream(SourceQuery("select pg_backend_pid()")) as one,
        source.stream(SourceQuery("select pg_backend_pid()")) as two,
    ):
        pids = {row[0] for rows in (one, two) for chunk in rows for row in chunk}
    pids |= {read(source, "select pg_backend_pid()")[0][0]}
    assert len(pids) == 3
