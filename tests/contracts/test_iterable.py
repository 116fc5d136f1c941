from __future__ import annotations

import pytest

from syncs.destinations.vendors.iterable import document, validate
from syncs.records import Operation, Signal
from tests.contracts.http_tools import states
from tests.contracts.servers.base import TOKEN
from tests.contracts.servers.iterable import HARNESS, Iterable, refusal
from tests.contracts.vendor_tools import lines, opened, refused, told, write
from tests.servers import Answer

ROWS = {key: {"email": f"{key}@x.test", "dataFields": {"plan": "free"}} for key in ("a", "b", "c")}
BY_EMAIL = {f"{key}@x.test": {"userId": key, "dataFields": {"plan": "free"}} for key in ("a", "b", "c")}


def _by_email() -> Iterable:
    return Iterable(key="email")


def test_users_are_sent_by_user_id_byte_for_byte():
    with opened(HARNESS) as world:
        assert states(write(world, {"a": ROWS["a"], "b": {"dataFields": {"n": 1}, "email": "b@x.test"}})) == ["written"] * 2
        request = world.server.requests[0]
    assert lines(world) == ["POST /api/users/bulkUpdate"]
    assert (request.headers["api-key"], request.headers["content-type"]) == (TOKEN, "application/json")
    assert request.body == (
        b'{"createNewFields":true,"users":['
        b'{"email":"a@x.test","dataFields":{"plan":"free"},"preferUserId":true,"userId":"a"},'
        b'{"dataFields":{"n":1},"email":"b@x.test","preferUserId":true,"userId":"b"}]}'
    )


def test_users_are_sent_by_email_where_the_project_says_so():
    with opened(HARNESS, server=_by_email, settings={"identify_by": "email"}) as world:
        assert states(write(world, {"a@x.test": {"dataFields": {"plan": "free"}}})) == ["written"]
        assert world.server.requests[0].body == (
            b'{"createNewFields":true,"users":[{"dataFields":{"plan":"free"},"email":"a@x.test"}]}'
        )


LISTS = [
    ("failedUpdates.invalidEmails", "b@x.test", ("validation", "invalidEmails", "email")),
    ("failedUpdates.invalidUserIds", "b", ("validation", "invalidUserIds", "userId")),
    ("failedUpdates.notFoundEmails", "b@x.test", ("reference_not_found", "notFoundEmails", "email")),
    ("failedUpdates.notFoundUserIds", "b", ("reference_not_found", "notFoundUserIds", "userId")),
    ("failedUpdates.conflictEmails", "b@x.test", ("duplicate_key", "conflictEmails", "email")),
    ("failedUpdates.conflictUserIds", "b", ("duplicate_key", "conflictUserIds", "userId")),
    ("failedUpdates.forgottenEmails", "B@X.test", ("validation", "forgottenEmails", "email")),
    ("failedUpdates.forgottenUserIds", "b", ("validation", "forgottenUserIds", "userId")),
    ("failedUpdates.invalidDataEmails", "b@x.test", ("validation", "invalidDataEmails", "")),
    ("failedUpdates.invalidDataUserIds", "b", ("validation", "invalidDataUserIds", "")),
    ("invalidEmails", "b@x.test", ("validation", "invalidEmails", "email")),
    ("invalidUserIds", "b", ("validation", "invalidUserIds", "userId")),
]


def answered(path: str, key: str) -> Answer:
    name = path.rpartition(".")[2]
    lists = {"failedUpdates": {name: [key]}} if "." in path else {name: [key], "failedUpdates": {}}
    return Answer.json({"successCount": 2, "failCount": 1, **lists})


@pytest.mark.parametrize("path, key, wanted", LISTS)
def test_user_in_a_list_is_refused_with_the_lists_meaning(path, key, wanted):
    with opened(HARNESS) as world:
        result = refused(world, answered(path, key), ROWS)
    with opened(HARNESS, server=_by_email, settings={"identify_by": "email"}) as world:
        other = refused(world, answered(path, key), BY_EMAIL)
    assert states(result) == states(other) == ["written", "rejected", "written"]
    assert told(result.outcomes[1].error) == told(other.outcomes[1].error) == wanted


@pytest.mark.parametrize(
    "data",
    [
        {"successCount": 3, "failCount": 1, "failedUpdates": {}},
        {"successCount": 2, "failCount": 0, "failedUpdates": {}},
        {"successCount": 2, "failCount": 1, "failedUpdates": {"invalidEmails": ["nobody@x.test"]}},
        {"msg": "Success"},
    ],
)
def test_answer_that_does_not_account_for_every_user_is_never_a_success(data):
    with opened(HARNESS) as world:
        assert set(states(refused(world, Answer.json(data), ROWS))) == {"unknown"}


@pytest.mark.parametrize(
    "answer, signal",
    [
        (refusal(401, "BadApiKey", "Invalid API key"), Signal.AUTH),
        (refusal(403, "Forbidden", "The key may not do that"), Signal.AUTH),
        (refusal(429, "RateLimitExceeded", "Too many requests"), Signal.RATE_LIMITED),
        (refusal(400, "RequestFieldsTypesMismatched", "Project 1: plan: expected number"), Signal.REFUSED),
        (refusal(413, "BadParams", "Request is too large"), Signal.REFUSED),
        (refusal(500, "GenericError", "An error occurred"), Signal.UNAVAILABLE),
    ],
)
def test_refusal_of_the_whole_call_rejects_nobody(answer, signal):
    with opened(HARNESS) as world:
        result = refused(world, answer, ROWS)
        assert (result.signal, "rejected" in states(result)) == (signal, False)
        assert states(write(world, ROWS)) == ["written"] * 3


def test_lone_user_with_a_value_of_another_type_is_schema_drift():
    with opened(HARNESS) as world:
        answer = refusal(400, "RequestFieldsTypesMismatched", "The field plan is a number in this project")
        result = refused(world, answer, {"a": ROWS["a"]})
    assert told(result.outcomes[0].error) == ("schema_drift", "RequestFieldsTypesMismatched", "dataFields.plan")


def test_users_are_deleted_by_what_identifies_them():
    with opened(HARNESS) as world:
        write(world, ROWS)
        assert states(write(world, {"a": {}}, Operation.DELETE)) == ["written"]
        assert lines(world)[1:] == ["DELETE /api/users/byUserId/a"]
        assert world.server.requests[1].body == b""
        assert world.emulator.stored.keys() == {"b", "c"}
        world.server.script(refusal(400, "BadParams", "Deletes are off in this project"))
        result = write(world, {"b": {}}, Operation.DELETE)
        assert told(result.outcomes[0].error)[:2] == ("validation", "BadParams")
    with opened(HARNESS, server=_by_email, settings={"identify_by": "email"}) as world:
        write(world, {"a@x.test": {}}, Operation.DELETE)
        assert lines(world) == ["DELETE /api/users/a%40x.test"]


def test_fields_limits_and_regions_are_the_documented_ones():
    with opened(HARNESS) as world:
        names = [field.name for field in world.destination.fields()]
        limits = world.destination.capabilities
    assert names == ["email", "userId", "dataFields", "dataFields.address.city", "dataFields.plan", "dataFields.signupDate"]
    assert (limits.max_records, limits.max_bytes) == (1000, 4_000_000)
    bases = [document({"region": region, "identify_by": "email"})["base_url"] for region in ("us", "eu")]
    assert bases == ["https://api.iterable.com", "https://api.eu.iterable.com"]
    assert [issue.field for issue in validate({"identify_by": "name"}, {})] == ["identify_by", "api_key"]
