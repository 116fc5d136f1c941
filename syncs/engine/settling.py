"""What becomes of each answer: rows accepted or dead-lettered, calls repeated, jobs asked after later, the run stopped."""

from __future__ import annotations

from collections.abc import Callable

from syncs.choices import SyncMode
from syncs.engine.calls import Answer, Calls
from syncs.engine.evidence import drop, failure_of, note_attempt
from syncs.engine.jobs import Jobs
from syncs.engine.journal import Journal
from syncs.engine.outbox import Outbox
from syncs.engine.outcomes import Judge, Settlement
from syncs.engine.parked import Parked
from syncs.engine.plan import Plan
from syncs.engine.ports import Clock, Counts, Rejected
from syncs.engine.recovery import Recovery
from syncs.engine.retry import AdaptiveConcurrency
from syncs.engine.sending import Sending
from syncs.errors import FatalError, FenceLostError, RedriveError
from syncs.records import BatchResult, Operation, Signal


class Settler:
    """``failure``: the run cannot go on. ``long_wait``: the destination asked for a pause that is worth giving the worker back.
    ``recovery``: calls whose answer was never recorded, as far as their rows are yet to be read."""

    def __init__(
        self,
        plan: Plan,
        *,
        journal: Journal,
        outbox: Outbox,
        calls: Calls,
        counts: Counts,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._journal = journal
        self._outbox = outbox
        self._calls = calls
        self._counts = counts
        self._clock = clock
        self._judge = Judge(plan, random=random, has_succeeded_since=lambda moment: self._last_success > moment)
        self._last_success = float("-inf")
        self._limited_in_a_row = 0
        self.concurrency = AdaptiveConcurrency(plan.concurrency)
        self.parked = Parked(plan.breaker_threshold)
        self.jobs = Jobs(plan, random=random)
        self.recovery = Recovery([])
        self.failure: RedriveError | None = None
        self.long_wait: float | None = None

    def fail(self, error: RedriveError) -> None:
        self.failure = self.failure or error

    def take(self, answer: Answer) -> None:
        """Raises ``FenceLostError`` where the call was not made for want of the lease."""
        sending, result = answer.sending, answer.result and self._judge.read(answer.sending, answer.result)
        sending.is_under_way = False
        if sending.is_alone:
            self._outbox.isolated_one_is_back()
        self._journal.touch(sending.step)
        if result is None:
            self._take_failure(answer)
            return
        self._counts.requests += 1
        self._counts.bytes_sent += result.exchange.bytes_sent
        now = self._clock.monotonic()
        if result.signal in (Signal.AUTH, Signal.CONFIG):
            note_attempt(answer, result, None)
            failure = failure_of(result)
            if result.signal is Signal.AUTH or not self._give_up_job(sending, failure, now):
                drop(sending)
                self.fail(failure)
        elif sending.job is not None or result.signal is Signal.CONFIRMING:
            self._take_job(answer, result, now)
        else:
            settlement = self._judge.settle(sending, result, now=now)
            note_attempt(answer, result, settlement)
            self._carry_out(sending, result, settlement, now)

    def _carry_out(self, sending: Sending, result: BatchResult, settlement: Settlement, now: float) -> None:
        if settlement.is_answer:
            self._got_through(now)
        elif result.signal is Signal.RATE_LIMITED:
            self._slow_down(sending, result, now)
        self._apply(sending, result, settlement, now)

    def _take_failure(self, answer: Answer) -> None:
        failure = answer.failure
        if isinstance(failure, FenceLostError):
            raise failure
        answer.sending.may_have_landed |= not isinstance(failure, RedriveError)
        if not isinstance(failure, RedriveError):
            text = (
                f"The connector stopped with {type(failure).__name__}: {failure}. This is a fault in the connector; report it."
            )
            failure = FatalError(text, code="connector_fault")
        if not self._give_up_job(answer.sending, failure, self._clock.monotonic()):
            drop(answer.sending)
            self.fail(failure)

    def _got_through(self, now: float) -> None:
        self._last_success = now
        self._limited_in_a_row = 0
        self.concurrency.answered()

    def _slow_down(self, sending: Sending, result: BatchResult, now: float) -> None:
        self.concurrency.rate_limited(sent_number=sending.sent_number, newest_number=self._calls.sent_number)
        self._limited_in_a_row += 1
        unnamed = min(60.0, 2.0 ** min(self._limited_in_a_row, 6))
        wait = result.retry_after if result.retry_after is not None else unnamed
        if wait > self._plan.longest_wait_seconds:
            self.long_wait = wait
        else:
            self._outbox.block(now, wait, "The destination asked to slow down.")

    def _apply(self, sending: Sending, result: BatchResult, settlement: Settlement, now: float) -> None:
        step = sending.step
        if settlement.parked is not None:
            self.parked.add(settlement.parked, result)
            if self.parked.is_full:
                self.fail(self.parked.error())
        elif all(again is not sending for again, _ in settlement.again):
            step.sendings.remove(sending)
        step.accepted_count += len(settlement.accepted)
        step.dead_lettered_count += len(settlement.rejected)
        self._accept(settlement)
        self.reject(settlement.rejected)
        for again, wait in settlement.again:
            self._counts.retries += 1
            self._outbox.repeat(again, now, wait)

    def _accept(self, settlement: Settlement) -> None:
        self._journal.accept(settlement.accepted)
        self._counts.accepted += len(settlement.accepted)
        self._count_kinds(settlement)

    def _count_kinds(self, settlement: Settlement) -> None:
        self._counts.created += settlement.created_count
        self._counts.updated += settlement.updated_count
        if self._plan.is_forced or self._plan.mode in (SyncMode.DELETE, SyncMode.MIRROR):
            self._counts.deleted += sum(record.operation is Operation.DELETE for record in settlement.accepted)

    def reject(self, rejected: list[Rejected]) -> None:
        self._journal.reject(rejected)
        self._counts.dead_lettered += len(rejected)

    def settle_parked(self, *, is_last: bool) -> None:
        """Take them apart once it is plain that others get through; stop the run once it is plain that nothing does."""
        if not self.parked:
            return
        if self.parked.can_be_taken_apart(is_last=is_last, last_success=self._last_success):
            for sending, result in self.parked.take():
                self._journal.touch(sending.step)
                self._apply(sending, result, self._judge.give_up(sending, result), self._clock.monotonic())
        elif is_last:
            self.fail(self.parked.error())

    # -- jobs

    def _take_job(self, answer: Answer, result: BatchResult, now: float) -> None:
        sending, job = answer.sending, answer.sending.job
        try:
            verdict = self.jobs.read(sending, result, now=now, moment=self._clock.now())
        except RedriveError as error:
            note_attempt(answer, result, None)
            self.fail(error)
            return
        if isinstance(verdict, BatchResult):
            self._end_job(sending, verdict, now, answer)
            return
        note_attempt(answer, result, None, wait=verdict)
        if result.signal is Signal.RATE_LIMITED:
            self._slow_down(sending, result, now)
        elif job is None:
            self._got_through(now)
        if sending.job is not job:
            self._journal.touch_at_once(sending.step)

    def _end_job(self, sending: Sending, result: BatchResult, now: float, answer: Answer | None = None) -> None:
        """``answer``: the look that told it, where there was one, to be noted."""
        if sending.adopted is not None:
            if answer is not None:
                note_attempt(answer, result, None)
            self._settle_adopted(sending, result, now)
            return
        settlement = self._judge.settle(sending, result, now=now)
        if answer is not None:
            note_attempt(answer, result, settlement)
        self._carry_out(sending, result, settlement, now)

    def _give_up_job(self, sending: Sending, failure: RedriveError, now: float) -> bool:
        """Whether a look that failed for good ends the job instead of the run."""
        ended = self.jobs.given_up(sending, failure.message, moment=self._clock.now())
        if ended is not None:
            self._end_job(sending, ended, now)
        return ended is not None

    def _settle_adopted(self, sending: Sending, result: BatchResult, now: float) -> None:
        """The rows are yet to be read, and counted then, by what the ledger is told here. Nothing is sent again from here: what
        was refused for a moment, or has changed since, is found to be unsettled when it is read."""
        step = sending.step
        if result.signal is Signal.UNKNOWN and sending.operation in self._plan.idempotent:
            self._hand_over(sending, result)
            return
        settlement = self._judge.settle(sending, result, now=now)
        if settlement.is_answer:
            self._got_through(now)
        step.sendings.clear()  # parts of it that would go out again
        step.accepted_count, step.dead_lettered_count = len(settlement.accepted), len(settlement.rejected)
        left = step.row_count - step.accepted_count - step.dead_lettered_count
        if left:
            step.message = f"{left:,} of its rows were not settled. They go out again as they are when a run reads them."
        self._journal.accept(settlement.accepted)
        self._journal.reject(settlement.rejected)
        self._count_kinds(settlement)
        if self._plan.mode is SyncMode.MIRROR and sending.operation is Operation.DELETE:  # these are never read
            self._counts.vanished += step.accepted_count
            self._counts.accepted += step.accepted_count

    def _hand_over(self, sending: Sending, result: BatchResult) -> None:
        """Nobody can say how the job ended: the call is repeated as after a lost answer, with its rows as they are read."""
        send = sending.adopted
        assert send is not None
        sending.adopted = None
        send.job, send.records, send.attempt = None, (), sending.step.call_count + 1
        sending.step.message = result.error.message if result.error else ""
        if send.is_read_again:
            self.recovery.add(send)
        else:
            drop(sending)  # it stays recorded; the next run that reads all rows repeats it
