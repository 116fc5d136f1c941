"""Executes one run in a process of its own and kills it with SIGKILL at the n-th passing of a named point.

    python -m tests.faults.die_at RUN_ID POINT N

The product knows nothing of the points: they are wrapped around its methods here. Exit code 0: the point was never reached.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import django

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


class Countdown:
    """Kills the process at the n-th ``tick``."""

    def __init__(self, count: int) -> None:
        self._left = count

    def tick(self) -> None:
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


def before(count: Countdown) -> Wrapper:
    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            count.tick()
            return method(*args, **kwargs)

        return wrapped

    return wrap


def after(count: Countdown) -> Wrapper:
    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            count.tick()
            return result

        return wrapped

    return wrap


def after_accepting(count: Countdown) -> Wrapper:
    """Commits that accept nothing do not count."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(recorder: Any, commit: Any) -> Any:
            method(recorder, commit)
            if commit.accepted:
                count.tick()

        return wrapped

    return wrap


def after_keeping(count: Countdown) -> Wrapper:
    """Commits without a job do not count."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(batches: Any, updates: Any) -> Any:
            method(batches, updates)
            if any(update.has_jobs for update in updates):
                count.tick()

        return wrapped

    return wrap


def set_up(point: str, count: Countdown) -> None:
    from dlq.sink import DLQSink, EntrySelection
    from syncs.destinations.http_api.destination import HttpDestination
    from syncs.services import execution, ownership
    from syncs.services.job_batches import JobBatches
    from syncs.services.recorder import DatabaseRecorder

    places: dict[str, tuple[Any, str, Wrapper]] = {
        "before_t1": (DatabaseRecorder, "commit", before(count)),
        "before_send": (HttpDestination, "write", before(count)),
        "after_answer": (HttpDestination, "write", after(count)),
        "before_look": (HttpDestination, "confirm", before(count)),
        "after_look": (HttpDestination, "confirm", after(count)),
        "in_t2_job_kept": (JobBatches, "write", after_keeping(count)),
        "in_t2_steps_written": (DatabaseRecorder, "_write_steps", after(count)),
        "in_t2_accepted_written": (DatabaseRecorder, "_write_ledger", after_accepting(count)),
        "in_t2_dead_letters_written": (DLQSink, "store", after(count)),
        "in_t2_entries_resolved": (DLQSink, "resolve", after(count)),
        "after_commit": (DatabaseRecorder, "commit", after(count)),
        "in_finish": (DLQSink, "finish", after(count)),
        "after_finish": (execution._Execution, "_finish", after(count)),
        "after_adoption": (DatabaseRecorder, "adopt_interrupted", after(count)),
        "entries_in_flight": (EntrySelection, "_walk", _each(count)),
        "after_claim": (ownership, "_take", after(count)),
    }
    owner, name, wrap = places[point]
    setattr(owner, name, wrap(getattr(owner, name)))


def _each(count: Countdown) -> Wrapper:
    """For a generator: at the n-th item it hands out."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            for item in method(*args, **kwargs):
                count.tick()
                yield item

        return wrapped

    return wrap


def main(run_id: int, point: str, number: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "retl_project.settings")
    django.setup()
    from syncs.services import runs, worker

    set_up(point, Countdown(number))
    claim = runs.claim(run_id=run_id, worker="die_at")
    assert claim is not None, "somebody else has the run"
    worker.execute(claim)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
