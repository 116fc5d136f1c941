"""What the pages show of purges. No query beside the one that fetched them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import QuerySet

from monitoring.choices import PurgeState, Retained
from monitoring.models import Purge
from monitoring.services.retention import rules

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Line:
    """``state``: for the badge; ``word``: what it says. ``by``: who asked for it, in words. ``took``: None until it is over."""

    purge: Purge
    name: str
    state: PurgeState
    word: str
    by: str
    took: timedelta | None

    @property
    def is_ready(self) -> bool:
        """A dry run that came to its end and found something to delete."""
        purge = self.purge
        return purge.is_dry_run and purge.is_over and not purge.message and purge.deleted_count > 0


def line(purge: Purge) -> Line:
    state, word = _state(purge)
    took = purge.finished_at - purge.started_at if purge.finished_at else None
    return Line(purge, rules.name(Retained(purge.kind)), state, word, _by(purge), took)


def _state(purge: Purge) -> tuple[PurgeState, str]:
    if not purge.is_over:
        if purge.lease_until is None and not purge.place and not purge.message:
            return PurgeState.QUEUED, "Queued"
        return (
            (PurgeState.HELD, "Waits") if purge.message else (PurgeState.RUNNING, "Looking" if purge.is_dry_run else "Deleting")
        )
    if purge.message:
        is_stopped = purge.message.startswith("Stopped")
        return (PurgeState.CANCELLED, "Stopped") if is_stopped else (PurgeState.FAILED, "Failed")
    return PurgeState.SUCCEEDED, "Dry run" if purge.is_dry_run else "Done"


def _by(purge: Purge) -> str:
    if purge.requested_by is not None:
        return purge.requested_by.get_username()
    return "the command line" if purge.door == "cli" else "Redrive, daily"


def newest(*, kind: Retained | None = None, before: int | None = None) -> tuple[list[Line], int | None]:
    """A page of purges, newest first, and where the next page begins. ``before``: id from which it goes on."""
    chosen: QuerySet[Purge] = Purge.objects.select_related("requested_by").order_by("-pk")
    if kind is not None:
        chosen = chosen.filter(kind=kind)
    if before is not None:
        chosen = chosen.filter(pk__lt=before)
    rows = list(chosen[: PAGE_SIZE + 1])
    return [line(row) for row in rows[:PAGE_SIZE]], rows[PAGE_SIZE - 1].pk if len(rows) > PAGE_SIZE else None


def find(pk: int) -> Line | None:
    found = Purge.objects.select_related("requested_by").filter(pk=pk).first() if pk < 1 << 63 else None
    return line(found) if found else None
