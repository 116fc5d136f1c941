"""What single vendors need of the kind ``http``, each as data: texts for answers, keys in the address, several lists."""

from __future__ import annotations

import pytest

from syncs.connectors import Issue
from syncs.destinations.http_api import validate
from syncs.errors import ErrorType
from syncs.records import Signal
from tests.contracts.http_tools import MemoryCredentials, batch, contact, destination, record, states
from tests.servers import Answer, Server


@pytest.fixture
def server():
    with Server() as started:
        yield started


def settings(server, operation, **top):
    objects = {"contacts": {"operations": {"upsert": operation}}}
    return {"base_url": server.url, "auth": {"kind": "bearer"}, "objects": objects, **top}


TEXT = {"path": "/hook", "answers": "text", "success": {"flag": {"path": "text", "equals": "ok"}}, "error": {"code": "text"}}


@pytest.mark.parametrize(
    "answer, state, code",
    [
        (Answer(200, {}, b"ok\n"), "written", None),
        (Answer(200, {}, b"<html>sign in</html>"), "unknown", "unreadable"),
        (Answer(200, {}, b""), "unknown", "unreadable"),
        (Answer(200, {}, b"busy"), "rejected", "busy"),
        (Answer(400, {}, b"invalid_payload"), "rejected", "invalid_payload"),
    ],
)
def test_bare_word_is_an_answer_and_a_page_is_none(server, answer, state, code):
    server.script(answer)
    outcome = destination(settings(server, TEXT)).write(batch(contact("a"))).outcomes[0]
    assert (outcome.state, outcome.error.code if outcome.error else None) == (state, code)


@pytest.mark.parametrize(
    "key", ["services/T0/B0/s3cret-hook", "/services/T0/B0/s3cret-hook", "{url}/services/T0/B0/s3cret-hook"]
)
def test_key_may_be_the_end_of_the_address_and_is_never_shown(server, key):
    config = settings(server, {"path": "/"}, auth={"kind": "api_key", "place": "path"})
    server.script(Answer.json({"message": "no such hook /services/T0/B0/s3cret-hook"}, 404))
    result = destination(config, MemoryCredentials({"api_key": key.replace("{url}", server.url)})).write(batch(contact("a")))
    assert server.requests[0].path == "/services/T0/B0/s3cret-hook"
    assert "s3cret" not in f"{result}"


def test_token_of_a_login_cannot_stand_in_the_path(server):
    auth = {"kind": "session", "username": "u", "login": {"path": "/in"}, "token": {"send_as": "path"}}
    issues = validate(settings(server, {"path": "/"}, auth=auth), {"password": "p"})
    assert issues == [Issue("auth.token", "A token of a login stands in a header, a cookie, the query or the body.")]


def test_rule_may_ask_whether_the_answer_is_json(server):
    rules = [{"status": 403, "is_json": False, "signal": "rate_limited"}]
    made = destination(settings(server, {"path": "/"}, error_rules=rules))
    server.script(Answer(403, {}, b"<h1>Access denied</h1>"), Answer(403), Answer.json({"title": "Forbidden"}, 403))
    assert [made.write(batch(contact("a"))).signal for _ in range(3)] == [
        Signal.RATE_LIMITED,
        Signal.RATE_LIMITED,
        Signal.AUTH,
    ]


def test_first_error_path_that_leads_somewhere_is_read(server):
    made = destination(settings(server, {"path": "/", "error": {"code": ["error.title", "error"], "message": ["why", "text"]}}))
    server.script(Answer.json({"error": {"title": "Nope"}, "text": "b"}, 422), Answer.json({"error": "Bad", "why": "a"}, 422))
    errors = [made.write(batch(contact("a"))).outcomes[0].error for _ in range(2)]
    assert [(error.code, error.message) for error in errors] == [("Nope", "b"), ("Bad", "a")]


def test_yes_without_what_a_success_must_hold_is_unknown_where_no_error_stands(server):
    made = destination(
        settings(server, {"path": "/", "success": {"present": ["id"]}, "error": {"message": "errors[].message"}})
    )
    server.script(Answer.json({}), Answer.json({"errors": [{"message": "email is taken: already exists"}]}))
    results = [made.write(batch(contact("a"))) for _ in range(2)]
    assert [states(result) for result in results] == [["unknown"], ["rejected"]]
    assert results[1].outcomes[0].error.type is ErrorType.DUPLICATE_KEY


def test_call_that_takes_fewer_records_leaves_the_rest_for_another(server):
    made = destination(settings(server, {"path": "/", "per_call": "batch", "max_records": 2}))
    result = made.write(batch(*[contact(f"k{number}") for number in range(5)]))
    assert [item["id"] for item in server.requests[0].json()] == ["k0", "k1"]
    assert states(result) == ["written", "written", "not_attempted", "not_attempted", "not_attempted"]


KEYS = {"path": "/", "per_call": "batch", "body": {"list_at": "users"}}


def test_list_of_another_field_finds_its_records(server):
    lists = {
        "ids": {"type": "duplicate_key", "code": "ids"},
        "mails": {"type": "validation", "code": "mails", "field": "mail", "key": "mail", "message": "No address."},
    }
    made = destination(settings(server, {**KEYS, "locator": {"kind": "key_lists", "lists": lists}}))
    server.script(Answer.json({"ids": ["a"], "mails": ["C@X.test"]}))
    result = made.write(batch(*[record(key, {"mail": f"{key}@x.test"}) for key in "abc"]))
    assert states(result) == ["rejected", "written", "rejected"]
    assert (result.outcomes[2].error.code, result.outcomes[2].error.field) == ("mails", "mail")


def test_results_may_stand_in_two_lists(server):
    locator = {"kind": "key", "results": "new", "more_results": "old", "result_id": "id", "errors": "errors", "key": "id"}
    made = destination(settings(server, {**KEYS, "key_field": "id", "locator": locator}))
    server.script(Answer.json({"new": [{"id": "a"}], "old": [{"id": "b"}], "errors": [{"id": "c"}]}))
    assert states(made.write(batch(*[contact(key) for key in "abcd"]))) == ["written", "written", "rejected", "unknown"]


@pytest.mark.parametrize("count, state", [(3, "written"), (2, "written"), (1, "unknown"), (None, "written")])
def test_count_may_be_higher_than_the_records_without_error_but_not_lower(server, count, state):
    locator = {"kind": "index", "errors": "errors", "least_count": "done"}
    made = destination(settings(server, {**KEYS, "locator": locator}))
    server.script(Answer.json({"done": count, "errors": [{"index": 0, "message": "no"}]}))
    assert states(made.write(batch(*[contact(key) for key in "abc"]))) == ["rejected", state, state]


@pytest.mark.parametrize(
    "nulls, expected",
    [
        ("null", {"a": None, "in": {"b": None, "c": 1}}),
        ("omit", {"in": {"c": 1}}),
        ("empty_text", {"a": "", "in": {"b": "", "c": 1}}),
    ],
)
def test_nulls_are_treated_alike_at_every_depth(server, nulls, expected):
    made = destination(settings(server, {"path": "/", "record": {"nulls": nulls}}))
    made.write(batch(record("k", {"a": None, "in": {"b": None, "c": 1}})))
    assert server.requests[0].json() == expected


def test_key_of_an_error_may_stand_at_one_of_several_places(server):
    locator = {"kind": "key", "errors": "errors", "key": ["was.id", "was.data.id"], "message": "why"}
    made = destination(settings(server, {**KEYS, "key_field": "id", "locator": locator}))
    server.script(Answer.json({"errors": [{"was": {"id": "a"}, "why": "no"}, {"was": {"data": {"id": "c"}}, "why": "no"}]}))
    assert states(made.write(batch(*[contact(key) for key in "abc"]))) == ["rejected", "written", "rejected"]


def test_field_before_a_colon_may_be_capitalised(server):
    made = destination(settings(server, {"path": "/", "error": {"message": "why"}}))
    server.script(Answer.json({"why": "Email: x@ is not properly formatted"}, 422), Answer.json({"why": "Email them."}, 422))
    fields = [made.write(batch(contact("a"))).outcomes[0].error.field for _ in range(2)]
    assert fields == ["email", ""]


def test_id_may_stand_among_the_properties(server):
    sent = record("k", {"a": 1})
    destination(settings(server, {"path": "/", "record": {"properties_at": "in", "id_at": "in.ref"}})).write(batch(sent))
    assert server.requests[0].json() == {"in": {"a": 1, "ref": "k"}}
    assert sent.payload == {"a": 1}, "the record itself stays as it was"
