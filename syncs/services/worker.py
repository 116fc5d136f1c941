"""What a worker process does: take a run and execute it; and the tick that starts, rescues and rings."""

from __future__ import annotations

import logging
import os
import signal
import socket
from dataclasses import dataclass

from django.db import DatabaseError
from django.utils import timezone

from syncs import log_context
from syncs.models import Run
from syncs.secrets import SecretsError
from syncs.services import chain_firings, heartbeats, markers, runs, schedules, schema_watch, sweeping, triggering
from syncs.services.leases import DRAIN, Claim, draining_on_signals
from syncs.signals import idled, ticked

logger = logging.getLogger(__name__)


def worker_name() -> str:
    """Host and process id: what the run page shows, and what the supervisor looks for."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Tick:
    started: int
    reaped: int
    rung: int

    def __bool__(self) -> bool:
        return bool(self.started or self.reaped or self.rung)


def tick() -> Tick:
    """Start what is due, rescue what lost its worker, ring again where a message was lost. Any number may run at once."""
    started = schedules.start_due()
    reaped = runs.reap()
    chain_firings.answer_due()
    done = Tick(started=len(started), reaped=len(reaped), rung=runs.ring_lost())
    heartbeats.beat(heartbeats.TICK, note=worker_name())
    ticked.send_robust(sender=Tick)
    triggering.forget(timezone.now())
    schema_watch.ring_due()  # last: nobody waits for it, nor for what is forgotten
    sweeping.sweep_due()
    return done


def work(run_id: int) -> int | None:
    """Answer one doorbell: execute this run, or else the one of its kind that waits longest. Returns its id, or None.

    SIGTERM meanwhile makes the run finish its batches in flight and go back to the queue.
    """
    is_short = Run.objects.filter(pk=run_id).values_list("is_short", flat=True).first()
    if is_short is None:
        return None
    with draining_on_signals(signal.SIGTERM, also=markers.limit_orphan), markers.drainable():
        if DRAIN.is_set():
            return None
        name = worker_name()
        claim = runs.claim(run_id=run_id, worker=name) or runs.claim(worker=name, is_short=is_short)
        if claim is not None:
            execute(claim)
    markers.leave_if_orphaned()
    return claim.run_id if claim else None


def execute(claim: Claim) -> None:
    """Run it to its end. What nobody foresaw fails the run by name; it would fail the same way for the next worker."""
    from syncs.services import execution

    with log_context.working_on(run_id=claim.run_id):
        try:
            execution.execute(claim)
        except DatabaseError:
            raise  # the lease ends by itself, and the run goes on when the database does
        except Exception as error:
            logger.exception("Run %s stopped by an error that nobody foresaw.", claim.run_id)
            unforeseen = f"An unforeseen error stopped the run ({type(error).__name__}). The worker's log has the details."
            runs.abandon(claim, str(error) if isinstance(error, SecretsError) else unforeseen)


def until_idle() -> int:
    """Tick, then execute in this process until nothing is left to claim. SIGTERM and SIGINT stop it between batches.

    Returns how many runs were executed.
    """
    done = 0
    with draining_on_signals(signal.SIGTERM, signal.SIGINT):
        schedules.start_due()
        chain_firings.answer_due()
        heartbeats.beat(heartbeats.TICK, note=worker_name())
        while not DRAIN.is_set():
            runs.reap()
            claim = runs.claim(worker=worker_name())
            if claim is not None:
                execute(claim)
                done += 1
            elif not _is_anything_left():
                break
    return done


def _is_anything_left() -> bool:
    return any(answer is True for _receiver, answer in idled.send_robust(sender=Tick))
