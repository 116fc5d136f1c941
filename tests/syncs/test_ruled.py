"""Error rules over the answers of a destination: what they change, and what they may not touch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from syncs.connectors import CheckReport
from syncs.destinations.base import Capabilities, Field, ListsObjects, WithoutJobs
from syncs.destinations.expressions import MAX_TEXT, ExpressionError, compiled, literal, problem, readable
from syncs.destinations.ruled import ASSIGNABLE, UNTOUCHED, Answer, Rule, compile_rules, first, ruled
from syncs.errors import ErrorType
from syncs.records import (
    NOT_ATTEMPTED,
    WRITTEN,
    Batch,
    BatchResult,
    Exchange,
    Operation,
    Record,
    RecordOutcome,
    RecordState,
    RowError,
    Ruled,
    Signal,
)

REFUSED_ROW = RowError(ErrorType.VALIDATION, "Value 'x' is taken", code="E1, E2", http_status=400, excerpt="{}")
OUTAGE = RowError(ErrorType.DESTINATION_UNAVAILABLE, "duplicate key value", http_status=500)


def rule(kind: ErrorType = ErrorType.DUPLICATE_KEY, *, id: int = 7, is_permanent: bool | None = None, **given: Any) -> Rule:
    conditions = {"statuses": [], "codes": [], "text": "", **given}
    return Rule.of(id=id, name=f"rule {id}", error_type=kind, is_permanent=is_permanent, **conditions)


class Answering(WithoutJobs):
    """A destination that gives one prepared answer."""

    def __init__(self, result: BatchResult, idempotent: Sequence[Operation] = (Operation.UPSERT,)) -> None:
        self.result = result
        self.capabilities = Capabilities(frozenset(Operation), frozenset(idempotent))
        self.color = "blue"

    def check(self) -> CheckReport:
        return CheckReport(is_ok=True, message="fine")

    def fields(self) -> list[Field] | None:
        return [Field("email")]

    def write(self, batch: Batch) -> BatchResult:
        return self.result

    def close(self) -> None:
        self.color = "closed"


class Listing(Answering):
    def objects(self) -> list[str] | None:
        return ["contacts"]


def batch(count: int, operation: Operation = Operation.UPSERT) -> Batch:
    return Batch(operation, [Record(f"k{n}", operation, {}, b"{}", n) for n in range(count)], "key")


def rejected(error: RowError = REFUSED_ROW) -> RecordOutcome:
    return RecordOutcome(RecordState.REJECTED, error)


def read(result: BatchResult, *rules: Rule, operation: Operation = Operation.UPSERT, count: int | None = None) -> BatchResult:
    size = len(result.outcomes) if count is None else count
    return ruled(Answering(result), rules).write(batch(size, operation))


# --- which rule decides


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({"statuses": [400]}, True),
        ({"statuses": [409, 422]}, False),
        ({"codes": ["E2"]}, True),
        ({"codes": ["E1, E2"]}, True),
        ({"codes": ["E"]}, False),
        ({"text": "value .* is TAKEN"}, True),
        ({"text": "^is taken"}, False),
        ({"statuses": [400], "codes": ["E1"], "text": "taken"}, True),
        ({"statuses": [400], "codes": ["E1"], "text": "free"}, False),
    ],
)
def test_a_rule_fits_where_every_condition_that_is_given_holds(given: dict[str, Any], fits: bool) -> None:
    answer = Answer(ErrorType.VALIDATION, 400, "E1, E2", "Value   'x'\n is taken")
    assert (first([rule(**given)], answer) is not None) is fits


def test_the_first_rule_that_fits_decides() -> None:
    answer = Answer(ErrorType.VALIDATION, 400, "", "taken")
    rules = [rule(id=1, text="free"), rule(id=2, text="taken"), rule(id=3, statuses=[400])]
    assert getattr(first(rules, answer), "id", None) == 2


@pytest.mark.parametrize("kind", sorted(UNTOUCHED))
def test_no_rule_speaks_of_what_is_not_the_answer_to_a_row(kind: ErrorType) -> None:
    assert first([rule(statuses=[400])], Answer(kind, 400, "", "x")) is None


def test_an_outage_is_taken_for_something_else_only_by_code_or_text() -> None:
    answer = Answer(ErrorType.DESTINATION_UNAVAILABLE, 500, "", "duplicate key")
    assert first([rule(statuses=[500])], answer) is None
    assert first([rule(statuses=[500], text="duplicate")], answer) is not None


def test_a_stored_rule_that_cannot_be_read_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    found = compile_rules([lambda: rule(text="(("), lambda: rule(), lambda: rule(statuses=["x"]), lambda: rule(statuses=[400])])
    assert [one.statuses for one in found] == [{400}]
    assert caplog.text.count("passed over") == 3


# --- what becomes of an answer


def test_each_record_gets_the_type_of_its_own_error_and_says_what_it_was() -> None:
    other = replace(REFUSED_ROW, message="too long", code="")
    result = BatchResult([WRITTEN, rejected(), rejected(other), NOT_ATTEMPTED], exchange=Exchange(http_status=200))
    got = read(result, rule(codes=["E2"]))
    assert got.outcomes[0] is WRITTEN
    assert got.outcomes[3] is NOT_ATTEMPTED
    assert got.outcomes[2] == rejected(other)
    error = got.outcomes[1].error
    assert error is not None
    assert (error.type, error.permanent, error.message) == (ErrorType.DUPLICATE_KEY, True, REFUSED_ROW.message)
    assert error.ruled == Ruled(7, ErrorType.VALIDATION, True)
    assert got.exchange.http_status == 200


@pytest.mark.parametrize(
    ("kind", "is_permanent", "before", "after"),
    [
        (ErrorType.DESTINATION_UNAVAILABLE, None, RecordState.REJECTED, RecordState.RETRYABLE),
        (ErrorType.VALIDATION, False, RecordState.REJECTED, RecordState.RETRYABLE),
        (ErrorType.DUPLICATE_KEY, None, RecordState.RETRYABLE, RecordState.REJECTED),
        (ErrorType.TIMEOUT, True, RecordState.RETRYABLE, RecordState.REJECTED),
    ],
)
def test_a_rule_makes_a_refusal_worth_another_try_or_final(
    kind: ErrorType, is_permanent: bool | None, before: RecordState, after: RecordState
) -> None:
    said = REFUSED_ROW if before is RecordState.REJECTED else replace(REFUSED_ROW, is_permanent=False)
    result = BatchResult([RecordOutcome(before, said), WRITTEN])
    got = read(result, rule(kind, is_permanent=is_permanent, text="taken"))
    assert got.outcomes[0].state is after
    assert got.outcomes[0].error is not None
    assert got.outcomes[0].error.permanent is (after is RecordState.REJECTED)


@pytest.mark.parametrize("state", [RecordState.UNKNOWN, RecordState.NOT_ATTEMPTED, RecordState.WRITTEN])
def test_records_whose_fate_is_not_a_refusal_are_left_alone(state: RecordState) -> None:
    outcome = RecordOutcome(state, REFUSED_ROW)
    assert read(BatchResult([outcome, WRITTEN]), rule(text="taken")).outcomes[0] == outcome


@pytest.mark.parametrize("signal", [Signal.AUTH, Signal.CONFIG, Signal.RATE_LIMITED, Signal.UNKNOWN])
def test_a_signal_is_never_taken_away(signal: Signal) -> None:
    error = replace(REFUSED_ROW, type=ErrorType.VALIDATION)  # whatever type its module gave it
    result = BatchResult([RecordOutcome(RecordState.RETRYABLE, error)] * 2, signal, error, retry_after=5)
    assert read(result, rule(statuses=[400], text="taken")) == result


def test_a_refused_batch_is_halved_as_before_under_its_new_type() -> None:
    result = BatchResult([NOT_ATTEMPTED] * 4, Signal.REFUSED, REFUSED_ROW, suspects=(2,))
    got = read(result, rule(text="taken"))
    assert (got.signal, got.suspects, got.outcomes) == (Signal.REFUSED, (2,), [NOT_ATTEMPTED] * 4)
    assert got.error is not None
    assert got.error.type is ErrorType.DUPLICATE_KEY


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("kind", "signal", "state"),
    [
        (ErrorType.DESTINATION_UNAVAILABLE, Signal.UNAVAILABLE, RecordState.RETRYABLE),
        (ErrorType.RATE_LIMITED, Signal.RATE_LIMITED, RecordState.RETRYABLE),
        (ErrorType.AUTH, Signal.AUTH, RecordState.NOT_ATTEMPTED),
    ],
)
def test_a_rule_can_make_a_signal_of_a_refusal(kind: ErrorType, signal: Signal, state: RecordState, count: int) -> None:
    if count == 1:
        result = BatchResult([rejected()], error=REFUSED_ROW)
        signal = Signal.OK if signal is Signal.UNAVAILABLE else signal  # a single row is tried again by itself
    else:
        result = BatchResult([NOT_ATTEMPTED] * 3, Signal.REFUSED, REFUSED_ROW)
    got = read(result, rule(kind, text="taken"))
    assert (got.signal, {one.state for one in got.outcomes}, len(got.outcomes)) == (signal, {state}, count)


@pytest.mark.parametrize(
    ("count", "operation", "signal"),
    [
        (1, Operation.UPSERT, Signal.OK),
        (1, Operation.INSERT, Signal.OK),
        (3, Operation.UPSERT, Signal.REFUSED),
        (3, Operation.INSERT, Signal.UNAVAILABLE),  # some may be there: their parts would go under keys of their own
    ],
)
def test_a_server_error_that_is_a_refusal_is_one_where_that_does_no_harm(
    count: int, operation: Operation, signal: Signal
) -> None:
    result = BatchResult([RecordOutcome(RecordState.RETRYABLE, OUTAGE)] * count, Signal.UNAVAILABLE, OUTAGE)
    got = read(result, rule(statuses=[500], text="duplicate"), operation=operation)
    assert got.signal is signal
    if signal is Signal.OK:
        assert got.outcomes[0].state is RecordState.REJECTED
    if signal is not Signal.UNAVAILABLE:
        assert got.error is not None
        assert got.error.type is ErrorType.DUPLICATE_KEY


def test_a_lost_connection_has_no_answer_that_a_rule_could_read() -> None:
    error = RowError(ErrorType.DESTINATION_UNAVAILABLE, "connection refused")
    result = BatchResult([RecordOutcome(RecordState.RETRYABLE, error)], Signal.UNAVAILABLE, error)
    assert read(result, rule(text="refused")) is result


def test_without_rules_there_is_no_wrapper_and_with_them_all_else_passes_through() -> None:
    inner = Answering(BatchResult([WRITTEN]))
    assert ruled(inner, []) is inner
    wrapped = ruled(inner, [rule(statuses=[400])])
    assert wrapped.write(batch(1)) is inner.result
    assert wrapped.capabilities is inner.capabilities
    assert wrapped.check().message == "fine"
    assert wrapped.fields() == [Field("email")]
    assert wrapped.color == "blue"  # type: ignore[attr-defined]
    assert not isinstance(wrapped, ListsObjects)
    wrapped.close()
    assert inner.color == "closed"
    listing = ruled(Listing(inner.result), [rule(statuses=[400])])
    assert isinstance(listing, ListsObjects)
    assert listing.objects() == ["contacts"]


def test_rules_give_no_type_that_only_the_engine_knows() -> None:
    assert set(ErrorType) - set(ASSIGNABLE) == {
        ErrorType.MAPPING, ErrorType.INVALID_KEY, ErrorType.WORKER_CRASH, ErrorType.UNKNOWN_OUTCOME,
    }  # fmt: skip


# --- expressions


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("((", "not a valid regular expression: missing )"),
        ("a(?=b)", "Look-around"),
        (r"(a)\1", "Look-around, back references"),
        (".*", "fits an empty message"),
        ("a?|b", "fits an empty message"),
        ("(?:x{900}){900}", "too many texts"),
        (".{0,900}x", "Write .* instead"),
        ("x" * 501, "at most 500"),
        ("a\0", "Take it out"),
        ("\ud800", "Take it out"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused_with_reason_and_way_out(text: str, words: str) -> None:
    assert words in problem(text)
    with pytest.raises(ExpressionError):
        compiled(text)


@pytest.mark.parametrize(
    "text", ["(a+)+$", "(a|a)*b", "a?" * 60 + "a" * 60, "(.*)(.*)(.*)(.*)(.*)x", "(a|aa)+$", r"(\w+\s?)*!"]
)
def test_an_expression_that_is_a_catastrophe_elsewhere_is_over_at_once(text: str) -> None:
    started = time.thread_time()
    compiled(text).fits(readable("a" * 100_000))
    assert time.thread_time() - started < 0.5  # by backtracking it would take longer than anybody lives


def test_only_the_beginning_of_a_message_is_looked_at() -> None:
    assert not compiled("needle").fits(readable("x" * MAX_TEXT + "needle"))
    assert compiled("a b").fits(readable("a\n\t b"))
    assert readable("half \ud800 of a pair") == "half ? of a pair"


@pytest.mark.parametrize("text", ["Price (net) is 3.50 $", r"a\b [c] {d} ^e|f* +g?", "Ünïcode “quoted”"])
def test_a_literal_finds_exactly_its_text(text: str) -> None:
    assert compiled(literal(text)).fits(readable(f"before {text} after"))
    assert not compiled(literal(text)).fits(readable(text.replace("e", "E").replace(" ", "_")))
