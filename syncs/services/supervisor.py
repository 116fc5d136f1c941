"""The process behind ``manage.py retl_worker``: owns the clusters, ticks by itself, restarts what hangs, drains on SIGTERM."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from django.conf import settings
from django.db import Error, connections, transaction
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from syncs.models import Run
from syncs.querysets import database_now
from syncs.services import heartbeats, worker
from syncs.services.clusters import WORK, Cluster
from syncs.services.doorbell import FAST_CLUSTER

logger = logging.getLogger(__name__)

TICK = "syncs.tasks.tick"
CANARY = "syncs.tasks.canary"


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. ``canary_limit``: silence after which a cluster is restarted; ``drain``: time runs get on SIGTERM."""

    tick: float = 5.0
    canary: float = 10.0
    canary_limit: float = 60.0
    drain: float = 35.0


def ensure_tick_schedule() -> None:
    """Exactly one django-q2 schedule of ours, as it should be; doubles (two workers started at once) go."""
    wanted = {"schedule_type": Schedule.MINUTES, "minutes": 1, "repeats": -1, "cluster": None, "args": None, "kwargs": None}
    with transaction.atomic():
        ours = list(Schedule.objects.select_for_update().filter(func=TICK).order_by("id"))
        if not ours:
            Schedule.objects.create(func=TICK, name="redrive-tick", next_run=timezone.now(), **wanted)
            return
        Schedule.objects.filter(func=TICK).exclude(pk=ours[0].pk).delete()
        Schedule.objects.filter(pk=ours[0].pk).exclude(**_as_filter(wanted)).update(**wanted)


def _as_filter(values: dict[str, object]) -> dict[str, object]:
    return {f"{name}__isnull" if value is None else name: True if value is None else value for name, value in values.items()}


class Pulse(threading.Thread):
    """Ticks, and rings the canaries. A thread, so that a slow database never keeps the supervisor from its signals."""

    def __init__(self, clusters: list[Cluster], pace: Pace, say: Callable[[str], None]) -> None:
        super().__init__(name="pulse", daemon=True)
        self.clusters = clusters
        self.pace = pace
        self.say = say
        self.stopping = threading.Event()
        self.suspects: set[str] = set()
        self.part = f"{heartbeats.WORKER}{worker.worker_name()}"
        self._was_down = False

    def run(self) -> None:
        next_canary = 0.0
        while not self.stopping.is_set():
            try:
                self._beat(with_canary=time.monotonic() >= next_canary)
                if time.monotonic() >= next_canary:
                    next_canary = time.monotonic() + self.pace.canary
                if self._was_down:
                    self.say("the database answers again")
                self._was_down = False
            except Error as error:
                if not self._was_down:
                    self.say(f"the database does not answer ({type(error).__name__}); trying again")
                self._was_down = True
                connections.close_all()
            except Exception:
                logger.exception("The tick failed; the next one follows.")
            self.stopping.wait(self.pace.tick)
        connections.close_all()

    def _beat(self, *, with_canary: bool) -> None:
        # Without this a connection that the server closed would stay broken for ever.
        for connection in connections.all(initialized_only=True):
            connection.close_if_unusable_or_obsolete()
        done = worker.tick()
        if done:
            self.say(f"tick: {done.started} started, {done.reaped} rescued, {done.rung} rung again")
        heartbeats.beat(self.part, note=", ".join(f"{one.name}: {one.workers}" for one in self.clusters))
        if with_canary:
            ensure_tick_schedule()
            heartbeats.forget_old_workers()
            for cluster in self.clusters:
                self._beat_for(cluster)
                self._ring(cluster)
        self.suspects = {cluster.name for cluster in self.clusters if self._hangs(cluster)}

    def _beat_for(self, cluster: Cluster) -> None:
        if cluster.exit_code() is None and cluster.has_answered() and not cluster.silent_seconds(time.time()):
            heartbeats.beat(f"{heartbeats.CLUSTER}{cluster.name}", note=self.part.removeprefix(heartbeats.WORKER))

    def _ring(self, cluster: Cluster) -> None:
        waiting = OrmQ.objects.filter(key=cluster.name, lock__lte=timezone.now()).count()
        at = time.time()
        if waiting < 5:  # a long queue is a canary itself, and a dead cluster's must not fill with ours
            async_task(CANARY, cluster=cluster.name)
        cluster.rung(at)

    def _hangs(self, cluster: Cluster) -> bool:
        """Silent for too long, and not because every worker is in a task that is alive."""
        if cluster.silent_seconds(time.time()) <= self.pace.canary_limit:
            return False
        return self._workers_busy(cluster) < cluster.workers

    def _workers_busy(self, cluster: Cluster) -> int:
        busy = cluster.busy()
        host = socket.gethostname()[:100]
        names = {f"{host}:{task.pid}" for task in busy if task.function == WORK}
        alive = Run.objects.live().filter(worker__in=names, lease_until__gt=database_now()).count()
        return alive + sum(task.function != WORK for task in busy)


class Supervisor:
    def __init__(self, *, workers: int, pace: Pace, say: Callable[[str], None]) -> None:
        fast: int = settings.Q_CLUSTER["ALT_CLUSTERS"][FAST_CLUSTER]["workers"]
        self.clusters = [
            Cluster(settings.Q_CLUSTER["name"], workers=workers),
            Cluster(FAST_CLUSTER, workers=fast),
        ]
        self.pace = pace
        self.say = say
        self.stopping = threading.Event()
        self._pulse = Pulse(self.clusters, pace, say)
        self._failures: dict[str, int] = {}

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            for cluster in self.clusters:
                self._start(cluster)
            self._pulse.start()
            while not self.stopping.wait(0.5):
                self._watch()
        finally:
            self._stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stopping.set()

    def _start(self, cluster: Cluster) -> None:
        cluster.start()
        self.say(f"cluster {cluster.name}: started, process {cluster.pid}, workers {cluster.workers}")

    def _watch(self) -> None:
        for cluster in self.clusters:
            code = cluster.exit_code()
            if code is not None:
                self._restart(cluster, f"ended by itself (exit code {code})")
            elif cluster.name in self._pulse.suspects:
                self._pulse.suspects = self._pulse.suspects - {cluster.name}
                silent = cluster.silent_seconds(time.time())
                if silent:
                    self._drain([cluster], seconds=min(self.pace.drain, 15))
                    self._restart(cluster, f"answered no canary for {silent:.0f} s")
            elif time.time() - cluster.started_at > 60:
                self._failures.pop(cluster.name, None)

    def _restart(self, cluster: Cluster, why: str) -> None:
        self.say(f"cluster {cluster.name}: {why}; killing what is left of it and starting it again")
        cluster.kill()
        failures = self._failures[cluster.name] = self._failures.get(cluster.name, 0) + 1
        if failures > 1 and self.stopping.wait(min(30.0, 2.0**failures)):  # a cluster that cannot start must not spin
            return
        self._start(cluster)

    def _drain(self, clusters: list[Cluster], *, seconds: float) -> list[Cluster]:
        """Let runs in these clusters go back to the queue. Returns the clusters that are still busy with one."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for cluster in clusters:
                cluster.ask_to_drain()
            if not any(task.is_drainable for cluster in clusters for task in cluster.busy()):
                return []
            time.sleep(0.2)
        return [cluster for cluster in clusters if any(task.is_drainable for task in cluster.busy())]

    def _stop(self) -> None:
        self.say("stopping: runs finish their batches in flight and go back to the queue")
        self._pulse.stopping.set()
        until = time.monotonic() + self.pace.drain
        for cluster in self.clusters:
            cluster.ask_to_stop()
        while time.monotonic() < until and any(cluster.exit_code() is None for cluster in self.clusters if cluster.pid):
            for cluster in self.clusters:
                cluster.ask_to_drain()
            time.sleep(0.2)
        for cluster in self.clusters:
            state = "killed after the time to drain" if cluster.exit_code() is None else "ended"
            cluster.kill()
            cluster.remove()
            self.say(f"cluster {cluster.name}: {state}")
        if self._pulse.is_alive():
            self._pulse.join(timeout=5)
        with contextlib.suppress(Error):
            heartbeats.forget(self._pulse.part)
        self.say(f"worker {os.getpid()} ended")
