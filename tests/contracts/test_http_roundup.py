"""Roundup, a real server: one record per call, unique key, field permission, version check, rate limit. By configuration."""

from __future__ import annotations

import pytest

from syncs.errors import ErrorType
from syncs.records import Operation, Signal
from tests.contracts.http_tools import MemoryCredentials, batch, destination, record, states
from tests.thirdparty import roundup

pytestmark = pytest.mark.thirdparty

SCHEMA = """
contact = Class(db, "contact", external_id=String(), email=String(), age=Integer(), internal_score=String())
contact.setkey("external_id")
db.security.addRole(name="Sync", description="Writes contacts")
for name in ("Web Access", "Rest Access"):
    db.security.addPermissionToRole("Sync", name)
for name in ("Create", "Edit"):
    permission = db.security.addPermission(name=name, klass="contact", properties=("external_id", "email", "age"))
    db.security.addPermissionToRole("Sync", permission)
for name in ("View", "Search", "Retire"):
    db.security.addPermissionToRole("Sync", db.security.addPermission(name=name, klass="contact"))
"""
DETECTORS = """
from roundup.exceptions import Reject

def check(db, cl, nodeid, values):
    if nodeid is None and not values.get("email"):
        raise Reject("Required contact property email not supplied")

def init(db):
    db.contact.audit("create", check)
"""
LOOKUP = {
    "path": "/rest/data/contact/external_id={key}",
    "take": {"id": "data.id", "etag": "header:ETag"},
    "missing_status": [400, 404],
}
ITEM = {"path": "/rest/data/contact/{found.id}", "headers": {"If-Match": "{found.etag}"}, "success": {"status": 200}}
OBJECTS = {
    "contact": {
        "operations": {
            "insert": {"path": "/rest/data/contact", "success": {"status": 201, "present": "data.id"}, "id": "data.id"},
            "update": {"method": "PUT", **ITEM, "lookup": LOOKUP},
            "upsert": {
                "method": "PUT",
                **ITEM,
                "lookup": {**LOOKUP, "if_missing": "insert"},
                "detail": {"status": {"200": "updated", "201": "created"}},
            },
            "delete": {
                "method": "DELETE",
                "path": ITEM["path"],
                "headers": {"If-Match": "{found.etag}", "Content-Type": "application/json"},
                "body": {"kind": "none"},
                "lookup": {**LOOKUP, "if_missing": "written"},
            },
        }
    }
}
RULES = [
    {"status": 405, "text": "Required contact property (?P<field>\\w+) not supplied", "type": "missing_required"},
    {"status": 412, "type": "destination_unavailable", "is_permanent": False},
    {"status": 400, "text": "Required Header Missing", "signal": "config"},
]


def settings(address):
    return {
        "base_url": address,
        "auth": {"kind": "basic", "username": "sync"},
        "headers": {"X-Requested-With": "rest", "Origin": address},
        "check": {"path": "/rest/data/contact"},
        "defaults": {"error": {"message": "error.msg"}},
        "error_rules": RULES,
        "objects": OBJECTS,
    }


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with roundup(tmp_path_factory.mktemp("roundup"), schema=SCHEMA, detectors=DETECTORS) as started:
        yield started


@pytest.fixture(scope="module")
def tracker(address):
    made = destination(settings(address), MemoryCredentials({"password": "sync-pw"}), object_name="contact")
    yield made
    made.close()


def person(key, **values):
    return record(key, {"external_id": key, "email": f"{key}@x.test", "age": 30, **values})


def test_insert_then_duplicate_is_rejected_by_its_key(tracker):
    assert tracker.check().is_ok
    assert tracker.capabilities.max_records == 1
    first = tracker.write(batch(person("ins-1"), operation=Operation.INSERT))
    assert states(first) == ["written"]
    assert first.outcomes[0].destination_id.isdigit()
    again = tracker.write(batch(person("ins-1"), operation=Operation.INSERT))
    assert states(again) == ["rejected"]
    assert again.outcomes[0].error.type is ErrorType.DUPLICATE_KEY
    assert again.outcomes[0].error.http_status == 409


@pytest.mark.parametrize(
    "fault, error_type, field, status",
    [
        ({"age": "abc"}, ErrorType.VALIDATION, "age", 400),
        ({"internal_score": "9"}, ErrorType.FIELD_PERMISSION, "internal_score", 403),
        ({"email": None}, ErrorType.MISSING_REQUIRED, "email", 405),
    ],
)
def test_bad_value_becomes_a_rejection_with_type_and_field(tracker, fault, error_type, field, status):
    result = tracker.write(batch(person(f"bad-{field}", **fault), operation=Operation.INSERT))
    assert result.signal is Signal.OK
    assert states(result) == ["rejected"]
    error = result.outcomes[0].error
    assert (error.type, error.field, error.http_status) == (error_type, field, status)


def test_unknown_field_is_schema_drift_or_names_the_field(tracker):
    result = tracker.write(batch(person("odd", nope="1"), operation=Operation.INSERT))
    assert states(result) == ["rejected"]
    assert result.outcomes[0].error.field == "nope"


def test_upsert_creates_then_updates_under_the_version_check(tracker):
    created = tracker.write(batch(person("up-1")))
    updated = tracker.write(batch(person("up-1", age=31)))
    assert [created.outcomes[0].detail, updated.outcomes[0].detail] == ["created", "updated"]
    assert "31" in updated.exchange.excerpt


def test_update_of_a_missing_record_is_rejected_and_delete_of_one_is_done(tracker):
    missing = tracker.write(batch(person("never"), operation=Operation.UPDATE))
    assert missing.outcomes[0].error.type is ErrorType.REFERENCE_NOT_FOUND
    assert states(tracker.write(batch(person("never"), operation=Operation.DELETE))) == ["written"]
    tracker.write(batch(person("del-1"), operation=Operation.INSERT))
    gone = tracker.write(batch(person("del-1"), operation=Operation.DELETE))
    assert gone.outcomes[0].detail == "deleted", gone


def test_wrong_password_stops_the_run(address):
    made = destination(settings(address), MemoryCredentials({"password": "wrong"}), object_name="contact")
    result = made.write(batch(person("x"), operation=Operation.INSERT))
    assert (result.signal, states(result)) == (Signal.AUTH, ["not_attempted"])
    assert not made.check().is_ok


def test_rate_limit_never_rejects_a_row(tmp_path):
    with roundup(tmp_path, schema=SCHEMA, calls=5, seconds=30) as limited:
        made = destination(settings(limited), MemoryCredentials({"password": "sync-pw"}), object_name="contact")
        results = [made.write(batch(person(f"r{number}"), operation=Operation.INSERT)) for number in range(12)]
    kinds = {result.signal for result in results}
    assert kinds == {Signal.OK, Signal.RATE_LIMITED}
    limited_results = [result for result in results if result.signal is Signal.RATE_LIMITED]
    assert all(states(result) == ["retryable"] for result in limited_results)
    assert all(1 <= (result.retry_after or 0) <= 31 for result in limited_results)
