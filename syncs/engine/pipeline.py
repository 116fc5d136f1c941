"""A run, from the first row to the last answer. One thread reads, decides and records; the pool of ``Calls`` only sends.

The order per batch is fixed: intent (T1) is committed before the call, the result (T2) after it, and one commit carries the
results of finished batches together with the intents of the next ones. Nothing else moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from syncs.choices import StepStatus, SyncMode
from syncs.destinations.base import Destination
from syncs.engine.calls import Answer, Calls
from syncs.engine.evidence import drop, failure_of, note_attempt, too_large
from syncs.engine.intake import Intake, Reader, vanished_records
from syncs.engine.journal import PROGRESS_EVERY_SECONDS, Journal
from syncs.engine.outbox import Outbox
from syncs.engine.outcomes import Judge, Settlement
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
from syncs.engine.retry import AdaptiveConcurrency
from syncs.engine.sending import Cutter, Sending, UploadStep, new_sending
from syncs.errors import ErrorType, FatalError, FenceLostError, RedriveError, TransientError
from syncs.records import BatchResult, Operation, Record, Signal

LOOK_EVERY_SECONDS = 0.5  # how often cancel, pause and drain are looked at while waiting
RECORDS_AHEAD = 3000  # records that wait for a free thread, so that no thread waits for a commit
MOST_AHEAD = 4  # times the concurrency


@dataclass(slots=True)
class Ending:
    """How the engine left off. ``flag`` other than GO: stopped between batches. ``failure``: the run cannot go on.

    ``is_complete``: every row of the read was settled.
    """

    counts: Counts
    flag: Flag = Flag.GO
    failure: RedriveError | None = None
    is_complete: bool = False
    wait_seconds: float | None = None


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
        self._concurrency = AdaptiveConcurrency(plan.concurrency)
        self._judge = Judge(plan, random=random, has_succeeded_since=lambda moment: self._last_success > moment)
        self._cutter = Cutter(plan)
        self._journal = Journal(recorder, clock, self.counts)
        self._outbox = Outbox(budget, self._journal.note_wait)
        self._parked: list[tuple[Sending, BatchResult]] = []
        self._going: list[Sending] = []  # their intent is being committed
        self._last_success = float("-inf")
        self._limited_in_a_row = 0
        self._flag = Flag.GO
        self._failure: RedriveError | None = None
        self._long_wait: float | None = None
        self._is_read = False
        self._recovery = Recovery([])

    # -- the loop

    def run(self) -> Ending:
        try:
            self._recovery = Recovery(self._journal.begin())
            source = self._work()
            while True:
                self._look()
                if self._must_stop():
                    self._wind_down()
                    break
                self._fill(source)
                self._settle_parked()
                self._flush()
                if self._is_done():
                    break
                self._wait()
            return self._end()
        finally:
            self._calls.close()
            self._journal.close()

    def _look(self) -> None:
        self._flag = self._control.flag()
        share = self._control.concurrency_share()
        if share is not None:
            self._concurrency.set_ceiling(min(self._plan.concurrency, share))

    def _must_stop(self) -> bool:
        return self._flag is not Flag.GO or self._failure is not None or self._long_wait is not None

    def _is_done(self) -> bool:
        return self._is_settled() and not self._journal.is_writing

    def _is_settled(self) -> bool:
        return self._is_read and not len(self._outbox) and not self._parked and not self._under_way()

    def _under_way(self) -> int:
        """Calls made, and calls whose intent is being committed."""
        return self._calls.in_flight + len(self._going)

    def _end(self) -> Ending:
        is_complete = self._is_read and not self._must_stop() and self.counts.pending == 0
        return Ending(self.counts, self._flag, self._failure, is_complete, self._long_wait)

    # -- reading

    def _work(self) -> Iterator[Intake]:
        """Everything there is to send: the rows of the query, then what vanished from it."""
        yield from self._reader
        yield from self._ready
        self._journal.end_query(StepStatus.SUCCEEDED)
        if self._plan.mode is SyncMode.MIRROR and self._plan.is_complete_read:
            self._check_delete_guard()
            for chunk in self._ledger.vanished():
                self.counts.vanished += len(chunk)
                records = vanished_records(self._plan, chunk)
                self.counts.skipped += len(chunk) - len(records)
                yield Intake(records=records)

    def _check_delete_guard(self) -> None:
        vanished, total = self._ledger.count_vanished()
        plan = self._plan
        is_much = vanished > plan.delete_guard_rows or vanished * 100 > total * plan.delete_guard_percent
        if vanished and (is_much or self.counts.read == 0) and vanished > (plan.approved_delete_count or 0):
            raise FatalError(
                f"The delete guard stopped the run: {vanished:,} of {total:,} delivered rows are no longer in the query, and "
                f"the limit is {plan.delete_guard_percent} % or {plan.delete_guard_rows:,} rows. Nothing was deleted. "
                f"Check the query; if the deletes are right, approve {vanished:,} deletes on the sync page and run it again.",
                code="delete_guard",
                field="mode",
            )

    def _fill(self, source: Iterator[Intake]) -> None:
        """Read until the free places can be filled. What waits for a retry takes a place too: memory stays bounded, and an
        outage does not draw ever more batches into it."""
        while not self._is_read and len(self._outbox) < self._free_places():
            try:
                intake = next(source, None)
            except FenceLostError:
                raise
            except RedriveError as error:
                self._fail(error)
                return
            if intake is None:
                self._is_read = True
                self._add_batch(self._cutter.rest())
                for send, records in self._recovery.rest():
                    self._recover(send, records)
                return
            self._take_in(intake)
            if self._journal.seconds_since_commit() > PROGRESS_EVERY_SECONDS:
                return

    def _take_in(self, intake: Intake) -> None:
        self._journal.reject(intake.rejected)
        self._journal.resolve_unchanged(intake.resolved_unchanged)
        records = intake.records
        if self._recovery:
            records = [record for record in records if not self._recovery.claim(record)]
            for send, recovered in self._recovery.complete():
                self._recover(send, recovered)
        most = self._plan.record_bytes
        if any(len(record.body) > most for record in records):
            self._reject([too_large(record, most) for record in records if len(record.body) > most])
            records = [record for record in records if len(record.body) <= most]
        for batch in self._cutter.add(records):
            self._add_batch(batch)

    def _add_batch(self, records: list[Record]) -> None:
        if records:
            step = UploadStep(self._journal.take_number(), self._clock.now(), len(records))
            self._outbox.add(new_sending(self._plan, step, records))

    def _recover(self, send: Send, records: list[Record]) -> None:
        """Repeat the call whose answer was never recorded. What keeps crashing workers is taken apart."""
        step = UploadStep(send.step_number, self._clock.now(), len(records), is_new=False)
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
        self._reject(rejected)

    # -- committing and sending

    def _free_places(self) -> int:
        """More than the concurrency may be under way, so that the pool never waits for a commit; fewer where batches are so
        big that they would fill the memory."""
        ahead = min(MOST_AHEAD * self._concurrency.limit, max(1, RECORDS_AHEAD // self._plan.batch_records))
        return max(0, self._concurrency.limit + ahead - self._under_way())

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
        seconds = min(seconds, self._outbox.seconds_until_due(self._clock.monotonic()) or LOOK_EVERY_SECONDS)
        if self._calls.in_flight or self._journal.is_writing:
            for answer in self._calls.wait(max(seconds, 0.001)):
                self._take_answer(answer)
        elif self._outbox.seconds_until_due(self._clock.monotonic()) > 0:
            self._clock.sleep(max(seconds, 0.001))

    def _has_work(self) -> bool:
        """There is something to read, and room for it: do not wait, only pick up the answers that are there."""
        if self._is_read or len(self._outbox) >= self._free_places():
            return False
        for answer in self._calls.wait(0):
            self._take_answer(answer)
        return True

    # -- answers

    def _take_answer(self, answer: Answer) -> None:
        sending, result = answer.sending, answer.result and self._judge.read(answer.sending, answer.result)
        sending.is_under_way = False
        if sending.is_alone:
            self._outbox.isolated_one_is_back()
        self._journal.touch(sending.step)
        if result is None:
            self._take_failure(answer)
            return
        self.counts.requests += 1
        self.counts.bytes_sent += result.exchange.bytes_sent
        if result.signal in (Signal.AUTH, Signal.CONFIG):
            note_attempt(answer, result, None)
            drop(sending)
            self._fail(failure_of(result))
            return
        now = self._clock.monotonic()
        settlement = self._judge.settle(sending, result, now=now)
        note_attempt(answer, result, settlement)
        self._take_signal(sending, result, settlement, now)
        self._apply(sending, result, settlement, now)

    def _take_failure(self, answer: Answer) -> None:
        failure = answer.failure
        if isinstance(failure, FenceLostError):
            raise failure
        answer.sending.may_have_landed |= not isinstance(failure, RedriveError)
        drop(answer.sending)
        if isinstance(failure, RedriveError):
            self._fail(failure)
        else:
            text = (
                f"The connector stopped with {type(failure).__name__}: {failure}. This is a fault in the connector; report it."
            )
            self._fail(FatalError(text, code="connector_fault"))

    def _take_signal(self, sending: Sending, result: BatchResult, settlement: Settlement, now: float) -> None:
        if settlement.is_answer:
            self._last_success = now
            self._limited_in_a_row = 0
            self._concurrency.answered()
        elif result.signal is Signal.RATE_LIMITED:
            self._concurrency.rate_limited(sent_number=sending.sent_number, newest_number=self._calls.sent_number)
            self._limited_in_a_row += 1
            unnamed = min(60.0, 2.0 ** min(self._limited_in_a_row, 6))
            wait = result.retry_after if result.retry_after is not None else unnamed
            if wait > self._plan.longest_wait_seconds:
                self._long_wait = wait
            else:
                self._outbox.block(now, wait, "The destination asked to slow down.")

    def _apply(self, sending: Sending, result: BatchResult, settlement: Settlement, now: float) -> None:
        step = sending.step
        if settlement.parked is not None:
            self._parked.append((settlement.parked, result))
            if len(self._parked) >= self._plan.breaker_threshold:
                self._fail(self._breaker_error(result))
        elif all(again is not sending for again, _ in settlement.again):
            step.sendings.remove(sending)
        step.accepted_count += len(settlement.accepted)
        step.dead_lettered_count += len(settlement.rejected)
        self._accept(settlement)
        self._reject(settlement.rejected)
        for again, wait in settlement.again:
            self.counts.retries += 1
            self._outbox.repeat(again, now, wait)

    def _settle_parked(self) -> None:
        """Parked batches are taken apart once something succeeded after them, or when nothing else is left to tell and the
        destination took anything at all in this run, or all their rows are dead letters already. Otherwise the destination
        is gone, and the run stops."""
        if not self._parked:
            return
        is_last = self._is_read and not len(self._outbox) and not self._under_way()
        has_recovered = self._last_success > max(sending.first_failed_at or 0.0 for sending, _ in self._parked)
        are_known = all(record.had_entry for sending, _ in self._parked for record in sending.records)
        if has_recovered or (is_last and (are_known or self._last_success > float("-inf"))):
            parked, self._parked = self._parked, []
            for sending, result in parked:
                self._journal.touch(sending.step)
                self._apply(sending, result, self._judge.give_up(sending, result), self._clock.monotonic())
        elif is_last:
            self._fail(self._breaker_error(self._parked[-1][1]))

    def _breaker_error(self, result: BatchResult) -> RedriveError:
        reason = result.error.message if result.error else "no answer"
        text = (
            f"The destination kept failing ({reason}): {len(self._parked)} batches in a row used up their attempts, so the run "
            f"stopped. Its remaining rows stay pending; the next run sends them."
        )
        error_type = result.error.type if result.error else ErrorType.DESTINATION_UNAVAILABLE
        return TransientError(text, code="breaker", error_type=error_type)

    def _accept(self, settlement: Settlement) -> None:
        self._journal.accept(settlement.accepted)
        self.counts.accepted += len(settlement.accepted)
        self.counts.created += settlement.created_count
        self.counts.updated += settlement.updated_count
        if self._plan.is_forced or self._plan.mode in (SyncMode.DELETE, SyncMode.MIRROR):
            self.counts.deleted += sum(record.operation is Operation.DELETE for record in settlement.accepted)

    def _reject(self, rejected: list[Rejected]) -> None:
        self._journal.reject(rejected)
        self.counts.dead_lettered += len(rejected)

    # -- stopping

    def _fail(self, error: RedriveError) -> None:
        if self._failure is None:
            self._failure = error
            self._journal.end_query(StepStatus.SUCCEEDED if self._is_read else StepStatus.FAILED)

    def _wind_down(self) -> None:
        """Let calls under way end, record them, and leave the rest pending."""
        while self._calls.in_flight:
            for answer in self._calls.wait(LOOK_EVERY_SECONDS):
                self._take_answer(answer)
            self._control.flag()
            if self._journal.is_late():
                self._journal.write_now()
        self._journal.finish_writing()
        for sending in [*self._going, *self._outbox.rest(), *(sending for sending, _ in self._parked)]:
            if sending.step.call_count or sending.may_have_landed:
                sending.step.message = sending.step.message or "The run stopped before this batch was settled."
                self._journal.touch(sending.step)
            drop(sending)
        self._going = []
        self._journal.end_query(StepStatus.SUCCEEDED if self._is_read else StepStatus.INTERRUPTED)
        self._journal.write_now()
