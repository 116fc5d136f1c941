"""What the engine needs from outside. The Django side implements these; tests implement them in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from syncs.choices import StepKind, StepStatus
from syncs.records import Job, Operation, Record, RowError, RowValues


class Clock(Protocol):
    def monotonic(self) -> float: ...

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


@dataclass(slots=True, frozen=True)
class LedgerRow:
    """What the ledger holds for one row key.

    ``payload_hash``: content last accepted, None if never. ``held_hash``: content that waits in the DLQ (or was discarded),
    None if none; ``is_hold_permanent``: False for a transient failure, which the next run tries again. ``run_id``: the run
    that last wrote this ledger row.
    """

    payload_hash: int | None
    held_hash: int | None
    is_hold_permanent: bool
    run_id: int


class Ledger(Protocol):
    def is_empty(self) -> bool:
        """True when nothing was ever recorded for the sync: the engine then skips look-ups for the whole run."""
        ...

    def lookup(self, keys: Sequence[str]) -> Mapping[str, LedgerRow]:
        """One set-based read. Keys without a ledger row are absent."""
        ...

    def mark_seen(self, keys: Sequence[str]) -> None:
        """The warehouse still has these keys in this run (mirror mode; and rows without a usable key). Committed at once."""
        ...

    def count_vanished(self) -> tuple[int, int]:
        """Mirror mode, after a complete read: (accepted keys that were not seen in this run, accepted keys in all)."""
        ...

    def vanished(self) -> Iterator[list[tuple[str, int | None]]]:
        """Those keys in chunks, each with the hash that is held back for good (None if none)."""
        ...


@dataclass(slots=True)
class Rejected:
    """A row on its way to the DLQ. ``record`` is None where mapping or key failed and nothing could be sent.

    ``content_hash`` is what the ledger holds back: the payload's hash, or the raw row's where there is no payload.
    """

    key: str
    row: RowValues
    error: RowError
    content_hash: int
    record: Record | None = None
    operation: Operation = Operation.UPSERT
    attempts: int = 1
    step_number: int | None = None
    request_id: str = ""
    is_synthetic: bool = False  # the key was made from the content, because the row's own is NULL or doubled


@dataclass(slots=True)
class Send:
    """Intent, recorded by T1 before the call: which rows go out, under which key, for the how-manieth time.

    ``job``: the destination took the call in and has yet to say how it ended; ``records`` are kept with it, because the answer
    speaks of the content as sent. ``is_read_again``: this run reads the rows again, if the warehouse still has them.
    """

    step_number: int
    operation: Operation
    keys: list[str]
    idempotency_key: str
    attempt: int
    crash_count: int = 0
    is_under_way: bool = True  # False: a part of the batch whose own call has not begun
    may_have_landed: bool = True  # False: certainly not written
    job: Job | None = None
    records: Sequence[Record] = ()  # with a job only
    started_at: datetime | None = None  # with a job only: of its step
    is_read_again: bool = True


@dataclass(slots=True)
class Attempt:
    """One call of a step, as shown on the run page."""

    number: int
    started_at: datetime
    milliseconds: float
    row_count: int
    http_status: int | None
    request_id: str
    idempotency_key: str
    signal: str
    request: str = ""
    excerpt: str = ""
    message: str = ""
    wait_seconds: float | None = None


@dataclass(slots=True)
class StepUpdate:
    """New or changed step. ``attempts`` holds only what is new since the last update. ``sends``: what is in flight after it."""

    number: int
    kind: StepKind
    status: StepStatus
    started_at: datetime
    finished_at: datetime | None = None
    row_count: int = 0
    accepted_count: int = 0
    dead_lettered_count: int = 0
    message: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    is_new: bool = False
    has_jobs: bool = False  # among the sends


@dataclass(slots=True)
class Counts:
    """read + vanished = accepted + unchanged + skipped + dead_lettered + pending, once a run has ended."""

    read: int = 0
    vanished: int = 0
    accepted: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    skipped: int = 0
    dead_lettered: int = 0
    requests: int = 0
    retries: int = 0
    bytes_sent: int = 0

    @property
    def settled(self) -> int:
        return self.accepted + self.unchanged + self.skipped + self.dead_lettered

    @property
    def pending(self) -> int:
        return self.read + self.vanished - self.settled


@dataclass(slots=True)
class Commit:
    """One transaction: results of finished calls (T2) and intents of the next ones (T1), or either alone.

    ``accepted``: records written at the destination (a delete removes the ledger row). ``resolved_unchanged``: keys whose dead
    letter is moot, because what is accepted already equals the warehouse row. ``counts``: totals of the run so far.
    ``progressed`` False: a crash after it is one more crash without progress.
    """

    accepted: list[Record] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    resolved_unchanged: list[str] = field(default_factory=list)
    steps: list[StepUpdate] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    progressed: bool = True

    def __bool__(self) -> bool:
        return bool(self.accepted or self.rejected or self.resolved_unchanged or self.steps)


class Recorder(Protocol):
    def commit(self, commit: Commit) -> None:
        """Write it all or nothing. Raises ``FenceLostError`` when another worker owns the run."""
        ...

    def adopt_interrupted(self) -> list[Send]:
        """What was in flight, with its answer never recorded, when an earlier worker of this run (or an earlier run of this
        sync) stopped. Each becomes a step of this run in one transaction; ``crash_count`` includes the last crash. Jobs of
        earlier runs are taken over by every run, lost calls only by one that reads all rows again."""
        ...

    def next_step_number(self) -> int: ...

    def close(self) -> None:
        """No commit follows. Called from the thread that committed, so that it can give back what it held."""
        ...


class RejectedRowSink(Protocol):
    """Where refused rows go. Called inside the recorder's transaction; must not commit by itself."""

    def store(self, rejected: Sequence[Rejected], *, columns: Sequence[str]) -> None:
        """Insert or refresh one live entry per row key, and the counts of its error group."""
        ...

    def resolve(self, keys: Sequence[str]) -> None:
        """These keys were accepted: close their live entries, naming the run."""
        ...

    def transient_keys(self) -> Iterator[list[str]]:
        """Keys of live entries whose error was transient: watermark runs read them again beside what is new."""
        ...

    def summary(self) -> list[dict[str, Any]]:
        """What this run dead-lettered, by cause: {type, code, field, title, message, count}, most first."""
        ...

    def finish(self, *, is_complete: bool) -> None:
        """The run ended (in the finishing transaction). Put back entries that wait for this run; where every row was read,
        close invalid-key entries that did not come back."""
        ...


@dataclass(slots=True, frozen=True)
class Ready:
    """A row that goes out as it is, without being read and mapped.

    ``body``: the payload as JSON text, sent byte for byte; "" deletes the row by its key. ``content_hash``: what the ledger is
    credited with, or holds back: the hash of the payload that the warehouse row gave, whatever was corrected in it since.
    """

    key: str
    operation: Operation
    body: str
    content_hash: int


class ReprocessSelection(Protocol):
    """The rows of a reprocess run. ``reads_warehouse``: False when all of them are ready as they are."""

    reads_warehouse: bool

    def chunks(self) -> Iterator[list[str]]:
        """Row keys to read again from the warehouse."""
        ...

    def stored(self) -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
        """(row key, stored warehouse row) for entries that are to be sent as stored."""
        ...

    def ready(self) -> Iterator[list[Ready]]:
        """Payloads that are sent exactly as they are."""
        ...

    def deletes(self) -> Iterator[list[str]]:
        """Row keys to delete at the destination, those that the warehouse still does not have."""
        ...

    def gone(self, keys: Sequence[str]) -> None:
        """The warehouse has no row for these keys any more."""
        ...

    def back(self, keys: Sequence[str]) -> None:
        """Keys that were to be deleted, but the warehouse has their rows again."""
        ...


class Flag(StrEnum):
    """Why a run should stop between batches."""

    GO = "go"
    CANCEL = "cancel"
    PAUSE = "pause"
    DRAIN = "drain"


class Control(Protocol):
    def flag(self) -> Flag:
        """Cheap: read by the lease thread every few seconds. Raises ``FenceLostError`` once the lease is lost."""
        ...

    def lease_seconds_left(self) -> float: ...

    def concurrency_share(self) -> int | None:
        """How many calls at once this run may make while others share the connection; None = as the connection says."""
        ...


class Budget(Protocol):
    """The request budget of the connection, shared by every run that uses it."""

    def take(self, wanted: int) -> tuple[int, float]:
        """Reserve up to ``wanted`` calls. Returns (granted, seconds until more may be granted)."""
        ...


class Rows(Protocol):
    """What the engine reads: the warehouse stream, or the rows of a reprocess."""

    columns: tuple[str, ...]

    def __iter__(self) -> Iterator[list[RowValues]]: ...


class Mapper(Protocol):
    """A compiled mapping: a payload or the reason why there is none, for each row. It never raises for a row."""

    def many(self, rows: Sequence[RowValues]) -> Sequence[dict[str, Any] | RowError]: ...


def chunked(items: Iterable[str], size: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    for item in items:
        chunk.append(item)
        if len(chunk) >= size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
