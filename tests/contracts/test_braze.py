from __future__ import annotations

import time
from typing import Any

import pytest

from syncs.destinations.vendors.braze import validate
from syncs.records import Operation, Signal
from tests.contracts.http_tools import states
from tests.contracts.servers.base import TOKEN
from tests.contracts.servers.braze import HARNESS
from tests.contracts.vendor_tools import lines, opened, refused, told, write
from tests.servers import Answer

ROWS: dict[str, dict[str, Any]] = {key: {"email": f"{key}@x.test", "plan": "free"} for key in ("a", "b", "c")}


def partial(*errors: dict[str, Any], processed: int | None = None, status: int = 201) -> Answer:
    count = 3 - len(errors) if processed is None else processed
    return Answer.json({"message": "success", "attributes_processed": count, "errors": list(errors)}, status)


def error(index: int, text: str, array: str = "attributes") -> dict[str, Any]:
    return {"type": text, "input_array": array, "index": index}


def test_users_are_sent_byte_for_byte():
    with opened(HARNESS) as world:
        assert states(write(world, ROWS)) == ["written"] * 3
        request = world.server.requests[0]
    assert lines(world) == ["POST /users/track"]
    assert (request.headers["authorization"], request.headers["content-type"]) == (f"Bearer {TOKEN}", "application/json")
    assert request.body == (
        b'{"attributes":[{"email":"a@x.test","plan":"free","external_id":"a"},'
        b'{"email":"b@x.test","plan":"free","external_id":"b"},{"email":"c@x.test","plan":"free","external_id":"c"}]}'
    )


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("'plan' is not valid", ("validation", "plan")),
        ("email is required", ("missing_required", "email")),
        ("plan is a reserved attribute", ("field_permission", "plan")),
        ("external_id is required", ("missing_required", "")),
    ],
)
def test_error_names_its_record_by_index_and_the_others_are_written(text, wanted):
    with opened(HARNESS) as world:
        result = refused(world, partial(error(1, text)), ROWS)
    assert states(result) == ["written", "rejected", "written"]
    error_type, code, field = told(result.outcomes[1].error)
    assert ((error_type, field), code) == (wanted, text)
    assert result.outcomes[1].error.message == text


def test_error_of_another_array_is_not_ours():
    with opened(HARNESS) as world:
        assert states(refused(world, partial(error(1, "no", "events"), processed=3), ROWS)) == ["written"] * 3


def test_all_bad_is_a_400_that_still_names_each():
    with opened(HARNESS) as world:
        result = write(world, {key: {"email": "bad"} for key in ROWS})
    assert (result.exchange.http_status, states(result)) == (400, ["rejected"] * 3)


@pytest.mark.parametrize(
    "answer, state",
    [
        (partial(processed=2), "unknown"),  # one is missing and no error says which
        (partial(error(1, "'x' is not valid"), processed=3), "written"),  # some counts hold the bad ones too
        (partial(error(7, "'x' is not valid")), "unknown"),  # it points nowhere
        (Answer.json({"message": "queued"}, 202), "written"),  # maintenance: taken in, worked on later
        (Answer.json({"attributes_processed": 3}, 201), "unknown"),
        (Answer.json({"message": "failure"}, 200), "unknown"),
    ],
)
def test_users_are_written_only_where_nothing_speaks_against_it(answer, state):
    with opened(HARNESS) as world:
        result = refused(world, answer, ROWS)
    assert states(result)[0] == state


def test_rate_limit_waits_until_the_reset_time():
    answer = Answer.json({"message": "Rate limit reached"}, 429, headers={"X-RateLimit-Reset": str(int(time.time()) + 3)})
    with opened(HARNESS) as world:
        result = refused(world, answer, ROWS)
    assert (result.signal, set(states(result))) == (Signal.RATE_LIMITED, {"retryable"})
    assert 1 < result.retry_after <= 3


@pytest.mark.parametrize(
    "answer, signal",
    [
        (Answer.json({"message": "Invalid API Key"}, 401), Signal.AUTH),
        (Answer.json({"message": "Forbidden: the key lacks users.track"}, 403), Signal.AUTH),
        (Answer.json({"message": "Unknown URL"}, 404), Signal.CONFIG),
        (Answer.json({"message": "Internal error"}, 500), Signal.UNAVAILABLE),
        (Answer.json({"message": "A maximum of 75 attributes may be sent in one request."}, 400), Signal.REFUSED),
    ],
)
def test_fault_of_the_whole_call_rejects_nobody(answer, signal):
    with opened(HARNESS) as world:
        result = refused(world, answer, ROWS)
    assert (result.signal, "rejected" in states(result)) == (signal, False)


def test_deletes_go_by_fifty_ids():
    rows: dict[str, dict[str, Any]] = {f"k{number:02}": {} for number in range(60)}
    with opened(HARNESS) as world:
        result = write(world, rows, Operation.DELETE)
        assert lines(world) == ["POST /users/delete"]
        assert world.server.requests[0].body.startswith(b'{"external_ids":["k00","k01",')
        assert len(world.server.requests[0].json()["external_ids"]) == 50
    assert states(result) == ["written"] * 50 + ["not_attempted"] * 10


def test_events_are_inserted_with_their_errors_by_index_and_may_not_be_repeated():
    good = {"external_id": "u1", "name": "signed up", "time": "2026-11-23T10:00:00Z"}
    with opened(HARNESS, object_name="events", operation=Operation.INSERT) as world:
        result = write(world, {"e1": good, "e2": {**good, "name": None}})
        assert world.server.requests[0].json() == {"events": [good, {**good, "name": None}]}
        assert world.destination.capabilities.idempotent == frozenset()
        assert [field.name for field in world.destination.fields() if field.is_required] == ["external_id", "name", "time"]
    assert states(result) == ["written", "rejected"]
    assert told(result.outcomes[1].error)[::2] == ("missing_required", "name")


def test_fields_are_read_page_by_page():
    with opened(HARNESS) as world:
        world.emulator.url = world.server.url
        names = [field.name for field in world.destination.fields()]
        assert lines(world) == ["GET /custom_attributes", "GET /custom_attributes?cursor=50"]
        world.emulator.url = "https://elsewhere.test"
        with pytest.raises(Exception, match="another host"):
            world.destination.fields()
    assert {"external_id", "email", "attribute_00", "attribute_59"} <= set(names)


def test_limits_and_form():
    with opened(HARNESS) as world:
        found = world.destination.capabilities
    assert (found.max_records, found.max_bytes, found.max_record_bytes) == (75, 4_000_000, 100_000)
    assert (found.requests_per_window, found.window_seconds) == (3000, 3)
    assert found.idempotent == {Operation.UPSERT, Operation.DELETE}
    assert [issue.field for issue in validate({}, {})] == ["base_url", "token"]
    assert [issue.field for issue in validate({"base_url": "rest.iad-01.braze.com"}, {"token": "x"})] == ["base_url"]
