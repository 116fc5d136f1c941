from __future__ import annotations

import base64
from typing import Any

import pytest

from syncs.destinations.vendors.zendesk import document, validate
from syncs.records import Batch, BatchResult, Operation, Signal
from tests.contracts.harness import HttpWorld
from tests.contracts.http_tools import record, states
from tests.contracts.servers.base import TOKEN
from tests.contracts.servers.zendesk import EMAIL, HARNESS
from tests.contracts.vendor_tools import lines, opened, refused, told, write
from tests.servers import Answer

ROWS: dict[str, dict[str, Any]] = {key: {"name": key, "email": f"{key}@x.test"} for key in ("a", "b", "c")}


def status(state: str, results: list[dict[str, Any]] | None = None, message: str = "") -> Answer:
    return Answer.json({"job_status": {"id": "job1", "status": state, "results": results, "message": message}})


def begun(world: HttpWorld) -> tuple[Batch, BatchResult]:
    batch = Batch(Operation.UPSERT, [record(key, payload) for key, payload in ROWS.items()], "a" * 32)
    return batch, world.destination.write(batch)


def ended(world: HttpWorld, answer: Answer) -> BatchResult:
    batch, result = begun(world)
    assert result.job is not None
    world.server.script(answer)
    return world.destination.confirm(batch, result.job)


def test_users_become_a_job_that_is_asked_after_until_it_is_done():
    with opened(HARNESS) as world:
        batch, first = begun(world)
        assert (first.signal, list(first.outcomes), first.retry_after, first.job.id) == (Signal.CONFIRMING, [], 2, "job1")
        working, done = (world.destination.confirm(batch, first.job) for _ in range(2))
        assert lines(world) == ["POST /api/v2/users/create_or_update_many", *["GET /api/v2/job_statuses/job1"] * 2]
        request = world.server.requests[0]
        later = begun(world)[1].job
        assert later is not None
        again = [world.destination.confirm(batch, later) for _ in range(2)][-1]
    assert (working.signal, states(done)) == (Signal.CONFIRMING, ["written"] * 3)
    assert [outcome.detail for outcome in (done.outcomes[0], again.outcomes[0])] == ["created", "updated"]
    assert done.outcomes[0].destination_id == "id-a"
    assert request.headers["authorization"] == "Basic " + base64.b64encode(f"{EMAIL}/token:{TOKEN}".encode()).decode()
    assert request.body == (
        b'{"users":[{"name":"a","email":"a@x.test","external_id":"a"},{"name":"b","email":"b@x.test","external_id":"b"},'
        b'{"name":"c","email":"c@x.test","external_id":"c"}]}'
    )


@pytest.mark.parametrize(
    "details, wanted",
    [
        ("Name: Email: b@x.test_ is not properly formatted", ("validation", "email")),
        ("Email: b@x.test is already being used by another user", ("duplicate_key", "email")),
        ("Name: is too short (minimum one character)", ("missing_required", "name")),
        ("Role: agent seats are used up", ("validation", "")),
    ],
)
def test_failed_result_names_its_user_by_position(details, wanted):
    failed = {"id": 1, "status": "Failed", "error": "UserUpdateError", "details": details}
    with opened(HARNESS) as world:
        result = ended(world, status("completed", [{"id": 7, "status": "Created"}, failed, {"id": 8, "status": "Updated"}]))
    assert states(result) == ["written", "rejected", "written"]
    error_type, code, field = told(result.outcomes[1].error)
    assert ((error_type, field), code) == (wanted, "UserUpdateError")
    assert result.outcomes[1].error.message == details


@pytest.mark.parametrize(
    "answer",
    [
        status("completed", [{"id": 7, "status": "Created"}]),
        status("completed", []),
        status("completed", None),
        status("failed", None, "Something went wrong"),
        Answer.json({"error": "RecordNotFound", "description": "Not found"}, 404),
    ],
)
def test_job_without_a_result_for_every_user_is_never_a_success(answer):
    with opened(HARNESS) as world:
        result = ended(world, answer)
    assert (set(states(result)), result.error.type.value) == ({"unknown"}, "unknown_outcome")


def test_result_of_an_unknown_kind_is_no_success():
    with opened(HARNESS) as world:
        result = ended(
            world, status("completed", [{"id": 7, "status": "Created"}, {"status": "Skipped"}, {"status": "Updated"}])
        )
    assert states(result) == ["written", "rejected", "written"]


@pytest.mark.parametrize(
    "answer, signal",
    [
        (Answer(429, {"Retry-After": "93", "Content-Type": "text/html"}, b"Rate limit exceeded"), Signal.RATE_LIMITED),
        (Answer.json({"error": "TooManyJobs", "description": "Too many jobs are running"}, 429), Signal.RATE_LIMITED),
        (Answer.json({"error": "Couldn't authenticate you"}, 401), Signal.AUTH),
        (Answer.json({"error": "Forbidden", "message": "Data imports are not enabled"}, 403), Signal.AUTH),
        (Answer.json({"error": {"title": "Invalid attribute", "message": "users is malformed"}}, 400), Signal.REFUSED),
        (Answer(503, {"Retry-After": "5"}, b"<html>Maintenance</html>"), Signal.UNAVAILABLE),
    ],
)
def test_fault_of_the_call_that_begins_a_job_rejects_nobody(answer, signal):
    with opened(HARNESS) as world:
        result = refused(world, answer, ROWS)
    assert (result.signal, "rejected" in states(result)) == (signal, False)
    assert result.retry_after == ({"93": 93, "5": 5}.get(answer.headers.get("Retry-After", "")))


def test_rate_limit_of_a_look_waits_and_says_nothing_of_the_job():
    with opened(HARNESS) as world:
        result = ended(world, Answer(429, {"Retry-After": "93"}, b"Rate limit exceeded"))
    assert (result.signal, result.retry_after, list(result.outcomes)) == (Signal.RATE_LIMITED, 93, [])


def test_users_are_deleted_after_a_search_and_those_not_there_are_done():
    with opened(HARNESS) as world:
        world.settle(world.record("a"))
        seen = len(world.server.requests)
        results = [write(world, {"a": {}}, Operation.DELETE) for _ in range(2)]
        assert lines(world)[seen:] == [
            "GET /api/v2/users/search?external_id=a",
            "DELETE /api/v2/users/id-a",
            "GET /api/v2/users/search?external_id=a",
        ]
    assert [states(result) for result in results] == [["written"], ["written"]]


def test_organizations_are_created_or_updated_one_by_one():
    with opened(HARNESS, object_name="organizations") as world:
        results = [write(world, {"o1": {"name": "Acme"}}) for _ in range(2)]
        bad = [write(world, {"o2": {"name": name}}) for name in ("dup Ltd", None)]
        assert lines(world)[0] == "POST /api/v2/organizations/create_or_update"
        assert world.server.requests[0].body == b'{"organization":{"name":"Acme","external_id":"o1"}}'
    assert [result.outcomes[0].detail for result in results] == ["created", "updated"]
    assert [told(result.outcomes[0].error)[:2] for result in bad] == [
        ("duplicate_key", "RecordInvalid"),
        ("missing_required", "RecordInvalid"),
    ]


def test_ticket_that_is_sent_again_under_its_key_is_the_same_ticket():
    with opened(HARNESS, object_name="tickets", operation=Operation.INSERT) as world:
        rows = {"t1": {"subject": "Broken", "comment": {"body": "It smokes"}}}
        assert [states(write(world, rows)) for _ in range(2)] == [["written"], ["written"]]
        assert world.server.requests[0].headers["idempotency-key"] == "a" * 32
        assert world.server.requests[0].json()["ticket"]["external_id"] == "t1"
        assert len(world.emulator.stored) == 1
        assert world.destination.capabilities.idempotent == {Operation.INSERT}
        assert "subject" in {field.name for field in world.destination.fields() if field.is_required}


def test_fields_are_read_to_the_last_page_and_never_from_another_host():
    with opened(HARNESS) as world:
        found = {field.name: field for field in world.destination.fields()}
        assert len(lines(world)) == 2
    assert found["user_fields.plan"].options == ("free",)
    assert "user_fields.old" not in found
    assert {"external_id", "email", "name"} <= found.keys()


def test_limits_and_form():
    with opened(HARNESS, settings={"calls_per_minute": 700}) as world:
        limits = world.destination.capabilities
    assert (limits.max_records, limits.requests_per_window, limits.window_seconds, limits.has_jobs) == (100, 700, 60, True)
    form = {"subdomain": "acme", "email": EMAIL}
    assert document({**form, "calls_per_minute": 200})["base_url"] == "https://acme.zendesk.com"
    assert validate(form, {"password": "x"}) == []
    assert [issue.field for issue in validate({**form, "subdomain": "acme.zendesk.com"}, {"password": "x"})] == ["subdomain"]
    assert [issue.field for issue in validate({**form, "calls_per_minute": -1}, {"password": "x"})] == ["calls_per_minute"]
    assert [issue.field for issue in validate({}, {})] == ["subdomain", "email", "password"]
