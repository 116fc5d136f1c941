"""One django-q2 cluster as a child process: started in a process group of its own, watched, drained, killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from django.conf import settings

from syncs.services import markers

WORK = "syncs.tasks.work"


class Cluster:
    """``name``: the queue it serves. ``workers``: its pool. ``process``: the cluster's first process, leader of its group."""

    def __init__(self, name: str, *, workers: int) -> None:
        self.name = name
        self.workers = workers
        self.folder = Path(tempfile.mkdtemp(prefix=f"redrive-{name}-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.unanswered_since: float | None = None  # when the oldest canary without an answer was rung
        self._asked: set[tuple[int, float]] = set()

    def start(self) -> None:
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)
        environment = {
            **os.environ,
            markers.FOLDER: str(self.folder),
            markers.SUPERVISOR: str(os.getpid()),
            "REDRIVE_WORKERS": str(self.workers),
        }
        environment.pop("Q_CLUSTER_NAME", None)
        if self.name != settings.Q_CLUSTER["name"]:
            environment["Q_CLUSTER_NAME"] = self.name
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"]
        # A session of its own: Ctrl-C in a terminal reaches the supervisor alone, and the whole group can be killed.
        self.process = subprocess.Popen(command, env=environment, cwd=settings.BASE_DIR, start_new_session=True)  # noqa: S603
        self.started_at = time.time()
        self.unanswered_since = None
        self._asked.clear()

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def exit_code(self) -> int | None:
        return self.process.poll() if self.process else None

    def busy(self) -> list[markers.Busy]:
        return markers.busy(self.folder)

    def has_answered(self) -> bool:
        """A worker of this cluster began or ended a task since the cluster was started."""
        return markers.last_proof(self.folder) > 0

    def rung(self, at: float) -> None:
        """A canary was put into the queue."""
        if self.unanswered_since is None or markers.last_proof(self.folder) > self.unanswered_since:
            self.unanswered_since = at

    def silent_seconds(self, now: float) -> float:
        """How long a canary has waited while no worker of this cluster began or ended anything; 0 when all is well."""
        if self.unanswered_since is None or markers.last_proof(self.folder) >= self.unanswered_since:
            return 0.0
        return now - self.unanswered_since

    def ask_to_stop(self) -> None:
        """SIGTERM to the first process only: django-q2 hangs when the whole group gets it."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def ask_to_drain(self) -> None:
        """Workers in a run finish their batches in flight and give the run back. Asked once per task; call it repeatedly."""
        for task in self.busy():
            if task.is_drainable and (task.pid, task.began_at) not in self._asked:
                self._asked.add((task.pid, task.began_at))
                _signal(task.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group, the first process and what it left behind."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
