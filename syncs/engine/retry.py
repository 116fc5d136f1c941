"""When to try again, how many calls at once, when to give the destination up. Pure decisions; time and chance are passed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter: a random wait between 0 and min(cap, base * 2 ** (tries - 1)) seconds.

    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. ``max_attempts``: calls per batch.
    ``budget_seconds``: longest time between a batch's first failure and its last call.
    """

    max_attempts: int = 5
    budget_seconds: float = 900.0
    base_seconds: float = 1.0
    cap_seconds: float = 60.0

    def wait(self, tries: int, *, random: Callable[[], float], retry_after: float | None = None) -> float:
        """Seconds to wait after the ``tries``-th failed call. A time the destination names is obeyed, plus up to 10 %."""
        if retry_after is not None:
            return retry_after * (1 + random() * 0.1)
        return random() * min(self.cap_seconds, self.base_seconds * 2.0 ** min(tries - 1, 30))

    def is_exhausted(self, tries: int, *, seconds_failing: float) -> bool:
        return tries >= self.max_attempts or seconds_failing >= self.budget_seconds


class AdaptiveConcurrency:
    """Calls at once: halved by a 429, then one more after every ``limit`` answers without one (AIMD, as TCP does)."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = max(1, ceiling)
        self.limit = self.ceiling
        self._good = 0
        self._reduced_at = -1

    def answered(self) -> None:
        if self.limit >= self.ceiling:
            return
        self._good += 1
        if self._good >= self.limit * 2:
            self._good = 0
            self.limit += 1

    def rate_limited(self, *, sent_number: int, newest_number: int) -> None:
        """``sent_number``: order in which the refused call was sent. Calls under way at a reduction do not reduce again."""
        if sent_number <= self._reduced_at:
            return
        self._reduced_at = newest_number
        self._good = 0
        self.limit = max(1, self.limit // 2)

    def set_ceiling(self, ceiling: int) -> None:
        self.ceiling = max(1, ceiling)
        self.limit = min(self.limit, self.ceiling)
