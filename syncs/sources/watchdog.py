"""A time limit for drivers that have none of their own: a thread calls ``interrupt`` when one step takes too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """``with watchdog.step(): cursor.execute(...)``. ``is_expired`` says that the limit, not the query, ended the step."""

    def __init__(self, seconds: float, interrupt: Callable[[], object]) -> None:
        self.seconds = seconds
        self.is_expired = False
        self._interrupt = interrupt
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._is_closed = False
        self._is_waiting_timed = False
        self._thread = threading.Thread(target=self._watch, name="source-watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def step(self) -> Iterator[None]:
        # The thread wakes at the earlier deadline it knows and then sees the new one: a step need not wake it.
        with self._changed:
            self._deadline = time.monotonic() + self.seconds
            if not self._is_waiting_timed:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._deadline = None

    def _watch(self) -> None:
        with self._changed:
            while not self._is_closed:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    self.is_expired = True
                    self._deadline = None
                    self._interrupt()
                    continue
                # With no step under way the thread still sleeps at most one limit, unless none ever started.
                self._is_waiting_timed = left is not None
                self._changed.wait(left)

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(timeout=5)
