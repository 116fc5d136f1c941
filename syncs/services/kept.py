"""A few values kept in this process for minutes, so that a page that asks again while someone types does not read them anew."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class Kept(Generic[V]):
    """At most ``count`` values, each for ``seconds``. Name them by everything that they depend on. Safe between threads."""

    def __init__(self, *, seconds: float, count: int) -> None:
        self._seconds, self._count = seconds, count
        self._values: OrderedDict[str, tuple[float, V]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, name: str) -> V | None:
        with self._lock:
            kept = self._values.get(name)
            return None if kept is None or kept[0] < time.monotonic() else kept[1]

    def keep(self, name: str, value: V) -> None:
        with self._lock:
            self._values.pop(name, None)
            self._values[name] = (time.monotonic() + self._seconds, value)
            while len(self._values) > self._count:
                self._values.popitem(last=False)

    def drop(self, name: str) -> None:
        with self._lock:
            self._values.pop(name, None)
