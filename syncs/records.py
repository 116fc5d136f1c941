"""What flows through a run: rows, records, and the outcome of each. Plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from syncs.errors import ErrorType

RowValues = tuple[Any, ...]  # one warehouse row, in the order of the stream's columns


class Operation(StrEnum):
    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"


@dataclass(slots=True)
class Record:
    """A mapped row, ready to send.

    ``key``: the row key, at most 255 characters. ``payload``: nested dict, JSON types plus ``Decimal`` (sent as an exact JSON
    number). ``body``: the payload as canonical JSON (sorted keys, UTF-8). ``payload_hash``: signed 64-bit hash of ``body``.
    ``row``: the values as read, for the dead letter. ``had_entry``: the ledger says a dead letter of this key may be live.
    ``in_ledger``: False where the ledger was seen to have no row for the key; it decides how the ledger is written, never what.
    ``sent_hash``: hash of ``body`` where ``payload_hash`` is that of other content: a payload corrected by hand.
    """

    key: str
    operation: Operation
    payload: dict[str, Any]
    body: bytes
    payload_hash: int
    row: RowValues = ()
    had_entry: bool = False
    in_ledger: bool = True
    sent_hash: int | None = None


class RecordState(StrEnum):
    """The five outcomes a destination may give one record.

    ``not_attempted``: refused for a batch-mate's fault; sent again, never dead-lettered. ``unknown``: nobody can say whether it
    was written (timeout after sending, accepted-only answer, missing from the answer).
    """

    WRITTEN = "written"
    REJECTED = "rejected"
    RETRYABLE = "retryable"
    NOT_ATTEMPTED = "not_attempted"
    UNKNOWN = "unknown"


@dataclass(slots=True, frozen=True)
class Ruled:
    """An error rule decided. ``type``, ``is_permanent``: what the destination's own module had made of the answer."""

    rule_id: int
    type: ErrorType
    is_permanent: bool


@dataclass(slots=True, frozen=True)
class RowError:
    """Why one row was refused. ``message`` and ``excerpt`` are redacted and capped by whoever makes them."""

    type: ErrorType
    message: str
    code: str = ""
    field: str = ""
    http_status: int | None = None
    excerpt: str = ""
    is_permanent: bool | None = None  # None: as the error type says
    ruled: Ruled | None = None  # None: no error rule had a say

    @property
    def permanent(self) -> bool:
        return self.type.info.is_permanent if self.is_permanent is None else self.is_permanent


@dataclass(slots=True, frozen=True)
class RecordOutcome:
    state: RecordState
    error: RowError | None = None
    detail: str = ""  # created, updated, unchanged, deleted where the destination says so
    destination_id: str = ""


WRITTEN = RecordOutcome(RecordState.WRITTEN)
NOT_ATTEMPTED = RecordOutcome(RecordState.NOT_ATTEMPTED)


class Signal(StrEnum):
    """What the answer says of the batch as a whole, beside the outcome of each record.

    ``ok``: read the outcomes. ``refused``: all or nothing, no hint which record; halve. ``rate_limited``, ``unavailable`` (5xx,
    connect errors), ``unknown`` (lost answer): never halve at once, wait and send again. ``auth``, ``config``: the connection
    or the sync is at fault, stop the run, dead-letter nothing. ``confirming``: the batch was taken in as a job; nothing is
    known of any record yet.
    """

    OK = "ok"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    AUTH = "auth"
    CONFIG = "config"
    CONFIRMING = "confirming"


@dataclass(slots=True, frozen=True)
class Exchange:
    """One call as evidence for the step: everything here is redacted and capped before it is built."""

    http_status: int | None = None
    request_id: str = ""
    milliseconds: float = 0.0
    excerpt: str = ""
    request: str = ""  # "POST https://host/path", secrets in the query masked
    bytes_sent: int = 0


@dataclass(slots=True, frozen=True)
class Job:
    """A batch that the destination works on by itself. ``id``: its own name for the job. ``data``: JSON of what else is needed
    to ask for its end, at most a few hundred bytes, without secrets. ``started_at``: seconds since the epoch. A job that still
    works after ``at_most_seconds`` counts as lost."""

    id: str
    started_at: float
    data: Mapping[str, Any] = field(default_factory=dict)
    at_most_seconds: float = 86_400.0


@dataclass(slots=True)
class Batch:
    """What one call carries. ``idempotency_key`` is derived from sync, operation, row keys and content (hex)."""

    operation: Operation
    records: Sequence[Record]
    idempotency_key: str
    attempt: int = 1


@dataclass(slots=True)
class BatchResult:
    """Exactly one outcome for each record of the batch, in the batch's order; the engine checks the length.

    ``error`` explains a signal other than ``ok``. ``retry_after``: seconds the destination asked to wait.
    ``suspects``: positions the refused batch's error text points at; the engine tries those alone first. ``job``: with the
    signal ``confirming``, and then ``outcomes`` is empty and ``retry_after`` says when asking is worth it.
    """

    outcomes: Sequence[RecordOutcome]
    signal: Signal = Signal.OK
    error: RowError | None = None
    retry_after: float | None = None
    exchange: Exchange = field(default_factory=Exchange)
    suspects: tuple[int, ...] = ()
    job: Job | None = None
