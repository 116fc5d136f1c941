"""Signs of life that the processes of a cluster leave for their supervisor, and the tie that ends them with it.

A folder per cluster, named by the environment: ``proof`` is touched whenever a worker begins or ends a task; ``<pid>`` says
what a worker is busy with. Without the environment variables (web process, tests, ``--once``) all of this does nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = "REDRIVE_CLUSTER_FOLDER"
SUPERVISOR = "REDRIVE_SUPERVISOR_PID"
ORPHAN_SECONDS = 40.0

_PR_SET_PDEATHSIG = 1
_tied_to: int | None = None  # process id of the cluster process that forked this one


@dataclass(frozen=True, slots=True)
class Busy:
    """A task a worker process is in. ``is_drainable``: it takes SIGTERM as a request to stop after the batches in flight."""

    pid: int
    function: str
    is_drainable: bool
    began_at: float


def folder() -> Path | None:
    name = os.environ.get(FOLDER)
    return Path(name) if name else None


def _write(path: Path, text: str) -> None:
    """A supervisor that is gone has taken its folder along; that must not fail a task."""
    with contextlib.suppress(OSError):
        draft = path.with_suffix(f".{os.getpid()}.new")
        draft.write_text(text)
        draft.replace(path)


def prove_life() -> None:
    place = folder()
    if place is not None:
        _write(place / "proof", str(time.time()))


def begin(function: str, *, is_drainable: bool = False) -> None:
    place = folder()
    if place is not None:
        state = {"function": function, "is_drainable": is_drainable, "began_at": time.time()}
        _write(place / str(os.getpid()), json.dumps(state))
        prove_life()


def end() -> None:
    place = folder()
    if place is not None:
        (place / str(os.getpid())).unlink(missing_ok=True)
        prove_life()


@contextlib.contextmanager
def drainable() -> Iterator[None]:
    begin("syncs.tasks.work", is_drainable=True)
    try:
        yield
    finally:
        begin("syncs.tasks.work")


def last_proof(place: Path) -> float:
    """When a worker last began or ended a task (seconds since the epoch), 0 if never."""
    try:
        return (place / "proof").stat().st_mtime
    except OSError:
        return 0.0


def busy(place: Path) -> list[Busy]:
    """What the living workers are in."""
    found = []
    for path in place.iterdir():
        if not path.name.isdigit():
            continue
        pid = int(path.name)
        try:
            os.kill(pid, 0)
            state = json.loads(path.read_text())
        except (OSError, ValueError):
            path.unlink(missing_ok=True)  # a worker that was killed in its task
            continue
        found.append(Busy(pid, state["function"], state["is_drainable"], state["began_at"]))
    return found


# --- Tied to the supervisor: no process of a cluster outlives it.


def attach() -> None:
    """Called when Django starts in a cluster's first process. Every process it forks is tied to the one above it."""
    supervisor = os.environ.get(SUPERVISOR)
    if not supervisor:
        return
    _die_with_parent(signal.SIGKILL, int(supervisor))
    above = [os.getpid()]

    def tie() -> None:
        global _tied_to
        parent, above[0] = above[0], os.getpid()
        # A worker in a run takes SIGTERM as a request to drain; everybody else just ends.
        _die_with_parent(signal.SIGTERM, parent)
        _tied_to = parent

    os.register_at_fork(after_in_child=tie)
    _connect_signals()


def _die_with_parent(number: signal.Signals, parent: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:  # it ended before we were tied to it
        os._exit(1)


def _connect_signals() -> None:
    from django_q.signals import post_execute_in_worker, pre_execute

    pre_execute.connect(_task_begins, dispatch_uid="redrive-marker")
    post_execute_in_worker.connect(_task_ends, dispatch_uid="redrive-marker")


def _task_begins(task: dict[str, Any], **kwargs: Any) -> None:
    begin(str(task.get("func", "")))


def _task_ends(**kwargs: Any) -> None:
    end()


def is_orphaned() -> bool:
    return _tied_to is not None and os.getppid() != _tied_to


def limit_orphan() -> None:
    """On SIGTERM: a worker whose cluster is gone may finish its batches in flight, but not live on for longer than that."""
    if is_orphaned():
        timer = threading.Timer(ORPHAN_SECONDS, os._exit, [1])
        timer.daemon = True
        timer.start()


def leave_if_orphaned() -> None:
    """After the run was given back: nobody is left to hand this worker another task."""
    if is_orphaned():
        end()
        os._exit(0)
