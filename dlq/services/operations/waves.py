"""Reprocess in waves: the next entries are queued, one run per sync sends them, and what came back is settled.

A wave is drawn evenly from all that wait, so that it stands for the rest; see docs/decisions/0008-waves-and-halts.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from dlq.choices import EntryStatus, ItemOutcome, ReprocessMode
from dlq.models import BulkItem, BulkOperation, DLQEntry
from dlq.services import drift_guard, moves, slices
from dlq.services.ids import AnyOf
from dlq.services.operations import ending, outcomes, ownership, settling
from dlq.services.operations.acting import act_of
from dlq.services.operations.ownership import Claim
from dlq.services.operations.wave import Wave
from syncs.choices import RUN_ACTIVE, Trigger
from syncs.errors import ErrorType, RedriveError
from syncs.models import Run, Sync
from syncs.querysets import database_now
from syncs.services import runs

__all__ = ["Wave", "come_back", "next_size", "send"]

# Ids times the golden section, modulo a prime: any beginning of this order is spread evenly over all of them.
_PRIME = 1_000_003
_SPREAD = (F("pk") % _PRIME) * 618_034 % _PRIME


def next_size(operation: BulkOperation) -> int:
    """Rows of the next wave. After a halt the sizes start small again."""
    sizes = operation.wave_sizes or settings.RETL["WAVE_SIZES"]
    size: int = sizes[min(operation.wave_number - operation.halted_wave, len(sizes) - 1)]
    return min(size, operation.rows_per_minute or size)


def send(claim: Claim) -> bool:
    """Send the next wave, or finish. Returns that there is more to do before its runs have ended."""

    def work(at: datetime) -> bool:
        operation = ownership.hold(claim)
        if operation.next_wave_at is not None and operation.next_wave_at > database_now():
            return False
        drawn = _draw(operation)
        if not drawn:
            ending.finish(operation, at)
            return False
        fit = _fit(operation, drawn)
        left_out = _leave_out_unfit(operation, drawn, set(drawn) - {pk for ids in fit.values() for pk in ids})
        started: list[int] = []
        untouched = Q(updated_at__lte=operation.as_of) | Q(AnyOf("pk", [pk for pk, is_back in drawn.items() if is_back]))
        for sync in Sync.objects.filter(pk__in=fit).select_related("source", "destination", "current_version").order_by("pk"):
            run, problem = _request(operation, sync, fit[sync.pk], untouched, at)
            if run is None:
                left_out += outcomes.leave_out(_sent(operation), fit[sync.pk], problem)
            else:
                started.append(run.pk)
        _record(operation, started, sent=len(drawn) - left_out, left_out=left_out, at=at)
        return not started

    return moves.in_transaction(work)


def _sent(operation: BulkOperation) -> QuerySet[BulkItem]:
    return BulkItem.objects.filter(operation=operation, outcome=ItemOutcome.SENT)


def _draw(operation: BulkOperation) -> dict[int, bool]:
    """Take the next pending members into a wave. Entry id -> an earlier wave gave it back unsent."""
    pending = BulkItem.objects.filter(operation=operation, outcome=ItemOutcome.PENDING)
    drawn = list(pending.order_by(_SPREAD, "pk").values_list("pk", "entry_id", "note")[: next_size(operation)])
    then = DLQEntry.objects.filter(pk=OuterRef("entry_id")).values("fingerprint")
    BulkItem.objects.filter(AnyOf("pk", [pk for pk, _entry_id, _note in drawn])).update(
        outcome=ItemOutcome.SENT, wave=operation.wave_number + 1, fingerprint=Subquery(then), note=""
    )
    return {entry_id: note == outcomes.RETURNED for _pk, entry_id, note in drawn}


def _fit(operation: BulkOperation, drawn: Mapping[int, bool]) -> dict[int, list[int]]:
    """Sync -> entries that can be sent, untouched since the confirmation. One that an earlier wave of this operation gave back
    is untouched as long as it has not failed again."""
    found: dict[int, list[int]] = defaultdict(list)
    among = slices.sendable(DLQEntry.objects.filter(AnyOf("pk", drawn)).reprocessable(), operation.mode)
    columns = ("pk", "sync_id", "updated_at", "last_failed_at")
    for pk, sync_id, updated_at, failed_at in among.values_list(*columns):
        if (failed_at if drawn[pk] else updated_at) <= operation.as_of:
            found[sync_id].append(pk)
    return found


def _leave_out_unfit(operation: BulkOperation, drawn: Mapping[int, bool], unfit: set[int]) -> int:
    if not unfit:
        return 0
    items = _sent(operation)
    among = DLQEntry.objects.filter(AnyOf("pk", unfit)).open()
    keyless = list(among.filter(error_type=ErrorType.INVALID_KEY).values_list("pk", flat=True))
    count = outcomes.leave_out(items, keyless, outcomes.NO_KEY)
    for sentence, condition in slices.obstacles(operation.mode):
        kept = list(among.filter(condition).values_list("pk", flat=True))
        count += outcomes.leave_out(items, kept, outcomes.of_one(sentence))
    return count + outcomes.leave_out_rest(items.filter(AnyOf("entry_id", unfit)), wanted=EntryStatus.OPEN)


def _request(
    operation: BulkOperation, sync: Sync, entry_ids: Sequence[int], untouched: Q, at: datetime
) -> tuple[Run | None, str]:
    """(the run that sends this sync's part of the wave, why there is none)."""
    mode = ReprocessMode(operation.mode)
    number = operation.wave_number + 1
    act = act_of(operation, mode=mode.value, wave=number)
    try:
        with transaction.atomic():
            drift_guard.refuse(sync)
            run = runs.request(
                sync=sync,
                trigger=Trigger.REPROCESS,
                by=act.by,
                options={"selection": "entries", "mode": mode.value, "operation": operation.pk, "wave": number},
                detail=f"Wave {number} of bulk operation {operation.pk}. {act.reason}".strip(),
                is_short=len(entry_ids) <= settings.RETL["SHORT_RUN_ROWS"],
            )
    except RedriveError as refusal:
        return None, f"Its sync takes no run: {refusal}"
    among = DLQEntry.objects.filter(AnyOf("pk", entry_ids))
    taken = slices.queue(among.reprocessable().filter(untouched), among, run=run, mode=mode, act=act, at=at)
    moves.check_events(taken, len(entry_ids))  # else somebody was quicker in this instant: look again
    _sent(operation).filter(AnyOf("entry_id", entry_ids)).update(run=run)
    return run, ""


def _record(operation: BulkOperation, started: list[int], *, sent: int, left_out: int, at: datetime) -> None:
    values: dict[str, Any] = {"left_out_count": F("left_out_count") + left_out, "progress_at": at}
    if started:
        number = operation.wave_number + 1
        wave = Wave(number=number, sent=sent, at=at.isoformat(), runs=started)
        values |= {"wave_number": number, "waves": [*operation.waves, wave.as_json()], "message": ""}
        if operation.rows_per_minute:
            values["next_wave_at"] = at + timedelta(minutes=sent / operation.rows_per_minute)
    BulkOperation.objects.filter(pk=operation.pk).update(**values)


def come_back(claim: Claim, operation: BulkOperation) -> bool:
    """A wave is out. Once its runs have ended: settle it. Returns that there is more to do at once."""
    under_way = Run.objects.filter(pk__in=Wave.of(operation)[-1].runs, status__in=RUN_ACTIVE)
    active = list(under_way)
    if active and operation.ends_as:
        for run in active:
            runs.cancel(run, by=None)
        active = list(under_way)
    if active:
        return False
    moves.in_transaction(lambda at: settling.settle(claim, at))
    return True
