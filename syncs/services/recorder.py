"""The recorder: one transaction per commit of the engine, guarded by the fence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, reset_queries, transaction
from django.db.models import F, Max
from django.utils import timezone

from syncs.choices import STEP_OPEN, RunStatus
from syncs.engine.ports import Attempt, Clock, Commit, Control, Counts, RejectedRowSink, Send, StepUpdate
from syncs.errors import FenceLostError
from syncs.models import Run, Step
from syncs.records import Operation
from syncs.services import adoption
from syncs.services.adoption import send_data
from syncs.services.counting import count_columns
from syncs.services.job_batches import JobBatches
from syncs.services.ledger import DatabaseLedger

log = logging.getLogger(__name__)

_STEP_COLUMNS = (
    "run_id", "number", "kind", "status", "started_at", "finished_at", "row_count", "accepted_count", "dead_lettered_count",
    "attempts", "sends", "message",
)  # fmt: skip
_UPSERT_STEP = (
    f"INSERT INTO syncs_step ({', '.join(_STEP_COLUMNS)}) VALUES ({', '.join(['%s'] * len(_STEP_COLUMNS))}) "
    "ON CONFLICT (run_id, number) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _STEP_COLUMNS[2:])
)


class DatabaseRecorder:
    """``engine.ports.Recorder``. Everything it writes may be written twice without harm (totals, not increments; upserts), so
    that a commit whose answer was lost is simply repeated."""

    def __init__(
        self,
        *,
        run_id: int,
        sync_id: int,
        fence: int,
        forgets_deleted: bool,
        columns: Sequence[str],
        ledger: DatabaseLedger,
        sink: RejectedRowSink,
        control: Control,
        clock: Clock,
        adopts_earlier_runs: bool,
    ) -> None:
        self._run_id = run_id
        self._sync_id = sync_id
        self._fence = fence
        self._forgets_deleted = forgets_deleted  # of rows that left the warehouse; False: deleting is what the sync delivers
        self._columns = columns
        self._ledger = ledger
        self._sink = sink
        self._control = control
        self._clock = clock
        self._adopts_earlier_runs = adopts_earlier_runs
        self._attempts: dict[int, list[dict[str, Any]]] = {}  # of steps that are not finished
        self._jobs = JobBatches(sync_id=sync_id, columns=columns)

    # -- engine.ports.Recorder

    def commit(self, commit: Commit) -> None:
        for step in commit.steps:
            self._remember_attempts(step)
        self.persistently(lambda: self._write(commit))
        reset_queries()  # under DEBUG Django keeps every statement's text, which a long run would pile up
        for step in commit.steps:
            if step.status not in STEP_OPEN:
                self._attempts.pop(step.number, None)
        self._jobs.written(commit.steps)

    def next_step_number(self) -> int:
        newest = Step.objects.filter(run_id=self._run_id).aggregate(newest=Max("number"))["newest"]
        return (newest or 0) + 1

    def close(self) -> None:
        connection.close()

    def adopt_interrupted(self) -> list[Send]:
        """Steps left open by an earlier worker of this run, or by an earlier run; see ``adoption.take_over``."""
        with transaction.atomic():
            self._check_fence()
            adopted = adoption.take_over(
                run_id=self._run_id, sync_id=self._sync_id, reads_all=self._adopts_earlier_runs, batches=self._jobs
            )
        self._attempts.update(adopted.attempts)
        return adopted.sends

    # -- one transaction

    def persistently(self, write: Callable[[], None]) -> None:
        """Do ``write``, again and again while the database is away and the lease lasts. ``write`` must be repeatable."""
        pause = 0.1
        while True:
            try:
                write()
                return
            except (OperationalError, InterfaceError) as error:
                if connection.in_atomic_block or self._control.lease_seconds_left() < pause + 1:
                    raise
                log.warning("Run %s: the database did not take a commit (%s); trying again.", self._run_id, error)
                connection.close()
                self._clock.sleep(pause)
                pause = min(pause * 2, 3.0)

    def _write(self, commit: Commit) -> None:
        with transaction.atomic():
            self._check_fence(commit.counts, progressed=commit.progressed)
            self._write_steps(commit.steps)
            self._jobs.write(commit.steps)
            self._write_ledger(commit)
            if commit.rejected:
                self._sink.store(commit.rejected, columns=self._columns)
            closed = [record.key for record in commit.accepted if record.had_entry] + commit.resolved_unchanged
            if closed:
                self._sink.resolve(closed)

    def _check_fence(self, counts: Counts | None = None, *, progressed: bool = False) -> None:
        """One UPDATE that both proves that the run is still ours and writes its totals."""
        values: dict[str, Any] = {"fence": F("fence")}
        if counts is not None:
            values |= count_columns(counts) | {"pending_count": max(0, counts.pending), "progress_at": timezone.now()}
        if progressed:
            values["crash_count"] = 0
        mine = Run.objects.filter(pk=self._run_id, fence=self._fence, status=RunStatus.RUNNING)
        if mine.update(**values) != 1:
            raise FenceLostError("Another worker owns this run now.")

    def _write_steps(self, updates: Sequence[StepUpdate]) -> None:
        """Row by row in one executemany: the ORM's bulk insert sends PostgreSQL arrays, whose quoting costs the client more
        than the whole rest of a commit. JSON goes as text: the ORM's fields would cost three times as much."""
        if updates:
            with connection.cursor() as cursor:
                cursor.executemany(_UPSERT_STEP, [self._values(update) for update in updates])

    def _values(self, update: StepUpdate) -> tuple[Any, ...]:
        """In the order of ``_STEP_COLUMNS``."""
        moment = connection.ops.adapt_datetimefield_value
        return (
            self._run_id,
            update.number,
            update.kind.value,
            update.status.value,
            moment(update.started_at),
            moment(update.finished_at) if update.finished_at else None,
            update.row_count,
            update.accepted_count,
            update.dead_lettered_count,
            orjson.dumps(self._attempts.get(update.number, [])).decode(),
            orjson.dumps([send_data(send) for send in update.sends]).decode(),
            storable(update.message),
        )

    def _remember_attempts(self, update: StepUpdate) -> None:
        """The first and the latest attempts are kept; what is left out between them is said."""
        if not update.attempts:
            return
        kept = self._attempts.setdefault(update.number, [])
        kept.extend(_attempt_data(attempt) for attempt in update.attempts)
        most: int = settings.RETL["ATTEMPTS_KEPT_PER_STEP"]
        if len(kept) > most:
            del kept[most // 2 : len(kept) - most // 2]

    def _write_ledger(self, commit: Commit) -> None:
        if self._forgets_deleted:
            self._ledger.forget(record.key for record in commit.accepted if record.operation is Operation.DELETE)
            self._ledger.accept(record for record in commit.accepted if record.operation is not Operation.DELETE)
        else:
            self._ledger.accept(commit.accepted)
        if commit.rejected:
            self._ledger.hold(commit.rejected)
        if commit.resolved_unchanged:
            self._ledger.unhold(commit.resolved_unchanged)


def storable(text: str) -> str:
    """PostgreSQL takes no NUL and no half of a surrogate pair, in text or JSON; one would fail the commit time and again."""
    return text if text.isascii() and "\x00" not in text else text.replace("\x00", "").encode("utf-8", "replace").decode()


def _attempt_data(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "started_at": attempt.started_at.isoformat(),
        "milliseconds": attempt.milliseconds,
        "row_count": attempt.row_count,
        "http_status": attempt.http_status,
        "request_id": storable(attempt.request_id),
        "idempotency_key": attempt.idempotency_key,
        "signal": attempt.signal,
        "request": storable(attempt.request),
        "excerpt": storable(attempt.excerpt),
        "message": storable(attempt.message),
        "wait_seconds": attempt.wait_seconds,
    }
