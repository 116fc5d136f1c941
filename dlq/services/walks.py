"""Long walks over the entries: done in slices, by whoever is there, rung for again when a message or its worker was lost.

The truth of a walk is its row with ``is_over`` and ``touched_at``; a doubled or late message is harmless.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone
from django_q.tasks import async_task

from dlq.models import Reclassification, Regrouping
from syncs.services.doorbell import FAST_CLUSTER

STALE = timedelta(seconds=20)  # nobody has touched it for so long: ring again
WORK_SECONDS = 20.0  # of one message


@dataclass(frozen=True, slots=True)
class Walk:
    """``key``: the column by whose number a walk is named. ``task``: dotted path of what answers a message. ``slice``: does one
    slice of the walk with that number, in a transaction of its own, and says whether there may be more."""

    model: type[Reclassification] | type[Regrouping]
    key: str
    task: str
    slice: Callable[[int], bool]

    def ring(self, number: int) -> None:
        async_task(self.task, number, cluster=FAST_CLUSTER)

    def work(self, number: int) -> None:
        """What the doorbell calls."""
        if self.advance(number, budget_seconds=WORK_SECONDS):
            self.ring(number)

    def ring_lost(self) -> int:
        """Ring again for those that nobody works on. Returns how many there were."""
        lost = self._waiting(touched_at__lt=timezone.now() - STALE)
        for number in lost:
            self.ring(number)
        return len(lost)

    def advance_here(self) -> bool:
        """For a process that works until nothing is left: do what waits. Returns whether there was anything."""
        waiting = self._waiting()
        for number in waiting:
            while self.advance(number, budget_seconds=WORK_SECONDS):
                pass
        return bool(waiting)

    def advance(self, number: int, *, budget_seconds: float) -> bool:
        """Slices until it is over or the time is. Returns whether there is more to do."""
        until = time.monotonic() + budget_seconds
        while self.slice(number):
            if time.monotonic() >= until:
                return True
        return False

    def _waiting(self, **conditions: object) -> list[int]:
        rows = self.model._default_manager.filter(is_over=False, **conditions)
        return list(rows.values_list(self.key, flat=True))
