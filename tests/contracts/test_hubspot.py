from __future__ import annotations

import pytest

from syncs.destinations.vendors.hubspot import validate
from syncs.errors import ConfigError, CredentialsError, TransientError
from syncs.records import Operation, Signal
from tests.contracts.http_tools import states
from tests.contracts.servers.hubspot import HARNESS
from tests.contracts.vendor_tools import lines, opened, refused, told, write
from tests.servers import Answer

ROWS = {key: {"external_id": key, "email": f"{key}@ok.test"} for key in ("a", "b")}
UNKNOWN_PROPERTY = (
    'Property values were not valid: [{"isValid":false,"message":"Property \\"colour\\" does not exist",'
    '"error":"PROPERTY_DOESNT_EXIST","name":"colour","localizedErrorMessage":"Property \\"colour\\" does not exist"}]'
)


def error(category: str, message: str, status: int, **more: object) -> Answer:
    return Answer.json({"status": "error", "category": category, "message": message, **more}, status)


def test_upsert_is_sent_byte_for_byte():
    with opened(HARNESS) as world:
        result = write(world, {"a": {"external_id": "a", "email": "a@ok.test", "score": 7, "vip": True, "note": None}})
        assert states(result) == ["written"]
        request = world.server.requests[0]
    assert lines(world) == ["POST /crm/v3/objects/contacts/batch/upsert"]
    assert request.headers["authorization"].startswith("Bearer ")
    assert request.json() == {
        "inputs": [
            {
                "idProperty": "external_id",
                "id": "a",
                "objectWriteTraceId": "0",
                "properties": {"email": "a@ok.test", "external_id": "a", "note": "", "score": "7", "vip": "true"},
            }
        ]
    }


@pytest.mark.parametrize(
    "operation, called",
    [
        (Operation.INSERT, ["POST /crm/v3/objects/contacts/batch/create"]),
        (Operation.UPDATE, ["POST /crm/v3/objects/contacts/batch/update"]),
    ],
)
def test_insert_and_update_have_endpoints_of_their_own(operation, called):
    with opened(HARNESS) as world:
        assert states(write(world, ROWS, operation)) == ["written", "written"]
        assert lines(world) == called
        has_id = "id" in world.server.requests[0].json()["inputs"][0]
    assert has_id == (operation is Operation.UPDATE)


def test_delete_finds_the_record_by_its_unique_property():
    with opened(HARNESS) as world:
        write(world, {"a": ROWS["a"]})
        world.server.requests.clear()
        assert states(write(world, {"a": {}}, Operation.DELETE)) == ["written"]
        assert lines(world) == [
            "GET /crm/v3/objects/contacts/a?idProperty=external_id",
            "DELETE /crm/v3/objects/contacts/id-a",
        ]
        assert world.stored() == {}


def test_update_of_what_is_not_there_is_told_by_its_id():
    answer = {
        "status": "COMPLETE",
        "results": [{"id": "1", "properties": {}}],
        "errors": [{"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get", "context": {"ids": ["b"]}}],
    }
    with opened(HARNESS, operation=Operation.UPDATE) as world:
        result = refused(world, Answer.json(answer, 207), ROWS)
    assert states(result) == ["written", "rejected"]
    assert told(result.outcomes[1].error)[0] == "reference_not_found"


@pytest.mark.parametrize(
    "answer, signal",
    [
        (Answer.json({"errorType": "RATE_LIMIT", "policyName": "DAILY", "message": "limit"}, 429), Signal.RATE_LIMITED),
        (error("RATE_LIMITS", "You have reached your limit.", 403), Signal.RATE_LIMITED),
        (error("LOCKED", "The record is locked.", 423), Signal.UNAVAILABLE),
        (Answer(477, {"Retry-After": "5"}, b""), Signal.UNAVAILABLE),
        (error("MISSING_SCOPES", "This app hasn't been granted all required scopes", 403), Signal.AUTH),
        (error("INVALID_AUTHENTICATION", "expired", 401), Signal.AUTH),
        (error("VALIDATION_ERROR", UNKNOWN_PROPERTY, 400), Signal.REFUSED),
    ],
)
def test_answer_as_a_whole_says_what_to_do_with_the_batch(answer, signal):
    with opened(HARNESS) as world:
        result = refused(world, answer, ROWS)
    assert result.signal is signal
    assert set(states(result)) <= {"not_attempted", "retryable"}


@pytest.mark.parametrize(
    "message, wanted",
    [
        (UNKNOWN_PROPERTY, ("schema_drift", "VALIDATION_ERROR", "colour")),
        ("Object is missing required property external_id", ("missing_required", "VALIDATION_ERROR", "external_id")),
    ],
)
def test_lone_record_of_a_refused_call_has_type_code_and_field(message, wanted):
    row = {"external_id": "a", "email": "a@ok.test", "colour": "red"}
    with opened(HARNESS) as world:
        result = refused(world, error("VALIDATION_ERROR", message, 400), {"a": row})
    assert told(result.outcomes[0].error) == wanted


@pytest.mark.parametrize("data", [{}, {"results": [], "errors": []}, {"status": "COMPLETE", "results": []}])
def test_yes_without_results_and_errors_is_unknown(data):
    with opened(HARNESS) as world:
        assert set(states(refused(world, Answer.json(data, 200), ROWS))) == {"unknown"}


def test_fields_tell_type_choices_keys_and_what_is_read_only():
    with opened(HARNESS) as world:
        fields = {field.name: field for field in world.destination.fields()}
        assert lines(world) == ["GET /crm/v3/properties/contacts"]
    assert (fields["email"].is_key, fields["external_id"].is_key, fields["lifecyclestage"].is_key) == (True, True, False)
    assert fields["lifecyclestage"].options == ("lead", "customer")
    assert (fields["createdate"].is_writable, fields["lifecyclestage"].is_writable) == (False, True)


@pytest.mark.parametrize(
    "answer, kind, says",
    [
        (Answer(401), CredentialsError, "credentials"),
        (Answer(403), CredentialsError, "may not read"),
        (Answer(404), ConfigError, "nothing to read"),
        (Answer(503, {"Retry-After": "9"}), TransientError, "Try again later"),
        (Answer(200, {}, b"<html>"), ConfigError, "not JSON"),
        (Answer.json({"results": "none"}), ConfigError, "results"),
        (Answer.json([]), ConfigError, "results"),
        (Answer(fault="close"), TransientError, "Nothing was read"),
    ],
)
def test_field_list_that_cannot_be_had_is_a_sentence(answer, kind, says):
    with opened(HARNESS) as world:
        world.server.script(answer)
        with pytest.raises(kind, match=says):
            world.destination.fields()


@pytest.mark.parametrize(
    "config, field",
    [
        ({"objects": "contacts"}, "objects"),
        ({"objects": "contacts: email: x"}, "objects"),
        ({"objects": " , "}, "objects"),
        ({"objects": ["contacts"]}, "objects"),
        ({"base_url": "http://user@x"}, "base_url"),
        ({"deadline_seconds": "soon"}, "deadline_seconds"),
        ({"deadline_seconds": 100_000}, "limits.deadline_seconds"),
    ],
)
def test_bad_setting_is_named(config, field):
    assert field in [issue.field for issue in validate(config, {"token": "t"})]


def test_login_by_a_person_asks_hubspot_for_the_scopes():
    settings = {"login": "oauth2_authorization_code", "scope": "crm.objects.contacts.write"}
    with opened(HARNESS, settings=settings, secrets={"client_id": "app-4711", "client_secret": "s"}) as world:
        login = world.destination.login
        address = login.address(state="s", challenge="c", redirect_uri="https://redrive.test/back")
    assert address.startswith("https://app.hubspot.com/oauth/authorize?")
    assert "client_id=app-4711" in address
    assert "scope=crm.objects.contacts.write" in address
    assert [issue.field for issue in validate(settings, {})] == ["client_id"]
    assert [issue.field for issue in validate({}, {})] == ["token"]
