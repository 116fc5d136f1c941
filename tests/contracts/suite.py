"""The contract every kind of destination keeps, as tests. A kind passes them by a harness of its own:

    from tests.contracts.harness import HttpHarness
    from tests.contracts.suite import Contract

    class TestAcme(Contract):
        harnesses = (HttpHarness(kind="acme", server=AcmeServer, config=..., object_name="people"),)

See docs/connectors.md, “Write a connector”.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, ClassVar, TypeVar

import pytest

from syncs.connectors import ConfigField, Issue
from syncs.destinations import registry
from syncs.destinations.base import Capabilities, Discovery, Field, ListsObjects
from syncs.errors import ErrorType
from syncs.records import BatchResult, Operation, RecordState, Signal
from tests.contracts.harness import Harness
from tests.servers import Answer, Request, Server

_Test = TypeVar("_Test", bound=Callable[..., None])
READS = ("GET", "HEAD")
_TYPES = {"text", "integer", "boolean", "choice", "json", "secret"}
_HOSTILE: tuple[Any, ...] = (
    None,
    "",
    " ",
    0,
    -1,
    True,
    [],
    ["x"],
    {},
    {"x": {"y": []}},
    "\x00",
    "‮" * 300,
    "http://[",
    "{",
    1e300,
)
_EMPTY_ANSWERS = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"0",
    b'"ok"',
    b"<html>ok</html>",
    b'{"ok": tr',
    b'{"results": []}',
    b'{"errors": []}',
)


def needs(what: str) -> Callable[[_Test], _Test]:
    """The test is for harnesses whose attribute of this name is not empty."""

    def mark(test: _Test) -> _Test:
        test.needs = what  # type: ignore[attr-defined]
        return test

    return mark


def states(result: BatchResult) -> list[str]:
    return [outcome.state.value for outcome in result.outcomes]


def writes(harness: Any, requests: Sequence[Request]) -> list[str]:
    """Calls that are no reads; asking for a token is none either."""
    return [f"{call.method} {call.path}" for call in requests if call.method not in READS and call.path != harness.token_path]


class Contract:
    harnesses: ClassVar[Sequence[Harness]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "world" in metafunc.fixturenames:
            wanted = getattr(metafunc.function, "needs", "")
            chosen = [harness for harness in self.harnesses if not wanted or getattr(harness, wanted)]
            ids = [harness.id or harness.kind for harness in chosen]
            metafunc.parametrize("world", chosen, indirect=True, ids=ids)

    @pytest.fixture
    def harness(self, request: pytest.FixtureRequest) -> Harness:
        chosen: Harness = request.node.callspec.params["world"]
        return chosen

    @pytest.fixture
    def world(self, request: pytest.FixtureRequest) -> Iterator[Any]:
        with request.param.opened(request) as opened:
            yield opened

    # What the kind declares

    def test_form_is_declared_with_known_types_and_unique_names(self, harness, world):
        fields = registry.module(harness.kind).FIELDS
        assert all(isinstance(field, ConfigField) and field.type in _TYPES and field.label for field in fields)
        names = [field.name for field in fields]
        assert len(set(names)) == len(names)
        assert harness.kind in dict(registry.kinds())

    def test_bad_settings_are_issues_that_name_a_field(self, harness, world):
        module = registry.module(harness.kind)
        assert module.validate({}, {}), "an empty form lacks something"
        for field in module.FIELDS:
            for value in _HOSTILE:
                for found in (module.validate({field.name: value}, {}), module.validate({}, {field.name: value})):
                    assert all(isinstance(issue, Issue) and issue.field and issue.message for issue in found)
                names = module.objects({field.name: value})
                assert all(isinstance(name, str) for name in names)

    def test_capabilities_are_limits_that_a_batch_can_keep(self, world):
        promised = world.destination.capabilities
        assert isinstance(promised, Capabilities)
        assert promised.operations
        assert promised.idempotent <= promised.operations
        assert min(promised.max_records, promised.max_bytes, promised.max_record_bytes, promised.concurrency) >= 1
        assert promised.described()

    # Reading

    def test_check_says_yes_and_writes_nothing(self, harness, world):
        world.send(*world.good(1))
        before = {key: dict(values) for key, values in world.stored().items()}
        seen = len(world.server.requests) if harness.speaks_http else 0
        report = world.destination.check()
        assert report.is_ok, report.message
        assert world.stored() == before
        if harness.speaks_http:
            assert world.server.requests[seen:]
            assert writes(harness, world.server.requests[seen:]) == []

    def test_fields_are_named_once_and_reading_them_writes_nothing(self, harness, world):
        found = world.destination.fields()
        promised = Discovery.FIELDS in world.destination.capabilities.discovery
        assert (found is not None) == promised
        assert all(isinstance(field, Field) and field.name for field in found or ())
        assert len({field.name for field in found or ()}) == len(found or ())
        if isinstance(world.destination, ListsObjects):
            assert all(isinstance(name, str) and name for name in world.destination.objects() or ())
        assert world.stored() == {}
        if harness.speaks_http:
            assert writes(harness, world.server.requests) == []

    # One outcome per record

    def test_empty_batch_has_no_outcome_and_no_call(self, harness, world):
        result = world.send()
        assert (list(result.outcomes), result.signal) == ([], Signal.OK)
        assert not harness.speaks_http or world.server.requests == []

    def test_good_records_are_written_once_each(self, world):
        records = world.good(min(5, world.destination.capabilities.max_records))
        assert {outcome.state for outcome in world.settle(*records)} == {RecordState.WRITTEN}
        assert world.stored().keys() == {record.key for record in records}

    def test_duplicate_keys_of_a_batch_each_get_an_outcome_and_the_last_one_wins(self, world):
        if Operation.UPSERT is not world.operation:
            return
        records = [world.record("a"), world.record("b"), world.record("a", note="later")]
        assert {outcome.state for outcome in world.settle(*records)} == {RecordState.WRITTEN}
        assert world.stored()["a"]["note"] == "later"
        assert world.stored().keys() == {"a", "b"}

    @pytest.mark.parametrize(
        "text",
        ["Zażółć gęślą jaźń 🦊", "‮مرحبا <b>&\"'\\ %s {key}", "line\nline\ttab", "𝕏" * 50],
        ids=["polish", "rtl", "lines", "wide"],
    )
    def test_unicode_arrives_as_it_was_sent(self, world, text):
        outcomes = world.settle(world.record("a", note=text))
        assert outcomes[0].state is RecordState.WRITTEN
        assert next(iter(world.stored().values()))["note"] == text

    def test_null_is_written_or_left_out_and_never_loses_the_record(self, world):
        outcomes = world.settle(world.record("a", note=None), world.record("b", note="there"))
        assert {outcome.state for outcome in outcomes} == {RecordState.WRITTEN}
        assert world.stored()["a"].get("note") in (None, "")
        assert world.stored()["b"]["note"] == "there"

    def test_huge_value_is_written_whole_or_refused_as_too_large(self, world):
        size = min(world.destination.capabilities.max_record_bytes * 4 // 5, 300_000)
        huge, small = world.settle(world.record("huge", note="ä" * (size // 2)), world.record("small"))
        assert small.state is RecordState.WRITTEN
        if huge.state is RecordState.WRITTEN:
            assert world.stored()["huge"]["note"] == "ä" * (size // 2)
        else:
            assert (huge.state, huge.error.type) == (RecordState.REJECTED, ErrorType.TOO_LARGE)

    def test_bad_records_are_rejected_with_their_reason_and_batch_mates_are_written(self, harness, world):
        bad = [world.record(f"bad{number}", email) for number, email in enumerate(harness.faults)]
        good = [world.record(f"good{number}") for number in range(len(bad) + 1)]
        records = [record for pair in zip(good, [*bad, None], strict=True) for record in pair if record is not None]
        outcomes = dict(zip([record.key for record in records], world.settle(*records), strict=True))
        assert world.stored().keys() == {record.key for record in good}
        assert {outcomes[record.key].state for record in good} == {RecordState.WRITTEN}
        for record, wanted in zip(bad, harness.faults.values(), strict=True):
            error = outcomes[record.key].error
            assert (outcomes[record.key].state, error.type) == (RecordState.REJECTED, wanted), record.key
            assert error.message
            assert error.permanent

    def test_deleted_records_are_gone_and_those_not_there_are_no_dead_letters(self, world):
        if Operation.DELETE not in world.destination.capabilities.operations:
            return
        records = world.good(2)
        world.settle(*records)
        for wanted in (records[:1], records):
            for record in wanted:
                outcome = world.send(record, operation=Operation.DELETE).outcomes[0]
                assert outcome.state is RecordState.WRITTEN, outcome.error
        assert world.stored() == {}

    # Answers that say less than they should

    @needs("drop")
    def test_record_that_the_answer_leaves_out_is_unknown_and_never_written(self, harness, world):
        records = world.good(3)
        world.emulator.tamper = harness.drop
        result = world.send(*records)
        assert states(result)[-1] == "unknown"
        assert set(states(result)) <= {"unknown", "written"}
        assert result.outcomes[-1].error.type is ErrorType.UNKNOWN_OUTCOME

    @needs("speaks_http")
    @pytest.mark.parametrize("status", [200, 204, 302, 400, 422])
    def test_answer_that_says_nothing_never_counts_as_written(self, world, status):
        """The scripted answers never reach the emulator: whatever they look like, nothing was stored."""
        for body in _EMPTY_ANSWERS:
            world.server.script(Answer(status, {"Content-Type": "application/json"}, body))
            records = world.good(2)
            result = world.send(*records)
            world.server.clear()
            for record, outcome in zip(records, result.outcomes, strict=True):
                assert outcome.state is not RecordState.WRITTEN or record.key in world.stored(), body

    # The connection and the moment

    @needs("speaks_http")
    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_rate_limit_waits_as_asked_and_rejects_nobody(self, world, form):
        moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
        wait = {"seconds": "30", "date": moment}[form]
        world.server.script(Answer.json({"message": "slow down"}, 429, headers={"Retry-After": wait}))
        result = world.send(*world.good(3))
        assert (result.signal, result.error.type) == (Signal.RATE_LIMITED, ErrorType.RATE_LIMITED)
        assert set(states(result)) <= {"retryable", "not_attempted"}
        assert 25 < result.retry_after <= 30
        assert {outcome.state for outcome in world.settle(*world.good(3))} == {RecordState.WRITTEN}

    @needs("speaks_http")
    def test_refused_credentials_stop_the_run_and_reject_nobody(self, world):
        world.emulator.revoke()
        result = world.send(*world.good(2))
        assert (result.signal, result.error.type) == (Signal.AUTH, ErrorType.AUTH)
        assert set(states(result)) == {"not_attempted"}
        report = world.destination.check()
        assert not report.is_ok
        assert report.message
        assert world.stored() == {}

    @needs("speaks_http")
    @pytest.mark.parametrize("status", [500, 503])
    def test_server_error_is_unavailable_and_rejects_nobody(self, world, status):
        world.server.script(Answer(status, {"Retry-After": "7"}, b"<html>Oops</html>"))
        result = world.send(*world.good(2))
        assert (result.signal, result.error.type) == (Signal.UNAVAILABLE, ErrorType.DESTINATION_UNAVAILABLE)
        assert set(states(result)) <= {"retryable", "not_attempted"}
        assert "<html>" not in result.error.message

    @needs("speaks_http")
    def test_answer_after_the_deadline_is_unknown(self, world):
        world.hurry(0.3)
        world.server.script(*[Answer.json({"ok": True}, fault="drip")] * 2)
        started = time.monotonic()
        result = world.send(*world.good(1))
        assert time.monotonic() - started < 3
        is_look_up = world.server.requests[-1].method == "GET"  # it came to nothing, and wrote nothing
        wanted = (Signal.UNAVAILABLE, {"not_attempted"}) if is_look_up else (Signal.UNKNOWN, {"unknown"})
        assert (result.signal, set(states(result))) == wanted
        assert result.error.type is ErrorType.TIMEOUT

    @needs("speaks_http")
    def test_lost_answer_is_unknown_unless_only_a_look_up_was_lost(self, world):
        world.server.script(Answer.json({"ok": True}, fault="cut"))
        result = world.send(*world.good(1))
        lost = world.server.requests[-1].method
        wanted = {"not_attempted"} if lost == "GET" else {"unknown"}
        assert set(states(result)) == wanted

    @needs("speaks_http")
    def test_nobody_listens_is_unavailable_and_not_attempted(self, world):
        with Server() as gone:
            url = gone.url
        world.elsewhere(url)
        result = world.send(*world.good(2))
        assert (result.signal, set(states(result))) == (Signal.UNAVAILABLE, {"not_attempted"})
        assert not world.destination.check().is_ok

    @needs("speaks_http")
    def test_secrets_never_show(self, harness, world):
        secrets = list(harness.secrets.values())
        echo = {"message": f"bad credentials {secrets}", "errors": [{"message": str(secrets)}], "Authorization": secrets[0]}
        for status in (400, 401, 500):
            world.server.script(Answer.json(echo, status))
            result = world.send(*world.good(1))
            world.server.script(Answer.json(echo, status))
            shown = json.dumps([str(result), str(world.destination.check())])
            world.server.clear()
            assert not [secret for secret in secrets if secret in shown], status
