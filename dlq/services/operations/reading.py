"""What a page or the API shows of a bulk operation. A few short queries, however many members it has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from dlq.choices import ItemOutcome, OperationKind
from dlq.models import BulkItem, BulkOperation
from dlq.querysets import HEAVY
from dlq.services.operations.wave import Wave
from syncs.models import Run

ITEMS_PER_PAGE = 50
_RECENT = 5  # waves that tell the pace


@dataclass(frozen=True, slots=True)
class Progress:
    """``phase``: freezing (members are being inserted), acting, waiting (for a run, or for ``next_wave_at``), resting (paused
    or halted), ending (cancelled or failed, the rest is being marked), over. ``percent``: 0 to 100. ``total``: members, or what
    was confirmed while they are being inserted. ``counts``: members by outcome, zeros included; they add up to the members.
    ``rate``: members a second, of the newest waves or since the start; ``eta_seconds``: at that rate. ``runs``: of the last
    wave.
    """

    phase: str
    percent: int
    total: int
    counts: dict[ItemOutcome, int]
    rate: float | None
    eta_seconds: int | None
    wave_number: int
    waves: list[Wave]
    runs: list[Run]
    next_wave_at: datetime | None

    @property
    def settled(self) -> int:
        return sum(count for outcome, count in self.counts.items() if outcome not in (ItemOutcome.PENDING, ItemOutcome.SENT))


def progress(operation: BulkOperation, *, has_runs: bool = True) -> Progress:
    """Where the operation stands. At most one query beside the operation itself; none without its runs."""
    waves = Wave.of(operation)
    out = waves[-1] if waves and not waves[-1].ended_at else None
    counts = _counts(operation, sent=out.sent if out else 0)
    total = operation.member_count if operation.is_frozen or operation.is_over else operation.expected_count
    rate = _rate(operation, waves)
    left = total - operation.settled_count
    return Progress(
        phase=_phase(operation, is_out=out is not None),
        percent=_percent(operation, total),
        total=total,
        counts=counts,
        rate=rate,
        eta_seconds=round(left / rate) if rate and operation.is_frozen and not operation.is_over else None,
        wave_number=operation.wave_number,
        waves=waves,
        runs=_runs(waves[-1]) if waves and has_runs else [],
        next_wave_at=operation.next_wave_at,
    )


def _runs(wave: Wave) -> list[Run]:
    return list(Run.objects.filter(pk__in=wave.runs).select_related("sync").order_by("pk"))


def undone_by(operation: BulkOperation) -> int | None:
    """Of a discard: the operation that undoes it, or did."""
    if operation.kind != OperationKind.DISCARD:
        return None
    return operation.undone_by.order_by("-pk").values_list("pk", flat=True).first()


def _percent(operation: BulkOperation, total: int) -> int:
    if operation.is_over:
        return 100
    return min(99, operation.settled_count * 100 // total) if total else 0


def _counts(operation: BulkOperation, *, sent: int) -> dict[ItemOutcome, int]:
    return {
        ItemOutcome.PENDING: operation.member_count - operation.settled_count - sent,
        ItemOutcome.SENT: sent,
        ItemOutcome.DONE: operation.done_count,
        ItemOutcome.REFUSED: operation.refused_count,
        ItemOutcome.GONE: operation.gone_count,
        ItemOutcome.LEFT_OUT: operation.left_out_count,
        ItemOutcome.NOT_REACHED: operation.not_reached_count,
    }


def _phase(operation: BulkOperation, *, is_out: bool) -> str:
    if operation.is_over:
        return "over"
    if operation.ends_as:
        return "ending"
    if operation.status in ("paused", "halted"):
        return "resting"
    if not operation.is_frozen:
        return "freezing"
    is_early = operation.next_wave_at is not None and operation.next_wave_at > timezone.now()
    return "waiting" if is_out or is_early else "acting"


def _rate(operation: BulkOperation, waves: list[Wave]) -> float | None:
    """Of the newest waves, where there are any: the time that it was halted or paused tells nothing of its pace."""
    ended = [wave for wave in waves if wave.finished_at and wave.number > operation.halted_wave][-_RECENT:]
    if ended and ended[-1].finished_at is not None:
        seconds = (ended[-1].finished_at - ended[0].started_at).total_seconds()
        rows = sum(wave.answered + wave.left_out for wave in ended)
        return round(rows / seconds, 1) if seconds > 0 and rows else None
    if operation.started_at is None or operation.progress_at is None:
        return None
    seconds = (operation.progress_at - operation.started_at).total_seconds()
    acted = operation.settled_count - operation.not_reached_count
    return round(acted / seconds, 1) if seconds > 0 and acted else None


@dataclass(frozen=True, slots=True)
class ItemPage:
    """``next_after``: pass it as ``after`` for the following page; None at the end."""

    items: list[BulkItem]
    next_after: int | None


def items(
    operation: BulkOperation,
    outcome: ItemOutcome | None = None,
    after: int | None = None,
    *,
    size: int = ITEMS_PER_PAGE,
    sync_ids: Collection[int] | None = None,
) -> ItemPage:
    """Members with their entries, its sync and the run that took them, in the order of the entries; of these syncs only."""
    place = "entry_id" if outcome is None else "pk"  # members are inserted by entry: each order has its index
    chosen = BulkItem.objects.filter(operation=operation, **{f"{place}__gt": after or 0})
    if outcome is not None:
        chosen = chosen.filter(outcome=outcome)
    if sync_ids is not None:
        chosen = chosen.filter(entry__sync_id__in=sync_ids)
    places = list(chosen.order_by(place).values_list("pk", place)[: size + 1])
    related = BulkItem.objects.filter(pk__in=[pk for pk, _ in places[:size]]).select_related("entry__sync", "run")
    rows = list(related.defer(*(f"entry__{name}" for name in HEAVY)).order_by(place))
    return ItemPage(rows, places[size - 1][1] if len(places) > size else None)
