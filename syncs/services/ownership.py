"""Who works on a run: claimed, given back, ended, taken away from a dead worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from syncs.choices import ConnectionRole, RunStatus, StepStatus, Trigger
from syncs.engine.ports import Counts
from syncs.errors import ConfigError, CredentialsError, ErrorType, RedriveError, SourceError, TransientError
from syncs.models import Run, Step
from syncs.querysets import database_now
from syncs.records import RowError
from syncs.services import chain_firings, periods, sinks, touches
from syncs.services.counting import count_columns
from syncs.services.doorbell import ring, ring_next
from syncs.services.leases import Claim, lease_seconds
from syncs.signals import run_finished

logger = logging.getLogger(__name__)

HARD_STOP = 12  # crashes in a row that end a run even while a batch is still in flight


def claim(*, run_id: int | None = None, worker: str, is_short: bool | None = None) -> Claim | None:
    """Take one queued run: this one, or the one that waits longest. None: there is nothing to take.

    The lease runs from now by the database's clock; the fence moves on by one, so a former owner can write nothing more.
    """
    asked_at = time.monotonic()
    now = database_now()
    waiting = Run.objects.claimable(now)
    if run_id is not None:
        waiting = waiting.filter(pk=run_id)
    if is_short is not None:
        waiting = waiting.filter(is_short=is_short)
    for pk, fence in waiting.order_by("queued_at", "id").values_list("pk", "fence")[:10]:
        if _take(pk, fence, now, worker):
            return Claim(run_id=pk, fence=fence + 1, worker=worker, lease_ends=asked_at + lease_seconds())
    return None


def _take(pk: int, fence: int, now: datetime, worker: str) -> bool:
    try:
        with transaction.atomic():
            taken = (
                Run.objects.claimable(now)
                .filter(pk=pk, fence=fence)
                .update(
                    status=RunStatus.RUNNING,
                    fence=fence + 1,
                    lease_until=now + timedelta(seconds=lease_seconds()),
                    started_at=Coalesce(F("started_at"), now),
                    worker=worker[:120],
                    not_before=None,
                    reason="",
                )
            )
    except IntegrityError:  # run_one_live_per_sync: another run of the sync was claimed at the same moment
        return False
    return taken == 1


def release(claim: Claim, *, reason: str, not_before: datetime | None = None) -> bool:
    """Give a run back to the queue (drain, pause, a long wait); whoever takes it next goes on by the ledger."""
    with transaction.atomic():
        given = Run.objects.owned(claim.run_id, claim.fence).update(
            status=RunStatus.QUEUED, lease_until=None, worker="", reason=reason[:255], not_before=not_before
        )
        if given != 1:
            return False
        run = Run.objects.get(pk=claim.run_id)
        if run.cancel_requested_at is not None:
            end_queued(run, "Cancelled.")
            return True
        if not_before is None:
            ring(run)
        ring_next(run.sync_id, after=run.pk)
    return True


def finish(
    claim: Claim,
    *,
    status: RunStatus,
    counts: Counts,
    error_summary: Sequence[Mapping[str, Any]] = (),
    failure: RedriveError | RowError | None = None,
    reason: str = "",
) -> bool:
    """End a run this process holds. False: somebody else owns it, and nothing was written.

    May be called inside a transaction that also writes what belongs to the end; ``run_finished`` is sent after its commit.
    """
    with transaction.atomic():
        ended = Run.objects.owned(claim.run_id, claim.fence).end(
            status,
            now=database_now(),
            error_summary=list(error_summary),
            failure_type=_failure_type(failure),
            failure_code=_failure_code(failure),
            failure_message=failure.message if failure else "",
            failure_role=_failure_role(failure),
            reason=reason[:255],
            pending_count=counts.pending,
            **count_columns(counts),
        )
        if ended != 1:
            return False
        ring_next(_announce(claim.run_id))
    return True


def abandon(claim: Claim, message: str) -> bool:
    """Fail a run this process holds, with the counts that are recorded. False: somebody else owns it."""
    with transaction.atomic():
        run = Run.objects.get(pk=claim.run_id)
        ended = Run.objects.owned(claim.run_id, claim.fence).end(
            RunStatus.FAILED, now=database_now(), failure_type=ErrorType.UNKNOWN.value, failure_message=message
        )
        if ended:
            _close(run)
    return ended == 1


def _failure_type(failure: RedriveError | RowError | None) -> str:
    if failure is None:
        return ""
    return (failure.type if isinstance(failure, RowError) else failure.error_type).value


def _failure_code(failure: RedriveError | RowError | None) -> str:
    if failure is None:
        return ""
    return failure.code[:120] or ("config" if isinstance(failure, ConfigError) else "")


# Fields of a SourceError that are about what the sync asks, not about the way to the warehouse.
_OF_THE_QUERY = ("query", "cursor_column", "key_columns")


def _failure_role(failure: RedriveError | RowError | None) -> str:
    if isinstance(failure, SourceError):
        return "" if failure.field in _OF_THE_QUERY else ConnectionRole.SOURCE.value
    return ConnectionRole.DESTINATION.value if isinstance(failure, CredentialsError | TransientError) else ""


def _announce(run_id: int) -> int:
    """Count the run that has ended, have its sync judged and note its chains, and say so after the commit. Returns the id of
    its sync."""
    sync_id = periods.add(run_id)
    touches.touch(sync_id)
    chain_firings.note(run_id, sync_id)
    transaction.on_commit(lambda: run_finished.send_robust(sender=Run, run_id=run_id) and None)
    return sync_id


def _close(run: Run) -> None:
    """What belongs to an end without a worker: open steps are closed, dead letters that waited for the run go back.

    A step whose call may have landed stays in flight: the next run that reads all rows repeats it under the same key. One that
    waits for a job goes on waiting: the next run asks.
    """
    in_flight = Step.objects.filter(run=run, status=StepStatus.INFLIGHT)
    in_flight.filter(sends=[]).update(status=StepStatus.INTERRUPTED, finished_at=timezone.now())
    message = "The run ended before the answer was recorded; the next full run repeats the call."
    in_flight.filter(message="").update(message=message)
    message = "The run ended while the destination worked on this batch; the next run asks how that ended."
    Step.objects.filter(run=run, status=StepStatus.CONFIRMING).update(message=message)
    if run.trigger == Trigger.REPROCESS:
        sinks.put_back_entries(run)
    ring_next(run.sync_id)
    _announce(run.pk)


@transaction.atomic
def end_queued(run: Run, reason: str, *, by_id: int | None = None) -> bool:
    """Cancel a run that waits. False: it does not wait any more."""
    asked: dict[str, Any] = {} if by_id is None else {"cancel_requested_by_id": by_id}
    ended = Run.objects.filter(pk=run.pk, status=RunStatus.QUEUED).end(
        RunStatus.CANCELLED, now=database_now(), reason=reason[:255], **asked
    )
    if ended:
        _close(run)
    return bool(ended)


def reap() -> list[Run]:
    """Take runs away from workers that stopped renewing: back to the queue, or to their end after too many crashes."""
    now = database_now()
    reaped = []
    for run in Run.objects.lease_expired(now).order_by("lease_until")[:100]:
        try:
            with transaction.atomic():
                if _reap(run, now):
                    reaped.append(run)
        except Exception:
            logger.exception("Run %s: its dead lease could not be cleared; the next tick tries again.", run.pk)
    return reaped


def _reap(run: Run, now: datetime) -> bool:
    mine = Run.objects.filter(pk=run.pk, fence=run.fence, lease_until=run.lease_until, status=RunStatus.RUNNING)
    crashes = run.crash_count + 1
    counted = {"crash_count": F("crash_count") + 1, "total_crash_count": F("total_crash_count") + 1}
    if run.cancel_requested_at is not None:
        reason = "Cancelled; its worker stopped before it could say so."
        return _ended(mine.end(RunStatus.CANCELLED, now=now, reason=reason, **counted), run)
    if _gives_up(run, crashes):
        message = (
            f"The worker stopped {crashes} times in a row without getting any further (last: {run.worker or 'unknown'}). "
            "Usual causes: too little memory, or a kill by the operating system. See the worker's log, then run the sync again."
        )
        failed = mine.end(
            RunStatus.FAILED,
            now=now,
            failure_type=ErrorType.WORKER_CRASH.value,
            failure_message=message,
            reason="Gave up after repeated worker crashes.",
            **counted,
        )
        return _ended(failed, run)
    reason = f"Its worker ({run.worker}) stopped; the next one goes on."[:255]
    back = mine.update(status=RunStatus.QUEUED, lease_until=None, worker="", reason=reason, **counted)
    if back:
        logger.warning("Run %s: worker %s stopped renewing its lease; the run is back in the queue.", run.pk, run.worker)
        ring(run)
    return back == 1


def _gives_up(run: Run, crashes: int) -> bool:
    if crashes >= HARD_STOP:
        return True
    # With a batch in flight the next attempt isolates the row that kills the worker; without, it would only crash again.
    return crashes >= settings.RETL["MAX_CRASHES"] and not Step.objects.filter(run=run, status=StepStatus.INFLIGHT).exists()


def _ended(count: int, run: Run) -> bool:
    if count:
        logger.error("Run %s ended without its worker: %s", run.pk, run.worker)
        _close(run)
    return count == 1
