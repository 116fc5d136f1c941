from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from syncs.destinations.http_api import hints
from syncs.destinations.http_api.config import Rule, Wait, WaitKind
from syncs.destinations.http_api.encoding import encode
from syncs.destinations.http_api.rules import Classifier, wait_seconds
from syncs.errors import AddressRefusedError, ConfigError, ErrorType
from syncs.http import Headers, Response
from syncs.records import Operation, RowError, Signal
from tests.contracts.http_tools import TOKEN, batch, contact, destination, record, states
from tests.servers import Answer, Server


def settings(server, operation, *, name="upsert", more=None, **top):
    operations = {name: operation, **(more or {})}
    shared = {"base_url": f"{server.url}/v1", "auth": {"kind": "bearer"}, "objects": {"contacts": {"operations": operations}}}
    return {**shared, **top}


@pytest.fixture
def server():
    with Server() as started:
        yield started


# What is sent


def test_batch_body_is_the_records_own_json_joined(server):
    made = destination(
        settings(server, {"path": "/b", "per_call": "batch", "body": {"list_at": "in.rows", "constants": {"a": 1}}})
    )
    made.write(batch(contact("x"), contact("y", price=Decimal("1.10"), big=2**70)))
    rows = f"[{contact('x').body.decode()},{contact('y', price=Decimal('1.10'), big=2**70).body.decode()}]"
    assert server.requests[0].body.decode() == f'{{"a":1,"in":{{"rows":{rows}}}}}'
    assert server.requests[0].headers["content-type"] == "application/json"


def test_list_may_be_the_whole_body(server):
    destination(settings(server, {"path": "/b", "per_call": "batch"})).write(batch(contact("x")))
    assert server.requests[0].json() == [{"id": "x", "email": "x@ok.test"}]


@pytest.mark.parametrize(
    "envelope, expected",
    [
        ({"properties_at": "data.attributes"}, {"data": {"attributes": {"id": "x", "n": 1, "t": True, "z": None}}}),
        ({"constants": {"type": "c", "n": 9}}, {"id": "x", "n": 9, "t": True, "z": None, "type": "c"}),
        ({"id_at": "ref", "id_from": "id"}, {"ref": "x", "n": 1, "t": True, "z": None}),
        ({"id_at": "ref", "id_from": "id", "keeps_id": True}, {"ref": "x", "id": "x", "n": 1, "t": True, "z": None}),
        ({"id_at": "ref"}, {"ref": "key-of-x", "id": "x", "n": 1, "t": True, "z": None}),
        ({"values_as_strings": True, "nulls": "omit"}, {"id": "x", "n": "1", "t": "true"}),
        ({"nulls": "empty_text"}, {"id": "x", "n": 1, "t": True, "z": ""}),
        ({"omit": ["id", "z"]}, {"n": 1, "t": True}),
        ({"value_of": "key"}, "key-of-x"),
        ({"value_of": "n"}, 1),
    ],
)
def test_envelope_of_a_record(server, envelope, expected):
    made = destination(settings(server, {"path": "/b", "record": envelope}))
    made.write(batch(record("key-of-x", {"id": "x", "n": 1, "t": True, "z": None})))
    assert server.requests[0].json() == expected


def test_exact_numbers_survive_every_envelope():
    value = {"d": Decimal("0.10"), "i": 2**80, "n": [Decimal("1E+3")]}
    assert encode(value) == b'{"d":0.10,"i":1208925819614629174706176,"n":[1000]}'


def test_path_is_filled_and_quoted_and_cannot_leave_its_place(server):
    operation = {"method": "PUT", "path": "/lists/{options.list}/m/{address.city}/{key}"}
    made = destination(settings(server, operation), options={"list": "7/8"})
    sent = record("a/../b?x=1#ü", {"address": {"city": "São Paulo"}})
    assert states(made.write(batch(sent))) == ["written"]
    assert server.requests[0].path == "/v1/lists/7%2F8/m/S%C3%A3o%20Paulo/a%2F..%2Fb%3Fx%3D1%23%C3%BC"


@pytest.mark.parametrize("city", [None, "", ".", ".."])
def test_record_that_cannot_stand_in_the_path_is_rejected_and_nothing_sent(server, city):
    made = destination(settings(server, {"method": "DELETE", "path": "/m/{city}"}))
    result = made.write(batch(record("k", {"city": city})))
    assert states(result) == ["rejected"]
    assert (result.outcomes[0].error.type, result.outcomes[0].error.field) == (ErrorType.INVALID_KEY, "city")
    assert server.requests == []


def test_missing_option_is_a_fault_of_the_sync(server):
    made = destination(settings(server, {"path": "/lists/{options.list}"}))
    with pytest.raises(ConfigError, match="list"):
        made.write(batch(contact("a")))


def test_operation_that_is_not_described_is_a_fault_of_the_setup(server):
    with pytest.raises(ConfigError, match="delete"):
        destination(settings(server, {"path": "/b"})).write(batch(contact("a"), operation=Operation.DELETE))


def test_address_outside_the_allowed_networks_stops_the_run(server):
    made = destination({**settings(server, {"path": "/b"}), "base_url": "http://10.9.8.7"})
    with pytest.raises(AddressRefusedError):
        made.write(batch(contact("a")))


def test_headers_carry_idempotency_key_and_values_of_the_record(server):
    operation = {"path": "/b", "headers": {"X-Key": "{key}"}, "idempotency": {"kind": "header", "header": "X-Once"}}
    destination(settings(server, operation, headers={"X-All": "1"})).write(batch(record("zoë\r\nX: y", {"a": 1}), key="f" * 32))
    headers = server.requests[0].headers
    assert (headers["x-once"], headers["x-all"]) == ("f" * 32, "1")
    assert headers["x-key"] == "zo%C3%AB%0D%0AX: y"
    assert "x" not in headers


def test_request_id_and_redacted_request_line_are_kept(server):
    server.script(Answer.json({}, headers={"X-Trace": "r-1"}))
    made = destination(
        settings(
            server,
            {"path": "/b?token=abc"},
            request_id_header="X-Trace",
            auth={"kind": "api_key", "place": "query", "name": "k"},
        ),
        credentials=_secrets(api_key="very-secret-key"),
    )
    result = made.write(batch(contact("a")))
    assert server.requests[0].query == {"token": ["abc"], "k": ["very-secret-key"]}
    assert result.exchange.request_id == "r-1"
    assert "very-secret-key" not in result.exchange.request
    assert "abc" not in result.exchange.request


def _secrets(**values):
    from tests.contracts.http_tools import MemoryCredentials

    return MemoryCredentials(values)


# Several records for an operation that takes one


def test_records_go_one_by_one_with_keys_of_their_own_until_told_to_stop(server):
    operation = {"method": "PUT", "path": "/c/{key}", "idempotency": {"kind": "header"}}
    batch_operation = {"path": "/b", "per_call": "batch"}
    made = destination(settings(server, operation, more={"insert": batch_operation}))
    assert made.capabilities.max_records > 1
    server.script(Answer.json({}), Answer.json({"m": "bad value"}, 422), Answer.json({}, 429, headers={"Retry-After": "3"}))
    result = made.write(batch(*(contact(name) for name in "abcd")))
    assert result.signal is Signal.OK
    assert states(result) == ["written", "rejected", "not_attempted", "not_attempted"]
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(set(keys)) == 3
    server.requests.clear()
    made.write(batch(*(contact(name) for name in "abcd")))
    assert [request.headers["idempotency-key"] for request in server.requests][:3] == keys


# A look-up before the write


LOOKUP = {"path": "/find?ref={key}", "take": {"id": "data[0].id"}}


def test_lookup_finds_the_record_or_inserts_it(server):
    update = {"method": "PUT", "path": "/c/{found.id}", "lookup": {**LOOKUP, "if_missing": "insert"}}
    made = destination(settings(server, update, more={"insert": {"path": "/c"}}))
    server.script(Answer.json({"data": [{"id": 17}]}), Answer.json({}), Answer.json({"data": []}), Answer.json({}, 201))
    assert states(made.write(batch(contact("a")))) == ["written"]
    result = made.write(batch(contact("b")))
    assert (states(result), result.outcomes[0].detail) == (["written"], "created")
    assert [(r.method, r.path) for r in server.requests] == [
        ("GET", "/v1/find"),
        ("PUT", "/v1/c/17"),
        ("GET", "/v1/find"),
        ("POST", "/v1/c"),
    ]


@pytest.mark.parametrize(
    "answers, signal, state",
    [
        ([Answer(404)], Signal.OK, "rejected"),
        ([Answer(fault="close")] * 2, Signal.UNAVAILABLE, "not_attempted"),
        ([Answer(503)], Signal.UNAVAILABLE, "retryable"),
        ([Answer(429, {"Retry-After": "2"})], Signal.RATE_LIMITED, "retryable"),
        ([Answer(200, {}, b"<html>")], Signal.UNAVAILABLE, "not_attempted"),
        ([Answer(401)], Signal.AUTH, "not_attempted"),
    ],
)
def test_lookup_that_fails_writes_nothing(server, answers, signal, state):
    made = destination(settings(server, {"method": "PUT", "path": "/c/{found.id}", "lookup": LOOKUP}))
    server.script(*answers)
    result = made.write(batch(contact("a")))
    assert (result.signal, states(result)) == (signal, [state])
    assert {request.method for request in server.requests} == {"GET"}


# What an answer means


@pytest.mark.parametrize(
    "status, text, error_type",
    [
        (400, "email is required", ErrorType.MISSING_REQUIRED),
        (400, "NOT NULL constraint failed: contacts.email", ErrorType.MISSING_REQUIRED),
        (400, "name: This field may not be blank.", ErrorType.MISSING_REQUIRED),
        (422, "Email has already been taken", ErrorType.DUPLICATE_KEY),
        (400, "UNIQUE constraint failed: contacts.email", ErrorType.DUPLICATE_KEY),
        (409, "whatever", ErrorType.DUPLICATE_KEY),
        (400, 'insert violates foreign key constraint "fk"', ErrorType.REFERENCE_NOT_FOUND),
        (422, "company 17 does not exist", ErrorType.REFERENCE_NOT_FOUND),
        (400, 'Property "nope" does not exist', ErrorType.SCHEMA_DRIFT),
        (400, "Row 0 has invalid columns: nope", ErrorType.SCHEMA_DRIFT),
        (400, "You have no permission to write email", ErrorType.FIELD_PERMISSION),
        (400, "'abc' is not an integer", ErrorType.VALIDATION),
        (422, "", ErrorType.VALIDATION),
        (413, "", ErrorType.TOO_LARGE),
    ],
)
def test_default_type_of_a_row_error(status, text, error_type):
    verdict = Classifier(()).whole(status, [], text, field="", has_named_field=False)
    assert (verdict.type, verdict.signal) == (error_type, None)


@pytest.mark.parametrize(
    "status, signal",
    [
        (301, Signal.CONFIG),
        (401, Signal.AUTH),
        (403, Signal.AUTH),
        (404, Signal.CONFIG),
        (405, Signal.CONFIG),
        (408, Signal.UNAVAILABLE),
        (415, Signal.CONFIG),
        (423, Signal.UNAVAILABLE),
        (429, Signal.RATE_LIMITED),
        (500, Signal.UNAVAILABLE),
        (599, Signal.UNAVAILABLE),
    ],
)
def test_default_signal_of_a_status(status, signal):
    assert Classifier(()).whole(status, [], "", field="", has_named_field=False).signal is signal


def test_first_rule_that_fits_decides():
    rules = (
        Rule(status=(500,), text=r"duplicate entry for (?P<field>\w+)", type=ErrorType.DUPLICATE_KEY),
        Rule(code=("607", "606"), signal=Signal.RATE_LIMITED),
        Rule(status=(500,), type=ErrorType.VALIDATION, is_permanent=False),
    )
    classifier = Classifier(rules)
    first = classifier.whole(500, [], "Duplicate entry for email", field="", has_named_field=False)
    assert (first.type, first.field, first.signal) == (ErrorType.DUPLICATE_KEY, "email", None)
    assert classifier.whole(200, ["1", "606"], "", field="", has_named_field=False).signal is Signal.RATE_LIMITED
    third = classifier.whole(500, [], "other", field="", has_named_field=False)
    assert (third.type, third.is_permanent) == (ErrorType.VALIDATION, False)


@pytest.mark.parametrize(
    "text, is_row_error",
    [
        ("Permission to create contact.email denied", True),
        ("You may not write the field email.", True),
        ('Cannot edit "email".', True),
        ("This email account is suspended", False),
        ("Forbidden", False),
    ],
)
def test_forbidden_is_a_row_error_only_where_a_field_is_meant(server, text, is_row_error):
    made = destination(settings(server, {"path": "/b"}))
    server.script(Answer.json({"message": text}, 403))
    result = made.write(batch(contact("a")))
    if is_row_error:
        assert states(result) == ["rejected"]
        assert (result.outcomes[0].error.type, result.outcomes[0].error.field) == (ErrorType.FIELD_PERMISSION, "email")
    else:
        assert (result.signal, states(result)) == (Signal.AUTH, ["not_attempted"])


def test_not_found_of_a_records_own_address_is_a_row_error(server):
    made = destination(settings(server, {"method": "PATCH", "path": "/c/{key}"}, name="update"))
    server.script(Answer.json({"message": "no such contact"}, 404))
    result = made.write(batch(contact("a"), operation=Operation.UPDATE))
    assert result.outcomes[0].error.type is ErrorType.REFERENCE_NOT_FOUND


@pytest.mark.parametrize("name, signal", [("insert", Signal.UNKNOWN), ("upsert", Signal.UNAVAILABLE)])
def test_gateway_timeout_of_an_insert_is_unknown(server, name, signal):
    made = destination(settings(server, {"path": "/c"}, name=name))
    server.script(Answer(504))
    assert made.write(batch(contact("a"), operation=Operation(name))).signal is signal


def test_too_large_batch_is_halved_and_a_lone_record_rejected(server):
    made = destination(settings(server, {"path": "/c", "per_call": "batch"}))
    server.script(Answer(413), Answer(413))
    assert made.write(batch(contact("a"), contact("b"))).signal is Signal.REFUSED
    lone = made.write(batch(contact("a")))
    assert lone.outcomes[0].error.type is ErrorType.TOO_LARGE


def test_accepted_only_is_unknown_unless_told_otherwise(server):
    made = destination(settings(server, {"path": "/c", "accepted_only": {"status": 202}}))
    server.script(Answer.json({}, 202), Answer.json({}, 200))
    assert states(made.write(batch(contact("a")))) == ["unknown"]
    assert states(made.write(batch(contact("a")))) == ["written"]


def test_silent_failure_flag_rate_limit_inside_200(server):
    operation = {
        "path": "/leads.json",
        "per_call": "batch",
        "body": {"list_at": "input"},
        "success": {"flag": {"path": "success"}},
        "error": {"code": "errors[].code", "message": "errors[].message"},
        "locator": {
            "kind": "position",
            "results": "result",
            "ok": {"path": "status", "equals": ["created", "updated"]},
            "code": "reasons[].code",
            "message": "reasons[].message",
        },
    }
    rules = [{"code": ["606", "615"], "signal": "rate_limited"}, {"code": ["601", "602"], "signal": "auth"}]
    made = destination(settings(server, operation, error_rules=rules))
    skipped = {"status": "skipped", "reasons": [{"code": "1006", "message": "Field 'x' not found"}]}
    server.script(
        Answer.json({"success": False, "errors": [{"code": "606", "message": "Max rate limit"}]}),
        Answer.json({"success": False, "errors": [{"code": "602", "message": "Access token expired"}]}),
        Answer.json({"success": True, "result": [{"status": "created"}, skipped]}),
        Answer.json({"success": False, "errors": [{"code": "1", "message": "who knows"}]}),
    )
    two = batch(contact("a"), contact("b"))
    assert made.write(two).signal is Signal.RATE_LIMITED
    assert made.write(two).signal is Signal.AUTH
    result = made.write(two)
    assert states(result) == ["written", "rejected"]
    assert result.outcomes[1].error.code == "1006"
    assert states(made.write(two)) == ["unknown", "unknown"]


def test_scim_bulk_is_told_by_correlation_and_status_of_each_item(server):
    operation = {
        "path": "/Bulk",
        "per_call": "batch",
        "body": {"list_at": "Operations"},
        "record": {"constants": {"method": "POST", "path": "/Users"}, "properties_at": "data", "correlation_at": "bulkId"},
        "locator": {
            "kind": "correlation",
            "results": "Operations",
            "result_id": "bulkId",
            "ok": {"path": "status", "equals": ["201", "200"]},
            "status": "status",
            "code": "response.scimType",
            "message": "response.detail",
        },
    }
    made = destination(settings(server, operation))
    busy = {"bulkId": "2", "status": "429", "response": {"detail": "slow"}}
    taken = {"bulkId": "1", "status": "409", "response": {"scimType": "uniqueness", "detail": "userName"}}
    server.script(Answer.json({"Operations": [taken, busy, {"bulkId": "0", "status": "201"}]}))
    result = made.write(batch(*(contact(name) for name in "abcd")))
    assert states(result) == ["written", "rejected", "retryable", "unknown"]
    assert result.outcomes[1].error.type is ErrorType.DUPLICATE_KEY
    assert result.outcomes[2].error.type is ErrorType.RATE_LIMITED


def test_errors_by_key_with_message_as_list_services_send_them(server):
    operation = {
        "path": "/lists/1",
        "per_call": "batch",
        "body": {"list_at": "members"},
        "key_field": "email",
        "locator": {
            "kind": "key",
            "errors": "errors",
            "key": "email_address",
            "message": "error",
            "failed_count": "failed",
        },
    }
    made = destination(settings(server, operation))
    problem = {"email_address": "B@OK.test", "error": "looks fake or invalid"}
    server.script(Answer.json({"errors": [problem], "failed": 1}), Answer.json({"errors": [problem], "failed": 2}))
    two = batch(contact("a"), contact("b"))
    assert states(made.write(two)) == ["written", "rejected"]
    assert states(made.write(two)) == ["unknown", "rejected"]


# Hints, waits


def test_field_is_found_in_the_text():
    sent = [record("k", {"email": "x", "email_domain": "y", "address": {"city": "z"}})]
    assert hints.field_in("bad value for email_domain", sent) == "email_domain"
    assert hints.field_in("contacts.email must be unique", sent) == "email"
    assert hints.field_in("city is unknown", sent) == "address.city"
    assert hints.field_in("something went wrong", sent) == ""


def test_suspects_are_those_whose_own_value_is_quoted():
    people = [record(str(n), {"email": f"user{n}@x.test", "plan": "gold"}) for n in range(20)]
    error = RowError(ErrorType.VALIDATION, "")
    assert hints.suspects("'user7@x.test' is not valid", error, people) == (7,)
    assert hints.suspects("plan gold is not valid", error, people) == ()
    assert hints.suspects("nothing known", error, people) == ()


NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "wait, headers, data, seconds",
    [
        (Wait(), {"Retry-After": "5"}, None, 5),
        (Wait(max_seconds=3), {"Retry-After": "5"}, None, 3),
        (Wait(header="X-Wait"), {"X-Wait": "7"}, None, 7),
        (Wait(WaitKind.RESET_EPOCH, "X-Reset"), {"X-Reset": str(int(NOW.timestamp()) + 9)}, None, 9),
        (Wait(WaitKind.RESET_EPOCH, "X-Reset"), {"X-Reset": str((int(NOW.timestamp()) + 9) * 1000)}, None, 9),
        (Wait(WaitKind.RESET_EPOCH, "X-Reset"), {"X-Reset": "1"}, None, 0),
        (Wait(WaitKind.RESET_SECONDS, "X-Reset"), {"X-Reset": "2.5"}, None, 2.5),
        (Wait(WaitKind.RESET_SECONDS, "X-Reset"), {"Retry-After": "4"}, None, 4),
        (Wait(WaitKind.BODY_SECONDS, path="error.wait"), {}, {"error": {"wait": 11}}, 11),
        (Wait(WaitKind.BODY_SECONDS, path="error.wait"), {}, {"error": {}}, None),
        (Wait(WaitKind.NONE), {"Retry-After": "5"}, None, None),
        (Wait(), {}, None, None),
    ],
)
def test_wait_is_read_from_the_configured_source(wait, headers, data, seconds):
    response = Response(429, Headers(list(headers.items())), b"", 1.0)
    found = wait_seconds(wait, response, data, now=NOW)
    assert found == (pytest.approx(seconds) if seconds is not None else None)


def test_messages_are_capped_and_without_control_characters(server):
    made = destination(settings(server, {"path": "/b", "error": {"message": "m"}}))
    server.script(Answer.json({"m": "x\u0000\u202e\n" + "y" * 50_000, "t": TOKEN}, 422))
    error = made.write(batch(contact("a"))).outcomes[0].error
    assert len(error.message) <= 1000
    assert len(error.excerpt) <= 4096
    assert "\x00" not in error.message + error.excerpt
    assert TOKEN not in error.excerpt


def test_write_is_called_from_many_threads(server):
    from concurrent.futures import ThreadPoolExecutor

    server.handler = lambda request: Answer.json({"rows": request.json()})
    made = destination(settings(server, {"path": "/b", "per_call": "batch", "success": {"count": "rows"}}))
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: made.write(batch(*(contact(f"{n}-{i}") for i in range(20)))), range(100)))
    assert all(set(states(result)) == {"written"} for result in results)
    assert server.connections <= 8
    assert time.monotonic() - started < 30
