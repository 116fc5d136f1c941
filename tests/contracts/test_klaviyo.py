from __future__ import annotations

import json
from typing import Any

import pytest

from syncs.destinations.vendors.klaviyo import validate
from syncs.records import Batch, BatchResult, Operation, Signal
from tests.contracts.harness import HttpWorld
from tests.contracts.http_tools import record, states
from tests.contracts.servers.base import TOKEN
from tests.contracts.servers.klaviyo import HARNESS, Klaviyo, problem
from tests.contracts.vendor_tools import lines, opened, refused, told
from tests.servers import Answer

JOBS = "/api/profile-bulk-import-jobs"
ROWS: dict[str, dict[str, Any]] = {key: {"email": f"{key}@x.test", "properties": {"plan": "free"}} for key in ("a", "b", "c")}


def begun(world: HttpWorld, rows: dict[str, dict[str, Any]]) -> tuple[Batch, BatchResult]:
    world.emulator.url = world.server.url
    batch = Batch(Operation.UPSERT, [record(key, payload) for key, payload in rows.items()], "a" * 32)
    return batch, world.destination.write(batch)


def done(world: HttpWorld, rows: dict[str, dict[str, Any]] = ROWS, *answers: Answer) -> BatchResult:
    """The batch as its job ended, or what the scripted answers make of it."""
    world.emulator.patience = 0
    batch, first = begun(world, rows)
    assert first.job is not None
    world.server.script(*answers)
    return world.destination.confirm(batch, first.job)


def complete(failed: int, completed: int = 3) -> Answer:
    attributes = {"status": "complete", "total_count": 3, "completed_count": completed, "failed_count": failed}
    return Answer.json({"data": {"type": "profile-bulk-import-job", "id": "job1", "attributes": attributes}})


def errors(*found: dict[str, Any]) -> Answer:
    return Answer.json(
        {"data": [{"type": "import-error", "id": "e", "attributes": item} for item in found], "links": {"next": None}}
    )


def test_profiles_become_a_job_byte_for_byte_that_is_asked_after():
    with opened(HARNESS, settings={"list_id": "Y6nRLr"}) as world:
        batch, first = begun(world, {"a": ROWS["a"]})
        working, end = (world.destination.confirm(batch, first.job) for _ in range(2))
        assert lines(world) == [f"POST {JOBS}", *[f"GET {JOBS}/job1"] * 2]
        request = world.server.requests[0]
    assert (first.signal, first.retry_after, working.signal, states(end)) == (
        Signal.CONFIRMING,
        5,
        Signal.CONFIRMING,
        ["written"],
    )
    assert request.json() == {
        "data": {
            "type": "profile-bulk-import-job",
            "attributes": {
                "profiles": {
                    "data": [
                        {
                            "type": "profile",
                            "attributes": {"email": "a@x.test", "properties": {"plan": "free"}, "external_id": "a"},
                        }
                    ]
                }
            },
            "relationships": {"lists": {"data": [{"type": "list", "id": "Y6nRLr"}]}},
        }
    }
    names = ("authorization", "revision", "content-type", "accept")
    assert [request.headers[name] for name in names] == [
        f"Klaviyo-API-Key {TOKEN}",
        "2026-07-15",
        "application/vnd.api+json",
        "application/vnd.api+json",
    ]


@pytest.mark.parametrize("wrapped", [False, True])
def test_errors_of_every_page_name_their_profiles(wrapped):
    rows = {f"k{number}": {"email": "bad" if number % 2 else f"{number}@x.test"} for number in range(10)}
    with opened(HARNESS, server=lambda: Klaviyo(wrapped=wrapped)) as world:
        result = done(world, rows)
        pages = [line for line in lines(world) if "import-errors" in line]
    assert states(result) == ["written", "rejected"] * 5
    assert told(result.outcomes[1].error) == ("validation", "invalid", "email")
    assert pages == [f"GET {JOBS}/job1/import-errors?page[size]=100"] + [
        f"GET {JOBS}/job1/import-errors?page[cursor]={cursor}" for cursor in (2, 4)
    ]


@pytest.mark.parametrize(
    "code, detail, wanted",
    [
        ("invalid", "The phone number provided either does not exist or is ineligible.", ("validation", "")),
        ("invalid", "Invalid input for the field email.", ("validation", "email")),
        ("duplicate_profile", "A profile already exists with one of these identifiers.", ("duplicate_key", "")),
        ("required", "One of email, phone_number or external_id is required.", ("missing_required", "email")),
    ],
)
def test_refusal_of_a_profile_ends_as_its_type(code, detail, wanted):
    error = {"code": code, "title": "x", "detail": detail, "original_payload": {"external_id": "b"}}
    with opened(HARNESS) as world:
        result = done(world, ROWS, complete(1), errors(error))
    assert states(result) == ["written", "rejected", "written"]
    error_type, found, field = told(result.outcomes[1].error)
    assert ((error_type, field), found) == (wanted, code)
    assert result.outcomes[1].error.message == detail


@pytest.mark.parametrize(
    "answers",
    [
        (complete(2), errors({"code": "invalid", "detail": "no", "original_payload": {"external_id": "b"}})),  # one is lacking
        (complete(1), errors({"code": "invalid", "detail": "no", "original_payload": {"external_id": "z"}})),
        (complete(1), errors({"code": "invalid", "detail": "no", "original_payload": None})),
        (complete(0, completed=2),),
        (problem(404, "not_found", "The job has expired."),),
        (complete(1), problem(404, "not_found", "The errors have expired.")),
        (Answer.json({"data": {"attributes": {"status": "cancelled"}}}),),
    ],
)
def test_job_that_does_not_account_for_every_profile_writes_none_silently(answers):
    with opened(HARNESS) as world:
        found = states(done(world, ROWS, *answers))
    assert "written" not in found
    assert found.count("unknown") >= 2


@pytest.mark.parametrize(
    "answer, signal, wait",
    [
        (Answer.json({"errors": [{"code": "throttled"}]}, 429, headers={"Retry-After": "17"}), Signal.RATE_LIMITED, 17),
        (problem(401, "not_authenticated", "Authentication credentials were not provided."), Signal.AUTH, None),
        (problem(403, "permission_denied", "You do not have permission."), Signal.AUTH, None),
        (problem(400, "invalid", "The payload is malformed."), Signal.REFUSED, None),
        (problem(413, "too_large", "Payload too large."), Signal.REFUSED, None),
        (problem(503, "unavailable", "Come back later."), Signal.UNAVAILABLE, None),
    ],
)
def test_fault_of_the_call_that_begins_a_job_rejects_nobody(answer, signal, wait):
    with opened(HARNESS) as world:
        result = refused(world, answer, ROWS)
    assert (result.signal, "rejected" in states(result), result.retry_after) == (signal, False, wait)


def test_errors_are_read_on_the_connections_own_host_only():
    onward = json.dumps({"data": [], "links": {"next": "https://elsewhere.test/api/x"}})
    with opened(HARNESS) as world:
        result = done(world, ROWS, complete(1), Answer(200, {}, onward.encode()))
    assert result.signal is Signal.CONFIG
    assert "elsewhere.test" in result.error.message


def test_limits_fields_and_form():
    with opened(HARNESS) as world:
        limits = world.destination.capabilities
        names = {field.name for field in world.destination.fields()}
        assert world.destination.check().is_ok
        assert lines(world) == ["GET /api/accounts"]
    assert (limits.max_records, limits.max_bytes, limits.max_record_bytes) == (10_000, 5_000_000, 100_000)
    assert {"external_id", "email", "location.city", "properties"} <= names
    assert validate({}, {"api_key": "pk_x"}) == []
    assert [issue.field for issue in validate({}, {})] == ["api_key"]
