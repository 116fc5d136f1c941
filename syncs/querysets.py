"""Which rows: filters, claims and set-based transitions. Each transition is one conditional UPDATE; callers check its count.

The filters of ``RunQuerySet`` never join: an UPDATE with a join becomes ``id IN (SELECT ...)``, and PostgreSQL does not look
at that subquery again after it has waited for another transaction, so two workers could both win.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import connections, models
from django.db.models import F, Q
from django.utils import timezone

from syncs import choices as c

if TYPE_CHECKING:
    from syncs.models import Run, Sync  # noqa: F401


def database_now(using: str = "default") -> datetime:
    """The database's clock, not the transaction's start: leases of several machines are measured by it.

    SQLite lives on one machine, so there it is that machine's clock.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


class _Joined(models.Aggregate):
    function = "GROUP_CONCAT"
    output_field = models.TextField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, function="STRING_AGG", template="%(function)s(%(expressions)s, ',')", **extra)


class SyncQuerySet(models.QuerySet["Sync"]):
    def active(self) -> SyncQuerySet:
        return self.filter(is_archived=False)

    def with_tags(self) -> SyncQuerySet:
        """Adds ``tag_names``: with commas between them, None where there are none; a tag's name holds no comma."""
        tags: Any = self.model.tags.through._default_manager.filter(sync_id=models.OuterRef("pk")).order_by().values("sync_id")
        return self.annotate(tag_names=models.Subquery(tags.annotate(names=_Joined("tag__name")).values("names")))

    def due(self, now: datetime) -> SyncQuerySet:
        return self.filter(is_paused=False, is_archived=False, next_run_at__lte=now)


class RunQuerySet(models.QuerySet["Run"]):
    def live(self) -> RunQuerySet:
        return self.filter(status=c.RunStatus.RUNNING)

    def active(self) -> RunQuerySet:
        return self.filter(status__in=c.RUN_ACTIVE)

    def claimable(self, now: datetime) -> RunQuerySet:
        """Queued, not held back by time, and its sync is neither paused, archived nor busy with another run."""
        # django-stubs types related_model loosely; it is Sync.
        syncs: Any = self.model._meta.get_field("sync").related_model
        busy = self.model._default_manager.filter(sync_id=models.OuterRef("sync_id"), status=c.RunStatus.RUNNING)
        ready = syncs._default_manager.filter(pk=models.OuterRef("sync_id"), is_paused=False, is_archived=False)
        return self.filter(
            Q(not_before__isnull=True) | Q(not_before__lte=now),
            ~models.Exists(busy),
            models.Exists(ready),
            status=c.RunStatus.QUEUED,
        )

    def lease_expired(self, now: datetime) -> RunQuerySet:
        return self.filter(status=c.RunStatus.RUNNING, lease_until__lt=now)

    def owned(self, run_id: int, fence: int) -> RunQuerySet:
        """The run, as long as the holder of this fence still owns it: every write of a worker goes through here."""
        return self.filter(pk=run_id, fence=fence, status=c.RunStatus.RUNNING)

    def end(self, status: c.RunStatus, *, now: datetime, **values: Any) -> int:
        """Move the filtered runs to a terminal state with counts that balance: what was read and not settled is pending.

        Whoever sets other counts in the same UPDATE must set ``pending_count`` too: an UPDATE computes from the old values.
        """
        settled = F("accepted_count") + F("unchanged_count") + F("skipped_count") + F("dead_lettered_count")
        values.setdefault("pending_count", F("read_count") + F("vanished_count") - settled)
        return self.update(status=status, finished_at=now, lease_until=None, fence=F("fence") + 1, **values)
