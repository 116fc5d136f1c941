"""What is about to be written: results and intents gather here until one commit takes them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from syncs import log_context
from syncs.choices import StepKind, StepStatus
from syncs.engine.ports import Clock, Commit, Counts, Recorder, Rejected, Send, StepUpdate
from syncs.engine.sending import UploadStep
from syncs.records import Record

COMMIT_EVERY_SECONDS = 0.25  # an answer waits at most this long for its commit
PROGRESS_EVERY_SECONDS = 1.0  # counts of a run that sends nothing still move on the page
WAIT_WORTH_A_STEP_SECONDS = 1.0


class Journal:
    """Gathers one ``Commit`` after the other. ``begin()`` first: it numbers the steps.

    Commits are written by a thread of their own, one at a time: the database's time is spent while the run reads and maps on.
    """

    def __init__(self, recorder: Recorder, clock: Clock, counts: Counts) -> None:
        self._recorder = recorder
        self._clock = clock
        self._counts = counts
        self._commit = Commit(counts=counts)
        self._touched: dict[int, UploadStep] = {}
        self._next_number = 1
        self._query: StepUpdate | None = None
        self._is_query_written = True
        self._last_write = clock.monotonic()
        self._pool = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="record", initializer=log_context.take_over, initargs=(log_context.about(),)
        )
        self._writing: Future[None] | None = None
        self._is_urgent = False

    def begin(self) -> list[Send]:
        """Open the query step; returns the calls whose answers were never recorded, now steps of this run."""
        sends = self._recorder.adopt_interrupted()
        self._next_number = self._recorder.next_step_number()
        self._query = StepUpdate(self.take_number(), StepKind.QUERY, StepStatus.INFLIGHT, self._clock.now(), is_new=True)
        self._is_query_written = False
        return sends

    def take_number(self) -> int:
        number = self._next_number
        self._next_number += 1
        return number

    def touch(self, step: UploadStep) -> None:
        self._touched[step.number] = step

    def touch_at_once(self, step: UploadStep) -> None:
        """Something to be recorded without waiting for company: a job whose name must not get lost."""
        self.touch(step)
        self._is_urgent = True

    def accept(self, records: Iterable[Record]) -> None:
        self._commit.accepted.extend(records)

    def reject(self, rejected: Iterable[Rejected]) -> None:
        self._commit.rejected.extend(rejected)

    def resolve_unchanged(self, keys: Iterable[str]) -> None:
        self._commit.resolved_unchanged.extend(keys)

    def note_wait(self, seconds: float, message: str) -> None:
        """A wait worth seeing becomes a step of its own; it ends when the wait will be over, unless the run stops before."""
        if seconds >= WAIT_WORTH_A_STEP_SECONDS:
            moment = self._clock.now()
            text = f"{message} Waiting {seconds:.0f} s."
            until = moment + timedelta(seconds=seconds)
            step = StepUpdate(self.take_number(), StepKind.WAIT, StepStatus.SUCCEEDED, moment, until, message=text, is_new=True)
            self._commit.steps.append(step)

    def end_query(self, status: StepStatus) -> None:
        if self._query is not None and self._query.finished_at is None:
            self._query.status = status
            self._query.finished_at = self._clock.now()
            self._is_query_written = False

    def seconds_since_commit(self) -> float:
        return self._clock.monotonic() - self._last_write

    def seconds_until_late(self) -> float:
        return 0.0 if self._is_urgent else max(0.0, self._patience() - self.seconds_since_commit())

    def is_late(self) -> bool:
        return self._is_urgent or self.seconds_since_commit() >= self._patience()

    def has_news(self) -> bool:
        return bool(self._touched or self._commit or not self._is_query_written)

    def _patience(self) -> float:
        return COMMIT_EVERY_SECONDS if self._touched or self._commit else PROGRESS_EVERY_SECONDS

    def write(self, on_done: Callable[[], None]) -> None:
        """Begin one transaction in the recording thread, while the run reads on. One at a time."""
        commit = self._take()
        self._writing = self._pool.submit(self._recorder.commit, commit)
        self._writing.add_done_callback(lambda _: on_done())

    @property
    def is_writing(self) -> bool:
        """A transaction was begun and its end not yet looked at."""
        return self._writing is not None

    def is_written(self) -> bool:
        """Look at the transaction begun: True once it is committed. Raises what it raised: ``FenceLostError`` when another
        worker owns the run, or the database's error."""
        if self._writing is None or not self._writing.done():
            return False
        self.finish_writing()
        return True

    def finish_writing(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def write_now(self) -> None:
        """End the transaction begun, then do another one with everything that has gathered."""
        self.finish_writing()
        self._pool.submit(self._recorder.commit, self._take()).result()

    def close(self) -> None:
        self._pool.submit(self._recorder.close)
        self._pool.shutdown(wait=True)

    def _take(self) -> Commit:
        moment = self._clock.now()
        commit, self._commit = self._commit, Commit(counts=self._counts)
        commit.counts = replace(self._counts)  # the run's thread counts on while this is written
        commit.steps.extend(step.update(moment) for step in self._touched.values())
        self._touched = {}
        if self._query is not None and not self._is_query_written:
            self._query.row_count = self._counts.read
            commit.steps.append(replace(self._query))
            self._query.is_new = False
            self._is_query_written = True
        commit.progressed = bool(commit.accepted or commit.rejected or self._is_urgent)
        self._is_urgent = False
        self._last_write = self._clock.monotonic()
        return commit
