"""Batches that the destination took in as jobs, and works on by itself.

Between two looks a job takes no place among the calls. A look changes nothing over there, so no intent is recorded before it.
Jobs of earlier workers are *adopted*: they are asked after before any row is read, and settled with the records that were kept
with them. What they say is credited to the ledger, by which the rows are then counted when they are read.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from datetime import datetime

import orjson

from syncs.engine.plan import Plan
from syncs.engine.ports import Send
from syncs.engine.sending import Sending, UploadStep
from syncs.errors import ErrorType, RedriveError, TransientError
from syncs.records import BatchResult, Job, RowError, Signal

FIRST_LOOK_SECONDS = 2.0  # where the answer names no time; doubled by each look
LONGEST_PAUSE_SECONDS = 60.0
_MOST_ID = 500  # characters
_MOST_DATA = 4_000  # bytes
_UNHEARD = (Signal.UNAVAILABLE, Signal.RATE_LIMITED)  # said of the look alone


class Jobs:
    """Times are monotonic seconds, except a job's own start."""

    def __init__(self, plan: Plan, *, random: Callable[[], float]) -> None:
        self._plan = plan
        self._random = random
        self._waiting: list[tuple[float, int, Sending]] = []
        self._asked: set[Sending] = set()
        self._order = itertools.count()
        self._adopted: set[Sending] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._asked)

    @property
    def has_adopted(self) -> bool:
        return bool(self._adopted)

    def adopt(self, sends: Iterable[Send], *, now: float) -> None:
        """Jobs that an earlier worker left: due at once, whatever the time."""
        for send in sends:
            attempts = max(0, send.attempt - 1)
            started_at = send.started_at
            assert started_at is not None
            step = UploadStep(send.step_number, started_at, len(send.records), call_count=attempts, is_new=False)
            step.message = f"The destination works on this batch as job {send.job.id}." if send.job else ""
            sending = Sending(step, send.operation, list(send.records), send.idempotency_key)
            sending.job, sending.adopted, sending.may_have_landed = send.job, send, True
            sending.crash_count = send.crash_count
            step.sendings.append(sending)
            self._adopted.add(sending)
            self._push(sending, now)

    def open_places(self, under_way: int) -> int:
        """How many more calls may become jobs. ``under_way``: calls made, looks included."""
        writes = under_way - len(self._asked)
        return max(0, self._plan.open_jobs - len(self) - writes)

    def take(self, now: float, granted: int) -> list[Sending]:
        """The jobs to ask after now, as many as were granted."""
        taken = [heapq.heappop(self._waiting)[2] for _ in range(granted)]
        self._asked.update(taken)
        return taken

    def due_count(self, now: float, *, places: int) -> int:
        """How many may be asked after, with at most ``places`` looks at once."""
        return min(sum(due <= now for due, _, _ in self._waiting), max(0, places - len(self._asked)))

    def seconds_until_due(self, now: float) -> float:
        """Infinity when no job waits."""
        return max(0.0, self._waiting[0][0] - now) if self._waiting else float("inf")

    def rest(self) -> list[Sending]:
        return [*self._asked, *(entry[2] for entry in self._waiting)]

    def _push(self, sending: Sending, due: float) -> None:
        heapq.heappush(self._waiting, (due, next(self._order), sending))

    # -- answers

    def read(self, sending: Sending, result: BatchResult, *, now: float, moment: datetime) -> BatchResult | float:
        """What an answer that speaks of a job comes to: the seconds until the job is asked after (again), or the end of the
        job, to be settled like any answer. Raises ``TransientError`` once nobody has answered for the whole retry budget."""
        self._asked.discard(sending)
        if sending.job is not None and result.signal in _UNHEARD:
            wait = self._unheard(sending, result, now)
        elif result.signal is Signal.CONFIRMING:
            job = result.job or sending.job
            problem = _problem(job)
            if job is None or problem:
                return self._ended(sending, _unknown(result, problem, "no_job"))
            left = job.started_at + job.at_most_seconds - moment.timestamp()
            if left <= 0 and sending.job is not None:
                text = f"The destination has worked on the job {job.id} for more than {_span(job.at_most_seconds)}."
                return self._ended(sending, _unknown(result, text, "job_too_long"))
            if sending.job is None:
                sending.step.message = f"The destination works on this batch as job {job.id}."
            sending.job, sending.may_have_landed, sending.look_failed_at = job, True, None
            wait = self._pause(sending) if result.retry_after is None else result.retry_after
            wait = min(wait, max(left, 0.0) + 1.0)
        else:
            return self._ended(sending, result)
        sending.look_count += 1
        self._push(sending, now + wait)
        return wait

    def given_up(self, sending: Sending, reason: str, *, moment: datetime) -> BatchResult | None:
        """For a look that can never succeed as things are set up. Past the job's time the job counts as lost, lest every run of
        the sync stops at it; before, None: a person may still set it right."""
        job = sending.job
        if job is None or moment.timestamp() < job.started_at + job.at_most_seconds:
            return None
        self._asked.discard(sending)
        text = f"Nobody can ask how the job {job.id} ended: {reason}"
        return self._ended(sending, BatchResult([], Signal.UNKNOWN, RowError(ErrorType.UNKNOWN_OUTCOME, text, code="job_lost")))

    def _unheard(self, sending: Sending, result: BatchResult, now: float) -> float:
        if sending.look_failed_at is None:
            sending.look_failed_at, sending.look_count = now, 0
        if result.signal is Signal.RATE_LIMITED:
            return result.retry_after or 0.0
        if now - sending.look_failed_at >= self._plan.retry.budget_seconds:
            self._push(sending, now)  # it stays open: the next run asks
            raise _no_answer(sending, result)
        return self._plan.retry.wait(sending.look_count + 1, random=self._random, retry_after=result.retry_after)

    def _pause(self, sending: Sending) -> float:
        return min(LONGEST_PAUSE_SECONDS, FIRST_LOOK_SECONDS * 2.0 ** min(sending.look_count, 10))

    def _ended(self, sending: Sending, result: BatchResult) -> BatchResult:
        sending.job = None
        sending.step.message = ""
        sending.look_count = 0
        sending.look_failed_at = None
        self._adopted.discard(sending)
        return result


def stopped_message(sending: Sending) -> str:
    if sending.job is None:
        return sending.step.message or "The run stopped before this batch was settled."
    return f"The destination works on this batch as job {sending.job.id}; the next run asks how that ended."


def _problem(job: Job | None) -> str:
    """Why a job could not be kept, and so not be asked after by the next worker."""
    if job is None or not job.id:
        return "The destination took the batch in as a job and gave no name for it."
    if len(job.id) > _MOST_ID or not job.id.isprintable():
        return "The destination's name for the job of this batch cannot be kept."
    data = orjson.dumps(job.data)
    if len(data) > _MOST_DATA or b"\\u0000" in data:
        return f"What is needed to ask after the job {job.id} cannot be kept."
    return ""


def _unknown(result: BatchResult, text: str, code: str) -> BatchResult:
    error = RowError(ErrorType.UNKNOWN_OUTCOME, text, code=code, excerpt=result.exchange.excerpt)
    return BatchResult([], Signal.UNKNOWN, error, exchange=result.exchange)


def _no_answer(sending: Sending, result: BatchResult) -> RedriveError:
    reason = result.error.message if result.error else "no answer"
    text = (
        f"The destination does not say how a job ended ({reason}), so the run stopped. Its remaining rows stay pending; the "
        "next run asks after the job before it sends them."
    )
    error_type = result.error.type if result.error else ErrorType.DESTINATION_UNAVAILABLE
    return TransientError(text, code="breaker", error_type=error_type)


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} seconds"
