"""Where a bulk operation stands, in a sentence; the words of the acts and of their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta

from django.utils import timezone

from dlq.choices import ItemOutcome, OperationKind, OperationStatus
from dlq.models import BulkOperation
from dlq.services.operations.reading import Progress
from dlq.services.snapshots import BulkKind


@dataclass(frozen=True, slots=True)
class Act:
    """``Reprocess``, ``reprocessing``, ``were resolved``."""

    verb: str
    doing: str
    done: str


ACTS = {
    BulkKind.REPROCESS: Act("Reprocess", "reprocessing", "resolved"),
    BulkKind.DISCARD: Act("Discard", "discarding", "discarded"),
    BulkKind.REOPEN: Act("Reopen", "reopening", "reopened"),
    BulkKind.ASSIGN: Act("Assign", "assigning", "assigned"),
    BulkKind.CHECK: Act("Check", "checking", "checked"),
    BulkKind.EXPORT: Act("Export", "exporting", "exported"),
}


_DONE = {
    OperationKind.REPROCESS: "Resolved",
    OperationKind.DISCARD: "Discarded",
    OperationKind.REOPEN: "Reopened",
    OperationKind.ASSIGN: "Assigned",
    OperationKind.CHECK: "Checked",
}
_UNTAKEN = timedelta(seconds=45)  # the tick rings for it every few seconds


@dataclass(frozen=True, slots=True)
class Said:
    """``tone``: good, info, warn or bad."""

    tone: str
    headline: str
    advice: str = ""


def outcomes(operation: BulkOperation) -> dict[ItemOutcome, str]:
    return {
        ItemOutcome.PENDING: "Waiting",
        ItemOutcome.SENT: "Under way",
        ItemOutcome.DONE: _DONE[OperationKind(operation.kind)],
        ItemOutcome.REFUSED: "Refused again",
        ItemOutcome.GONE: "Gone from the warehouse",
        ItemOutcome.LEFT_OUT: "Left out",
        ItemOutcome.NOT_REACHED: "Not reached",
    }


def verdict(operation: BulkOperation, progress: Progress) -> Said:
    """One sentence on where it stands."""
    if operation.is_over:
        return _over(operation)
    if operation.ends_as:
        return Said("info", "It is being ended.", operation.message)
    if operation.status == OperationStatus.HALTED:
        return Said(
            "bad",
            f"Halted: {operation.message or 'the same error came back.'}",
            "Nothing else was sent. Look at what was refused first; once resumed, it starts with small waves again.",
        )
    if operation.status == OperationStatus.PAUSED:
        is_out = bool(progress.counts[ItemOutcome.SENT])
        advice = "The wave that was sent goes on to its end." if is_out else "Nothing happens until somebody resumes it."
        return Said("warn", operation.message or "Paused.", advice)
    return _under_way(operation, progress)


def _over(operation: BulkOperation) -> Said:
    done, word = operation.done_count, _DONE[OperationKind(operation.kind)].lower()
    rest = [
        f"{count:,} {what}"
        for count, what in (
            (operation.refused_count, "refused again"),
            (operation.gone_count, "gone from the warehouse"),
            (operation.left_out_count, "left out"),
            (operation.not_reached_count, "not reached"),
        )
        if count
    ]
    counts = f"{', '.join([f'{done:,} {word}', *rest])}."
    if operation.status == OperationStatus.FINISHED:
        return Said("warn" if operation.refused_count or operation.gone_count else "good", f"Finished: {counts}")
    if operation.status == OperationStatus.CANCELLED:
        return Said("info", operation.message or "Cancelled.", f"What was done stands: {counts}")
    return Said("bad", operation.message or "It could not go on.", f"What was done stands: {counts}")


def _under_way(operation: BulkOperation, progress: Progress) -> Said:
    is_untaken = operation.started_at is None and timezone.now() - operation.created_at > _UNTAKEN
    if is_untaken:
        return Said(
            "warn", "No worker has taken it yet.", "Is manage.py retl_worker running? It begins as soon as one is free."
        )
    if progress.phase == "freezing":
        listed = f"{operation.member_count:,} of {operation.expected_count:,} are listed so far."
        return Said("info", "What was confirmed is being listed.", listed)
    if progress.phase == "waiting" and progress.counts[ItemOutcome.SENT]:
        sent = progress.counts[ItemOutcome.SENT]
        return Said("info", f"Wave {progress.wave_number} is under way: {sent:,} row{'' if sent == 1 else 's'}.")
    if progress.phase == "waiting" and progress.next_wave_at is not None:
        return Said(
            "info", "It keeps to its pace.", f"The next wave is due at {progress.next_wave_at.astimezone(UTC):%H:%M:%S} UTC."
        )
    act = ACTS[BulkKind(operation.kind)]
    return Said("info", f"{act.doing.capitalize()}: {progress.settled:,} of {progress.total:,} are settled.")
