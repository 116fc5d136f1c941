"""A wave whose runs have ended: what became of each entry, by the history that the run wrote; then go on, halt, or end."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

from django.db.models import F

from dlq.choices import EntryStatus, EventKind, ItemOutcome, OperationStatus
from dlq.models import BulkItem, BulkOperation, DLQEvent
from dlq.services.ids import AnyOf
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


def _has_pending(operation: BulkOperation) -> bool:
    return BulkItem.objects.filter(operation=operation, outcome=ItemOutcome.PENDING).exists()


class _Looked(NamedTuple):
    """One member of the wave, its entry as it is now, and its run."""

    pk: int
    run_id: int | None
    run_status: str | None
    fingerprint: str
    entry_id: int
    status: str
    resolved_run_id: int | None
    fingerprint_now: str
    last_failed_at: datetime


def _count_outcomes(operation: BulkOperation, wave: Wave) -> None:
    sent = BulkItem.objects.filter(operation=operation, outcome=ItemOutcome.SENT)
    members = [
        _Looked(*row)
        for row in sent.values_list(
            "pk", "run_id", "run__status", "fingerprint", "entry_id", "entry__status", "entry__resolved_run_id",
            "entry__fingerprint", "entry__last_failed_at",
        )
    ]  # fmt: skip
    told = _told(wave)
    settled: dict[tuple[ItemOutcome, str], list[int]] = defaultdict(list)
    for member in members:
        settled[_verdict(member, told, operation.as_of)].append(member.pk)
    for (outcome, note), ids in settled.items():
        items = BulkItem.objects.filter(AnyOf("pk", ids), outcome=ItemOutcome.SENT)
        back = {"wave": None, "run": None} if outcome is ItemOutcome.PENDING else {}
        count = items.update(outcome=outcome, note=note, **back)
        setattr(wave, _COUNTED[outcome], getattr(wave, _COUNTED[outcome]) + count)
        if note == outcomes.SAME_ERROR:
            wave.same += count


_COUNTED = {
    ItemOutcome.DONE: "done",
    ItemOutcome.REFUSED: "refused",
    ItemOutcome.GONE: "gone",
    ItemOutcome.LEFT_OUT: "left_out",
    ItemOutcome.PENDING: "returned",
}


def _told(wave: Wave) -> set[tuple[int, int | None, str]]:
    """(entry, run, kind) of what the wave's runs wrote into the histories of their entries."""
    kinds = (EventKind.FAILED, EventKind.GONE)
    return set(DLQEvent.objects.filter(run_id__in=wave.runs, kind__in=kinds).values_list("entry_id", "run_id", "kind"))


def _verdict(member: _Looked, told: set[tuple[int, int | None, str]], as_of: datetime) -> tuple[ItemOutcome, str]:
    if member.status == EntryStatus.RESOLVED:
        is_ours = member.resolved_run_id == member.run_id
        return ItemOutcome.DONE, "" if is_ours else outcomes.RESOLVED_ELSEWHERE
    if (member.entry_id, member.run_id, EventKind.FAILED) in told:
        is_same = member.fingerprint_now == member.fingerprint
        return ItemOutcome.REFUSED, outcomes.SAME_ERROR if is_same else outcomes.OTHER_ERROR
    if (member.entry_id, member.run_id, EventKind.GONE) in told:
        return ItemOutcome.GONE, outcomes.GONE
    if member.status != EntryStatus.OPEN:
        return ItemOutcome.LEFT_OUT, outcomes.BY_STATUS[EntryStatus(member.status)]
    if member.last_failed_at > as_of:
        return ItemOutcome.LEFT_OUT, outcomes.CHANGED
    if member.run_id is None or member.run_status in _BROKEN:
        return ItemOutcome.PENDING, outcomes.RETURNED
    return ItemOutcome.LEFT_OUT, outcomes.UNTOUCHED


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
