"""Against fakesnow's server: the real connector over HTTP, DuckDB behind it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from syncs.engine.hashing import row_key, split_key
from syncs.errors import ErrorType, SourceError, UnsafeQueryError
from syncs.sources import any_url, snowflake
from syncs.sources.base import SourceQuery
from syncs.sources.settings import Timeouts
from syncs.sources.snowflake import SnowflakeSource
from tests.syncs.sources_support import read

connector = pytest.importorskip("snowflake.connector")
serve = pytest.importorskip("fakesnow").server  # kept: once it was called, the module of that name hides the function

# The fake server's own use of DuckDB and uvicorn; nothing of ours.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Arrow output on a DB-API result", "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)

TABLE = """
create table customers (id int, name varchar, price number(10,2), v variant, seen_at timestamp_tz, seen_local timestamp_ntz,
                        d date, b boolean, f float, bin binary)
"""


@pytest.fixture(scope="session")  # once for each process: workers that take tests from each other come back to this module
def server() -> Iterator[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with serve() as options:
            options = dict(options, database="DB1", schema="S1")
            with connector.connect(**options) as connection, connection.cursor() as cursor:
                cursor.execute(TABLE)
                cursor.execute(
                    "insert into customers select 1, 'Ann', 1.5, parse_json('{\"a\": [1]}'), '2026-01-01 00:00:00+02:00', "
                    "'2026-01-01 00:00:00', '2026-01-01', true, 1.5, to_binary('AA', 'HEX')"
                )
                cursor.execute("insert into customers (id, name, price) values (3, 'x%a:b', 3), (2, 'Bob', 2.25)")
            yield options


@pytest.fixture
def source(server: dict[str, Any]) -> SnowflakeSource:
    options = {name: value for name, value in server.items() if name != "password"}
    return SnowflakeSource(options, {"password": server["password"]}, Timeouts())


def test_stream_orders_by_key_and_chunks(source: SnowflakeSource) -> None:
    query = SourceQuery("select id, name from customers -- all;", key_columns=("ID",))
    with source.stream(query, chunk_rows=2) as rows:
        assert rows.columns == ("ID", "NAME")
        assert list(rows) == [[(1, "Ann"), (2, "Bob")], [(3, "x%a:b")]]


def test_columns_tells_types_and_both_of_a_doubled_name(source: SnowflakeSource) -> None:
    columns = source.columns("select id, name as id, price, v, seen_at from customers")
    assert [(c.name, c.type) for c in columns] == [
        ("ID", "NUMBER(38,0)"),
        ("ID", "TEXT"),
        ("PRICE", "NUMBER(10,2)"),
        ("V", "VARIANT"),
        ("SEEN_AT", "TIMESTAMP_TZ"),
    ]


def test_values_come_as_python_values(source: SnowflakeSource) -> None:
    (row,) = read(source, "select price, v, seen_at, seen_local, d, b, f, bin from customers", limit=1, key_columns=("PRICE",))
    assert row[:3] == (Decimal("1.50"), {"a": [1]}, datetime(2025, 12, 31, 22, tzinfo=UTC))
    assert row[3:7] == (datetime(2026, 1, 1), date(2026, 1, 1), True, 1.5)
    assert bytes(row[7]) == b"\xaa"


@pytest.mark.parametrize("column", ["id", "name", "price"])
def test_a_stored_row_key_finds_its_row(source: SnowflakeSource, column: str) -> None:
    sql = f"select {column} as k, id from customers where name like '%'"
    for row in read(source, sql, key_columns=("K",)):
        assert read(source, sql, key_columns=("K",), keys=[(row_key(row[:1]),)]) == [row]


def test_composite_keys_cursor_and_literal_percents(source: SnowflakeSource) -> None:
    sql = "select name, id from customers where name like '%a:b%' or id < 3"
    rows = read(source, sql, key_columns=("NAME", "ID"))
    stored = [split_key(row_key(row) or "", 2) for row in rows]
    assert read(source, sql, key_columns=("NAME", "ID"), keys=stored) == rows
    assert read(source, sql, key_columns=("ID",), cursor_column="ID", cursor_after="2") == [("x%a:b", 3)]


@pytest.mark.parametrize(
    "sql",
    [
        "select 1; drop table customers",
        "select 1) as x; drop table customers; --",
        "drop table customers",
        "insert into customers (id) values (666)",
        "with a as (select 1) delete from customers",
        "call drop_everything()",
        "select system$cancel_all_queries(1)",
        "begin",
    ],
)
def test_an_attack_is_refused_and_changes_nothing(source: SnowflakeSource, sql: str) -> None:
    for door in (lambda: source.columns(sql), lambda: source.preview(SourceQuery(sql)), lambda: read(source, sql)):
        with pytest.raises(UnsafeQueryError):
            door()
    assert read(source, "select count(*) from customers") == [(3,)]


def test_bad_queries_and_missing_keys_are_sentences(source: SnowflakeSource) -> None:
    with pytest.raises(SourceError, match=r"Snowflake refused the query: .*NOPE"):
        source.columns("select nope from customers")
    with pytest.raises(SourceError, match=r"no column “id”. It returns: ID, NAME\."):
        read(source, "select id, name from customers", key_columns=("id",))


def test_check_tells_version_and_role(source: SnowflakeSource) -> None:
    report = source.check()
    assert report.is_ok, report.message
    assert report.message.startswith("Connected to Snowflake ")
    assert report.details
    assert set(report.details) >= {"server", "user", "role"}


def test_an_unreachable_account_is_a_sentence() -> None:
    options = {"account": "a", "user": "u", "host": "127.0.0.1", "port": 1, "protocol": "http"}
    source = SnowflakeSource(options, {"password": "tops3cret"}, Timeouts(connect=1))
    report = source.check()
    assert not report.is_ok
    assert "Check account" in report.message
    assert "tops3cret" not in report.message


def test_a_refused_login_is_an_auth_fault() -> None:
    source = SnowflakeSource({"account": "a", "user": "joe"}, {"password": "tops3cret"}, Timeouts())
    error = connector.errors.DatabaseError("Incorrect username or password was specified. (tops3cret)", errno=250001)
    fault = source.connect_fault(error)
    assert (fault.field, fault.error_type) == ("password", ErrorType.AUTH)
    assert "tops3cret" not in fault.message


def test_login_by_private_key() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pass")
    ).decode()
    config = {"account": "a", "user": "u", "warehouse": "w", "database": "d"}
    secrets = {"private_key": pem, "private_key_passphrase": "pass"}
    assert snowflake.validate(config, secrets) == []
    assert [issue.field for issue in snowflake.validate(config, {**secrets, "private_key_passphrase": "no"})] == ["private_key"]
    assert [issue.field for issue in snowflake.validate(config, {})] == ["password"]
    snowflake.build(config, secrets)


def test_a_snowflake_url_is_read_by_this_kind() -> None:
    config = {"url": "snowflake://joe@acct/DB1/S1?warehouse=w&role=reader"}
    source = any_url.build(config, {"password": "pw"})
    assert isinstance(source, SnowflakeSource)
    assert source.options == {
        "account": "acct",
        "user": "joe",
        "warehouse": "w",
        "database": "DB1",
        "schema": "S1",
        "role": "reader",
    }
    assert any_url.validate({"url": "snowflake://joe@acct/DB1"}, {"password": "pw"})[0].message == "Warehouse is required."
