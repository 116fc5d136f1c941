from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from syncs.engine.hashing import row_key, split_key
from syncs.errors import ConfigError, ErrorType, SourceError
from syncs.sources import postgresql
from syncs.sources.base import SourceQuery
from tests import postgres
from tests.syncs.sources_support import postgres_config, postgres_source, read

pytestmark = pytest.mark.postgres


@pytest.fixture
def database(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def shared_url() -> Iterator[str]:
    """One empty database for the tests that create nothing."""
    name = f"t_{uuid4().hex[:12]}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


def sessions(database: psycopg.Connection[Any]) -> int:
    """Connections of ours that the server still holds."""
    row = database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'redrive'"
    ).fetchone()
    assert row
    return int(row[0])


def wait_for_no_sessions(database: psycopg.Connection[Any]) -> None:
    for _ in range(2000):
        if sessions(database) == 0:
            return
        database.execute("SELECT pg_sleep(0.005)")
    raise AssertionError("a session of ours is still open")


def test_stream_yields_ordered_chunks_of_plain_tuples(shared_url: str) -> None:
    sql = "select i as id, 'n' || i as name from generate_series(25, 1, -1) i;"
    with postgres_source(shared_url).stream(SourceQuery(sql, key_columns=("id",)), chunk_rows=10) as rows:
        assert rows.columns == ("id", "name")
        chunks = list(rows)
    assert [len(chunk) for chunk in chunks] == [10, 10, 5]
    assert chunks[0][0] == (1, "n1")
    assert type(chunks[0][0]) is tuple
    assert [row[0] for chunk in chunks for row in chunk] == list(range(1, 26))


@pytest.mark.parametrize("count", [0, 1, 10, 20])
def test_stream_ends_well_at_chunk_borders(shared_url: str, count: int) -> None:
    source = postgres_source(shared_url)
    rows = read(source, f"select i as id from generate_series(1, {count}) i", key_columns=("id",), chunk_rows=10)
    assert rows == [(i,) for i in range(1, count + 1)]


def test_limit_cursor_and_keys_bound_the_read(postgres_url: str, database: psycopg.Connection[Any]) -> None:
    database.execute(
        "create table t as select i as id, timestamptz '2026-01-01 00:00+00' + i * interval '1 day' as at "
        "from generate_series(1, 9) i"
    )
    source, sql = postgres_source(postgres_url), "select * from t"
    assert [r[0] for r in read(source, sql, key_columns=("id",), limit=3)] == [1, 2, 3]
    for after in (datetime(2026, 1, 8, tzinfo=UTC), "2026-01-08T00:00:00+00:00", "2026-01-08 01:00:00+01:00"):
        assert [r[0] for r in read(source, sql, key_columns=("id",), cursor_column="at", cursor_after=after)] == [8, 9]
    assert [r[0] for r in read(source, sql, key_columns=("id",), keys=[(4,), (2,), (77,)])] == [2, 4]
    with pytest.raises(SourceError, match=r"“soon” is no timestamptz") as refused:
        read(source, sql, key_columns=("id",), cursor_column="at", cursor_after="soon")
    assert refused.value.field == "cursor_column"


KEYED = """
select * from (values
  (1::int, 'a'::text, 1.50::numeric(8,2), 0.25::float8, true, '2b1e0f6e-0000-4000-8000-000000000001'::uuid, date '2026-01-02',
   timestamptz '2026-01-02 03:04:05.6+02', timestamp '2026-01-02 03:04:05', 'x'::char(3), '\\x00ff'::bytea, 'red'::colour,
   time '10:00'),
  (2, 'b', 2.00, 2.0, false, '2b1e0f6e-0000-4000-8000-000000000002', '2026-01-03', '2026-01-03 00:00+00', '2026-01-03 00:00',
   'yyy', '\\x01', 'blue', '11:30:00.5')
) as v(i, t, n, f, b, u, d, tz, ts, c, by, e, tm)
"""


@pytest.mark.parametrize("column", ["i", "t", "n", "f", "b", "u", "d", "tz", "ts", "c", "by", "e", "tm"])
def test_a_stored_row_key_finds_its_row_for_every_key_type(
    postgres_url: str, database: psycopg.Connection[Any], column: str
) -> None:
    database.execute("create type colour as enum ('red', 'blue')")
    source = postgres_source(postgres_url)
    for wanted in read(source, f"select {column} as k from ({KEYED}) s", key_columns=("k",)):
        key = row_key(wanted)
        assert key is not None
        assert read(source, f"select {column} as k, i from ({KEYED}) s", key_columns=("k",), keys=[(key,)])[0][:1] == wanted
        assert len(read(source, f"select {column} as k, i from ({KEYED}) s", key_columns=("k",), keys=[wanted])) == 1


def test_composite_keys_as_text_and_as_values(shared_url: str) -> None:
    source, sql = postgres_source(shared_url), f"select u, i, t from ({KEYED.replace(chr(58) * 2 + 'colour', '')}) s"
    rows = read(source, sql, key_columns=("u", "i"))
    stored = [split_key(row_key(row[:2]) or "", 2) for row in rows]
    assert read(source, sql, key_columns=("u", "i"), keys=stored) == rows
    assert read(source, sql, key_columns=("u", "i"), keys=[rows[0][:2]]) == rows[:1]
    assert read(source, sql, key_columns=("u", "i"), keys=[(str(rows[0][0]), "2"), (None, "1"), ("no uuid", "1")]) == []


def test_hundreds_of_keys_use_the_index(postgres_url: str, database: psycopg.Connection[Any]) -> None:
    database.execute("create table t (id int primary key, name text)")
    database.execute("insert into t select i, 'n' || i from generate_series(1, 20000) i")
    database.execute("analyze t")
    source = postgres_source(postgres_url)
    keys = [(str(i),) for i in range(1, 1600, 4)]
    assert len(read(source, "select * from t", key_columns=("id",), keys=keys)) == 400
    query = SourceQuery("select * from t", key_columns=("id",), keys=keys)
    statement = source.wrapper.wrap(query.sql, query, {"id": "integer"}, limit=None)
    plan = "\n".join(row[0] for row in database.execute("EXPLAIN " + statement.sql, statement.parameters))
    assert "Index" in plan
    assert "Seq Scan" not in plan


def test_percent_colons_casts_and_comments_reach_the_server_untouched(shared_url: str) -> None:
    source = postgres_source(shared_url)
    sql = """select '5'::int as id, 'x%a:b%y' as a, ':name' as b, '%s %(k)s %%' as c, 'a;b' as d, $q$;'$q$ as e, e'\\';' as f
             where 'xa:by' like '%a:b%' -- tail % :x ;"""
    expected = [(5, "x%a:b%y", ":name", "%s %(k)s %%", "a;b", ";'", "';")]
    assert read(source, sql, key_columns=("id",)) == expected
    assert read(source, sql, key_columns=("id",), keys=[("5",)]) == expected
    assert read(source, sql, key_columns=("id",), limit=1) == expected
    assert [column.name for column in source.columns(sql)] == ["id", "a", "b", "c", "d", "e", "f"]


def test_columns_tells_types_and_both_of_a_doubled_name(shared_url: str) -> None:
    columns = postgres_source(shared_url).columns("select 1 as a, 'x'::varchar(9) as b, 2.5::numeric(4,1) as a, array[1] as c")
    assert [(c.name, c.type) for c in columns] == [
        ("a", "integer"),
        ("b", "character varying(9)"),
        ("a", "numeric(4,1)"),
        ("c", "integer[]"),
    ]


def test_columns_does_not_run_the_query(shared_url: str) -> None:
    source = postgres_source(shared_url, preview_timeout_seconds=1)
    assert [c.name for c in source.columns("select 1 / (random() * 0)::int as boom, pg_sleep(60) as slow")] == ["boom", "slow"]


def test_preview_caps_rows_and_keeps_the_order(shared_url: str) -> None:
    source = postgres_source(shared_url)
    query = SourceQuery("select i as id from generate_series(5000, 1, -1) i", key_columns=("id",))
    columns, rows = source.preview(query)
    assert ([c.name for c in columns], rows[:2], len(rows)) == (["id"], [(1,), (2,)], 20)
    assert len(source.preview(query, limit=99_999)[1]) == 1000
    assert source.preview(query, limit=0)[1] == []


HOSTILE = """select 1 as id, 'NaN'::float8 as nan, '-Infinity'::float8 as inf, 'NaN'::numeric as decimal_nan,
'\\xff00'::bytea as b, interval '1 month 2 days' as iv, int4range(1, 5) as r, array[1, null] as a,
'{"a": [1.5, null]}'::jsonb as j, null::text as n,
numrange(1, null) as open_range, inet '10.0.0.1/8' as ip, point(1, 2) as p, 12345678901234567890.123::numeric as big"""


def test_values_hostile_to_json_come_through_as_python_values(shared_url: str) -> None:
    (row,) = read(postgres_source(shared_url), HOSTILE, key_columns=("id",))
    values = dict(zip([c.name for c in postgres_source(shared_url).columns(HOSTILE)], row, strict=True))
    assert str(values["nan"]) == "nan"
    assert values["inf"] == float("-inf")
    assert values["decimal_nan"].is_nan()
    assert bytes(values["b"]) == b"\xff\x00"
    assert values["iv"] == timedelta(days=32)
    assert (values["r"].lower, values["r"].upper) == (1, 5)
    assert values["a"] == [1, None]
    assert values["j"] == {"a": [1.5, None]}
    assert values["n"] is None
    assert values["big"] == Decimal("12345678901234567890.123")


def test_dates_that_python_cannot_hold_come_as_text_and_spoil_no_other_row(shared_url: str) -> None:
    sql = """select i as id, case i when 3 then 'infinity' when 4 then '0044-03-15 BC' else '2026-01-02' end::date as d,
             case i when 5 then '-infinity' else '2026-01-02 00:00+00' end::timestamptz as at, 'é' as t, null as n
             from generate_series(1, 7) i"""
    rows = read(postgres_source(shared_url), sql, key_columns=("id",), chunk_rows=6)
    good = (date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), "é", None)
    assert rows[0] == (1, *good)
    assert rows[2] == (3, "infinity", *good[1:])
    assert rows[3] == (4, "0044-03-15 BC", *good[1:])
    assert rows[4] == (5, good[0], "-infinity", *good[2:])
    assert rows[6] == (7, *good)


def test_times_are_utc_whatever_the_servers_zone(postgres_url: str, database: psycopg.Connection[Any]) -> None:
    database.execute(f"alter database {database.info.dbname} set timezone = 'Asia/Tokyo'")
    sql = "select 1 as id, timestamptz '2026-01-02 00:00+00' as at, uuid '2b1e0f6e-0000-4000-8000-000000000001' as u"
    (row,) = read(postgres_source(postgres_url), sql)
    assert row[1].isoformat() == "2026-01-02T00:00:00+00:00"
    assert row[2] == UUID("2b1e0f6e-0000-4000-8000-000000000001")


def test_the_whole_stream_sees_one_moment(postgres_url: str, database: psycopg.Connection[Any]) -> None:
    database.execute("create table t as select i as id from generate_series(1, 3000) i")
    with postgres_source(postgres_url).stream(SourceQuery("select * from t", key_columns=("id",)), chunk_rows=1000) as rows:
        chunks = iter(rows)
        seen = len(next(chunks))
        database.execute("delete from t")
        seen += sum(map(len, chunks))
    assert seen == 3000


def test_memory_does_not_grow_with_rows(shared_url: str) -> None:
    """Peak memory of a process of its own: 300,000 rows of 200 bytes would be far above 100 MB if they were held."""
    program = f"""
import resource
from tests.syncs.sources_support import postgres_source
from syncs.sources.base import SourceQuery
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def count(n):
    sql = f"select i as id, repeat(md5(i::text), 6) as a, now() as b, i * 1.5 as c from generate_series(1, {{n}}) i"
    with postgres_source({shared_url!r}).stream(SourceQuery(sql, key_columns=("id",))) as rows:
        return sum(len(chunk) for chunk in rows)
assert count(20_000) == 20_000
first = peak()
assert count(300_000) == 300_000
print(peak() - first)
"""
    grown = float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
    assert grown < 15


@pytest.mark.parametrize("chunks_read", [0, 1, 2])
def test_closing_early_releases_connection_and_cursor(
    postgres_url: str, database: psycopg.Connection[Any], chunks_read: int
) -> None:
    sql = "select i as id, repeat('x', 500) as x from generate_series(1, 500000) i"
    with postgres_source(postgres_url).stream(SourceQuery(sql)) as rows:
        for _, _chunk in zip(range(chunks_read), rows, strict=False):
            assert sessions(database) == 1
    wait_for_no_sessions(database)


def test_closing_early_cancels_a_query_that_still_works(postgres_url: str, database: psycopg.Connection[Any]) -> None:
    sql = "select i as id, case when i > 1000 then pg_sleep(60) end as x from generate_series(1, 2000) i"
    with postgres_source(postgres_url).stream(SourceQuery(sql), chunk_rows=1000) as rows:
        assert len(next(iter(rows))) == 1000
    wait_for_no_sessions(database)


def test_an_error_in_the_consumer_passes_through_and_releases(postgres_url: str, database: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.DataError, match="mine"), postgres_source(postgres_url).stream(SourceQuery("select 1")):
        raise psycopg.DataError("mine")
    wait_for_no_sessions(database)


def test_a_connection_killed_in_the_middle_is_a_sentence(postgres_url: str, database: psycopg.Connection[Any]) -> None:
    sql = "select i as id, repeat('x', 1000) as x from generate_series(1, 200000) i"
    source = postgres_source(postgres_url)

    def kill_while_reading() -> None:
        with source.stream(SourceQuery(sql), chunk_rows=100) as rows:
            for _chunk in rows:
                database.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'redrive'")

    with pytest.raises(SourceError, match=r"terminating connection|closed|lost"):
        kill_while_reading()


def test_an_error_in_the_middle_keeps_what_came_before(shared_url: str) -> None:
    source, got = postgres_source(shared_url), []

    def gather() -> None:
        sql = "select i as id, 1 / (2500 - i) as x from generate_series(1, 5000) i"
        with source.stream(SourceQuery(sql), chunk_rows=1000) as rows:
            for chunk in rows:
                got.extend(chunk)

    with pytest.raises(SourceError, match=r"PostgreSQL refused the query: division by zero\.") as refused:
        gather()
    assert refused.value.code == "22012"
    assert len(got) == 2000


def test_slow_queries_end_at_the_timeout(postgres_url: str, database: psycopg.Connection[Any]) -> None:
    source = postgres_source(postgres_url, statement_timeout_seconds=1, preview_timeout_seconds=1)
    for act in (lambda: read(source, "select pg_sleep(30)"), lambda: source.preview(SourceQuery("select pg_sleep(30)"))):
        with pytest.raises(SourceError, match="statement timeout") as refused:
            act()
        assert refused.value.field == "query"
    wait_for_no_sessions(database)


def test_bad_queries_name_place_and_reason(shared_url: str) -> None:
    source = postgres_source(shared_url)
    with pytest.raises(SourceError, match=r'at line 2, column 3: column "nope" does not exist\.') as refused:
        source.columns("select 1,\n  nope")
    assert (refused.value.field, refused.value.code) == ("query", "42703")
    with pytest.raises(SourceError, match="placeholder"):
        source.columns("select $1::int")
    with pytest.raises(SourceError, match=r"returns no column “id”. It returns: a, b\.") as refused:
        read(source, "select 1 as a, 2 as b", key_columns=("id",))
    assert refused.value.field == "key_columns"
    with pytest.raises(SourceError, match="“a” 2 times"):
        read(source, "select 1 as a, 2 as a", key_columns=("a",))
    with pytest.raises(SourceError, match="“b”") as refused:
        read(source, "select 1 as a", key_columns=("a",), cursor_column="b")
    assert refused.value.field == "cursor_column"


def test_check_tells_version_and_warns_of_a_superuser(shared_url: str) -> None:
    report = postgres_source(shared_url).check()
    assert report.is_ok
    assert report.milliseconds > 0
    assert report.details
    assert report.details["server"].startswith("PostgreSQL 1")
    assert "superuser" in report.details["advice"]


def test_check_tells_whether_the_role_may_write(postgres_url: str, database: psycopg.Connection[Any]) -> None:
    role = f"r_{database.info.dbname}"
    database.execute(f"create table t (id int); create role {role} login; grant select on t to {role}")
    source = postgres_source(postgres_url, user=role)
    try:
        report = source.check()
        assert report.is_ok
        assert report.details
        assert report.details["rights"] == "may not write to any table"
        assert "advice" not in report.details
        database.execute(f"grant insert on t to {role}")
        report = source.check()
        assert report.details
        assert "public.t" in report.details["advice"]
    finally:
        database.execute(f"drop owned by {role}; drop role {role}")


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"port": 1}, "host", "cannot be reached"),
        ({"host": "no-such-host.invalid"}, "host", "cannot be reached"),
        ({"database": "no_such_db"}, "database", "no such database"),
        ({"user": "no_such_role"}, "database", "no such database or role"),
        ({"sslmode": "require"}, "host", "SSL"),
    ],
)
def test_an_unreachable_server_is_a_sentence_with_a_way_out(
    shared_url: str, changes: dict[str, Any], field: str, said: str
) -> None:
    source = postgresql.build(postgres_config(shared_url, **changes), {"password": "tops3cret"})
    report = source.check()
    assert not report.is_ok
    assert said in report.message
    assert "Check" in report.message
    assert "tops3cret" not in report.message
    with pytest.raises(SourceError) as refused:
        source.columns("select 1")
    assert refused.value.field == field
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_a_wrong_password_is_an_auth_fault_and_stays_secret() -> None:
    error = psycopg.errors.InvalidPassword('password authentication failed for user "joe" using tops3cret')
    source = postgresql.build({"host": "h", "database": "d", "user": "joe"}, {"password": "tops3cret"})
    fault = source.connect_fault(error)
    assert fault.error_type is ErrorType.AUTH
    assert fault.field == "password"
    assert "tops3cret" not in fault.message


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (psycopg.errors.AdminShutdown("terminating connection due to administrator command"), "host"),
        (psycopg.OperationalError("server closed the connection unexpectedly"), "host"),
        (psycopg.errors.UndefinedTable('relation "people" does not exist'), "query"),
    ],
)
def test_server_that_goes_away_while_it_answers_is_no_fault_of_the_query(error: psycopg.Error, field: str) -> None:
    source = postgresql.build({"host": "h", "database": "d", "user": "joe"}, {"password": "tops3cret"})
    assert source.query_fault(error, "SELECT 1", session=None, is_raw=False).field == field


def test_build_refuses_what_validate_refuses() -> None:
    bad: dict[str, Any] = {
        "host": "",
        "database": "d",
        "user": "u",
        "port": "x",
        "sslmode": "maybe",
        "connect_timeout_seconds": 0,
    }
    issues = {issue.field: issue.message for issue in postgresql.validate(bad, {})}
    assert set(issues) == {"host", "port", "sslmode", "connect_timeout_seconds"}
    assert issues["host"] == "Host is required."
    with pytest.raises(ConfigError):
        postgresql.build(bad, {})
    assert postgresql.validate({"host": "h", "database": "d", "user": "u", "port": "5433"}, {}) == []
