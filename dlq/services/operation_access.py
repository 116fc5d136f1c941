"""Whose bulk operations: which ones somebody sees, and which ones somebody may pause, cancel or undo.

One sees one's own, and those with dead letters of syncs that one may see. An operation that reaches into the syncs of another
team is steered by who made it, and by those who see every sync.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef, Q, QuerySet

from dlq.models import BulkItem, BulkOperation, DLQEntry
from syncs.models import Sync
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_PROBED = 200  # members that are looked at to see whose an operation is; all of a million would take seconds


def sees_every_sync(user: User) -> bool:
    ids = access.visible_sync_ids(user)
    return ids is None or not Sync.objects.exclude(pk__in=ids).exists()


def visible(user: User) -> QuerySet[BulkOperation]:
    """Of an operation of somebody else's its first members decide."""
    if sees_every_sync(user):
        return BulkOperation.objects.all()
    first = BulkItem.objects.filter(operation=OuterRef(OuterRef("pk"))).order_by("pk").values("entry_id")[:_PROBED]
    mine = DLQEntry.objects.filter(pk__in=first, sync_id__in=access.visible_sync_ids(user) or ())
    return BulkOperation.objects.filter(Q(created_by=user.pk) | Exists(mine))


def may_steer(operation: BulkOperation, user: User) -> bool:
    """Beside the permission for its act."""
    return operation.created_by_id == user.pk or sees_every_sync(user)
