"""In-memory ends for the engine: they keep what happened; tests assert the end state, never the calls made to get there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from syncs.choices import STEP_OPEN, StepKind, StepStatus
from syncs.destinations.base import Capabilities, WithoutJobs
from syncs.engine.pipeline import Ending, Pipeline
from syncs.engine.plan import Plan
from syncs.engine.ports import Commit, Flag, LedgerRow, Rejected, Send, StepUpdate
from syncs.errors import ErrorType, FenceLostError
from syncs.records import WRITTEN, Batch, BatchResult, Exchange, Operation, RecordOutcome, RecordState, RowError, Signal


class FakeClock:
    """Time passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.time)

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.time += seconds


class MemoryRows:
    def __init__(self, columns: Sequence[str], rows: Sequence[tuple], *, chunk: int = 7) -> None:
        self.columns = tuple(columns)
        self._rows = list(rows)
        self._chunk = chunk

    def __iter__(self) -> Iterator[list[tuple]]:
        for start in range(0, len(self._rows), self._chunk):
            yield self._rows[start : start + self._chunk]


@dataclass
class Store:
    """Ledger, steps and dead letters of one sync, across runs."""

    ledger: dict[str, LedgerRow] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    steps: dict[int, StepUpdate] = field(default_factory=dict)
    dead: dict[str, Rejected] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)


class MemoryLedger:
    def __init__(self, store: Store, run_id: int) -> None:
        self._store, self._run_id = store, run_id

    def is_empty(self) -> bool:
        return not self._store.ledger

    def lookup(self, keys: Sequence[str]) -> dict[str, LedgerRow]:
        return {key: self._store.ledger[key] for key in keys if key in self._store.ledger}

    def mark_seen(self, keys: Sequence[str]) -> None:
        self._store.seen.update(dict.fromkeys(keys, self._run_id))

    def _gone(self) -> list[str]:
        known = [key for key, row in self._store.ledger.items() if row.payload_hash is not None]
        return sorted(key for key in known if self._store.seen.get(key) != self._run_id)

    def count_vanished(self) -> tuple[int, int]:
        return len(self._gone()), sum(row.payload_hash is not None for row in self._store.ledger.values())

    def vanished(self) -> Iterator[list[tuple[str, int | None]]]:
        gone = self._gone()
        if gone:
            rows = self._store.ledger
            yield [(key, rows[key].held_hash if rows[key].is_hold_permanent else None) for key in gone]


class MemoryRecorder:
    """Commits into the store. ``die_after``: raise ``FenceLostError`` at the commit after so many, as a killed worker would."""

    def __init__(
        self, store: Store, run_id: int, *, mirror: bool = False, die_after: int | None = None, reads_all: bool = True
    ) -> None:
        self._store, self._run_id, self._mirror, self._left = store, run_id, mirror, die_after
        self._reads_all = reads_all

    def next_step_number(self) -> int:
        return max(self._store.steps, default=0) + 1

    def adopt_interrupted(self) -> list[Send]:
        old = [step for step in self._store.steps.values() if step.kind is StepKind.UPLOAD and step.sends]
        sends = [send for step in old if step.status in STEP_OPEN for send in step.sends]
        for step in old:
            if step.status in STEP_OPEN:
                step.status, step.sends = StepStatus.INTERRUPTED, []
        for send in sends:
            send.step_number = self.next_step_number()
            send.crash_count += send.is_under_way
            moment = datetime(2026, 1, 1, tzinfo=UTC)
            status = StepStatus.CONFIRMING if send.job else StepStatus.INFLIGHT
            send.started_at = moment if send.job else None
            send.is_read_again = self._reads_all
            step = StepUpdate(send.step_number, StepKind.UPLOAD, status, moment, sends=[send])
            self._store.steps[send.step_number] = step
        return sends

    def close(self) -> None:
        pass

    def commit(self, commit: Commit) -> None:
        if self._left is not None:
            if self._left <= 0:
                raise FenceLostError("gone")
            self._left -= 1
        store = self._store
        store.commits.append(commit)
        for step in commit.steps:
            old = store.steps.get(step.number)
            step.attempts = (old.attempts if old else []) + step.attempts
            store.steps[step.number] = step
        for record in commit.accepted:
            store.dead.pop(record.key, None)
            store.seen[record.key] = self._run_id
            if self._mirror and record.operation is Operation.DELETE:
                store.ledger.pop(record.key, None)
            else:
                store.ledger[record.key] = LedgerRow(record.payload_hash, None, False, self._run_id)
        for item in commit.rejected:
            store.dead[item.key] = item
            store.seen[item.key] = self._run_id
            old_row = store.ledger.get(item.key)
            accepted = old_row.payload_hash if old_row else None
            store.ledger[item.key] = LedgerRow(accepted, item.content_hash, item.error.permanent, self._run_id)
        for key in commit.resolved_unchanged:
            store.dead.pop(key, None)
            row = store.ledger[key]
            store.ledger[key] = LedgerRow(row.payload_hash, None, False, row.run_id)


class FakeControl:
    def __init__(self, *, stop_after: int | None = None, flag: Flag = Flag.CANCEL) -> None:
        self._left, self._flag = stop_after, flag

    def flag(self) -> Flag:
        if self._left is None:
            return Flag.GO
        self._left -= 1
        return self._flag if self._left < 0 else Flag.GO

    def lease_seconds_left(self) -> float:
        return 30.0

    def concurrency_share(self) -> int | None:
        return None


class EachRow:
    """A mapping given as a function of one row."""

    def __init__(self, map_row: Callable) -> None:
        self.many = lambda rows: [map_row(row) for row in rows]


class Free:
    def take(self, wanted: int) -> tuple[int, float]:
        return wanted, 0.0


class FakeDestination(WithoutJobs):
    """Keeps what it accepted. ``behave(batch)`` may return a result instead; ``bad`` maps row keys to their error."""

    def __init__(
        self,
        *,
        bad: dict[str, RowError] | None = None,
        behave: Callable[[Batch], BatchResult | None] | None = None,
        atomic: bool = False,
    ) -> None:
        operations = frozenset(Operation)
        self.capabilities = Capabilities(operations, operations - {Operation.INSERT})
        self.bad = bad or {}
        self.behave = behave
        self.atomic = atomic
        self.rows: dict[str, dict] = {}
        self.receipts: list[tuple[str, str, bytes]] = []  # row key, idempotency key, body
        self.calls: list[list[str]] = []
        self.lock = threading.Lock()

    def write(self, batch: Batch) -> BatchResult:
        with self.lock:
            self.calls.append([record.key for record in batch.records])
            result = self.behave(batch) if self.behave else None
            return result if result is not None else self.take(batch)

    def take(self, batch: Batch) -> BatchResult:
        bad = [record.key for record in batch.records if record.key in self.bad]
        if bad and self.atomic:
            error = self.bad[bad[0]]
            if len(batch.records) == 1:
                return BatchResult([RecordOutcome(RecordState.REJECTED, error)])
            outcomes = [RecordOutcome(RecordState.NOT_ATTEMPTED)] * len(batch.records)
            return BatchResult(outcomes, Signal.REFUSED, error)
        outcomes = []
        for record in batch.records:
            if record.key in self.bad:
                outcomes.append(RecordOutcome(RecordState.REJECTED, self.bad[record.key]))
                continue
            self.receipts.append((record.key, batch.idempotency_key, record.body))
            if batch.operation is Operation.DELETE:
                self.rows.pop(record.key, None)
            else:
                self.rows[record.key] = record.payload
            outcomes.append(WRITTEN)
        return BatchResult(outcomes, exchange=Exchange(http_status=200))


def invalid(text: str = "bad value") -> RowError:
    return RowError(ErrorType.VALIDATION, text, code="invalid")


def no_answer(status: int | None = 503, signal: Signal = Signal.UNAVAILABLE, retry_after: float | None = None) -> BatchResult:
    error = RowError(ErrorType.DESTINATION_UNAVAILABLE, f"HTTP {status}", http_status=status)
    return BatchResult([], signal, error, retry_after, Exchange(http_status=status))


def run_engine(
    rows: MemoryRows,
    destination: FakeDestination,
    store: Store,
    *,
    run_id: int = 1,
    clock: FakeClock | None = None,
    control: FakeControl | None = None,
    die_after: int | None = None,
    mapper: Callable | None = None,
    reads_all: bool = True,
    **plan: object,
) -> Ending:
    settings: dict = {
        "key_columns": ("id",),
        "batch_records": 10,
        "concurrency": 2,
        "idempotent": destination.capabilities.idempotent,
    }
    settings |= plan
    chosen = Plan(run_id=run_id, sync_id=1, **settings)
    columns = rows.columns
    return Pipeline(
        plan=chosen,
        rows=rows,
        mapper=EachRow(mapper or (lambda row: dict(zip(columns, row, strict=True)))),
        destination=destination,
        ledger=MemoryLedger(store, run_id),
        recorder=MemoryRecorder(store, run_id, mirror=chosen.mode == "mirror", die_after=die_after, reads_all=reads_all),
        control=control or FakeControl(),
        budget=Free(),
        clock=clock or FakeClock(),
        random=lambda: 0.5,
    ).run()
