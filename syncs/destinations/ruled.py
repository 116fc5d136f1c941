"""Error rules: what an answer means, said by people, put over what a destination's own module made of it. Plain Python.

A rule gives a refusal its type, and says whether trying again can help. What it may not do:

- It touches no answer that speaks of the connection or of the moment: credentials, rate limits, a faulty set-up, a lost
  answer, a job that goes on (the signals ``auth``, ``rate_limited``, ``config``, ``unknown``, ``confirming``), and no record of
  which nobody knows whether it was written. A rule can make such a signal, never take one away.
- An outage (5xx) becomes a refusal only by a rule that names a code or a text; and, for several records at once, only where
  sending them again does no harm.
- It cannot say that a record was written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from syncs.connectors import CheckReport
from syncs.destinations.base import Capabilities, Destination, Field, ListsObjects
from syncs.destinations.expressions import Expression, ExpressionError, compiled, readable
from syncs.errors import ErrorType
from syncs.records import (
    NOT_ATTEMPTED,
    WRITTEN,
    Batch,
    BatchResult,
    Job,
    RecordOutcome,
    RecordState,
    RowError,
    Ruled,
    Signal,
)

logger = logging.getLogger(__name__)

# What no rule touches: nothing was sent, nobody knows what became of it, or it is not the row's fault.
UNTOUCHED = frozenset(
    {
        ErrorType.MAPPING,
        ErrorType.INVALID_KEY,
        ErrorType.WORKER_CRASH,
        ErrorType.UNKNOWN_OUTCOME,
        ErrorType.RATE_LIMITED,
        ErrorType.AUTH,
    }
)
OUTAGES = frozenset({ErrorType.DESTINATION_UNAVAILABLE, ErrorType.TIMEOUT})  # only by a code or a text
# What a rule may say: the engine alone knows of the others.
ASSIGNABLE = tuple(
    one
    for one in ErrorType
    if one not in (ErrorType.MAPPING, ErrorType.INVALID_KEY, ErrorType.WORKER_CRASH, ErrorType.UNKNOWN_OUTCOME)
)
_OF_TYPE = {ErrorType.RATE_LIMITED: Signal.RATE_LIMITED, ErrorType.AUTH: Signal.AUTH}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a destination said of one row, as far as rules look at it. ``type``: before any rule."""

    type: ErrorType
    status: int | None
    code: str  # several are joined by ", "
    message: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled rule. Empty conditions hold for any answer; those that are given must all hold."""

    id: int
    name: str
    type: ErrorType
    is_permanent: bool
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()
    expression: Expression | None = None

    @classmethod
    def of(
        cls,
        *,
        id: int,
        name: str,
        error_type: str,
        is_permanent: bool | None,
        statuses: Iterable[Any],
        codes: Iterable[Any],
        text: str,
    ) -> Rule:
        """Raises ``ExpressionError`` for a text that cannot be used, and where no condition is given."""
        if not (statuses or codes or text):
            raise ExpressionError("Give at least one condition, or every answer would be taken for this.")
        kind = ErrorType(error_type)
        return cls(
            id,
            name,
            kind,
            kind.info.is_permanent if is_permanent is None else is_permanent,
            frozenset(int(status) for status in statuses),
            frozenset(str(code) for code in codes),
            compiled(text) if text else None,
        )

    def fits(self, answer: Answer, text: str) -> bool:
        """``text``: the message as ``expressions.readable`` gives it. Whether the conditions hold, whatever rules may do."""
        if self.statuses and answer.status not in self.statuses:
            return False
        if self.codes and answer.code not in self.codes and self.codes.isdisjoint(answer.code.split(", ")):
            return False
        return self.expression is None or self.expression.fits(text)

    def may_touch(self, kind: ErrorType) -> bool:
        """Whether an answer of this type is one that this rule may speak of."""
        if kind in OUTAGES:
            return bool(self.codes or self.expression)
        return kind not in UNTOUCHED


def first(rules: Sequence[Rule], answer: Answer) -> Rule | None:
    """The rule that decides: the first that fits and may. None: what the destination's module made of it stands."""
    if answer.type in UNTOUCHED:
        return None
    text = readable(answer.message)
    return next((rule for rule in rules if rule.may_touch(answer.type) and rule.fits(answer, text)), None)


class RuledDestination:
    """Any destination, with rules over its answers."""

    def __init__(self, inner: Destination, rules: Sequence[Rule]) -> None:
        self._inner = inner
        self._rules = tuple(rules)
        self.capabilities: Capabilities = inner.capabilities

    def check(self) -> CheckReport:
        return self._inner.check()

    def fields(self) -> list[Field] | None:
        return self._inner.fields()

    def write(self, batch: Batch) -> BatchResult:
        return self._read(batch, self._inner.write(batch))

    def confirm(self, batch: Batch, job: Job) -> BatchResult:
        return self._read(batch, self._inner.confirm(batch, job))

    def close(self) -> None:
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inner, name)  # what a kind offers beside the protocol

    # -- what the rules make of an answer

    def _read(self, batch: Batch, result: BatchResult) -> BatchResult:
        outcomes = result.outcomes
        if result.signal is Signal.OK:
            if all(outcome is WRITTEN for outcome in outcomes):  # the usual case
                return result
            if len(outcomes) == 1 and result.error is not None and outcomes[0].error is result.error:
                return self._read_single(result, result.error)
            return self._read_records(result)
        if result.error is None:
            return result
        if result.signal is Signal.REFUSED:
            return self._read_refusal(result, result.error)
        if result.signal is Signal.UNAVAILABLE and result.error.http_status is not None:
            return self._read_outage(batch, result, result.error)
        return result

    def _read_records(self, result: BatchResult) -> BatchResult:
        """Each record by its own error."""
        said = _Once(self._said)
        outcomes = [
            outcome if outcome.error is None or outcome.state not in _RULED_STATES else _fate(outcome, said(outcome.error))
            for outcome in result.outcomes
        ]
        return replace(result, outcomes=outcomes)

    def _read_single(self, result: BatchResult, error: RowError) -> BatchResult:
        """The answer to a call with one record, which is an error as a whole."""
        outcome = result.outcomes[0]
        said = self._said(error) if outcome.state in _RULED_STATES else error
        if said is error:
            return result
        signal = None if said.permanent else _OF_TYPE.get(said.type)
        return replace(result, outcomes=[_fate(outcome, said)], error=said) if signal is None else _all(result, said, signal)

    def _read_refusal(self, result: BatchResult, error: RowError) -> BatchResult:
        """All or nothing: refused for good, and then it is halved as before, or worth another try as it is."""
        said = self._said(error)
        if said is error or said.permanent:
            return result if said is error else replace(result, error=said)
        return _all(result, said, _OF_TYPE.get(said.type, Signal.UNAVAILABLE))

    def _read_outage(self, batch: Batch, result: BatchResult, error: RowError) -> BatchResult:
        said = self._said(error)
        if said is error:
            return result
        if not said.permanent:
            return _all(result, said, _OF_TYPE.get(said.type, Signal.UNAVAILABLE))
        if len(batch.records) == 1:
            return replace(result, outcomes=[RecordOutcome(RecordState.REJECTED, said)], signal=Signal.OK, error=said)
        if batch.operation in self.capabilities.idempotent:
            return replace(result, outcomes=[NOT_ATTEMPTED] * len(batch.records), signal=Signal.REFUSED, error=said)
        return result  # some may have been written: their parts would go under keys of their own

    def _said(self, error: RowError) -> RowError:
        """The error as the first rule that fits says it; the same object where none does."""
        rule = first(self._rules, Answer(error.type, error.http_status, error.code, error.message))
        if rule is None:
            return error
        ruled = Ruled(rule.id, error.type, error.permanent)
        return replace(error, type=rule.type, is_permanent=rule.is_permanent, ruled=ruled)


_RULED_STATES = (RecordState.REJECTED, RecordState.RETRYABLE)


class _Once:
    """Many records of a batch often share one error object: it is looked at once."""

    def __init__(self, of: Callable[[RowError], RowError]) -> None:
        self._of = of
        self._known: dict[int, RowError] = {}

    def __call__(self, error: RowError) -> RowError:
        found = self._known.get(id(error))
        if found is None:
            found = self._known[id(error)] = self._of(error)
        return found


def _fate(outcome: RecordOutcome, said: RowError) -> RecordOutcome:
    if said is outcome.error:
        return outcome
    return replace(outcome, state=RecordState.REJECTED if said.permanent else RecordState.RETRYABLE, error=said)


def _all(result: BatchResult, said: RowError, signal: Signal) -> BatchResult:
    """The answer speaks of the connection or of the moment."""
    stopped = signal is Signal.AUTH
    outcome = NOT_ATTEMPTED if stopped else RecordOutcome(RecordState.RETRYABLE, said)
    return replace(result, outcomes=[outcome] * len(result.outcomes), signal=signal, error=said, suspects=())


class _RuledWithObjects(RuledDestination):
    def objects(self) -> list[str] | None:
        names: list[str] | None = self._inner.objects()  # type: ignore[attr-defined]
        return names


def ruled(destination: Destination, rules: Sequence[Rule]) -> Destination:
    """The destination itself where there are no rules."""
    if not rules:
        return destination
    wrapper = _RuledWithObjects if isinstance(destination, ListsObjects) else RuledDestination
    return wrapper(destination, rules)


def compile_rules(rules: Iterable[Callable[[], Rule]]) -> list[Rule]:
    """Those that can be read, in their order. One that cannot is passed over with a line in the log: it stops no run."""
    found = []
    for make in rules:
        try:
            found.append(make())
        except (ExpressionError, ValueError, TypeError) as problem:
            logger.warning("An error rule is passed over: %s", problem)
    return found
