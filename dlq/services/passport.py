"""The passport of a row: everything that happened to one row key in all syncs of its source, as one time line.

Acts and failures come from the histories of its dead letters, deliveries and what is held back from the ledger, calls under
way from the steps. Every look-up goes by an index over the key, so it costs the same among ten million entries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from dlq.models import DLQEntry, DLQEvent
from dlq.services.paging import Position
from syncs.choices import STEP_OPEN, StepStatus
from syncs.models import DeliveredRow, Step, Sync
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PAGE_SIZE = 200
_MOST_ENTRIES = 1_000
_MOST_IN_FLIGHT = 50
DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened. ``kind``: an ``EventKind``, or "delivered". ``entry_id`` None: it is no dead letter's."""

    at: datetime
    kind: str
    sync_id: int
    sync_name: str
    entry_id: int | None = None
    event: DLQEvent | None = None
    run_id: int | None = None
    step_number: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger of one sync says of the row now. ``run_id``: the run that wrote it last."""

    sync_id: int
    sync_name: str
    accepted_at: datetime | None
    is_held: bool
    is_hold_permanent: bool
    run_id: int


@dataclass(frozen=True, slots=True)
class UnderWay:
    """``is_confirming``: the destination took the row in and has yet to say what became of it."""

    sync_name: str
    run_id: int
    number: int
    is_confirming: bool = False


@dataclass(frozen=True, slots=True)
class Passport:
    """``moments``: newest first. ``older``: where the next page starts; None: nothing is older."""

    moments: Sequence[Moment]
    standings: Sequence[Standing]
    under_way: Sequence[UnderWay]
    older: Position | None
    entry_count: int


def passport(entry: DLQEntry, *, user: User, before: Position | None = None, size: int = PAGE_SIZE) -> Passport:
    """Of the row of ``entry`` (its sync loaded), as far as the user may see the syncs; from ``before`` on into the past."""
    syncs = dict(access.scoped(Sync.objects.filter(source_id=entry.sync.source_id), user, by="pk").values_list("pk", "name"))
    entries = dict(
        DLQEntry.objects.filter(row_key=entry.row_key, sync_id__in=syncs)
        .order_by("-pk")
        .values_list("pk", "sync_id")[:_MOST_ENTRIES]
    )
    events, older = _events(entries, before, size)
    standings = _standings(entry.row_key, syncs)
    moments = [_of_event(event, entries[event.entry_id], syncs) for event in events]
    moments += [
        moment
        for moment in map(_of_standing, standings)
        if moment and (before is None or moment.at < before.at) and (older is None or moment.at >= older.at)
    ]
    moments.sort(key=lambda moment: moment.at, reverse=True)
    under_way = [] if before else _under_way(entry.row_key, syncs)
    return Passport(moments, standings, under_way, older, len(entries))


def _events(entries: Mapping[int, int], before: Position | None, size: int) -> tuple[list[DLQEvent], Position | None]:
    chosen = DLQEvent.objects.filter(entry_id__in=list(entries)).select_related("actor").order_by("-at", "-pk")
    if before is not None:
        chosen = chosen.filter(Q(at__lt=before.at) | Q(at=before.at, pk__lt=before.id))
    rows = list(chosen[: size + 1])
    shown = rows[:size]
    return shown, Position(shown[-1].at, shown[-1].pk) if len(rows) > size else None


def _standings(row_key: str, syncs: Mapping[int, str]) -> list[Standing]:
    rows = DeliveredRow.objects.filter(sync_id__in=list(syncs), row_key=row_key).values_list(
        "sync_id", "accepted_at", "held_hash", "is_hold_permanent", "run_id"
    )
    return [
        Standing(sync_id, syncs[sync_id], accepted_at, held is not None, is_permanent, run_id)
        for sync_id, accepted_at, held, is_permanent, run_id in rows
    ]


def _of_event(event: DLQEvent, sync_id: int, syncs: Mapping[int, str]) -> Moment:
    number = event.detail.get("step")
    return Moment(
        event.at, event.kind, sync_id, syncs[sync_id], event.entry_id, event, event.run_id,
        number if isinstance(number, int) else None,
    )  # fmt: skip


def _of_standing(standing: Standing) -> Moment | None:
    """When the destination accepted the row last. By which run is known as long as nothing was held back after it."""
    if standing.accepted_at is None:
        return None
    run_id = None if standing.is_held else standing.run_id
    return Moment(standing.accepted_at, DELIVERED, standing.sync_id, standing.sync_name, run_id=run_id)


def _under_way(row_key: str, syncs: Mapping[int, str]) -> list[UnderWay]:
    """Steps that have the row in flight at this moment, or had when their worker stopped."""
    steps: Any = Step.objects.filter(status__in=STEP_OPEN, run__sync_id__in=list(syncs)).order_by("-pk")
    rows = steps.values_list("run__sync_id", "run_id", "number", "status", "sends")[:_MOST_IN_FLIGHT]
    return [
        UnderWay(syncs[sync_id], run_id, number, status == StepStatus.CONFIRMING)
        for sync_id, run_id, number, status, sends in rows
        if any(row_key in send.get("keys", ()) for send in sends)
    ]
