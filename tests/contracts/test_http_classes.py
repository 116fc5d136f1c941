"""What every way of answering a batch must come to: one honest outcome per record, whatever the other side does."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime

import pytest

from syncs.errors import ErrorType
from syncs.records import BatchResult, RecordState, Signal
from tests.contracts.http_emulators import CLASSES, Emulator
from tests.contracts.http_tools import TOKEN, MemoryCredentials, batch, contact, destination, states
from tests.servers import Answer, Server

ALL = list(CLASSES)
PARTIAL = ["C", "D", "E", "F"]
LOCATED = ["B", *PARTIAL]
BATCHES = ["A", *LOCATED]


class World:
    """An emulator, its server and a destination that was configured for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.emulator: Emulator = CLASSES[name]()
        self.server = Server(self.emulator)
        self.destination = None

    def open(self, **changes):
        self.destination = destination(self.emulator.settings(self.server, **changes))
        return self

    def write(self, *records, **kwargs) -> BatchResult:
        result = self.destination.write(batch(*records, **kwargs))
        assert len(result.outcomes) == len(records)
        written = {r.key for r, outcome in zip(records, result.outcomes, strict=True) if outcome.state is RecordState.WRITTEN}
        assert written <= self.emulator.stored.keys(), "called written, but the destination does not hold it"
        return result

    def good(self, count: int):
        return [contact(f"k{number}") for number in range(1 if self.name == "H" else count)]


@pytest.fixture
def world(request):
    made = World(request.param)
    with made.server:
        yield made.open()
        made.destination.close()


def each(names):
    return pytest.mark.parametrize("world", names, indirect=True)


@each(ALL)
def test_empty_batch_makes_no_call(world):
    assert world.write().outcomes == []
    assert world.server.requests == []


@each(ALL)
def test_good_records_are_written_with_their_values(world):
    records = world.good(7)
    result = world.write(*records)
    assert result.signal is Signal.OK
    assert set(states(result)) == {"written"}
    assert world.emulator.stored.keys() == {item.key for item in records}
    assert world.emulator.stored["k0"]["email"] == "k0@ok.test"
    assert len(world.server.requests) == 1
    assert world.server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert result.exchange.http_status in (200, 201)
    assert result.exchange.bytes_sent == len(world.server.requests[0].body)


@each(["C", "D", "H"])
def test_created_and_updated_are_told_apart(world):
    first, second = world.write(*world.good(2)), world.write(*world.good(2))
    assert {outcome.detail for outcome in first.outcomes} == {"created"}
    assert {outcome.detail for outcome in second.outcomes} == {"updated"}
    assert first.outcomes[0].destination_id.endswith("k0")


@each(ALL)
def test_unicode_nulls_and_exact_numbers_arrive(world):
    odd = contact("schlüssel/ß ?#%2F", email="zoë@ok.test", name="Ünï “q” \\ \u2028 😀\n", empty=None, price=Decimal("1.10"))
    result = world.write(odd)
    assert states(result) == ["written"]
    kept = world.emulator.stored["schlüssel/ß ?#%2F"]
    assert kept["name"] == "Ünï “q” \\ \u2028 😀\n"
    assert kept["empty"] == ("" if world.name == "D" else None)
    assert b"1.10" in world.server.requests[0].body


@each(ALL)
def test_huge_value_arrives_whole(world):
    world.open(limits={"max_answer_bytes": 5_000_000})  # A and B send the rows back
    assert states(world.write(contact("big", text="ä" * 400_000))) == ["written"]
    assert len(world.emulator.stored["big"]["text"]) == 400_000


@each(["D", "E"])
def test_second_record_of_a_key_waits_for_another_call(world):
    records = [contact("a"), contact("b"), contact("a", note="later"), contact("b", note="later")]
    assert states(world.write(*records)) == ["written", "written", "not_attempted", "not_attempted"]
    assert states(world.write(*records[2:])) == ["written", "written"]
    assert world.emulator.stored["a"]["note"] == "later"


@each(["A", "B", "C", "F"])
def test_records_that_share_a_key_each_get_an_outcome(world):
    assert states(world.write(contact("a"), contact("a", note="later"))) == ["written", "written"]
    assert world.emulator.stored["a"]["note"] == "later"


# Partial failure


@each(PARTIAL)
def test_bad_records_are_rejected_and_good_ones_written(world):
    records = [contact("a"), contact("b", "bad"), contact("c"), contact("d", "dup@x.test"), contact("e", None)]
    result = world.write(*records)
    assert result.signal is Signal.OK
    assert states(result) == ["written", "rejected", "written", "rejected", "rejected"]
    assert world.emulator.stored.keys() == {"a", "c"}
    types = [outcome.error.type for outcome in result.outcomes if outcome.error]
    assert types == [ErrorType.VALIDATION, ErrorType.DUPLICATE_KEY, ErrorType.MISSING_REQUIRED]
    if world.name != "E":
        assert {outcome.error.field for outcome in result.outcomes if outcome.error} == {"email"}
        assert "bad" in result.outcomes[1].error.excerpt


@each(["B"])
def test_atomic_with_locator_blames_the_located_and_spares_their_mates(world):
    result = world.write(contact("a"), contact("b", "bad"), contact("c"), contact("d", None))
    assert result.signal is Signal.OK
    assert states(result) == ["not_attempted", "rejected", "not_attempted", "rejected"]
    assert [result.outcomes[i].error.type for i in (1, 3)] == [ErrorType.VALIDATION, ErrorType.MISSING_REQUIRED]
    assert world.emulator.stored == {}


@each(["A"])
def test_atomic_without_locator_refuses_the_batch_and_names_suspects(world):
    records = [contact(f"k{number}") for number in range(9)]
    records[4] = contact("k4", "bad-one")
    result = world.write(*records)
    assert result.signal is Signal.REFUSED
    assert set(states(result)) == {"not_attempted"}
    assert result.suspects == (4,)
    assert (result.error.type, result.error.field, result.error.http_status) == (ErrorType.VALIDATION, "email", 400)


@each(["A"])
def test_atomic_suspects_are_the_records_that_lack_the_required_field(world):
    records = [contact(f"k{number}", None if number in (2, 5) else "") for number in range(12)]
    result = world.write(*records)
    assert (result.signal, result.suspects) == (Signal.REFUSED, (2, 5))


@each(["A"])
def test_atomic_batch_is_cleared_by_halving_as_the_engine_does(world):
    records = [contact(f"k{number}", "bad" if number in (3, 11) else "") for number in range(16)]
    pending, rejected = [records], set()
    while pending:
        part = pending.pop()
        result = world.write(*part)
        if result.signal is Signal.REFUSED:
            pending += [part[: len(part) // 2], part[len(part) // 2 :]]
        else:
            rejected |= {r.key for r, o in zip(part, result.outcomes, strict=True) if o.state is RecordState.REJECTED}
    assert rejected == {"k3", "k11"}
    assert len(world.emulator.stored) == 14


@each(ALL)
def test_lone_bad_record_is_rejected_with_type_and_reason(world):
    for email, error_type in (
        ("bad", ErrorType.VALIDATION),
        ("dup", ErrorType.DUPLICATE_KEY),
        (None, ErrorType.MISSING_REQUIRED),
    ):
        result = world.write(contact("x", email))
        assert states(result) == ["rejected"], email
        assert result.outcomes[0].error.type is error_type
        assert result.outcomes[0].error.message
        assert result.outcomes[0].error.permanent


@each(["F"])
def test_all_bad_is_an_error_status_and_still_located(world):
    result = world.write(contact("a", "bad"), contact("b", "bad"))
    assert result.exchange.http_status == 400
    assert states(result) == ["rejected", "rejected"]


# An answer that does not account for every record


def drop_last(data):
    if isinstance(data, list):
        return data[:-1]
    for name in ("rows", "results"):
        if name in data:
            return {**data, name: data[name][:-1]}
    return {**data, "successCount": data["successCount"] - 1}


def add_one(data):
    if isinstance(data, list):
        return [*data, data[0]]
    for name in ("rows", "results"):
        if name in data:
            return {**data, name: [*data[name], data[name][0]]}
    return {**data, "successCount": data["successCount"] + 1}


@each(["A", "B", "C", "E"])
@pytest.mark.parametrize("tamper", [drop_last, add_one])
def test_fewer_or_more_results_than_records_are_unknown(world, tamper):
    world.emulator.tamper = tamper
    result = world.write(*world.good(5))
    assert set(states(result)) == {"unknown"}
    assert all(outcome.error.type is ErrorType.UNKNOWN_OUTCOME for outcome in result.outcomes)


@each(["D"])
def test_record_missing_from_the_results_is_unknown(world):
    world.emulator.tamper = drop_last
    assert states(world.write(*world.good(4))) == ["written", "written", "written", "unknown"]


@each(["D"])
@pytest.mark.parametrize(
    "tamper",
    [
        add_one,
        lambda data: {**data, "results": [{**item, "objectWriteTraceId": "99"} for item in data["results"]]},
        lambda data: {**data, "errors": [{"message": "no", "context": {"objectWriteTraceId": ["77"]}}]},
        lambda data: {**data, "results": [], "errors": []},
        lambda data: {"status": "COMPLETE"},
    ],
)
def test_wrong_ids_or_no_results_are_unknown(world, tamper):
    world.emulator.tamper = tamper
    assert set(states(world.write(*world.good(4)))) == {"unknown"}


@each(["C"])
def test_results_for_other_records_than_sent_are_unknown(world):
    settings = world.emulator.settings(world.server)
    upsert = settings["objects"]["contacts"]["operations"]["upsert"]
    changed = {**upsert, "key_field": "id", "locator": {**upsert["locator"], "result_id": "echo"}}
    settings["objects"] = {"contacts": {"operations": {"upsert": changed}}}
    world.destination = destination(settings)
    world.emulator.tamper = lambda data: [{**item, "echo": f"k{2 - number}"} for number, item in enumerate(data)]
    assert states(world.write(*world.good(3))) == ["unknown", "unknown", "unknown"]


@each(["F"])
def test_error_that_points_nowhere_leaves_the_others_unknown(world):
    world.emulator.tamper = lambda data: {**data, "errors": [{"type": "x", "input_array": "attributes", "index": 50}]}
    assert set(states(world.write(*world.good(3)))) == {"unknown"}


@each(["F"])
def test_error_about_another_list_is_not_ours(world):
    world.emulator.tamper = lambda data: {**data, "errors": [{"type": "x", "input_array": "events", "index": 0}]}
    assert set(states(world.write(*world.good(3)))) == {"written"}


@each(ALL)
def test_yes_with_a_body_that_cannot_be_read_is_unknown(world):
    for body in (b"", b"<html>ok</html>", b'{"ok": tr'):
        world.server.script(Answer(200, {}, body), Answer(201, {}, body))
        result = world.write(*world.good(3))
        if world.name == "F":  # 200 is no yes there
            result = world.write(*world.good(3))
        else:
            world.server._script.clear()
        assert (result.signal, set(states(result))) == (Signal.UNKNOWN, {"unknown"}), body


@each(["A", "B"])
def test_yes_with_an_error_inside_is_no_yes(world):
    world.server.script(Answer.json({"ok": False, "error": "disk full"}, 200))
    result = world.write(*world.good(3))
    assert result.signal is Signal.REFUSED
    assert set(states(result)) == {"not_attempted"}


# The connection and the moment


@each(ALL)
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_rate_limit_waits_as_asked_and_rejects_nobody(world, form):
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    world.server.script(
        Answer.json({"error": "slow down"}, 429, headers={"Retry-After": "12" if form == "seconds" else moment})
    )
    result = world.write(*world.good(5))
    assert result.signal is Signal.RATE_LIMITED
    assert result.error.type is ErrorType.RATE_LIMITED
    assert set(states(result)) == {"retryable"}
    assert result.retry_after == 12 if form == "seconds" else 25 < result.retry_after <= 30
    assert set(states(world.write(*world.good(5)))) == {"written"}


@each(["F"])
def test_wait_is_read_from_the_reset_header(world):
    world.server.script(Answer.json({}, 429, headers={"X-RateLimit-Reset": str(int(time.time()) + 40)}))
    assert 35 < world.write(*world.good(2)).retry_after <= 40


@each(["C"])
def test_rate_limit_disguised_as_403_is_known_by_rule(world):
    world.server.script(Answer.json([{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}], 403))
    assert world.write(*world.good(2)).signal is Signal.RATE_LIMITED


@each(["C"])
def test_record_error_that_a_rule_calls_transient_is_retryable(world):
    def tamper(data):
        error = {"statusCode": "UNABLE_TO_LOCK_ROW", "message": "unable to obtain exclusive access"}
        return [{"success": False, "errors": [error]}, *data[1:]]

    world.emulator.tamper = tamper
    result = world.write(*world.good(3))
    assert states(result) == ["retryable", "written", "written"]
    assert result.outcomes[0].error.type is ErrorType.DESTINATION_UNAVAILABLE


@each(ALL)
def test_refused_credentials_stop_the_run_and_reject_nobody(world):
    world.server.script(Answer.json({"message": "bad token"}, 401))
    result = world.write(*world.good(3))
    assert (result.signal, result.error.type) == (Signal.AUTH, ErrorType.AUTH)
    assert set(states(result)) == {"not_attempted"}
    assert len(world.server.requests) == 1


@each(ALL)
@pytest.mark.parametrize("status", [500, 503])
def test_server_error_is_unavailable(world, status):
    world.server.script(Answer(status, {"Retry-After": "7"}, b"<html>Oops</html>"))
    result = world.write(*world.good(3))
    assert (result.signal, result.retry_after) == (Signal.UNAVAILABLE, 7)
    assert result.error.type is ErrorType.DESTINATION_UNAVAILABLE
    assert "<html>" not in result.error.message


@each(ALL)
@pytest.mark.parametrize("fault", ["close", "cut", "garbage"])
def test_lost_answer_is_unknown_and_the_call_is_made_once(world, fault):
    world.write(*world.good(1))  # a kept connection tempts to try again
    before = len(world.server.requests)
    world.server.script(Answer.json({"ok": True}, fault=fault))
    result = world.write(*world.good(4))
    assert (result.signal, set(states(result))) == (Signal.UNKNOWN, {"unknown"})
    assert len(world.server.requests) == before + 1


@each(ALL)
@pytest.mark.parametrize("fault", ["drip", "drip_headers"])
def test_drip_of_one_byte_a_second_is_unknown_at_the_deadline(world, fault):
    world.open(limits={"deadline_seconds": 0.4})
    world.server.script(Answer.json({"ok": True, "pad": "x" * 30}, fault=fault))
    started = time.monotonic()
    result = world.write(*world.good(2))
    assert time.monotonic() - started < 2
    assert (result.signal, result.error.type) == (Signal.UNKNOWN, ErrorType.TIMEOUT)


@each(ALL)
def test_answer_over_the_cap_is_unknown(world):
    world.open(limits={"max_answer_bytes": 5000})
    world.server.script(Answer.json({"ok": True, "pad": "x" * 9000}))
    result = world.write(*world.good(2))
    assert (result.signal, result.error.code) == (Signal.UNKNOWN, "too_large")


@each(ALL)
def test_redirect_is_a_fault_of_the_setup_and_is_not_followed(world):
    with Server() as elsewhere:
        world.server.script(Answer(307, {"Location": f"{elsewhere.url}/?token=SECRET123"}))
        result = world.write(*world.good(2))
        assert (result.signal, set(states(result))) == (Signal.CONFIG, {"not_attempted"})
        assert "redirect" in result.error.message
        assert "SECRET123" not in result.error.message
        assert elsewhere.requests == []


@each(ALL)
def test_nobody_listens_is_unavailable_and_not_attempted(world):
    settings = world.emulator.settings(world.server)
    with Server() as gone:
        settings["base_url"] = gone.url
    result = destination(settings).write(batch(*world.good(2)))
    assert (result.signal, set(states(result))) == (Signal.UNAVAILABLE, {"not_attempted"})


@each(ALL)
def test_credentials_never_show(world):
    world.server.script(Answer.json({"ok": False, "echo": f"token {TOKEN} at ?api_key=SECRET123", "Authorization": TOKEN}, 400))
    result = world.write(*world.good(1))
    shown = json.dumps([str(result.error), str(result.exchange), *(str(outcome) for outcome in result.outcomes)])
    assert TOKEN not in shown
    assert "SECRET123" not in shown


# The connection test


@each(ALL)
def test_check_reads_once_and_writes_nothing(world):
    report = world.destination.check()
    assert report.is_ok
    assert [request.method for request in world.server.requests] == ["GET"]
    assert world.emulator.stored == {}


@each(["A", "H"])
@pytest.mark.parametrize(
    "answer, word",
    [
        (Answer(401), "refused"),
        (Answer(403), "rights"),
        (Answer(404), "check.path"),
        (Answer(302, {"Location": "/"}), "redirect"),
        (Answer(503), "problem"),
        (Answer(429), "later"),
        (Answer(fault="close"), "closed"),
        (Answer(fault="garbage"), "HTTP"),
    ],
)
def test_check_says_what_is_wrong_and_shows_no_body(world, answer, word):
    answer.body = b"internal secret page"
    world.server.script(answer, answer)
    report = world.destination.check()
    assert not report.is_ok
    assert word in f"{report.message} {report.remedy}"
    assert "secret page" not in f"{report}"


def test_check_of_a_refused_address_is_a_report():
    with Server() as server:
        settings = CLASSES["A"]().settings(server)
        from syncs.destinations.http_api import build

        made = build(config=settings, credentials=MemoryCredentials({"token": "t"}), object_name="contacts", options={})
        report = made.check()
    assert not report.is_ok
    assert "RETL_ALLOWED_PRIVATE_NETWORKS" in report.message
    assert server.requests == []
