from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.default import DefaultDialect

from syncs.sources.base import SourceQuery
from syncs.sources.lookups import NoMatch, Wrapper, converted, family, sqlite_spellings

POSTGRES = Wrapper(PGDialect_psycopg())
QMARK = Wrapper(DefaultDialect(paramstyle="qmark"))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("integer", "integer"),
        ("bigint", "integer"),
        ("UBIGINT", "integer"),
        ("int8", "integer"),
        ("numeric(12,2)", "numeric"),
        ("DECIMAL(18,3)", "numeric"),
        ("NUMBER(38,0)", "numeric"),
        ("double precision", "float"),
        ("character varying(40)", "text"),
        ("TEXT", "text"),
        ("timestamp without time zone", "timestamp"),
        ("timestamp(3) with time zone", "timestamptz"),
        ("TIMESTAMP_TZ", "timestamptz"),
        ("TIMESTAMP_NTZ", "timestamp"),
        ("uuid", "uuid"),
        ("integer[]", ""),
        ("INTEGER[3]", ""),
        ("STRUCT(a INTEGER)", ""),
        ("jsonb", ""),
        ("interval", ""),
        ("", ""),
    ],
)
def test_family_of_type_words(word: str, expected: str) -> None:
    assert family(word) == expected


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("5", "integer", 5),
        ("1.50", "numeric", Decimal("1.50")),
        ("true", "boolean", True),
        ("2b1e0f6e-0000-4000-8000-000000000001", "uuid", UUID("2b1e0f6e-0000-4000-8000-000000000001")),
        ("2026-01-02", "date", date(2026, 1, 2)),
        ("2026-01-02T03:04:05+02:00", "timestamptz", datetime.fromisoformat("2026-01-02T03:04:05+02:00")),
        ("2026-01-02 03:04:05", "timestamptz", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", "timestamp", datetime(2026, 1, 2, 1, 4, 5)),
        ("00ff", "bytes", b"\x00\xff"),
        (5, "text", "5"),
        (5, "integer", 5),
        ("x", "", "x"),
    ],
)
def test_text_keys_become_values_of_the_columns_type(value: Any, kind: str, expected: Any) -> None:
    assert converted(value, kind) == expected


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", "integer"), ("", "integer"), ("maybe", "boolean"), ("1,5", "numeric"), ("soon", "date"), ("z", "uuid")],
)
def test_text_that_no_value_of_the_type_has_matches_nothing(value: str, kind: str) -> None:
    with pytest.raises(NoMatch):
        converted(value, kind)


def test_wrap_quotes_names_orders_by_key_and_keeps_comments_apart() -> None:
    query = SourceQuery("select 1 as id -- note", key_columns=("id", 'odd "name"'))
    statement = POSTGRES.wrap(query.sql, query, {}, limit=None)
    assert statement.parameters is None
    assert " ".join(statement.sql.split()) == (
        'SELECT * FROM ( select 1 as id -- note ) AS redrive_rows ORDER BY "id", "odd ""name"""'
    )
    assert "-- note\n)" in statement.sql


def test_percent_signs_are_doubled_only_beside_parameters() -> None:
    plain = SourceQuery("select 'a%b' as \"x%y\"", key_columns=("x%y",))
    assert "'a%b'" in POSTGRES.wrap(plain.sql, plain, {}, limit=None).sql
    assert 'ORDER BY "x%y"' in POSTGRES.wrap(plain.sql, plain, {}, limit=None).sql
    keyed = SourceQuery(plain.sql, key_columns=("x%y",), keys=[("k",)])
    statement = POSTGRES.wrap(keyed.sql, keyed, {"x%y": "text"}, limit=None)
    assert "'a%%b'" in statement.sql
    assert 'ORDER BY "x%%y"' in statement.sql
    assert list(statement.parameters.values()) == ["k"]


def test_keys_are_bound_and_unknown_types_compared_as_text() -> None:
    query = SourceQuery("q", key_columns=("a", "b"), keys=[("1", "x"), ("no", "y"), (None, "z")])
    statement = QMARK.wrap("q", query, {"a": "integer", "b": "weird"}, limit=5)
    flat = " ".join(statement.sql.split())
    assert '("a", CAST("b" AS VARCHAR)) IN ((?, ?))' in flat
    assert flat.endswith("LIMIT ?")
    assert statement.parameters == (1, "x", 5)


@pytest.mark.parametrize("keys", [[], [("x",)], [(None,)], [("1\x00",)], [("\ud800",)]])
def test_keys_that_cannot_match_read_nothing(keys: list[tuple[Any, ...]]) -> None:
    query = SourceQuery("q", key_columns=("a",), keys=keys)
    statement = QMARK.wrap("q", query, {"a": "integer"}, limit=None)
    assert "1 = 0" in statement.sql
    assert statement.parameters is None


def test_a_key_of_the_wrong_width_is_refused() -> None:
    query = SourceQuery("q", key_columns=("a", "b"), keys=[("1",)])
    with pytest.raises(ValueError, match="1 values for 2 key columns"):
        QMARK.wrap("q", query, {}, limit=None)


def test_mysql_orders_ties_of_its_collation_by_bytes() -> None:
    query = SourceQuery("q", key_columns=("a",))
    wrapper = Wrapper(MySQLDialect_pymysql(), order_as_bytes=True)
    assert "ORDER BY `a`, CAST(`a` AS BINARY)" in wrapper.wrap("q", query, {}, limit=None).sql


def test_no_tuple_in_becomes_or_of_ands() -> None:
    query = SourceQuery("q", key_columns=("a", "b"), keys=[(1, 2), (3, 4)])
    wrapper = Wrapper(DefaultDialect(paramstyle="qmark"), has_tuple_in=False)
    statement = wrapper.wrap("q", query, {}, limit=None)
    assert '"a" = ? AND "b" = ? OR "a" = ? AND "b" = ?' in statement.sql
    assert statement.parameters == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5", ["5", 5]),
        ("05", ["05", 5, b"\x05"]),
        ("-7", ["-7", -7]),
        ("1.5", ["1.5", 1.5]),
        ("abc", ["abc"]),
        ("00ff", ["00ff", b"\x00\xff"]),
        ("100000000000000000000", ["100000000000000000000", 1e20]),
        (5, [5]),
        (True, [1, "true"]),
        (Decimal("2.00"), ["2.00", 2]),
        (date(2026, 1, 2), ["2026-01-02"]),
    ],
)
def test_sqlite_spellings(value: Any, expected: list[Any]) -> None:
    assert sqlite_spellings(value, "") == expected
