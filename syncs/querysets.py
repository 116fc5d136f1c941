"""Which rows: filters, claims and set-based transitions. Each transition is one conditional UPDATE; callers check its count."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from syncs import choices as c

if TYPE_CHECKING:
    from syncs.models import Run, Sync  # noqa: F401


class SyncQuerySet(models.QuerySet["Sync"]):
    def active(self) -> SyncQuerySet:
        return self.filter(is_archived=False)

    def due(self, now: datetime) -> SyncQuerySet:
        return self.filter(is_paused=False, is_archived=False, next_run_at__lte=now)


class RunQuerySet(models.QuerySet["Run"]):
    def live(self) -> RunQuerySet:
        return self.filter(status=c.RunStatus.RUNNING)

    def active(self) -> RunQuerySet:
        return self.filter(status__in=c.RUN_ACTIVE)

    def claimable(self, now: datetime) -> RunQuerySet:
        """Queued, not held back by time, and its sync is neither paused nor busy with another run."""
        busy = self.model._default_manager.filter(sync=models.OuterRef("sync"), status=c.RunStatus.RUNNING)
        return self.filter(
            Q(not_before__isnull=True) | Q(not_before__lte=now),
            ~models.Exists(busy),
            status=c.RunStatus.QUEUED,
            sync__is_paused=False,
        )

    def lease_expired(self, now: datetime) -> RunQuerySet:
        return self.filter(status=c.RunStatus.RUNNING, lease_until__lt=now)
