"""What a run notes of single calls and rows, beside the flow of its loop."""

from __future__ import annotations

from syncs.engine.calls import Answer
from syncs.engine.outcomes import Settlement
from syncs.engine.ports import Attempt, Rejected
from syncs.engine.sending import Sending
from syncs.errors import ConfigError, CredentialsError, ErrorType, RedriveError
from syncs.records import BatchResult, Record, RowError, Signal


def drop(sending: Sending) -> None:
    """Not sent again by this run. A call that may have landed stays recorded as in flight: the next run repeats it."""
    sending.step.is_stopped = True
    if not sending.may_have_landed and sending in sending.step.sendings:
        sending.step.sendings.remove(sending)


def too_large(record: Record, most: int) -> Rejected:
    text = f"The row's payload has {len(record.body):,} bytes; the destination takes {most:,} in one record."
    error = RowError(ErrorType.TOO_LARGE, text, code="record_bytes")
    return Rejected(record.key, record.row, error, record.payload_hash, record, record.operation, attempts=0)


def note_attempt(answer: Answer, result: BatchResult, settlement: Settlement | None, *, wait: float = 0.0) -> None:
    exchange, step = result.exchange, answer.sending.step
    if settlement:
        wait = max((seconds for _, seconds in settlement.again), default=0.0)
    step.new_attempts.append(
        Attempt(
            number=step.call_count,
            started_at=answer.started_at,
            milliseconds=round(exchange.milliseconds, 1),
            row_count=len(answer.sending.records),
            http_status=exchange.http_status,
            request_id=exchange.request_id,
            idempotency_key=answer.sending.idempotency_key,
            signal=result.signal.value,
            request=exchange.request,
            excerpt=exchange.excerpt,
            message=result.error.message if result.error else "",
            wait_seconds=round(wait, 1) if wait else None,
        )
    )


def failure_of(result: BatchResult) -> RedriveError:
    """What stops the run when the connection or the set-up is at fault."""
    message = result.error.message if result.error else "The destination refused the call."
    code = result.error.code if result.error else ""
    if result.signal is Signal.AUTH:
        return CredentialsError(message, code=code)
    return ConfigError(message, code=code, error_type=result.error.type if result.error else None)
