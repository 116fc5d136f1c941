"""Batches on their way: cutting them, the steps they belong to, and what is known of each call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from syncs.choices import STEP_OPEN, StepKind, StepStatus
from syncs.engine.hashing import idempotency_key
from syncs.engine.plan import Plan
from syncs.engine.ports import Attempt, Send, StepUpdate
from syncs.records import Job, Operation, Record


@dataclass(slots=True, eq=False)
class UploadStep:
    """One batch as cut, with all the calls it took. ``sendings``: parts of it that are not settled yet."""

    number: int
    started_at: datetime
    row_count: int
    sendings: list[Sending] = field(default_factory=list)
    accepted_count: int = 0
    dead_lettered_count: int = 0
    call_count: int = 0
    bad_count: int = 0  # records refused so far: many bad ones make halving dearer than singles
    new_attempts: list[Attempt] = field(default_factory=list)
    message: str = ""
    is_new: bool = True
    is_stopped: bool = False  # the run stopped before this step was settled

    def status(self) -> StepStatus:
        sendings = self.sendings
        if self.is_stopped:  # the next run adopts what is never answered, and repeats the very same call or asks for the job
            sendings = [sending for sending in sendings if sending.may_have_landed or sending.is_under_way]
        if sendings:
            return StepStatus.CONFIRMING if all(sending.job for sending in sendings) else StepStatus.INFLIGHT
        if self.accepted_count == self.row_count:
            return StepStatus.SUCCEEDED
        return StepStatus.PARTIAL if self.accepted_count else StepStatus.FAILED

    def update(self, now: datetime) -> StepUpdate:
        """What the recorder must write; the new attempts are handed over."""
        status = self.status()
        attempts, self.new_attempts = self.new_attempts, []
        is_new, self.is_new = self.is_new, False
        return StepUpdate(
            number=self.number,
            kind=StepKind.UPLOAD,
            status=status,
            started_at=self.started_at,
            finished_at=None if status in STEP_OPEN else now,
            row_count=self.row_count,
            accepted_count=self.accepted_count,
            dead_lettered_count=self.dead_lettered_count,
            message=self.message,
            attempts=attempts,
            sends=[sending.intent() for sending in self.sendings],
            is_new=is_new,
            has_jobs=bool(self.sendings) and any(sending.job for sending in self.sendings),
        )


@dataclass(slots=True, eq=False)
class Sending:
    """Records that go out in one call. A retry is the same sending with one more try; a part of it is a new one."""

    step: UploadStep
    operation: Operation
    records: list[Record]
    idempotency_key: str
    tries: int = 0  # failed calls that count towards giving up; waiting for a rate limit does not
    crash_count: int = 0
    first_failed_at: float | None = None
    is_alone: bool = False  # send while nothing else is under way
    is_under_way: bool = False
    may_have_landed: bool = False  # a call of it was lost: nobody knows whether it was written
    sent_number: int = 0
    job: Job | None = None  # the destination works on it
    look_count: int = 0  # how often the job was asked after
    look_failed_at: float | None = None  # since when nobody answers that
    adopted: Send | None = None  # an earlier worker's, whose rows this run has yet to read

    def intent(self) -> Send:
        return Send(
            step_number=self.step.number,
            operation=self.operation,
            keys=[record.key for record in self.records],
            idempotency_key=self.idempotency_key,
            attempt=self.step.call_count + 1,
            crash_count=self.crash_count,
            is_under_way=self.is_under_way and self.job is None,  # asking after a job changes nothing
            may_have_landed=self.may_have_landed or self.is_under_way,
            job=self.job,
            records=self.records if self.job else (),
        )


class Cutter:
    """Cuts records into batches by count and bytes; one operation per batch."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._records: list[Record] = []
        self._bytes = 0

    def add(self, records: Iterable[Record]) -> Iterator[list[Record]]:
        limit, most = self._plan.batch_records, self._plan.batch_bytes
        for record in records:
            size = len(record.body) + 1
            if self._records and (
                len(self._records) >= limit or self._bytes + size > most or self._records[0].operation is not record.operation
            ):
                yield self._take()
            self._records.append(record)
            self._bytes += size
        if len(self._records) >= limit:
            yield self._take()

    def rest(self) -> list[Record]:
        return self._take()

    def _take(self) -> list[Record]:
        records, self._records, self._bytes = self._records, [], 0
        return records


def new_sending(plan: Plan, step: UploadStep, records: list[Record], *, parent: Sending | None = None) -> Sending:
    operation = records[0].operation
    sending = Sending(step, operation, records, idempotency_key(plan.sync_id, operation, records))
    if parent is not None:
        sending.tries = parent.tries
        sending.crash_count = parent.crash_count
        sending.first_failed_at = parent.first_failed_at
        sending.is_alone = parent.is_alone
    step.sendings.append(sending)
    return sending
