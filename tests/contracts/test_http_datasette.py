"""Datasette, a real server: upsert batches, all or nothing, no locator for constraint errors. By configuration alone."""

from __future__ import annotations

import sqlite3

import pytest

from syncs.errors import ErrorType
from syncs.records import Operation, RecordState, Signal
from tests.contracts.http_tools import MemoryCredentials, batch, destination, record, states
from tests.thirdparty import datasette

pytestmark = pytest.mark.thirdparty

TABLES = """
create table contacts (
    external_id text primary key, email text not null unique, name text, age integer check (age between 0 and 150)
);
"""
CALL = {"per_call": "batch", "body": {"list_at": "rows", "constants": {"return": True}}}
ANSWER = {
    "success": {"status": [200, 201], "flag": {"path": "ok"}, "count": "rows"},
    "locator": {"kind": "index", "errors": "errors", "pattern": r"Row (?P<index>\d+) (has|is missing)"},
    "is_atomic": True,
    "error": {"message": "errors"},
}
OBJECTS = {
    "contacts": {
        "limits": {"max_records": 100},
        "operations": {
            "upsert": {"path": "/crm/contacts/-/upsert", **CALL, **ANSWER},
            "insert": {"path": "/crm/contacts/-/insert", **CALL, **ANSWER},
            "update": {
                "path": "/crm/contacts/{key}/-/update",
                "record": {"properties_at": "update", "omit": "external_id"},
                "success": {"flag": {"path": "ok"}},
            },
            "delete": {
                "path": "/crm/contacts/{key}/-/delete",
                "body": {"kind": "none"},
                "success": {"status": [200, 404]},
            },
        },
    }
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with datasette(tmp_path_factory.mktemp("datasette"), TABLES) as started:
        yield started


@pytest.fixture
def crm(server):
    address, token, path = server
    with sqlite3.connect(path) as database:
        database.execute("delete from contacts")
    database.close()
    config = {"base_url": address, "auth": {"kind": "bearer"}, "check": {"path": "/crm.json"}, "objects": OBJECTS}
    made = destination(config, MemoryCredentials({"token": token}))
    yield made
    made.close()


@pytest.fixture
def stored(server):
    def read() -> dict:
        with sqlite3.connect(server[2]) as database:
            rows = database.execute("select external_id, email, name, age from contacts").fetchall()
        database.close()
        return {row[0]: row[1:] for row in rows}

    return read


def person(key, **values):
    return record(key, {"external_id": key, "email": f"{key}@x.test", "name": "Zoë", "age": 30, **values})


def test_upsert_batch_is_stored_and_updated(crm, stored):
    assert crm.check().is_ok
    people = [person(f"p{number}") for number in range(100)]
    assert set(states(crm.write(batch(*people)))) == {"written"}
    assert set(states(crm.write(batch(person("p7", name="Other", age=None))))) == {"written"}
    assert len(stored()) == 100
    assert stored()["p7"] == ("p7@x.test", "Other", None)


@pytest.mark.parametrize(
    "fault, error_type, field",
    [
        ({"email": None}, ErrorType.MISSING_REQUIRED, "email"),
        ({"age": 999}, ErrorType.VALIDATION, "age"),
        ({"email": "p1@x.test"}, ErrorType.DUPLICATE_KEY, "email"),
    ],
)
def test_constraint_error_refuses_the_batch_and_halving_finds_the_row(crm, stored, fault, error_type, field):
    crm.write(batch(person("p1")))
    pending, rejected, calls = [[person(f"q{n}", **(fault if n == 5 else {})) for n in range(16)]], {}, 0
    while pending:
        part = pending.pop()
        result = crm.write(batch(*part))
        calls += 1
        if result.signal is Signal.REFUSED:
            assert set(states(result)) == {"not_attempted"}
            pending += [part[: len(part) // 2], part[len(part) // 2 :]]
        for sent, outcome in zip(part, result.outcomes, strict=True):
            if outcome.state is RecordState.REJECTED:
                rejected[sent.key] = outcome.error
    assert rejected.keys() == {"q5"}
    assert (rejected["q5"].type, rejected["q5"].field) == (error_type, field)
    assert stored().keys() == {"p1", *(f"q{n}" for n in range(16) if n != 5)}
    assert calls == 9


def test_missing_required_value_names_the_suspect(crm):
    people = [person(f"p{number}", **({"email": None} if number == 3 else {})) for number in range(12)]
    result = crm.write(batch(*people))
    assert (result.signal, result.suspects) == (Signal.REFUSED, (3,))


def test_rows_that_the_answer_names_are_located(crm, stored):
    people = [person("a"), person("b", nope=1), person("c")]
    result = crm.write(batch(*people))
    assert states(result) == ["not_attempted", "rejected", "not_attempted"]
    assert result.outcomes[1].error.type is ErrorType.SCHEMA_DRIFT
    assert result.outcomes[1].error.field == "nope"
    assert stored() == {}


def test_update_and_delete_of_one_row(crm, stored):
    crm.write(batch(person("a-1"), person("b")))
    assert states(crm.write(batch(person("a-1", age=31), operation=Operation.UPDATE))) == ["written"]
    assert stored()["a-1"][2] == 31
    gone = crm.write(batch(person("b"), operation=Operation.DELETE))
    assert (states(gone), gone.outcomes[0].detail) == (["written"], "deleted")
    missing = crm.write(batch(person("zz"), operation=Operation.UPDATE))
    assert (states(missing), missing.outcomes[0].error.type) == (["rejected"], ErrorType.REFERENCE_NOT_FOUND)
    assert stored().keys() == {"a-1"}


def test_wrong_token_is_the_connections_fault(server):
    config = {"base_url": server[0], "auth": {"kind": "bearer"}, "objects": OBJECTS}
    result = destination(config, MemoryCredentials({"token": "dstok_wrong"})).write(batch(person("a")))
    assert result.signal is Signal.AUTH
    assert states(result) == ["not_attempted"]


def test_unknown_table_is_the_connections_fault(server):
    changed = {"contacts": {"operations": {"upsert": {"path": "/crm/nothing/-/upsert", **CALL, **ANSWER}}}}
    config = {"base_url": server[0], "auth": {"kind": "bearer"}, "objects": changed}
    result = destination(config, MemoryCredentials({"token": server[1]})).write(batch(person("a"), person("b")))
    assert result.signal is Signal.CONFIG
