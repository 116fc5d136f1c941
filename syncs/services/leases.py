"""The lease of a running run: who holds it, how long, and what its holder is asked to do between batches."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType, TracebackType

from django.conf import settings
from django.db import Error, connection

from syncs import log_context
from syncs.engine.ports import Flag
from syncs.errors import FenceLostError
from syncs.models import Run
from syncs.querysets import database_now

logger = logging.getLogger(__name__)

# Set once per process, never cleared: a process that drains takes no more work.
DRAIN = threading.Event()

POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A run held by this process. Writes are valid while the run still carries ``fence``.

    ``lease_ends``: this process's monotonic clock, taken before the database was asked, so it never errs on the late side.
    """

    run_id: int
    fence: int
    worker: str = ""
    lease_ends: float = 0.0


def lease_seconds() -> int:
    seconds: int = settings.RETL["LEASE_SECONDS"]
    return seconds


class LeaseKeeper:
    """Renews the lease of a claim from a thread and implements ``engine.ports.Control``.

    ``concurrency``: calls at once the destination allows; with it, ``concurrency_share`` divides them among the live runs of
    the connection. It may be set later, once the destination is built.
    """

    def __init__(self, claim: Claim, *, concurrency: int | None = None) -> None:
        self.claim = claim
        self.concurrency = concurrency
        self._ends = claim.lease_ends or time.monotonic() + lease_seconds()
        self._renew_every = lease_seconds() / 3
        self._flag = Flag.GO
        self._live_runs = 1
        self._lost = False
        self._stop = threading.Event()
        self._about = log_context.about()
        self._thread = threading.Thread(target=self._keep, name=f"lease-of-run-{claim.run_id}", daemon=True)

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def flag(self) -> Flag:
        if self._lost or time.monotonic() >= self._ends:
            raise FenceLostError(f"Run {self.claim.run_id} belongs to another worker now: its lease was lost.")
        if self._flag is Flag.GO and DRAIN.is_set():
            return Flag.DRAIN
        return self._flag

    def lease_seconds_left(self) -> float:
        return 0.0 if self._lost else max(0.0, self._ends - time.monotonic())

    def concurrency_share(self) -> int | None:
        return None if self.concurrency is None else max(1, self.concurrency // self._live_runs)

    def _keep(self) -> None:
        log_context.take_over(self._about)
        pause = min(POLL_SECONDS, self._renew_every / 2)
        renewed_at = self._ends - lease_seconds()
        try:
            while not self._lost:
                try:
                    self._look()
                    if time.monotonic() - renewed_at >= self._renew_every:
                        self._renew()
                        renewed_at = time.monotonic()
                except Error as error:
                    # The database may come back before the lease ends; flag() stops the run if it does not.
                    logger.warning("Run %s: the lease could not be renewed (%s), trying again.", self.claim.run_id, error)
                    connection.close()
                if self._stop.wait(pause):
                    return
        finally:
            connection.close()

    def _look(self) -> None:
        asked = (
            Run.objects.owned(self.claim.run_id, self.claim.fence)
            .values_list("cancel_requested_at", "sync__is_paused", "sync__is_archived", "sync__destination_id")
            .first()
        )
        if asked is None:
            self._lost = True
            return
        cancelled_at, is_paused, is_archived, destination_id = asked
        self._flag = Flag.CANCEL if cancelled_at else Flag.PAUSE if is_paused or is_archived else Flag.GO
        self._live_runs = max(1, Run.objects.live().filter(sync__destination_id=destination_id).count())

    def _renew(self) -> None:
        asked_at = time.monotonic()
        until = database_now() + timedelta(seconds=lease_seconds())
        if Run.objects.owned(self.claim.run_id, self.claim.fence).update(lease_until=until):
            self._ends = asked_at + lease_seconds()
        else:
            self._lost = True


@contextlib.contextmanager
def draining_on_signals(*signals: signal.Signals, also: Callable[[], None] | None = None) -> Iterator[None]:
    """Turn these signals into a request to stop after the batches in flight. Outside the main thread: does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def drain(number: int, frame: FrameType | None) -> None:
        DRAIN.set()
        if also is not None:
            also()

    before = {number: signal.signal(number, drain) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
