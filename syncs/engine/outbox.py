"""What waits to be sent: ready now, delayed by a retry, held back by a rate limit, or to be sent with nothing beside it."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable

from syncs.engine.ports import Budget
from syncs.engine.sending import Sending


class Outbox:
    """Times are monotonic seconds. ``on_block(seconds, message)`` is told of waits that hold everything back."""

    def __init__(self, budget: Budget, on_block: Callable[[float, str], None]) -> None:
        self._budget = budget
        self._on_block = on_block
        self._ready: deque[Sending] = deque()
        self._delayed: list[tuple[float, int, Sending]] = []
        self._order = itertools.count()
        self._is_isolating = False
        self.blocked_until = 0.0

    def __len__(self) -> int:
        return len(self._ready) + len(self._delayed)

    @property
    def ready_count(self) -> int:
        return len(self._ready)

    def add(self, sending: Sending) -> None:
        self._ready.append(sending)

    def repeat(self, sending: Sending, now: float, wait: float) -> None:
        if wait > 0:
            heapq.heappush(self._delayed, (now + wait, next(self._order), sending))
        else:
            self._ready.appendleft(sending)

    def take(self, now: float, *, places: int) -> list[Sending]:
        """Up to ``places`` sendings that may go now, as the budget allows. One that goes alone waits for an empty house:
        the caller gives it ``places`` only when nothing is under way (see ``wants_empty_house``)."""
        self._wake(now)
        if now < self.blocked_until or self._is_isolating or not self._ready or places <= 0:
            return []
        if self._ready[0].is_alone:
            places = 1
            self._is_isolating = True
        return self._pop(self._grant(now, min(places, len(self._ready))))

    def grant(self, now: float, wanted: int) -> int:
        """How many calls beside those that wait here may go now: none while something holds everything back."""
        return 0 if now < self.blocked_until or self._is_isolating or wanted <= 0 else self._grant(now, wanted)

    def _grant(self, now: float, wanted: int) -> int:
        granted, wait = self._budget.take(wanted)
        if granted < wanted:
            self.block(now, wait, "The connection's request limit is used up for this window.")
        return granted

    def _pop(self, count: int) -> list[Sending]:
        if self._is_isolating:
            if not count:
                self._is_isolating = False
                return []
            return [self._ready.popleft()]
        taken: list[Sending] = []
        while len(taken) < count and self._ready and not self._ready[0].is_alone:
            taken.append(self._ready.popleft())
        return taken

    @property
    def wants_empty_house(self) -> bool:
        return bool(self._ready) and self._ready[0].is_alone

    def isolated_one_is_back(self) -> None:
        self._is_isolating = False

    def block(self, now: float, seconds: float, message: str) -> None:
        """Nothing is sent for so many seconds."""
        if now + seconds > self.blocked_until:
            self.blocked_until = now + seconds
            self._on_block(seconds, message)

    def seconds_until_due(self, now: float) -> float:
        """Until something may be sent; 0 when it may now, infinity when nothing waits."""
        if not len(self):
            return float("inf")
        due = now if self._ready else self._delayed[0][0]
        return max(0.0, due - now, self.blocked_until - now)

    def rest(self) -> list[Sending]:
        return [*self._ready, *(entry[2] for entry in self._delayed)]

    def _wake(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            self._ready.appendleft(heapq.heappop(self._delayed)[2])
