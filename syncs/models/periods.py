from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from syncs.models.sync import Sync


class RunPeriod(models.Model):
    """What the runs of a sync that ended in one period (UTC) came to; kept in the transactions that end them.

    ``milliseconds``: durations added up; ``slowest_ms``: the longest. Skipped runs count in ``skipped_run_count`` only.
    """

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="+", db_index=False)
    starts_at = models.DateTimeField()
    run_count = models.PositiveIntegerField(default=0)
    succeeded_count = models.PositiveIntegerField(default=0)
    partial_count = models.PositiveIntegerField(default=0)
    failed_count = models.PositiveIntegerField(default=0)
    cancelled_count = models.PositiveIntegerField(default=0)
    skipped_run_count = models.PositiveIntegerField(default=0)
    read_count = models.PositiveBigIntegerField(default=0)
    accepted_count = models.PositiveBigIntegerField(default=0)
    unchanged_count = models.PositiveBigIntegerField(default=0)
    skipped_count = models.PositiveBigIntegerField(default=0)
    dead_lettered_count = models.PositiveBigIntegerField(default=0)
    pending_count = models.PositiveBigIntegerField(default=0)
    request_count = models.PositiveBigIntegerField(default=0)
    retry_count = models.PositiveBigIntegerField(default=0)
    bytes_sent = models.PositiveBigIntegerField(default=0)
    milliseconds = models.PositiveBigIntegerField(default=0)
    slowest_ms = models.PositiveBigIntegerField(default=0)

    class Meta:
        abstract = True


class SyncHour(RunPeriod):
    """``starts_at``: a whole hour."""

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["starts_at"]
        indexes: ClassVar = [
            # Charts over all syncs.
            models.Index(name="sync_hour_time", fields=["starts_at"]),
        ]
        constraints: ClassVar = [models.UniqueConstraint(name="sync_hour_once", fields=["sync", "starts_at"])]

    def __str__(self) -> str:
        return f"{self.starts_at:%Y-%m-%d %H}"


class SyncDay(RunPeriod):
    """``starts_at``: midnight, UTC."""

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["starts_at"]
        indexes: ClassVar = [
            # Charts over all syncs.
            models.Index(name="sync_day_time", fields=["starts_at"]),
        ]
        constraints: ClassVar = [models.UniqueConstraint(name="sync_day_once", fields=["sync", "starts_at"])]

    def __str__(self) -> str:
        return f"{self.starts_at:%Y-%m-%d}"


class SyncTouch(models.Model):
    """Something happened to a sync by which its status is to be judged anew: a run ended, it was paused, its set-up changed.

    Only ever inserted, in the transaction of what happened, and deleted by whoever has judged: no writer waits for another.
    """

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"sync {self.sync_id} at {self.at:%H:%M:%S}"


class Heartbeat(models.Model):
    """The last sign of life of a part: ``tick`` (of all workers), ``worker:<host>:<pid>``, ``cluster:<name>``, ``alerts``.

    ``at`` is the database's clock. ``note``: for people, for example the version.
    """

    name = models.CharField(max_length=160, unique=True)
    at = models.DateTimeField()
    started_at = models.DateTimeField(default=timezone.now)
    note = models.CharField(max_length=255, blank=True, default="")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
