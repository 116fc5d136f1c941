"""What django-q2 calls, by name. Arguments are ids only; a lost, doubled or late call is harmless."""

from __future__ import annotations

from syncs.services import schema_watch, worker


def work(run_id: int) -> None:
    worker.work(run_id)


def tick() -> None:
    worker.tick()


def refresh_schema(watch_id: int) -> None:
    schema_watch.work(watch_id)


def canary() -> None:
    """Nothing: that a worker began and ended it is the proof the supervisor looks for."""
