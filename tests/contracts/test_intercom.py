from __future__ import annotations

import time

import pytest

from syncs.destinations.vendors.intercom import document, validate
from syncs.records import Operation, Signal
from tests.contracts.http_tools import TOKEN as OTHER
from tests.contracts.http_tools import states
from tests.contracts.servers.base import TOKEN
from tests.contracts.servers.intercom import HARNESS, refusal
from tests.contracts.vendor_tools import lines, opened, refused, told, write
from tests.servers import Answer

ANN = {"a/1": {"email": "ann@x.test", "custom_attributes": {"plan": "free"}}}
FOUND = Answer.json({"type": "contact", "id": "id-9"})
NOBODY = refusal(404, "not_found", "User Not Found")


def test_new_contact_is_looked_up_and_created_and_then_updated():
    with opened(HARNESS) as world:
        created, updated = write(world, ANN), write(world, ANN)
        assert lines(world) == [
            "GET /contacts/find_by_external_id/a%2F1",
            "POST /contacts",
            "GET /contacts/find_by_external_id/a%2F1",
            "PUT /contacts/id-a%2F1",
        ]
        post, put = world.server.requests[1], world.server.requests[3]
        contact = b'{"email":"ann@x.test","custom_attributes":{"plan":"free"},%s"external_id":"a/1"}'
        assert (post.body, put.body) == (contact % b'"role":"user",', contact % b"")
        assert {post.headers[name] for name in ("authorization", "intercom-version", "content-type", "accept")} == {
            f"Bearer {TOKEN}",
            "2.14",
            "application/json",
        }
    assert [created.outcomes[0].destination_id, updated.outcomes[0].destination_id] == ["id-a/1", "id-a/1"]
    assert updated.outcomes[0].detail == "updated"


def test_contact_that_another_worker_made_a_moment_ago_is_found_by_the_next_attempt():
    with opened(HARNESS) as world:
        write(world, ANN)
        world.emulator.hidden = frozenset(ANN)
        early = write(world, ANN)
        world.emulator.hidden = frozenset()
        assert (states(early), told(early.outcomes[0].error)) == (["retryable"], ("duplicate_key", "conflict", ""))
        assert states(write(world, ANN)) == ["written"]


INVALID, ARCHIVED = "email is not a valid email address", "An archived contact matching those details already exists with id=5d"


@pytest.mark.parametrize(
    "answer, state, wanted",
    [
        (refusal(422, "parameter_invalid", INVALID), "rejected", ("validation", "parameter_invalid", "email")),
        (
            refusal(400, "parameter_not_found", "email is required"),
            "rejected",
            ("missing_required", "parameter_not_found", "email"),
        ),
        (
            refusal(400, "unique_user_constraint", "User already exists"),
            "rejected",
            ("duplicate_key", "unique_user_constraint", ""),
        ),
        (
            refusal(400, "parameter_invalid", "Custom attribute 'plan' does not exist"),
            "rejected",
            ("schema_drift", "parameter_invalid", "plan"),
        ),
        (refusal(409, "conflict", ARCHIVED), "rejected", ("duplicate_key", "conflict", "")),
        (refusal(404, "not_found", "User Not Found"), "rejected", ("reference_not_found", "not_found", "")),
        (Answer.json({"type": "contact"}), "unknown", ("unknown_outcome", "unaccounted", "")),
    ],
)
def test_refusal_of_a_contact_ends_as_its_type(answer, state, wanted):
    with opened(HARNESS) as world:
        result = refused(world, answer, ANN, FOUND)
    assert (states(result), told(result.outcomes[0].error)) == ([state], wanted)


def test_merged_contact_is_refused_with_its_reason_and_nothing_is_written():
    with opened(HARNESS) as world:
        merged = refusal(
            410, "contact_merged", "This contact has been merged. See the 'Link' header for the canonical contact."
        )
        result = refused(world, merged, ANN)
        assert told(result.outcomes[0].error) == ("reference_not_found", "contact_merged", "")
        assert "has been merged" in result.outcomes[0].error.message
        assert world.emulator.stored == {}


@pytest.mark.parametrize("before", [(), (FOUND,)])
def test_rate_limit_waits_until_the_reset_time(before):
    limited = refusal(429, "rate_limit_exceeded", "The rate limit for the App has been exceeded")
    limited.headers["X-RateLimit-Reset"] = str(int(time.time()) + 8)
    with opened(HARNESS) as world:
        result = refused(world, limited, ANN, *before)
    assert (result.signal, states(result)) == (Signal.RATE_LIMITED, ["retryable"])
    assert 5 < result.retry_after <= 8


@pytest.mark.parametrize(
    "answer, signal",
    [
        (refusal(401, "unauthorized", "Access Token Invalid"), Signal.AUTH),
        (refusal(403, "token_unauthorized", "The token is not authorized to access the name"), Signal.AUTH),
        (refusal(402, "api_plan_restricted", "Your plan does not hold this"), Signal.CONFIG),
        (refusal(503, "service_unavailable", "Sorry, the API service is temporarily unavailable"), Signal.UNAVAILABLE),
    ],
)
def test_fault_of_the_connection_rejects_nobody(answer, signal):
    with opened(HARNESS) as world:
        result = refused(world, answer, ANN, FOUND)
    assert (result.signal, "rejected" in states(result)) == (signal, False)


def test_companies_are_kept_by_their_id_and_deleted_after_a_look_up():
    with opened(HARNESS, object_name="companies") as world:
        rows = {"c&1": {"name": "Acme", "email": "office@acme.test"}}
        assert states(write(world, rows)) == ["written"]
        assert world.server.requests[0].body == b'{"name":"Acme","email":"office@acme.test","company_id":"c&1"}'
        assert [states(write(world, rows, Operation.DELETE)) for _ in range(2)] == [["written"], ["written"]]
        assert lines(world) == [
            "POST /companies",
            "GET /companies?company_id=c&1",
            "DELETE /companies/id-c%261",
            "GET /companies?company_id=c&1",
        ]


def test_fields_are_the_documented_ones_and_the_workspaces_own():
    with opened(HARNESS) as world:
        found = {field.name: field for field in world.destination.fields()}
        assert lines(world) == ["GET /data_attributes?model=contact"]
    assert found["external_id"].is_key
    assert found["custom_attributes.plan"].options == ("free", "paid")
    assert not found["custom_attributes.score"].is_writable
    assert "custom_attributes.old" not in found
    assert "email" in found


def test_form_is_short_and_names_what_is_wrong():
    assert {document({"region": region})["base_url"] for region in ("us", "eu", "au")} == {
        "https://api.intercom.io",
        "https://api.eu.intercom.io",
        "https://api.au.intercom.io",
    }
    assert validate({}, {"token": OTHER}) == []
    assert [issue.field for issue in validate({"region": "mars"}, {})] == ["region", "token"]
