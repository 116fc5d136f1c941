from __future__ import annotations

import base64
from typing import Any

import pytest

from syncs.destinations.vendors.mailchimp import document, validate
from syncs.records import Operation, Signal
from tests.contracts.http_tools import states
from tests.contracts.servers.base import TOKEN
from tests.contracts.servers.mailchimp import AUDIENCE, HARNESS, problem
from tests.contracts.vendor_tools import lines, opened, refused, told, write
from tests.servers import Answer

ROWS: dict[str, dict[str, Any]] = {
    f"{key}@x.test": {"status": "subscribed", "merge_fields": {"FNAME": key, "PLAN": None}} for key in ("Ann", "bob", "cid")
}


def answered(
    *errors: dict[str, str], new: tuple[str, ...] = (), updated: tuple[str, ...] = (), count: int | None = None
) -> Answer:
    members = {"new_members": new, "updated_members": updated}
    data = {name: [{"id": key, "email_address": key} for key in keys] for name, keys in members.items()}
    return Answer.json({**data, "errors": list(errors), "error_count": len(errors) if count is None else count})


def error(address: str, text: str, code: str = "ERROR_GENERIC", field: str = "") -> dict[str, str]:
    return {"email_address": address, "error": text, "error_code": code, "field": field, "field_message": text}


def test_members_are_sent_byte_for_byte_and_null_clears_a_merge_field():
    with opened(HARNESS) as world:
        assert states(write(world, dict(list(ROWS.items())[:2]))) == ["written"] * 2
        request = world.server.requests[0]
    assert lines(world) == [f"POST /lists/{AUDIENCE}"]
    assert request.headers["authorization"] == "Basic " + base64.b64encode(f"redrive:{TOKEN}".encode()).decode()
    assert request.body == (
        b'{"update_existing":true,"members":['
        b'{"status":"subscribed","merge_fields":{"FNAME":"Ann","PLAN":""},"email_address":"Ann@x.test"},'
        b'{"status":"subscribed","merge_fields":{"FNAME":"bob","PLAN":""},"email_address":"bob@x.test"}]}'
    )


def test_new_and_updated_members_are_told_apart_and_both_written():
    with opened(HARNESS) as world:
        write(world, {"bob@x.test": ROWS["bob@x.test"]})
        result = write(world, ROWS)
    assert states(result) == ["written"] * 3
    assert len({outcome.destination_id for outcome in result.outcomes}) == 3


@pytest.mark.parametrize(
    "found, wanted",
    [
        (
            error("BOB@x.test", "bob@x.test looks fake or invalid, please enter a real email address."),
            ("validation", "ERROR_GENERIC", ""),
        ),
        (
            error("bob@x.test", "bob@x.test is already a list member.", "ERROR_CONTACT_EXISTS"),
            ("duplicate_key", "ERROR_CONTACT_EXISTS", ""),
        ),
        (
            error("bob@x.test", "Your merge fields were invalid.", "ERROR_GENERIC", "FNAME"),
            ("validation", "ERROR_GENERIC", "FNAME"),
        ),
        (
            error("bob@x.test", "bob@x.test is in a compliance state due to unsubscribe, bounce, or compliance review."),
            ("validation", "ERROR_GENERIC", ""),
        ),
        (error("bob@x.test", "FNAME must be provided - Please enter a value"), ("missing_required", "ERROR_GENERIC", "FNAME")),
    ],
)
def test_error_names_its_member_by_address_and_the_others_are_written(found, wanted):
    with opened(HARNESS) as world:
        result = refused(world, answered(found, new=("ann@x.test",), updated=("cid@x.test",)), ROWS)
    assert states(result) == ["written", "rejected", "written"]
    assert told(result.outcomes[1].error) == wanted
    assert result.outcomes[1].error.message == found["error"]


@pytest.mark.parametrize(
    "answer, wanted",
    [
        (answered(new=("ann@x.test", "cid@x.test")), ["written", "unknown", "written"]),
        (answered(error("zoe@x.test", "no"), new=tuple(ROWS)), ["unknown"] * 3),
        (answered(error("bob@x.test", "no"), new=("ann@x.test", "cid@x.test"), count=2), ["unknown", "rejected", "unknown"]),
        (Answer.json({"errors": []}), ["unknown"] * 3),
    ],
)
def test_member_that_the_answer_does_not_account_for_is_never_written(answer, wanted):
    with opened(HARNESS) as world:
        assert states(refused(world, answer, ROWS)) == wanted


def test_call_that_does_not_fit_the_schema_is_halved_and_the_bad_member_found():
    with opened(HARNESS) as world:
        rows = {**ROWS, "bob@x.test": {**ROWS["bob@x.test"], "status": "maybe"}}
        whole = write(world, rows)
        assert (whole.signal, set(states(whole))) == (Signal.REFUSED, {"not_attempted"})
        alone = write(world, {"bob@x.test": rows["bob@x.test"]})
    assert told(alone.outcomes[0].error) == ("validation", "Invalid Resource", "members.0.status")
    assert alone.outcomes[0].error.message.startswith("Value must be one of")


@pytest.mark.parametrize(
    "answer, signal",
    [
        (Answer(403, {}, b"<html><h1>Access Denied</h1></html>"), Signal.RATE_LIMITED),
        (Answer(403), Signal.RATE_LIMITED),
        (problem(429, "Too Many Requests", "You have exceeded the limit of 10 simultaneous connections."), Signal.RATE_LIMITED),
        (problem(403, "Forbidden", "You are not permitted to access this resource."), Signal.AUTH),
        (problem(403, "WrongDatacenter", "The API key belongs to another datacenter."), Signal.AUTH),
        (problem(401, "API Key Invalid", "Your API key may be invalid."), Signal.AUTH),
        (problem(404, "Resource Not Found", "The requested resource could not be found."), Signal.CONFIG),
        (problem(503, "Service Unavailable", "Down for maintenance."), Signal.UNAVAILABLE),
    ],
)
def test_fault_of_the_whole_call_rejects_nobody(answer, signal):
    with opened(HARNESS) as world:
        result = refused(world, answer, ROWS)
        assert (result.signal, "rejected" in states(result)) == (signal, False)
        assert states(write(world, ROWS)) == ["written"] * 3


def test_delete_archives_and_a_member_that_is_not_there_is_done():
    with opened(HARNESS) as world:
        write(world, ROWS)
        results = [write(world, {"Ann@x.test": {}}, Operation.DELETE) for _ in range(2)]
        assert lines(world)[1:] == [f"DELETE /lists/{AUDIENCE}/members/Ann%40x.test"] * 2
        assert "Ann@x.test" not in world.emulator.stored
    assert [states(result) for result in results] == [["written"], ["written"]]


def test_test_call_reads_the_audience_itself():
    with opened(HARNESS) as world:
        assert world.destination.check().is_ok
        assert lines(world) == [f"GET /lists/{AUDIENCE}?fields=id,name"]
    with opened(HARNESS, settings={"audience_id": "another"}) as world:
        report = world.destination.check()
    assert (report.is_ok, "404" in report.message) == (False, True)


def test_fields_limits_and_form():
    with opened(HARNESS) as world:
        found = {field.name: field for field in world.destination.fields()}
        limits = world.destination.capabilities
    assert (limits.max_records, limits.concurrency) == (500, 8)
    assert (found["merge_fields.FNAME"].is_required, found["merge_fields.FNAME"].max_length) == (True, 25)
    assert found["merge_fields.PLAN"].options == ("free", "paid")
    assert found["status"].options[0] == "subscribed"
    assert document({"data_center": "us6", "audience_id": "a"})["base_url"] == "https://us6.api.mailchimp.com/3.0"
    assert [issue.field for issue in validate({"data_center": "us", "audience_id": "a"}, {"password": "x"})] == ["data_center"]
    assert [issue.field for issue in validate({}, {})] == ["data_center", "audience_id", "password"]
