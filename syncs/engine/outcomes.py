"""What an answer means: which records are accepted, which are refused for good, which go out again and when. Pure decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from syncs.engine.plan import Plan
from syncs.engine.ports import Rejected
from syncs.engine.sending import Sending, new_sending
from syncs.errors import ErrorType
from syncs.records import WRITTEN, BatchResult, Operation, Record, RecordOutcome, RecordState, RowError, Signal

# Once more than this share of a batch has turned out bad, singles cost fewer calls than halving on.
# Measured on an all-or-nothing batch of 100: 1 bad = 15 calls, 3 = 33, 10 = 83 by halving.
SINGLES_SHARE = 0.1


@dataclass(slots=True)
class Settlement:
    """``again``: (sending, seconds to wait). ``parked``: out of tries while nothing else succeeds; the breaker counts it."""

    accepted: list[Record] = field(default_factory=list)
    created_count: int = 0
    updated_count: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    again: list[tuple[Sending, float]] = field(default_factory=list)
    parked: Sending | None = None
    is_answer: bool = True  # the destination dealt with the batch; False for rate limits, outages and lost answers


class Judge:
    """Reads one answer. ``has_succeeded_since(t)``: whether any batch was dealt with after the monotonic time ``t``."""

    def __init__(self, plan: Plan, *, random: Callable[[], float], has_succeeded_since: Callable[[float], bool]) -> None:
        self._plan = plan
        self._random = random
        self._has_succeeded_since = has_succeeded_since

    def read(self, sending: Sending, result: BatchResult) -> BatchResult:
        """The answer as it must be taken: one that leaves every record open speaks of the batch, whatever its status says."""
        outcomes = result.outcomes
        if result.signal is not Signal.OK:
            return result
        if len(outcomes) != len(sending.records):
            return self._unaccounted(sending, result)
        if all(outcome.state is RecordState.UNKNOWN for outcome in outcomes):
            return replace(result, signal=Signal.UNKNOWN, error=result.error or outcomes[0].error)
        if all(_is_limited(outcome) for outcome in outcomes):
            return replace(result, signal=Signal.RATE_LIMITED, error=result.error or outcomes[0].error)
        return result

    def settle(self, sending: Sending, result: BatchResult, *, now: float) -> Settlement:
        """``result``: as ``read`` gave it."""
        settlement = Settlement()
        if result.signal is Signal.OK:
            self._settle_records(sending, result, settlement, now)
        elif result.signal is Signal.REFUSED:
            self._split(sending, result, settlement)
        elif result.signal is Signal.RATE_LIMITED:
            settlement.is_answer = False
            settlement.again.append((sending, result.retry_after or 0.0))
        else:
            settlement.is_answer = False
            self._settle_failed(sending, result, settlement, now)
        return settlement

    def _unaccounted(self, sending: Sending, result: BatchResult) -> BatchResult:
        text = f"The answer accounts for {len(result.outcomes)} of {len(sending.records)} records."
        error = RowError(ErrorType.UNKNOWN_OUTCOME, text, code="unaccounted", excerpt=result.exchange.excerpt)
        return BatchResult([], Signal.UNKNOWN, error, exchange=result.exchange)

    # -- the answer names records

    def _settle_records(self, sending: Sending, result: BatchResult, settlement: Settlement, now: float) -> None:
        if all(outcome is WRITTEN for outcome in result.outcomes):  # the usual case, without a look at each record
            settlement.accepted.extend(sending.records)
            return
        retry: list[Record] = []
        again: list[Record] = []
        unknown: list[Record] = []
        error: RowError | None = None
        for record, outcome in zip(sending.records, result.outcomes, strict=True):
            state = outcome.state
            if state is RecordState.WRITTEN:
                settlement.accepted.append(record)
                if outcome.detail == "created":
                    settlement.created_count += 1
                elif outcome.detail == "updated":
                    settlement.updated_count += 1
            elif state is RecordState.NOT_ATTEMPTED:
                again.append(record)
            elif state is RecordState.UNKNOWN:
                unknown.append(record)
                error = error or outcome.error
            elif state is RecordState.REJECTED and outcome.error and outcome.error.permanent:
                self._reject(sending, record, outcome.error, result, settlement)
            else:
                self._retry_or_reject(sending, record, outcome.error or _no_reason(), result, settlement, retry, now)
        sending.step.bad_count += len(settlement.rejected)
        self._send_rest(sending, result, settlement, retry=retry, again=again, now=now)
        if unknown:
            self._settle_unknown(sending, unknown, error, result, settlement, now)

    def _send_rest(
        self,
        sending: Sending,
        result: BatchResult,
        settlement: Settlement,
        *,
        retry: list[Record],
        again: list[Record],
        now: float,
    ) -> None:
        if again and len(again) == len(sending.records):  # nobody was at fault: only splitting can find out
            self._split(sending, result, settlement)
            return
        if again:
            settlement.again.append((new_sending(self._plan, sending.step, again), 0.0))
        if retry:
            part = new_sending(self._plan, sending.step, retry, parent=sending)
            self._failed_once_more(part, now)
            wait = self._plan.retry.wait(part.tries, random=self._random, retry_after=result.retry_after)
            settlement.again.append((part, wait))

    def _retry_or_reject(
        self,
        sending: Sending,
        record: Record,
        error: RowError,
        result: BatchResult,
        settlement: Settlement,
        retry: list[Record],
        now: float,
    ) -> None:
        failing = now - sending.first_failed_at if sending.first_failed_at is not None else 0.0
        is_limited = error.type is ErrorType.RATE_LIMITED  # never a row's own fault, however often it comes
        if not is_limited and self._plan.retry.is_exhausted(sending.tries + 1, seconds_failing=failing):
            self._reject(sending, record, error, result, settlement)
        else:
            retry.append(record)

    def _settle_unknown(
        self,
        sending: Sending,
        records: list[Record],
        error: RowError | None,
        result: BatchResult,
        settlement: Settlement,
        now: float,
    ) -> None:
        """Some of the batch: send them again where that does no harm, else a person must look. Apart from their batch they
        go under a new key, which protects no insert."""
        error = error or result.error or _no_reason()
        if sending.operation is Operation.INSERT or sending.operation not in self._plan.idempotent:
            self._reject_all(sending, records, _as_unknown(error), result, settlement)
            return
        part = new_sending(self._plan, sending.step, records, parent=sending)
        part.may_have_landed = True
        self._failed_once_more(part, now)
        if self._is_exhausted(part, now):
            sending.step.sendings.remove(part)
            self._reject_all(sending, records, error, result, settlement)
        else:
            settlement.again.append((part, self._plan.retry.wait(part.tries, random=self._random)))

    # -- the answer says nothing of single records

    def _split(self, sending: Sending, result: BatchResult, settlement: Settlement) -> None:
        records = sending.records
        if len(records) == 1:
            self._reject(sending, records[0], result.error or _no_reason(), result, settlement)
            sending.step.bad_count += 1
            return
        suspects = set(result.suspects)
        if 0 < len(suspects) < len(records):
            parts = [[record] for index, record in enumerate(records) if index in suspects]
            parts.append([record for index, record in enumerate(records) if index not in suspects])
        elif sending.step.bad_count > SINGLES_SHARE * sending.step.row_count:
            parts = [[record] for record in records]
        else:
            middle = len(records) // 2
            parts = [records[:middle], records[middle:]]
        for part in parts:
            settlement.again.append((new_sending(self._plan, sending.step, part), 0.0))

    def _settle_failed(self, sending: Sending, result: BatchResult, settlement: Settlement, now: float) -> None:
        """Outage or lost answer: wait and repeat the same call. Out of tries: split if others get through, else park."""
        error = result.error or _no_reason()
        if result.signal is Signal.UNKNOWN:
            sending.may_have_landed = True
            if sending.operation not in self._plan.idempotent:
                self._reject_all(sending, sending.records, _as_unknown(error), result, settlement)
                return
        self._failed_once_more(sending, now)
        if not self._is_exhausted(sending, now):
            wait = self._plan.retry.wait(sending.tries, random=self._random, retry_after=result.retry_after)
            settlement.again.append((sending, wait))
        elif sending.first_failed_at is not None and self._has_succeeded_since(sending.first_failed_at):
            self._halve_or_reject(sending, error, result, settlement)
        else:
            settlement.parked = sending

    def give_up(self, sending: Sending, result: BatchResult) -> Settlement:
        """Others get through, this batch does not: one row of it may be the cause. Halve; a single row is dead-lettered."""
        settlement = Settlement(is_answer=False)
        self._halve_or_reject(sending, result.error or _no_reason(), result, settlement)
        return settlement

    def _halve_or_reject(self, sending: Sending, error: RowError, result: BatchResult, settlement: Settlement) -> None:
        if len(sending.records) == 1:
            self._reject_all(sending, sending.records, error, result, settlement, attempts=sending.tries)
            return
        if sending.may_have_landed and sending.operation is Operation.INSERT:  # its parts would go under new keys
            self._reject_all(sending, sending.records, _as_unknown(error), result, settlement, attempts=sending.tries)
            return
        middle = len(sending.records) // 2
        for part in (sending.records[:middle], sending.records[middle:]):
            half = new_sending(self._plan, sending.step, part, parent=sending)
            half.tries = max(0, self._plan.retry.max_attempts - 2)
            half.first_failed_at = None
            half.may_have_landed = sending.may_have_landed
            settlement.again.append((half, 0.0))

    # -- small change

    def _failed_once_more(self, sending: Sending, now: float) -> None:
        sending.tries += 1
        if sending.first_failed_at is None:
            sending.first_failed_at = now

    def _is_exhausted(self, sending: Sending, now: float) -> bool:
        failing = now - sending.first_failed_at if sending.first_failed_at is not None else 0.0
        return self._plan.retry.is_exhausted(sending.tries, seconds_failing=failing)

    def _reject_all(
        self,
        sending: Sending,
        records: list[Record],
        error: RowError,
        result: BatchResult,
        settlement: Settlement,
        *,
        attempts: int | None = None,
    ) -> None:
        for record in records:
            self._reject(sending, record, error, result, settlement, attempts=attempts)

    def _reject(
        self,
        sending: Sending,
        record: Record,
        error: RowError,
        result: BatchResult,
        settlement: Settlement,
        *,
        attempts: int | None = None,
    ) -> None:
        """``attempts``: calls that carried the record; by default the failed ones before this answer, and this one."""
        settlement.rejected.append(
            Rejected(
                key=record.key,
                row=record.row,
                error=error,
                content_hash=record.payload_hash,
                record=record,
                operation=record.operation,
                attempts=sending.tries + 1 if attempts is None else attempts,
                step_number=sending.step.number,
                request_id=result.exchange.request_id,
            )
        )


def _is_limited(outcome: RecordOutcome) -> bool:
    error = outcome.error
    return outcome.state is RecordState.RETRYABLE and error is not None and error.type is ErrorType.RATE_LIMITED


def _no_reason() -> RowError:
    return RowError(ErrorType.UNKNOWN, "The destination gave no reason.")


def _as_unknown(error: RowError) -> RowError:
    message = f"Nobody can say whether the row was written: {error.message}"
    return RowError(ErrorType.UNKNOWN_OUTCOME, message, code=error.code, http_status=error.http_status, excerpt=error.excerpt)
