"""The schema drift guard: while a destination has changed under a sync, its dead letters are sent again only once a preview of
the sync as it is now has shown that they would fit. Discarding and exporting stay possible.

Everything that sends dead letters again asks here: single acts, new bulk operations, and each wave of one under way.
"""

from __future__ import annotations

from dlq.querysets import DLQEntryQuerySet
from dlq.services.moves import ActRefusedError
from syncs.models import Sync
from syncs.services import drift


class DriftHeldError(ActRefusedError):
    """``sync``: the one whose preview would lift it."""

    def __init__(self, sync: Sync) -> None:
        super().__init__(_sentence(sync), field="drift", code="schema_drift")
        self.sync = sync


def _sentence(sync: Sync) -> str:
    return (
        f"The destination of “{sync.name}” has changed since its last preview ({sync.drift_reason}), so its dead letters would "
        "very likely fail again. Correct the mapping, then preview the sync: a preview without problems lifts this."
    )


def refuse(sync: Sync) -> None:
    """Raises ``DriftHeldError``. ``sync`` may have been read a while ago: it is read again."""
    now = Sync.objects.select_related("source", "destination").filter(pk=sync.pk, drift_since__isnull=False).first()
    if now is not None and drift.is_held(now):
        raise DriftHeldError(now)


def held_among(entries: DLQEntryQuerySet) -> list[Sync]:
    """The held syncs that some of these dead letters belong to. One query where no sync has drifted."""
    return [sync for sync in drift.drifted() if entries.order_by().filter(sync_id=sync.pk).exists()]


def refuse_among(entries: DLQEntryQuerySet) -> None:
    """Raises ``DriftHeldError`` for the first held sync that some of these dead letters belong to."""
    for sync in held_among(entries):
        raise DriftHeldError(sync)
