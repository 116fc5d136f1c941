"""Notes that something happened to a sync by which its status is to be judged anew.

A note is inserted in the transaction of what happened, so it is there if and only if that is; whoever judges deletes the notes
it has seen. Nothing is ever updated here: no writer waits for another.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q

from syncs.models import Sync, SyncTouch


def touch(sync_id: int) -> None:
    SyncTouch.objects.create(sync_id=sync_id)


def touch_many(sync_ids: Iterable[int]) -> None:
    SyncTouch.objects.bulk_create([SyncTouch(sync_id=pk) for pk in sorted(set(sync_ids))], batch_size=500)


def touch_connection(connection_id: int) -> None:
    """Every sync that reads or writes through this connection. Archived ones have no status to judge."""
    using = Sync.objects.active().filter(Q(source_id=connection_id) | Q(destination_id=connection_id))
    touch_many(using.values_list("pk", flat=True))
