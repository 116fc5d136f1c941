"""The plan of a bulk act: what it would take, what has changed since, and what confirming it demands. Nothing here acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from dlq.choices import ReprocessMode
from dlq.services import confirmation, drift_guard, preflight
from dlq.services.moves import ActRefusedError
from dlq.services.preflight import SyncChanges
from dlq.services.snapshots import MAX_AGE, BulkKind, Looked, Snapshot
from dlq.services.summary import Summary, summarise, told
from syncs.models import Sync


@dataclass(frozen=True, slots=True)
class Mode:
    """``count``: dead letters that have what it sends; None: all."""

    mode: ReprocessMode
    count: int | None
    needs_acknowledgement: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """``modes``, ``held`` (by the schema drift guard): for a reprocess."""

    snapshot: Snapshot
    summary: Summary
    modes: tuple[Mode, ...] = ()
    held: tuple[Sync, ...] = ()

    @property
    def until(self) -> datetime:
        """How long it can be confirmed."""
        return self.snapshot.as_of + MAX_AGE

    @property
    def looked(self) -> Looked | None:
        return self.snapshot.shown.looked

    @property
    def changes(self) -> SyncChanges | None:
        return self.summary.changes

    @property
    def needs_number(self) -> bool:
        return confirmation.needs_number(self.snapshot)

    @property
    def needs_reason(self) -> bool:
        return confirmation.needs_reason(self.snapshot)


def make(snapshot: Snapshot, *, may: Callable[[str], bool], is_looking: bool) -> Plan:
    """``is_looking``: read a sample of the warehouse rows, which takes some seconds. ``may``: as for ``confirmation.place``.

    Raises ``ActRefusedError`` where nothing is chosen.
    """
    if not snapshot.count:
        raise ActRefusedError("No dead letter matches. Somebody else may have worked on them.")
    summary = summarise(snapshot)
    snapshot = told(snapshot, summary)
    if snapshot.kind != BulkKind.REPROCESS:
        return Plan(snapshot, summary)
    if is_looking:
        snapshot = snapshot.showing(looked=preflight.look(snapshot))
    modes = tuple(
        Mode(mode, count, preflight.needs_acknowledgement(snapshot.shown, mode))
        for mode, count in confirmation.modes(snapshot, may).items()
    )
    return Plan(snapshot, summary, modes, tuple(drift_guard.held_among(snapshot.entries().reprocessable())))
