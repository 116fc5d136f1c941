"""The database destination against real databases: every circumstance on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from syncs.destinations import registry
from syncs.destinations.base import LockedCredentials
from syncs.destinations.database import FIELDS, objects, validate
from syncs.destinations.database_destination import DatabaseDestination
from syncs.engine.hashing import canonical_body
from syncs.errors import ConfigError, ErrorType
from syncs.records import Batch, BatchResult, Operation, Record, RecordOutcome, RecordState, Signal

SCHEMA = """
CREATE TABLE plan (code VARCHAR(10) PRIMARY KEY);
CREATE TABLE contacts (
  id INTEGER PRIMARY KEY,
  email VARCHAR(20) NOT NULL,
  plan VARCHAR(10) REFERENCES plan (code),
  age INTEGER,
  balance NUMERIC(12, 2),
  born DATE,
  seen_at TIMESTAMP,
  is_active BOOLEAN,
  meta JSON,
  note TEXT,
  CONSTRAINT contacts_email_key UNIQUE (email),
  CONSTRAINT contacts_age_check CHECK (age >= 0)
);
CREATE TABLE visit (tenant VARCHAR(10), number INTEGER, note TEXT, PRIMARY KEY (tenant, number));
CREATE TABLE loose (id INTEGER, note TEXT);
INSERT INTO plan VALUES ('free');
INSERT INTO plan VALUES ('pro');
"""
SCHEMA_POSTGRES = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN short AS VARCHAR(5);
CREATE TABLE typed (
  id UUID PRIMARY KEY, tags TEXT[], counts INTEGER[], body JSONB, at TIMESTAMPTZ, clock TIME, mood mood, wide SHORT,
  big NUMERIC, ratio DOUBLE PRECISION, raw BYTEA, host INET, span INTERVAL, moods mood[], "odd name %(x)s" TEXT
);
CREATE TABLE narrow (id INTEGER PRIMARY KEY, code VARCHAR(3), name VARCHAR(5));
"""


class Secrets:
    def __init__(self, **secrets: Any) -> None:
        self.secrets = secrets

    def read(self) -> Mapping[str, Any]:
        return self.secrets

    def locked(self) -> AbstractContextManager[LockedCredentials]:
        raise AssertionError("a password never rotates")


class Database:
    """One throwaway database with the schema above, and destinations built on it the way the product does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
        self._built: list[DatabaseDestination] = []
        self.run(*(SCHEMA if self.is_sqlite else SCHEMA + SCHEMA_POSTGRES).split(";\n"))

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                if statement.strip():
                    connection.exec_driver_sql(statement.replace("%", "%%") if not self.is_sqlite else statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def build(
        self, table: str = "contacts", *, keys: Sequence[str] = (), password: str = "", **config: Any
    ) -> DatabaseDestination:
        destination = registry.build(
            "database",
            config={"url": self.url, **config},
            credentials=Secrets(password=password),
            object_name=table,
            options={"key_fields": list(keys)} if keys else {},
        )
        assert isinstance(destination, DatabaseDestination)
        self._built.append(destination)
        return destination

    def close(self) -> None:
        for destination in self._built:
            destination.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        sqlite3.connect(tmp_path / "crm.db").close()
        database = Database(f"sqlite:///{tmp_path}/crm.db")
    else:
        database = Database(request.getfixturevalue("postgres_url"))
    yield database
    database.close()


@pytest.fixture
def pg(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    yield database
    database.close()


def batch(operation: Operation, *payloads: dict[str, Any], keys: Sequence[str] = ()) -> Batch:
    records = [
        Record(keys[i] if keys else str(i), operation, payload, canonical_body(payload), i)
        for i, payload in enumerate(payloads)
    ]
    return Batch(operation, records, "00")


def contact(number: int, **values: Any) -> dict[str, Any]:
    return {"id": number, "email": f"{number}@x.example", **values}


def states(result: BatchResult) -> list[str]:
    return [f"{outcome.state}:{outcome.detail}" if not outcome.error else str(outcome.state) for outcome in result.outcomes]


def upsert(db: Database, *payloads: dict[str, Any], **options: Any) -> BatchResult:
    return db.build(**options).write(batch(Operation.UPSERT, *payloads))


# What lands


def test_upsert_creates_then_updates(db: Database) -> None:
    first = upsert(db, contact(1, note="a"), contact(2, note="b"))
    second = upsert(db, contact(2, note="c"), contact(3, note="d"))
    assert db.rows("SELECT id, note FROM contacts ORDER BY id") == [(1, "a"), (2, "c"), (3, "d")]
    assert (first.signal, second.signal) == (Signal.OK, Signal.OK)
    if not db.is_sqlite:  # SQLite cannot tell the two apart
        assert states(first) == ["written:created", "written:created"]
        assert states(second) == ["written:updated", "written:created"]
    assert second.exchange.request == "UPSERT contacts (2 rows)"
    assert second.exchange.bytes_sent > 0


def test_upsert_by_a_unique_column_that_is_not_the_primary_key(db: Database) -> None:
    upsert(db, contact(1, note="a"))
    result = upsert(db, {"email": "1@x.example", "note": "b", "id": 1}, keys=["email"])
    assert result.outcomes[0].state is RecordState.WRITTEN
    assert db.rows("SELECT id, note FROM contacts") == [(1, "b")]


def test_upsert_of_nothing_but_the_key_changes_nothing(db: Database) -> None:
    db.run("INSERT INTO visit VALUES ('a', 1, 'kept')")
    result = upsert(db, {"tenant": "a", "number": 1}, {"tenant": "a", "number": 2}, table="visit")
    assert [outcome.state for outcome in result.outcomes] == [RecordState.WRITTEN] * 2
    assert db.rows("SELECT tenant, number, note FROM visit ORDER BY number") == [("a", 1, "kept"), ("a", 2, None)]


def test_rows_with_different_fields_keep_what_they_leave_out(db: Database) -> None:
    upsert(db, contact(1, note="a", age=5), contact(2, note="b"))
    upsert(db, contact(1, age=6), contact(2, note="c"))
    assert db.rows("SELECT id, note, age FROM contacts ORDER BY id") == [(1, "a", 6), (2, "c", None)]


def test_values_land_in_the_columns_types(db: Database) -> None:
    result = upsert(
        db,
        contact(
            1, age="41", balance=Decimal("10.50"), born="2024-02-29", seen_at="2024-07-01T12:00:00+02:00", is_active=True,
            meta={"a": [Decimal("1.10"), None]}, note={"b": 1},
        ),
    )  # fmt: skip
    assert result.outcomes[0].state is RecordState.WRITTEN, result.outcomes[0].error
    if db.is_sqlite:
        expected = (41, 10.5, "2024-02-29", "2024-07-01 10:00:00", 1, '{"a":[1.10,null]}', '{"b":1}')
    else:
        expected = (41, "10.50", "2024-02-29", "2024-07-01 10:00:00", True, '{"a":[1.10,null]}', '{"b":1}')
    cast = "" if db.is_sqlite else "::text"
    query = f"SELECT age, balance{cast}, born{cast}, seen_at{cast}, is_active, meta{cast}, note FROM contacts"
    assert db.rows(query) == [expected]


@pytest.mark.postgres
def test_postgresql_types_land(pg: Database) -> None:
    payload = {
        "id": "0D1B1A9E-1111-4222-8333-0123456789AB", "tags": ['a"b', "c,{d}\\", None, ""], "counts": [1, "2"],
        "body": {"k": "Zoë", "n": Decimal("12345678901234567890.123456789")}, "at": "2024-07-01T12:00:00Z", "clock": "08:30",
        "mood": "glad", "wide": "abc", "big": Decimal("98765432109876543210.5"), "ratio": 0.1, "raw": "é", "host": "10.0.0.1",
        "span": "P1DT2H", "moods": ["sad", "glad"], "odd name %(x)s": "ok",
    }  # fmt: skip
    result = upsert(pg, payload, table="typed")
    assert states(result) == ["written:created"], result.outcomes[0].error
    assert states(upsert(pg, payload, table="typed")) == ["written:updated"]
    row = pg.rows('SELECT tags, counts, body::text, at::text, clock::text, mood::text, big::text, ratio, raw, host::text, '
                  'span::text, moods::text, "odd name %(x)s" FROM typed'.replace("%", "%%"))[0]  # fmt: skip
    assert row[:3] == (['a"b', "c,{d}\\", None, ""], [1, 2], '{"k": "Zoë", "n": 12345678901234567890.123456789}')
    assert row[4:8] == ("08:30:00", "glad", "98765432109876543210.5", 0.1)
    assert bytes(row[8]) == "é".encode()
    assert row[9:] == ("10.0.0.1/32", "1 day 02:00:00", "{sad,glad}", "ok")


@pytest.mark.postgres
@pytest.mark.parametrize("column, value, code, field", [
    ("mood", "furious", "invalid_value", "mood"),
    ("id", "not-a-uuid", "invalid_value", "id"),
    ("tags", "a,b", "invalid_value", "tags"),
    ("wide", "abcdef", "22001", ""),
    ("host", "nowhere", "22P02", "host"),
    ("span", "long", "22007", "span"),
    ("ratio", "1e400", "invalid_value", "ratio"),
    ("at", "2024-13-01T00:00:00Z", "invalid_value", "at"),
])  # fmt: skip
def test_postgresql_value_that_does_not_fit(pg: Database, column: str, value: Any, code: str, field: str) -> None:
    good = {"id": "00000000-0000-0000-0000-000000000001", column: None} if column != "id" else {"id": "0" * 32}
    bad = {"id": "00000000-0000-0000-0000-000000000002", column: value}
    result = upsert(pg, good, bad, table="typed")
    error = result.outcomes[1].error
    assert result.outcomes[0].state is RecordState.WRITTEN
    assert error is not None
    assert (error.type, error.code, error.field) == (ErrorType.VALIDATION, code, field)


# What the database refuses


def bad_rows(db: Database) -> list[tuple[dict[str, Any], ErrorType, str, str]]:
    """(payload, type, code on this database, field)"""
    lite = db.is_sqlite
    return [
        (contact(50, email=None), ErrorType.MISSING_REQUIRED, "SQLITE_CONSTRAINT_NOTNULL" if lite else "23502", "email"),
        (contact(51, email="1@x.example"), ErrorType.DUPLICATE_KEY, "SQLITE_CONSTRAINT_UNIQUE" if lite else "23505", "email"),
        (contact(52, plan="gold"), ErrorType.REFERENCE_NOT_FOUND, "SQLITE_CONSTRAINT_FOREIGNKEY" if lite else "23503", "plan"),
        (contact(53, age=-1), ErrorType.VALIDATION, "SQLITE_CONSTRAINT_CHECK" if lite else "23514", "age"),
        (contact(54, age="x"), ErrorType.VALIDATION, "invalid_value", "age"),
        (contact(55, born="2023-02-29"), ErrorType.VALIDATION, "invalid_value", "born"),
        ({"id": None, "email": "n@x.example"}, ErrorType.MISSING_REQUIRED, "null_value", "id"),
    ]


@pytest.mark.parametrize("operation", [Operation.UPSERT, Operation.INSERT])
def test_bad_rows_are_refused_and_their_batch_mates_written(db: Database, operation: Operation) -> None:
    db.build().write(batch(Operation.INSERT, contact(1)))
    bad = bad_rows(db)[: 7 if operation is Operation.UPSERT else 6]
    good = [contact(100 + number) for number in range(40)]
    payloads = list(good)
    for position, (payload, *_) in enumerate(bad):
        payloads.insert(position * 6, payload)
    result = db.build().write(batch(operation, *payloads))
    assert result.signal is Signal.OK
    for payload, outcome in zip(payloads, result.outcomes, strict=True):
        expected = next((case for case in bad if case[0] is payload), None)
        if expected is None:
            assert outcome.state is RecordState.WRITTEN
            continue
        assert outcome.state is RecordState.REJECTED
        assert outcome.error is not None
        found = (outcome.error.type, outcome.error.code, outcome.error.field)
        if db.is_sqlite and expected[1] is ErrorType.REFERENCE_NOT_FOUND:
            found = (*found[:2], "plan")  # SQLite does not say which foreign key
        assert found == expected[1:]
        assert outcome.error.message
        assert outcome.error.permanent
    assert db.rows("SELECT count(*) FROM contacts") == [(41,)]


def test_batch_of_nothing_but_bad_rows(db: Database) -> None:
    result = upsert(db, *(contact(number, age=-number) for number in range(1, 31)))
    assert {outcome.state for outcome in result.outcomes} == {RecordState.REJECTED}
    assert db.rows("SELECT count(*) FROM contacts") == [(0,)]


def test_two_rows_of_one_batch_with_the_same_unique_value(db: Database) -> None:
    result = upsert(db, contact(1, email="same"), contact(2, email="same"), contact(3))
    assert sorted(str(outcome.state) for outcome in result.outcomes) == ["rejected", "written", "written"]
    assert db.rows("SELECT count(*) FROM contacts") == [(2,)]


def test_two_rows_of_one_batch_with_the_same_key(db: Database) -> None:
    result = upsert(db, contact(1, note="a"), contact("1", email="e", note="b"))  # type: ignore[arg-type]
    assert [outcome.state for outcome in result.outcomes] == [RecordState.WRITTEN] * 2
    assert db.rows("SELECT count(*) FROM contacts") == [(1,)]


@pytest.mark.postgres
def test_postgresql_names_the_column_that_is_too_long(pg: Database) -> None:
    result = upsert(pg, {"id": 1, "code": "abcd", "name": "ok"}, {"id": 2, "code": "abc", "name": "fine"}, table="narrow")
    error = result.outcomes[0].error
    assert error is not None
    assert (error.type, error.code, error.field) == (ErrorType.VALIDATION, "22001", "code")
    assert result.outcomes[1].state is RecordState.WRITTEN


@pytest.mark.postgres
def test_trigger_and_number_out_of_range_are_row_faults(pg: Database) -> None:
    pg.run(
        "CREATE FUNCTION no_bob() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.note = 'bob' THEN "
        "RAISE EXCEPTION 'No bobs here'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER no_bob BEFORE INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION no_bob()",
    )
    result = upsert(pg, contact(1, note="bob"), contact(2, balance=Decimal("1e12")), contact(3, age=2**40), contact(4))
    assert [outcome.error and outcome.error.code for outcome in result.outcomes] == ["P0001", "22003", "22003", None]
    assert result.outcomes[0].error is not None
    assert result.outcomes[0].error.message == "No bobs here"


def test_deferred_constraint_is_found_at_the_commit(db: Database) -> None:
    db.run("CREATE TABLE child (id INTEGER PRIMARY KEY, plan VARCHAR(10) REFERENCES plan (code) DEFERRABLE INITIALLY DEFERRED)")
    result = upsert(db, {"id": 1, "plan": "gold"}, {"id": 2, "plan": "pro"}, table="child")
    assert [outcome.state for outcome in result.outcomes] == [RecordState.REJECTED, RecordState.WRITTEN]
    assert result.outcomes[0].error is not None
    assert result.outcomes[0].error.type is ErrorType.REFERENCE_NOT_FOUND
    assert db.rows("SELECT id FROM child") == [(2,)]


# Update and delete


def test_update_changes_what_is_there_and_refuses_what_is_not(db: Database) -> None:
    upsert(db, *(contact(number, note="old") for number in range(1, 13)))
    result = db.build().write(
        batch(Operation.UPDATE, *({"id": number, "note": "new"} for number in (1, 2, 99, 3)), {"id": 4, "age": -1})
    )
    assert states(result) == ["written:updated", "written:updated", "rejected", "written:updated", "rejected"]
    missing = result.outcomes[2].error
    assert missing is not None
    assert (missing.type, missing.field) == (ErrorType.REFERENCE_NOT_FOUND, "id")
    assert missing.message == "There is no row with id = 99 in contacts."
    assert db.rows("SELECT id FROM contacts WHERE note = 'new' ORDER BY id") == [(1,), (2,), (3,)]


def test_update_of_a_single_missing_row(db: Database) -> None:
    result = db.build().write(batch(Operation.UPDATE, {"id": 99, "note": "new"}))
    assert states(result) == ["rejected"]


def test_update_by_a_key_that_several_rows_share_changes_none(db: Database) -> None:
    db.run("INSERT INTO loose VALUES (1, 'a')", "INSERT INTO loose VALUES (1, 'b')", "INSERT INTO loose VALUES (2, 'c')")
    result = db.build("loose", keys=["id"]).write(batch(Operation.UPDATE, {"id": 1, "note": "x"}, {"id": 2, "note": "y"}))
    assert states(result) == ["rejected", "written:updated"]
    assert result.outcomes[0].error is not None
    assert result.outcomes[0].error.type is ErrorType.DUPLICATE_KEY
    assert sorted(db.rows("SELECT note FROM loose")) == [("a",), ("b",), ("y",)]


def test_update_of_nothing_but_the_key_tells_whether_the_row_exists(db: Database) -> None:
    upsert(db, contact(1))
    assert states(db.build().write(batch(Operation.UPDATE, {"id": 1}, {"id": 2}))) == ["written:unchanged", "rejected"]


def test_delete_removes_and_takes_a_missing_row_as_done(db: Database) -> None:
    upsert(db, contact(1), contact(2), contact(3))
    result = db.build().write(batch(Operation.DELETE, {"id": 1, "email": "ignored"}, {"id": "2"}, {"id": 99}))
    assert states(result) == ["written:deleted", "written:deleted", "written:unchanged"]
    assert db.rows("SELECT id FROM contacts") == [(3,)]


def test_delete_without_a_payload_uses_the_row_key(db: Database) -> None:
    upsert(db, contact(7))
    assert states(db.build().write(batch(Operation.DELETE, {}, keys=["7"]))) == ["written:deleted"]


def test_delete_by_a_composite_key(db: Database) -> None:
    db.run(
        "INSERT INTO visit VALUES ('a', 1, '')",
        "INSERT INTO visit VALUES ('a', 2, '')",
        "INSERT INTO visit VALUES ('b', 1, '')",
    )
    keyed = [{"tenant": "a", "number": 1}, {"tenant": "b", "number": "1"}, {"tenant": "c", "number": 1}]
    result = db.build("visit").write(batch(Operation.DELETE, *keyed))
    assert states(result) == ["written:deleted", "written:deleted", "written:unchanged"]
    assert db.rows("SELECT tenant, number FROM visit") == [("a", 2)]


def test_delete_of_a_row_that_others_point_at_is_refused(db: Database) -> None:
    upsert(db, contact(1, plan="pro"))
    result = db.build("plan").write(batch(Operation.DELETE, {"code": "pro"}, {"code": "free"}))
    assert [outcome.state for outcome in result.outcomes] == [RecordState.REJECTED, RecordState.WRITTEN]
    assert result.outcomes[0].error is not None
    assert result.outcomes[0].error.type is ErrorType.VALIDATION
    assert db.rows("SELECT code FROM plan") == [("pro",)]


# What is the set-up's fault


@pytest.mark.parametrize("table, keys, payload, words", [
    ("contacts", (), {"id": 1, "emial": "x"}, "no column “emial”. It has: id, email"),
    ("contacts", ("nick",), {"id": 1, "email": "x"}, "key field “nick” is not a column"),
    ("contacts", ("note",), {"id": 1, "email": "x", "note": "n"}, "unique constraint on exactly note"),
    ("Contacts ", (), {"id": 1}, "Contacts"),
    ("nowhere", (), {"id": 1}, "no table “nowhere”"),
    ("loose", (), {"id": 1}, "no primary key"),
    ("", (), {"id": 1}, "names no table"),
])  # fmt: skip
def test_set_up_that_cannot_work_stops_the_run(
    db: Database, table: str, keys: tuple[str, ...], payload: dict[str, Any], words: str
) -> None:
    if table == "Contacts " and db.is_sqlite:
        pytest.skip("SQLite finds tables in any case")
    result = upsert(db, payload, table=table, keys=keys)
    assert result.signal is Signal.CONFIG
    assert [outcome.state for outcome in result.outcomes] == [RecordState.NOT_ATTEMPTED]
    assert result.error is not None
    assert result.error.type is ErrorType.SCHEMA_DRIFT
    assert words in result.error.message


def test_column_added_after_the_first_batch_is_found(db: Database) -> None:
    destination = db.build()
    destination.write(batch(Operation.UPSERT, contact(1)))
    db.run("ALTER TABLE contacts ADD COLUMN nick TEXT")
    assert destination.write(batch(Operation.UPSERT, contact(1, nick="A"))).signal is Signal.OK
    db.run("ALTER TABLE contacts DROP COLUMN nick")
    result = destination.write(batch(Operation.UPSERT, contact(1, nick="B")))
    assert result.signal is Signal.CONFIG
    assert result.error is not None
    assert result.error.type is ErrorType.SCHEMA_DRIFT


@pytest.mark.postgres
def test_missing_rights_stop_the_run_and_name_the_columns(pg: Database) -> None:
    role = f"writer_{pg.url.rpartition('/')[2]}"
    pg.run(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'", f"GRANT SELECT, INSERT (id, email), UPDATE (email) ON contacts TO {role}")
    mine = Database.__new__(Database)
    mine.url, mine.is_sqlite, mine._built = pg.url.replace("redrive@", f"{role}@"), False, []
    try:
        assert upsert(mine, {"id": 1, "email": "e"}, password="pw").signal is Signal.OK
        result = upsert(mine, {"id": 1, "email": "e", "note": "n"}, password="pw")
        assert result.signal is Signal.CONFIG
        assert result.error is not None
        assert (result.error.type, result.error.code, result.error.field) == (ErrorType.FIELD_PERMISSION, "42501", "note")
        pg.run(
            "ALTER TABLE contacts ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY seen ON contacts FOR SELECT USING (true)",
            "CREATE POLICY small ON contacts FOR INSERT WITH CHECK (id < 10)",
        )
        result = mine.build().write(batch(Operation.INSERT, {"id": 5, "email": "five"}, {"id": 50, "email": "fifty"}))
        assert [outcome.state for outcome in result.outcomes] == [RecordState.WRITTEN, RecordState.REJECTED]
        assert result.outcomes[1].error is not None
        assert result.outcomes[1].error.type is ErrorType.FIELD_PERMISSION
    finally:
        mine.close()
        pg.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.postgres
@pytest.mark.parametrize("change, signal, error_type", [
    (("redrive@", "nobody_here@"), Signal.AUTH, ErrorType.AUTH),
    (("/t_", "/absent_"), Signal.CONFIG, ErrorType.SCHEMA_DRIFT),
    (("127.0.0.1:", "127.0.0.1:1"), Signal.UNAVAILABLE, ErrorType.DESTINATION_UNAVAILABLE),
])  # fmt: skip
def test_database_that_cannot_be_reached(pg: Database, change: tuple[str, str], signal: Signal, error_type: ErrorType) -> None:
    if signal is Signal.UNAVAILABLE:
        change = (pg.url.split("@")[1].split("/")[0], "127.0.0.1:1")
    pg.url = pg.url.replace(*change)
    destination = pg.build(password="s3cret")
    result = destination.write(batch(Operation.UPSERT, contact(1)))
    assert result.signal is signal
    assert result.error is not None
    assert result.error.type is error_type
    report = destination.check()
    assert not report.is_ok
    assert "s3cret" not in report.message + result.error.message


def test_sqlite_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    database = Database.__new__(Database)
    database.url, database.is_sqlite, database._built = f"sqlite:///{tmp_path}/absent.db", True, []
    result = upsert(database, contact(1))
    assert result.signal is Signal.CONFIG
    assert not (tmp_path / "absent.db").exists()
    database.close()


# What is a moment's fault


def test_lock_that_is_held_too_long_is_tried_again(db: Database) -> None:
    upsert(db, contact(1))
    with db.engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE" if db.is_sqlite else "SELECT * FROM contacts FOR UPDATE")
        result = upsert(db, contact(1, note="x"), lock_timeout_seconds=1)
        other.rollback()
    assert states(result) == ["retryable"]
    error = result.outcomes[0].error
    assert error is not None
    assert (error.type, error.code) == (ErrorType.TIMEOUT, "SQLITE_BUSY" if db.is_sqlite else "55P03")
    assert result.signal is Signal.OK


@pytest.mark.postgres
def test_statement_that_runs_too_long_is_unavailable(pg: Database) -> None:
    pg.run(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    result = upsert(pg, contact(1), statement_timeout_seconds=1)
    assert (result.signal, states(result)) == (Signal.UNAVAILABLE, ["retryable"])
    assert result.error is not None
    assert (result.error.type, result.error.code) == (ErrorType.TIMEOUT, "57014")


def _kill_on(pg: Database, timing: str) -> None:
    """The server ends the connection that inserts: at once, or (deferred trigger) while it commits."""
    kind = "CONSTRAINT TRIGGER die AFTER INSERT ON contacts DEFERRABLE INITIALLY DEFERRED" if timing == "commit" else (
        "TRIGGER die BEFORE INSERT ON contacts"
    )  # fmt: skip
    pg.run(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); RETURN NEW; END $$",
        f"CREATE {kind} FOR EACH ROW EXECUTE FUNCTION die()",
    )


@pytest.mark.postgres
def test_connection_lost_before_the_commit_is_unavailable(pg: Database) -> None:
    _kill_on(pg, "statement")
    result = upsert(pg, contact(1), contact(2))
    assert (result.signal, states(result)) == (Signal.UNAVAILABLE, ["retryable"] * 2)
    pg.run("DROP TRIGGER die ON contacts")
    assert upsert(pg, contact(1)).signal is Signal.OK


@pytest.mark.postgres
def test_connection_lost_at_the_commit_is_unknown(pg: Database) -> None:
    _kill_on(pg, "commit")
    result = upsert(pg, contact(1), contact(2))
    assert (result.signal, states(result)) == (Signal.UNKNOWN, ["unknown"] * 2)
    assert result.error is not None
    assert result.error.type is ErrorType.UNKNOWN_OUTCOME


@pytest.mark.postgres
def test_connection_ended_between_two_batches_does_not_hurt(pg: Database) -> None:
    destination = pg.build(concurrency=1)
    assert destination.write(batch(Operation.UPSERT, contact(1))).signal is Signal.OK
    pg.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'redrive'")
    assert destination.write(batch(Operation.UPSERT, contact(2))).signal is Signal.OK


@pytest.mark.postgres
def test_deadlock_is_tried_again(pg: Database) -> None:
    """Two transactions take two rows in opposite order; the server ends one of them."""
    upsert(pg, contact(1), contact(2))
    pg.run('ALTER DATABASE "' + pg.url.rpartition("/")[2] + "\" SET deadlock_timeout = '100ms'")
    with psycopg.connect(pg.url) as other:
        other.execute("SET deadlock_timeout = '20s'")  # so that the destination is the one that is ended
        other.execute("UPDATE contacts SET note = 'o' WHERE id = 2")
        results: list[BatchResult] = []
        writer = threading.Thread(target=lambda: results.append(upsert(pg, contact(1, note="d"), contact(2, note="d"))))
        writer.start()
        _wait_until_blocked(pg)
        other.execute("UPDATE contacts SET note = 'o' WHERE id = 1")
        writer.join(30)
        other.rollback()
    assert states(results[0]) == ["retryable"] * 2
    error = results[0].outcomes[0].error
    assert error is not None
    assert error.code == "40P01"


def _wait_until_blocked(pg: Database) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'redrive'"
    for _ in range(10_000):
        if pg.rows(query) == [(1,)]:
            return
    raise AssertionError("the destination never waited for the lock")


# Several threads


def test_several_threads_write_at_once(db: Database) -> None:
    destination = db.build(concurrency=4)
    results: list[BatchResult] = []
    parts = [batch(Operation.UPSERT, *(contact(part * 100 + n, age=n - 5) for n in range(30))) for part in range(8)]
    threads = [threading.Thread(target=lambda part=part: results.append(destination.write(part))) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    outcomes: list[RecordOutcome] = [outcome for result in results for outcome in result.outcomes]
    assert len(outcomes) == 240
    assert sum(outcome.state is RecordState.WRITTEN for outcome in outcomes) == 200
    assert sum(outcome.state is RecordState.REJECTED for outcome in outcomes) == 40
    assert db.rows("SELECT count(*) FROM contacts") == [(200,)]


# Looking and configuring


def test_check_reads_and_describes(db: Database) -> None:
    before = db.rows("SELECT count(*) FROM contacts")
    report = db.build().check()
    assert report.is_ok
    assert report.details is not None
    assert report.details["key"] == "id (unique)"
    assert report.details["columns"] == "10"
    assert db.build("").check().is_ok
    assert not db.build("nowhere").check().is_ok
    assert "not unique" in (db.build(keys=["note"]).check().details or {})["key"]
    assert db.rows("SELECT count(*) FROM contacts") == before


def test_check_waits_for_nobody(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "crm.db").close()
    database = Database(f"sqlite:///{tmp_path}/crm.db")
    with database.engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        assert database.build(lock_timeout_seconds=1).check().is_ok
        other.rollback()
    database.close()


def test_fields_tell_types_keys_and_lengths(db: Database) -> None:
    fields = {field.name: field for field in db.build().fields() or []}
    assert (fields["id"].is_key, fields["email"].is_key, fields["note"].is_key) == (True, True, False)
    assert (fields["email"].is_required, fields["plan"].is_required) == (True, False)
    assert (fields["email"].max_length, fields["email"].type) == (20, "varchar(20)")
    assert db.build("").fields() is None
    with pytest.raises(ConfigError, match="no table “nowhere”"):
        db.build("nowhere").fields()


@pytest.mark.postgres
def test_fields_tell_the_words_of_an_enum(pg: Database) -> None:
    fields = {field.name: field for field in pg.build("typed").fields() or []}
    assert fields["mood"].options == ("glad", "sad")


@pytest.mark.postgres
def test_table_in_another_schema_and_a_partitioned_one(pg: Database) -> None:
    pg.run(
        "CREATE SCHEMA crm",
        "CREATE TABLE crm.leads (id INTEGER PRIMARY KEY, note TEXT) PARTITION BY RANGE (id)",
        "CREATE TABLE crm.leads_a PARTITION OF crm.leads FOR VALUES FROM (0) TO (100)",
    )
    result = upsert(pg, {"id": 1, "note": "a"}, {"id": 500, "note": "b"}, table="crm.leads")
    assert [outcome.state for outcome in result.outcomes] == [RecordState.WRITTEN, RecordState.REJECTED]
    assert pg.rows("SELECT id FROM crm.leads") == [(1,)]


@pytest.mark.parametrize("config, field, words", [
    ({}, "url", "Write the database's URL"),
    ({"url": "not a url"}, "url", "not a database URL"),
    ({"url": "mysql://u@h/d"}, "url", "not supported"),
    ({"url": "postgresql://u:pw@h/d"}, "url", "Take the password out"),
    ({"url": "postgresql:///d"}, "url", "no host"),
    ({"url": "postgresql://u@h"}, "url", "no database"),
    ({"url": "sqlite://"}, "url", "Name the file"),
    ({"url": "sqlite:///:memory:"}, "url", "Name the file"),
    ({"url": "sqlite:////x.db?mode=memory"}, "url", "without options"),
    ({"url": "sqlite:////x.db", "batch_records": 0}, "batch_records", "from 1 to 5,000"),
    ({"url": "sqlite:////x.db", "concurrency": "4"}, "concurrency", "whole number"),
])  # fmt: skip
def test_configuration_that_cannot_work_is_refused(config: dict[str, Any], field: str, words: str) -> None:
    issues = validate(config, {})
    assert [issue.field for issue in issues] == [field]
    assert words in issues[0].message
    with pytest.raises(ConfigError):
        registry.build("database", config=config, credentials=Secrets(), object_name="t", options={})


def test_kind_declares_its_settings() -> None:
    assert {field.name for field in FIELDS if field.is_secret} == {"password"}
    assert validate({"url": "sqlite:////x.db", **{f.name: f.default for f in FIELDS if f.default}}, {}) == []
    assert objects({"url": "sqlite:////x.db"}) == []


def test_capabilities_promise_what_may_be_sent_twice(db: Database) -> None:
    capabilities = db.build(batch_records=7, concurrency=3).capabilities
    assert capabilities.idempotent == {Operation.UPSERT, Operation.UPDATE, Operation.DELETE}
    assert capabilities.max_records == 7
    assert capabilities.concurrency == (1 if db.is_sqlite else 3)
