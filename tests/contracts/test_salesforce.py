from __future__ import annotations

from typing import Any

import pytest

from syncs.destinations.vendors.salesforce import validate
from syncs.records import Operation, Signal
from tests.contracts.http_tools import states
from tests.contracts.servers.salesforce import CLIENT, HARNESS, KEY, settings
from tests.contracts.vendor_tools import lines, opened, refused, told, write
from tests.servers import Answer

ROWS = {key: {KEY: key, "email": f"{key}@ok.test"} for key in ("a", "b")}
PATH = "/services/data/v62.0"


def error(code: str, message: str, status: int, *fields: str) -> Answer:
    return Answer.json([{"errorCode": code, "message": message, "fields": list(fields)}], status)


def result_of(code: str, message: str, *fields: str) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": list(fields)}]}


def test_upsert_is_sent_byte_for_byte_and_says_created_and_updated():
    with opened(HARNESS) as world:
        assert [outcome.detail for outcome in write(world, ROWS).outcomes] == ["created", "created"]
        again = write(world, {"a": {**ROWS["a"], "note": None}})
        assert [(outcome.detail, outcome.destination_id) for outcome in again.outcomes] == [("updated", "003a")]
        request = world.server.requests[-1]
    assert lines(world) == [f"PATCH {PATH}/composite/sobjects/Contact/{KEY}"] * 2
    assert request.headers["authorization"] == "Bearer session-1"
    assert request.json() == {
        "allOrNone": False,
        "records": [{"attributes": {"type": "Contact"}, KEY: "a", "email": "a@ok.test", "note": None}],
    }


def test_other_operations_have_calls_of_their_own():
    with opened(HARNESS) as world:
        assert states(write(world, {"a": ROWS["a"]}, Operation.INSERT)) == ["written"]
        assert states(write(world, {"a": {KEY: "a", "email": "new@ok.test"}}, Operation.UPDATE)) == ["written"]
        assert world.stored()["a"]["email"] == "new@ok.test"
        missing = write(world, {"zz": {KEY: "zz", "email": "zz@ok.test"}}, Operation.UPDATE)
        assert told(missing.outcomes[0].error) == ("reference_not_found", "NOT_FOUND", "")
        assert states(write(world, {"a": {}}, Operation.DELETE)) == ["written"]
    assert lines(world) == [
        f"POST {PATH}/composite/sobjects",
        f"PATCH {PATH}/sobjects/Contact/{KEY}/a?updateOnly=true",
        f"PATCH {PATH}/sobjects/Contact/{KEY}/zz?updateOnly=true",
        f"DELETE {PATH}/sobjects/Contact/{KEY}/a",
    ]


CODES = [
    ("DUPLICATE_VALUE", "duplicate value found: email", "duplicate_key", True),
    ("DUPLICATES_DETECTED", "Use one of these records?", "duplicate_key", True),
    ("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", "missing_required", True),
    ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Close date must be later than today", "validation", True),
    ("STRING_TOO_LONG", "First Name: data value too large", "validation", True),
    ("INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: CreatedDate", "field_permission", True),
    ("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "insufficient access rights", "field_permission", True),
    ("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", "reference_not_found", True),
    ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", "destination_unavailable", False),
]


@pytest.mark.parametrize("code, message, error_type, is_permanent", CODES)
def test_code_of_one_record_decides_its_type_and_fate(code, message, error_type, is_permanent):
    with opened(HARNESS) as world:
        answer = Answer.json([{"id": "1", "success": True, "errors": []}, result_of(code, message, "LastName")])
        result = refused(world, answer, ROWS)
    assert states(result) == ["written", "rejected" if is_permanent else "retryable"]
    assert told(result.outcomes[1].error) == (error_type, code, "LastName")


@pytest.mark.parametrize(
    "answer, signal",
    [
        (error("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 403), Signal.RATE_LIMITED),
        (error("SERVER_UNAVAILABLE", "Server too busy", 503), Signal.UNAVAILABLE),
        (error("INVALID_FIELD", "No such column 'colour' on sobject of type Contact", 400), Signal.REFUSED),
        (error("NOT_FOUND", "The requested resource does not exist", 404), Signal.CONFIG),
    ],
)
def test_answer_as_a_whole_says_what_to_do_with_the_batch(answer, signal):
    with opened(HARNESS) as world:
        result = refused(world, answer, ROWS)
    assert result.signal is signal
    assert set(states(result)) <= {"not_attempted", "retryable"}


def test_column_that_salesforce_lacks_is_schema_drift_and_named():
    with opened(HARNESS) as world:
        answer = error("INVALID_FIELD", "No such column 'colour' on sobject of type Contact", 400)
        result = refused(world, answer, {"a": {**ROWS["a"], "colour": "red"}})
    assert told(result.outcomes[0].error) == ("schema_drift", "INVALID_FIELD", "colour")


def test_session_that_ended_is_renewed_once_and_the_call_made_again():
    with opened(HARNESS) as world:
        world.emulator.expire()
        assert states(write(world, ROWS)) == ["written", "written"]
        called = lines(world)
        assert called[1] == "POST /services/oauth2/token"
        assert world.emulator.logins == 2
        assert world.stored().keys() == ROWS.keys()


def test_refusal_that_a_new_session_does_not_lift_stops_the_run():
    with opened(HARNESS) as world:
        disabled = error("API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization.", 403)
        world.server.script(disabled, Answer.json({"access_token": world.emulator.token}), disabled)
        result = write(world, ROWS)
    assert (result.signal, set(states(result))) == (Signal.AUTH, {"not_attempted"})


def test_calls_stay_on_the_my_domain_address_whatever_the_token_answer_names():
    """Its ``instance_url`` could send rows and token elsewhere."""
    with opened(HARNESS) as world:
        assert states(write(world, ROWS)) == ["written", "written"]
        assert len(world.stored()) == 2


def test_keys_that_differ_in_case_are_one_external_id_for_salesforce_and_go_out_apart():
    with opened(HARNESS) as world:
        result = write(world, {"Ab": {KEY: "Ab", "email": "1@ok.test"}, "aB": {KEY: "aB", "email": "2@ok.test"}})
    assert states(result) == ["written", "not_attempted"]


def test_fields_tell_what_is_required_writable_and_chosen_from():
    with opened(HARNESS) as world:
        fields = {field.name: field for field in world.destination.fields()}
        assert lines(world) == [f"GET {PATH}/sobjects/Contact/describe"]
    assert [name for name, field in fields.items() if field.is_required] == ["email"]
    assert [name for name, field in fields.items() if field.is_key] == [KEY]
    assert [name for name, field in fields.items() if not field.is_writable] == ["Id"]
    assert (fields["Rating"].options, fields["Industry"].options) == (("Hot",), ())
    assert fields[KEY].max_length == 50


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"objects": "Contact"}, "objects"),
        ({"objects": "Contact: Id"}, "objects"),
        ({"objects": "Contact: a/b"}, "objects"),
        ({"api_version": "60.0"}, "api_version"),
        ({"api_version": "v62"}, "api_version"),
        ({"login": "password"}, "login"),
        ({"login": "oauth2_refresh"}, "refresh_token"),
        ({"base_url": "acme.my.salesforce.com"}, "base_url"),
    ],
)
def test_bad_setting_is_named(changes, field):
    issues = validate(settings("https://acme.my.salesforce.com", **changes), CLIENT)
    assert field in [issue.field for issue in issues]
    assert validate(settings("https://acme.my.salesforce.com"), CLIENT) == []


def test_login_by_a_person_goes_to_the_my_domain_address():
    with opened(HARNESS, settings={"login": "oauth2_authorization_code"}, token_path="") as world:
        address = world.destination.login.address(state="s", challenge="c", redirect_uri="https://redrive.test/back")
        assert address.startswith(f"{world.server.url}/services/oauth2/authorize?")
