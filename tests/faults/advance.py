"""Advances one bulk operation in a process of its own until it is over.

    python -m tests.faults.advance OPERATION_ID [POINT N]

With a point, it kills itself with SIGKILL at the n-th passing. It prints a line when it has taken the operation.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import django


def set_up(point: str, number: int) -> None:
    from dlq.services import moves
    from dlq.services.operations import acting, ending, members, ownership, settling, waves
    from tests.faults.die_at import Countdown, Wrapper, after

    count = Countdown(number)
    places: dict[str, tuple[Any, str, Wrapper]] = {
        "after_claim": (ownership, "claim", after(count)),
        "members_inserted": (members, "_insert", after(count)),
        "after_freeze": (members, "freeze", after(count)),
        "entries_moved": (moves, "lock_groups", after(count)),
        "events_written": (moves, "write_events", after(count)),
        "counters_shifted": (moves, "add_to_open_counts", after(count)),
        "items_marked": (acting, "_mark_done", after(count)),
        "after_slice": (acting, "act", after(count)),
        "in_finish": (ending, "finish", after(count)),
        "wave_requested": (waves, "_request", after(count)),
        "after_wave": (waves, "send", after(count)),
        "wave_counted": (settling, "_count_outcomes", after(count)),
        "after_settling": (settling, "settle", after(count)),
    }
    owner, name, wrap = places[point]
    setattr(owner, name, wrap(getattr(owner, name)))


def main(operation_id: int, point: str = "", number: str = "1") -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "retl_project.settings")
    django.setup()
    from dlq.models import BulkOperation
    from dlq.services import operations
    from dlq.services.operations import acting, members, ownership
    from syncs.services import worker

    acting.SIZE, members.CHUNK = 500, 10_000
    if point:
        set_up(point, int(number))
    claim = ownership.claim

    def told(operation_id: int) -> Any:
        taken = claim(operation_id)
        if taken is not None:
            print("taken", flush=True)
        return taken

    ownership.claim = told
    while not BulkOperation.objects.get(pk=operation_id).is_over:
        if not operations.advance(operation_id):
            worker.until_idle()
            time.sleep(0.02)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
