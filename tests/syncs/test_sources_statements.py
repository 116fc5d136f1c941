from __future__ import annotations

import pytest

from syncs.errors import SourceError, UnsafeQueryError
from syncs.sources import statements as s
from syncs.sources.statements import checked

PROFILES = [s.POSTGRESQL, s.SQLITE, s.DUCKDB, s.SNOWFLAKE, s.MYSQL, s.BIGQUERY, s.DATABRICKS, s.REDSHIFT, s.STANDARD]

READS = [
    "select 1",
    "  SELECT 1 -- trailing; comment",
    "/* lead; */ select 1 /* tail; */",
    "select ';' as a, 'it''s; fine' as b",
    "select 1 as a where 'x' like '%a:b%' and ':x' <> '%s %(y)s'",
    "with a as (select 1 as x) select * from a",
    "(select 1) union all (select 2)",
    "values (1), (2)",
    "select update_at, t.update, t.delete from t",
    "select replace(name, 'a', 'b') from t",
    "select (replace(name, 'a', 'b')) from t",
    "select count(*) from a where b in (1, 2)",
]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("sql", READS)
def test_reads_pass_unchanged_in_every_profile(profile: s.Profile, sql: str) -> None:
    assert checked(sql, profile) == sql


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "sql",
    [
        "select 1; commit; create table pwn(a int)",
        "select 1;select 2",
        "select ';' ; drop table t",
        "select 1 /* ; */ ; delete from t",
        "select 1 -- ;\n; delete from t",
        "insert into t values (1)",
        "delete from t",
        "drop table t",
        "commit",
        "copy t to '/tmp/x'",
        "do 'begin end'",
        "call p()",
        "with gone as (delete from t returning *) select * from gone",
        "with a as (select 1) insert into t select * from a",
        "select * into t2 from t",
        "select 1) as x; drop table t; --",
        "select 1) as x cross join (select 2",
        "select (1",
        "select 'abc",
        "select 1 /* no end",
        "explain select 1",
        "\x00select 1",
        "select '\ud800'",
    ],
)
def test_what_does_more_than_read_is_refused_in_every_profile(profile: s.Profile, sql: str) -> None:
    with pytest.raises(UnsafeQueryError) as refused:
        checked(sql, profile)
    assert refused.value.field == "query"


@pytest.mark.parametrize("sql", ["", "  \n", "-- only a comment", ";", " ; ; "])
def test_an_empty_query_is_named_as_such(sql: str) -> None:
    with pytest.raises(SourceError, match="empty"):
        checked(sql, s.POSTGRESQL)


@pytest.mark.parametrize("sql", ["select 1;", "select 1 ; ", "select 1;;", "select 1; -- the end", "select 1; /* the end */"])
def test_a_semicolon_at_the_end_is_cut_off(sql: str) -> None:
    assert checked(sql, s.POSTGRESQL).strip() == "select 1"


@pytest.mark.parametrize(
    ("profile", "sql"),
    [
        (s.POSTGRESQL, "select $$; drop$$, $tag$ ; $$ ; $tag$"),
        (s.POSTGRESQL, r"select e'it\'s; fine'"),
        (s.POSTGRESQL, r"select 'a\' as b"),
        (s.POSTGRESQL, "select 1 /* outer /* inner; */ ; */"),
        (s.POSTGRESQL, 'select 1 as "a;b"'),
        (s.POSTGRESQL, "select a[1], b::int, c->>'x' from t"),
        (s.SQLITE, "select 1 as [a;b], 2 as `c;d`"),
        (s.MYSQL, r"""select 'it\'s; fine', "also; \" fine", `a;b` # comment; here"""),
        (s.SNOWFLAKE, "select $$;$$ // comment; here"),
        (s.BIGQUERY, 'select \'\'\'it\'s; fine\'\'\', """a "b"; c"""'),
        (s.DUCKDB, "from t"),
    ],
)
def test_semicolons_in_each_dialects_strings_names_and_comments_are_harmless(profile: s.Profile, sql: str) -> None:
    assert checked(sql, profile) == sql


@pytest.mark.parametrize(
    ("profile", "sql"),
    [
        (s.POSTGRESQL, r"select 'a\'; drop table t; --'"),  # the backslash is a plain character: the string ended
        (s.MYSQL, "select 1 /*! ; drop table t */"),
        (s.MYSQL, "select 1 into outfile '/tmp/x'"),
        (s.POSTGRESQL, "select 1 /* a */ ; */ drop table t"),
        (s.STANDARD, r"select '\'; drop table t; --'"),
        (s.STANDARD_BACKSLASHES, r"select 'a\\'; drop table t; --'"),
    ],
)
def test_dialect_tricks_are_refused(profile: s.Profile, sql: str) -> None:
    with pytest.raises(UnsafeQueryError):
        checked(sql, profile)


@pytest.mark.parametrize(
    ("profile", "call"),
    [
        (s.POSTGRESQL, "set_config('statement_timeout', '0', false)"),
        (s.POSTGRESQL, "pg_catalog.pg_notify('a', 'b')"),
        (s.POSTGRESQL, '"pg_terminate_backend"(1)'),
        (s.POSTGRESQL, "dblink_exec('x', 'drop table t')"),
        (s.POSTGRESQL, "pg_read_file('/etc/passwd')"),
        (s.POSTGRESQL, "lo_export(1, '/tmp/x')"),
        (s.SNOWFLAKE, "system$cancel_query('x')"),
        (s.SQLITE, "load_extension('x')"),
    ],
)
def test_functions_that_change_something_are_named(profile: s.Profile, call: str) -> None:
    with pytest.raises(UnsafeQueryError, match="more than read"):
        checked(f"select {call}", profile)
