"""A run, from the first row to the last answer. One thread reads, decides and records; the pool of ``Calls`` only sends.

The order per batch is fixed: intent (T1) is committed before the call, the result (T2) after it, and one commit carries the
results of finished batches together with the intents of the next ones. Nothing else moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from syncs.choices import StepStatus, SyncMode
from syncs.destinations.base import Destination
from syncs.engine.calls import Calls
from syncs.engine.evidence import drop, too_large
from syncs.engine.intake import Intake, Reader
from syncs.engine.jobs import stopped_message
from syncs.engine.journal import PROGRESS_EVERY_SECONDS, Journal
from syncs.engine.outbox import Outbox
from syncs.engine.plan import Plan
from syncs.engine.ports import (
    Budget,
    Clock,
    Control,
    Counts,
    Flag,
    Ledger,
    Mapper,
    Ready,
    Recorder,
    Rejected,
    Rows,
    Send,
)
from syncs.engine.ready import ReadyReader
from syncs.engine.recovery import SET_ASIDE_AFTER_CRASHES, Recovery, crashed, may_repeat, recovered_sendings, unanswered
from syncs.engine.sending import Cutter, Sending, UploadStep, new_sending
from syncs.engine.settling import Settler
from syncs.engine.vanished import vanished_intakes
from syncs.errors import FenceLostError, RedriveError
from syncs.records import Operation, Record

LOOK_EVERY_SECONDS = 0.5  # how often cancel, pause and drain are looked at while waiting
RECORDS_AHEAD = 3000  # records that wait for a free thread, so that no thread waits for a commit
MOST_AHEAD = 4  # times the concurrency


@dataclass(slots=True)
class Ending:
    """How the engine left off. ``flag`` other than GO: stopped between batches. ``failure``: the run cannot go on.

    ``is_complete``: every row of the read was settled. ``wait_seconds``: nothing is left but to wait so long, because the
    destination asked to, or (``waits_for_jobs``) because it works on what it took in.
    """

    counts: Counts
    flag: Flag = Flag.GO
    failure: RedriveError | None = None
    is_complete: bool = False
    wait_seconds: float | None = None
    waits_for_jobs: bool = False


class Pipeline:
    """``run()`` returns an ``Ending``; raises ``FenceLostError`` when another worker took the run over (nothing may be written
    then), and lets errors of the database through."""

    def __init__(
        self,
        *,
        plan: Plan,
        rows: Rows,
        mapper: Mapper,
        destination: Destination,
        ledger: Ledger,
        recorder: Recorder,
        control: Control,
        budget: Budget,
        clock: Clock,
        random: Callable[[], float],
        counts: Counts | None = None,
        ready: Iterable[list[Ready]] = (),
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._control = control
        self._clock = clock
        self.counts = counts or Counts()  # a resumed run's: what its earlier workers did and this one cannot see
        self._reader = Reader(plan=plan, rows=rows, mapper=mapper, ledger=ledger, counts=self.counts)
        self._ready = ReadyReader(plan=plan, chunks=ready, ledger=ledger, counts=self.counts)
        self._calls = Calls(destination, control, clock, threads=plan.concurrency, lease_margin=plan.lease_margin_seconds)
        self._cutter = Cutter(plan)
        self._journal = Journal(recorder, clock, self.counts)
        self._outbox = Outbox(budget, self._journal.note_wait)
        self._settler = Settler(
            plan,
            journal=self._journal,
            outbox=self._outbox,
            calls=self._calls,
            counts=self.counts,
            clock=clock,
            random=random,
        )
        self._concurrency = self._settler.concurrency
        self._jobs = self._settler.jobs
        self._going: list[Sending] = []  # their intent is being committed
        self._flag = Flag.GO
        self._job_wait: float | None = None
        self._is_read = False
        self._is_credited = True  # False: what jobs of earlier workers said has yet to reach the ledger

    # -- the loop

    def run(self) -> Ending:
        try:
            self._take_over(self._journal.begin())
            source = self._work()
            while True:
                self._look()
                if self._must_stop():
                    self._wind_down()
                    break
                self._fill(source)
                self._settler.settle_parked(is_last=self._is_read and not (self._jobs or self._is_busy()))
                self._ask_after_jobs()
                self._flush()
                if self._is_done():
                    break
                self._wait()
            return self._end()
        finally:
            self._calls.close()
            self._journal.close()

    def _take_over(self, sends: list[Send]) -> None:
        """What earlier workers left open."""
        self._settler.recovery = Recovery(send for send in sends if send.job is None)
        jobs = [send for send in sends if send.job is not None]
        if jobs:
            self._is_credited = False
            self._jobs.adopt(jobs, now=self._clock.monotonic())
            self._reader.credit_this_run()
            self._ready.credit_this_run()

    def _look(self) -> None:
        self._flag = self._control.flag()
        share = self._control.concurrency_share()
        if share is not None:
            self._concurrency.set_ceiling(min(self._plan.concurrency, share))

    def _must_stop(self) -> bool:
        settler = self._settler
        is_waiting = settler.long_wait is not None or self._job_wait is not None
        return self._flag is not Flag.GO or settler.failure is not None or is_waiting

    def _is_done(self) -> bool:
        return self._is_settled() and not self._journal.is_writing

    def _is_settled(self) -> bool:
        return self._is_read and not (self._settler.parked or self._jobs or self._is_busy())

    def _is_busy(self) -> bool:
        """Something is on its way, or waits to be."""
        return bool(len(self._outbox) or self._under_way())

    def _under_way(self) -> int:
        """Calls made, and calls whose intent is being committed."""
        return self._calls.in_flight + len(self._going)

    def _end(self) -> Ending:
        is_complete = self._is_read and not self._must_stop() and self.counts.pending == 0
        settler, is_job_wait = self._settler, self._job_wait is not None
        wait = self._job_wait if is_job_wait else settler.long_wait
        return Ending(self.counts, self._flag, settler.failure, is_complete, wait, waits_for_jobs=is_job_wait)

    # -- reading

    def _work(self) -> Iterator[Intake]:
        """Everything there is to send: the rows of the query, then what vanished from it."""
        yield from self._reader
        yield from self._ready
        self._journal.end_query(StepStatus.SUCCEEDED)
        if self._plan.mode is SyncMode.MIRROR and self._plan.is_complete_read:
            yield from vanished_intakes(self._plan, self._ledger, self.counts)

    def _fill(self, source: Iterator[Intake]) -> None:
        """Read until the free places can be filled. What waits for a retry takes a place too: memory stays bounded, and an
        outage does not draw ever more batches into it. Jobs that an earlier worker left are asked after before anything is
        read, because what they say decides what is to be sent."""
        if self._jobs.has_adopted:
            return
        if not self._is_credited:
            self._journal.write_now()
            self._is_credited = True
        while not self._is_read and len(self._outbox) < self._free_places():
            try:
                intake = next(source, None)
            except FenceLostError:
                raise
            except RedriveError as error:
                self._settler.fail(error)
                return
            if intake is None:
                self._is_read = True
                self._add_batch(self._cutter.rest())
                for send, records in self._settler.recovery.rest():
                    self._recover(send, records)
                return
            self._take_in(intake)
            if self._journal.seconds_since_commit() > PROGRESS_EVERY_SECONDS:
                return

    def _take_in(self, intake: Intake) -> None:
        self._journal.reject(intake.rejected)
        self._journal.resolve_unchanged(intake.resolved_unchanged)
        records = intake.records
        recovery = self._settler.recovery
        if recovery:
            records = [record for record in records if not recovery.claim(record)]
            for send, recovered in recovery.complete():
                self._recover(send, recovered)
        most = self._plan.record_bytes
        if any(len(record.body) > most for record in records):
            self._settler.reject([too_large(record, most) for record in records if len(record.body) > most])
            records = [record for record in records if len(record.body) <= most]
        for batch in self._cutter.add(records):
            self._add_batch(batch)

    def _add_batch(self, records: list[Record]) -> None:
        if records:
            step = UploadStep(self._journal.take_number(), self._clock.now(), len(records))
            self._outbox.add(new_sending(self._plan, step, records))

    def _recover(self, send: Send, records: list[Record]) -> None:
        """Repeat the call whose answer was never recorded. What keeps crashing workers is taken apart."""
        step = UploadStep(send.step_number, send.started_at or self._clock.now(), len(records), is_new=False)
        step.call_count = send.attempt - 1 if send.started_at else 0
        step.message = "Repeats a call whose answer was never recorded." if records else "Its rows no longer need sending."
        self._journal.touch(step)
        is_one = len(records) == 1 or send.operation is Operation.INSERT  # apart, inserts would go under new keys
        if send.crash_count >= SET_ASIDE_AFTER_CRASHES and is_one:
            self._set_aside(step, [crashed(record, send.crash_count) for record in records])
            return
        if records and not may_repeat(self._plan, send, records):
            self._set_aside(step, [unanswered(record) for record in records])
            return
        for sending in recovered_sendings(self._plan, step, send, records):
            self._outbox.add(sending)

    def _set_aside(self, step: UploadStep, rejected: list[Rejected]) -> None:
        step.dead_lettered_count = len(rejected)
        self._settler.reject(rejected)

    # -- committing and sending

    def _free_places(self) -> int:
        """More than the concurrency may be under way, so that the pool never waits for a commit; fewer where batches are so
        big that they would fill the memory."""
        ahead = min(MOST_AHEAD * self._concurrency.limit, max(1, RECORDS_AHEAD // self._plan.batch_records))
        under_way = self._under_way()
        places = max(0, self._concurrency.limit + ahead - under_way)
        if self._plan.has_jobs or self._jobs:
            return min(places, self._jobs.open_places(under_way))
        return places

    def _flush(self) -> None:
        """One commit: what came back and what goes out next. What goes out is sent once the commit is done."""
        if self._journal.is_writing:
            if not self._journal.is_written():
                return
            self._send_committed()
        outgoing = self._outgoing()
        if not outgoing and not self._journal.is_late() and not (self._is_settled() and self._journal.has_news()):
            return
        for sending in outgoing:
            sending.step.call_count += 1
            sending.is_under_way = True
            self._journal.touch(sending.step)
        self._going = outgoing
        self._journal.write(self._calls.wake)

    def _send_committed(self) -> None:
        going, self._going = self._going, []
        for sending in going:
            self._calls.submit(sending)

    def _ask_after_jobs(self) -> None:
        """Those whose time has come. Where nothing is left but a long wait for the next one, the worker is given back."""
        if not self._jobs:
            return
        now = self._clock.monotonic()
        due = self._jobs.due_count(now, places=self._concurrency.limit)
        for sending in self._jobs.take(now, self._outbox.grant(now, due) if due else 0):
            sending.step.call_count += 1
            self._calls.submit(sending)
        is_stuck = self._is_read or self._jobs.has_adopted or not self._free_places()
        if is_stuck and not self._is_busy() and self._jobs.seconds_until_due(now) > self._plan.longest_wait_seconds:
            self._job_wait = self._jobs.seconds_until_due(now)

    def _outgoing(self) -> list[Sending]:
        """Waits for half of the places, so that commits come in groups."""
        under_way = self._under_way()
        if under_way > self._concurrency.limit and not self._is_read:
            return []
        if self._outbox.wants_empty_house and under_way:
            return []
        return self._outbox.take(self._clock.monotonic(), places=self._free_places())

    def _wait(self) -> None:
        if self._has_work():
            return
        seconds = min(LOOK_EVERY_SECONDS, self._journal.seconds_until_late() or LOOK_EVERY_SECONDS)
        due = self._seconds_until_due()
        seconds = min(seconds, due or LOOK_EVERY_SECONDS)
        if self._calls.in_flight or self._journal.is_writing:
            for answer in self._calls.wait(max(seconds, 0.001)):
                self._settler.take(answer)
        elif due > 0:
            self._clock.sleep(max(seconds, 0.001))

    def _seconds_until_due(self) -> float:
        now = self._clock.monotonic()
        due = self._outbox.seconds_until_due(now)
        if self._jobs:
            due = min(due, max(self._jobs.seconds_until_due(now), self._outbox.blocked_until - now))
        return due

    def _has_work(self) -> bool:
        """There is something to read, and room for it: do not wait, only pick up the answers that are there."""
        if self._is_read or self._jobs.has_adopted or len(self._outbox) >= self._free_places():
            return False
        for answer in self._calls.wait(0):
            self._settler.take(answer)
        return True

    # -- stopping

    def _wind_down(self) -> None:
        """Let calls under way end, record them, and leave the rest pending."""
        while self._calls.in_flight:
            for answer in self._calls.wait(LOOK_EVERY_SECONDS):
                self._settler.take(answer)
            self._control.flag()
            if self._journal.is_late():
                self._journal.write_now()
        self._journal.finish_writing()
        for sending in [*self._going, *self._outbox.rest(), *self._settler.parked.rest(), *self._jobs.rest()]:
            if sending.step.call_count or sending.may_have_landed:
                sending.step.message = stopped_message(sending)
                self._journal.touch(sending.step)
            drop(sending)
        self._going = []
        unread = StepStatus.FAILED if self._settler.failure else StepStatus.INTERRUPTED
        self._journal.end_query(StepStatus.SUCCEEDED if self._is_read else unread)
        self._journal.write_now()
