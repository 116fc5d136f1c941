"""Waiting for a run from a terminal: a progress bar, and the run's end in one line."""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import Any

from django.db import Error, connection
from tqdm import tqdm

from syncs.choices import RUN_TERMINAL, RunStatus
from syncs.models import Run
from syncs.services import runs, worker
from syncs.services.leases import DRAIN, draining_on_signals

EXIT_CODES = {RunStatus.SUCCEEDED: 0, RunStatus.PARTIAL: 1}
FAILED_EXIT = 2
_LOOK_SECONDS = 0.3


class ProgressBar(threading.Thread):
    """Rows settled so far, of as many as the sync's last whole run read."""

    def __init__(self, run: Run) -> None:
        super().__init__(name="progress", daemon=True)
        self._run_id = run.pk
        self._estimate = _estimate(run)
        self._halt = threading.Event()

    def run(self) -> None:
        try:
            with tqdm(total=self._estimate, unit=" rows", disable=None, file=sys.stderr, leave=False) as bar:
                while not self._halt.wait(_LOOK_SECONDS):
                    self._show(bar)
        finally:
            connection.close()

    def _show(self, bar: tqdm[Any]) -> None:
        try:
            run = Run.objects.get(pk=self._run_id)
        except Error:
            return  # the next look may succeed
        bar.set_description(run.status)
        bar.n = run.settled_count
        if bar.total and bar.n > bar.total:
            bar.total = run.read_count + run.vanished_count
        bar.refresh()

    def stop(self) -> None:
        self._halt.set()
        self.join()


def _estimate(run: Run) -> int | None:
    if "limit" in run.options:
        return int(run.options["limit"])
    if "keys" in run.options:
        return len(run.options["keys"])
    ended = Run.objects.filter(sync_id=run.sync_id, status__in=(RunStatus.SUCCEEDED, RunStatus.PARTIAL))
    return next((past.read_count for past in ended.order_by("-id")[:5] if not past.options), None)


def wait(run: Run, *, patience: float = 2.0) -> Run:
    """Until the run has ended. Where no worker takes it within ``patience`` seconds, it is executed in this process.

    SIGTERM and SIGINT give a run of this process back to the queue; then, and only then, the run returned is not at its end.
    """
    bar = ProgressBar(run)
    bar.start()
    try:
        with draining_on_signals(signal.SIGTERM, signal.SIGINT):
            waits_since = time.monotonic()
            while not DRAIN.is_set():
                run.refresh_from_db()
                if run.status in RUN_TERMINAL:
                    break
                if run.status == RunStatus.RUNNING:
                    waits_since = time.monotonic()
                    runs.reap()
                elif time.monotonic() - waits_since >= patience:
                    claim = runs.claim(run_id=run.pk, worker=worker.worker_name())
                    if claim is not None:
                        worker.execute(claim)
                        continue
                DRAIN.wait(_LOOK_SECONDS)
    finally:
        bar.stop()
    run.refresh_from_db()
    return run


def exit_code(run: Run) -> int:
    """0 succeeded, 1 partial, 2 everything else."""
    return EXIT_CODES.get(RunStatus(run.status), FAILED_EXIT)


def outcome(run: Run) -> str:
    """The end of a run in one line, counts that add up first."""
    parts = [
        f"{run.read_count:,} read",
        f"{run.accepted_count:,} accepted",
        f"{run.unchanged_count:,} unchanged",
        f"{run.skipped_count:,} skipped",
        f"{run.dead_lettered_count:,} dead-lettered",
    ]
    if run.vanished_count:
        parts.insert(1, f"{run.vanished_count:,} vanished")
    if run.pending_count:
        parts.append(f"{run.pending_count:,} pending")
    took = run.duration()
    seconds = f" in {took.total_seconds():.1f} s" if took else ""
    why = run.failure_message or run.reason
    return f"Run {run.pk} {run.status}{seconds}: {', '.join(parts)}." + (f" {why}" if why else "")
