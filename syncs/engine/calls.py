"""Calls under way: a thread pool that sends, and a queue of answers that the run's own thread reads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue

from syncs import log_context
from syncs.destinations.base import Destination
from syncs.engine.ports import Clock, Control
from syncs.engine.sending import Sending
from syncs.errors import FenceLostError, RedriveError
from syncs.records import Batch, BatchResult


@dataclass(slots=True)
class Answer:
    """``result`` or, when the call could not be made at all, ``failure``."""

    sending: Sending
    started_at: datetime
    result: BatchResult | None = None
    failure: Exception | None = None


class Calls:
    """At most ``threads`` calls at once. ``write`` of the destination runs in the pool, or ``confirm`` for a sending that has a
    job; nothing here touches the database.

    ``lease_margin``: seconds of lease a call needs to begin, lest it is still on its way when the next worker starts.
    """

    def __init__(self, destination: Destination, control: Control, clock: Clock, *, threads: int, lease_margin: float) -> None:
        self._lease_margin = lease_margin
        self._destination = destination
        self._control = control
        self._clock = clock
        self._pool = ThreadPoolExecutor(
            max_workers=threads,
            thread_name_prefix="send",
            initializer=log_context.take_over,
            initargs=(log_context.about(),),
        )
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self.in_flight = 0
        self.sent_number = 0

    def submit(self, sending: Sending) -> None:
        self.sent_number += 1
        sending.sent_number = self.sent_number
        self.in_flight += 1
        self._pool.submit(self._call, sending)

    def _call(self, sending: Sending) -> None:
        answer = Answer(sending, self._clock.now())
        try:
            if self._control.lease_seconds_left() < self._lease_margin:
                raise FenceLostError("The lease ended before the batch was sent.")
            batch = Batch(sending.operation, sending.records, sending.idempotency_key, sending.step.call_count)
            job = sending.job
            answer.result = self._destination.write(batch) if job is None else self._destination.confirm(batch, job)
        except RedriveError as error:
            answer.failure = error
        except Exception as error:  # noqa: BLE001 - a connector's bug must reach the run's thread, never die in the pool
            answer.failure = error
        self._answers.put(answer)

    def wake(self) -> None:
        """End a ``wait`` early; from any thread."""
        self._answers.put(None)

    def wait(self, seconds: float) -> Iterator[Answer]:
        """Answers that are there, after waiting at most ``seconds`` for the first one or for ``wake``."""
        try:
            answer = self._answers.get(timeout=seconds) if seconds > 0 else self._answers.get_nowait()
            while True:
                if answer is not None:
                    self.in_flight -= 1
                    yield answer
                answer = self._answers.get_nowait()
        except Empty:
            return

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
