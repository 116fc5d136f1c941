"""A wave whose runs have ended: what became of each entry, by the history that the run wrote; then go on, halt, or end."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from dlq.choices import EntryStatus, EventKind, ItemOutcome, OperationStatus
from dlq.models import BulkItem, BulkOperation, DLQEvent
from dlq.services.operations import outcomes, ownership
from dlq.services.operations.ownership import Claim
from dlq.services.operations.wave import Wave, halt_reason
from syncs.choices import RunStatus
from syncs.models import Run

_BROKEN = (RunStatus.FAILED, RunStatus.CANCELLED)
_CAUSE_MAX = 300


def settle(claim: Claim, at: datetime) -> None:
    """In one transaction: every member of the wave gets its outcome, or is pending again where its run ended before it."""
    found = ownership.look(claim)
    if found is None:
        raise ownership.StoppedError
    operation = ownership.hold(claim, ends_as=found.ends_as, only_working=False)
    waves = Wave.of(operation)
    wave = waves[-1]
    _count_outcomes(operation, wave)
    wave.ended_at = at.isoformat()
    BulkOperation.objects.filter(pk=operation.pk).update(
        waves=[one.as_json() for one in waves],
        done_count=F("done_count") + wave.done,
        refused_count=F("refused_count") + wave.refused,
        gone_count=F("gone_count") + wave.gone,
        left_out_count=F("left_out_count") + wave.left_out,
        progress_at=at,
    )
    if not operation.ends_as and _has_pending(operation):
        _halt(operation, waves)


def _sent(operation: BulkOperation) -> QuerySet[BulkItem]:
    return BulkItem.objects.filter(operation=operation, outcome=ItemOutcome.SENT)


def _has_pending(operation: BulkOperation) -> bool:
    return BulkItem.objects.filter(operation=operation, outcome=ItemOutcome.PENDING).exists()


def _told(kind: EventKind) -> Exists:
    """Condition on items: their run wrote this into the entry's history."""
    return Exists(DLQEvent.objects.filter(entry_id=OuterRef("entry_id"), run_id=OuterRef("run_id"), kind=kind))


def _count_outcomes(operation: BulkOperation, wave: Wave) -> None:
    sent = _sent(operation)
    resolved = sent.filter(entry__status=EntryStatus.RESOLVED)
    wave.done = resolved.filter(entry__resolved_run=F("run")).update(outcome=ItemOutcome.DONE, note="")
    wave.done += resolved.update(outcome=ItemOutcome.DONE, note=outcomes.RESOLVED_ELSEWHERE)
    refused = sent.filter(_told(EventKind.FAILED))
    wave.same = refused.filter(entry__fingerprint=F("fingerprint")).update(
        outcome=ItemOutcome.REFUSED, note=outcomes.SAME_ERROR
    )
    wave.refused = wave.same + refused.update(outcome=ItemOutcome.REFUSED, note=outcomes.OTHER_ERROR)
    wave.gone = sent.filter(_told(EventKind.GONE)).update(
        outcome=ItemOutcome.GONE, note="The warehouse has no such row any more."
    )
    is_cut_short = Q(run__isnull=True) | Q(run__status__in=_BROKEN)
    wave.returned = sent.filter(
        is_cut_short, entry__status=EntryStatus.OPEN, entry__last_failed_at__lte=operation.as_of
    ).update(outcome=ItemOutcome.PENDING, note=outcomes.RETURNED, wave=None, run=None)
    wave.left_out = outcomes.leave_out_by_status(sent, wanted=EntryStatus.OPEN)
    wave.left_out += outcomes.leave_out(sent.filter(entry__last_failed_at__gt=operation.as_of), outcomes.CHANGED)
    wave.left_out += outcomes.leave_out(sent, outcomes.UNTOUCHED)


def _halt(operation: BulkOperation, waves: list[Wave]) -> None:
    """A person decides what comes next; also where the operation was paused meanwhile."""
    reason = _broken_run(waves[-1]) or halt_reason(waves, after=operation.halted_wave, percent=operation.halt_percent)
    if reason:
        BulkOperation.objects.filter(pk=operation.pk).update(
            status=OperationStatus.HALTED, message=reason, halted_wave=waves[-1].number, next_wave_at=None
        )


def _broken_run(wave: Wave) -> str:
    run = Run.objects.filter(pk__in=wave.runs, status__in=_BROKEN).order_by("pk").first()
    if run is None:
        return ""
    is_failed = run.status == RunStatus.FAILED
    cause = (run.failure_message if is_failed else run.reason).strip()[:_CAUSE_MAX]
    back = f"; {wave.returned:,} rows it did not get to are pending again" if wave.returned else ""
    way_out = "Repair the cause and resume, or cancel." if is_failed else "Resume to send them again, or cancel."
    return f"Run {run.pk} of wave {wave.number} {'failed' if is_failed else 'was cancelled'}{back}. {cause} {way_out}"
