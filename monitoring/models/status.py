from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from syncs.choices import SyncStatus, labelled
from syncs.models import Run, Sync


class SyncPolicy(models.Model):
    """From when on a sync counts as degraded or failing. Empty: the default of the product (``judging.limits.DEFAULTS``);
    a sync without a row has all the defaults. Percentages are of rows; ``0`` switches a warning off where it says so."""

    sync = models.OneToOneField(Sync, on_delete=models.CASCADE, primary_key=True, related_name="policy")
    window_hours = models.PositiveIntegerField(null=True, blank=True)  # of the error rate
    error_rate_warn_percent = models.DecimalField(max_digits=6, decimal_places=3, null=True, blank=True)
    error_rate_fail_percent = models.DecimalField(max_digits=6, decimal_places=3, null=True, blank=True)
    error_budget_percent = models.DecimalField(max_digits=6, decimal_places=3, null=True, blank=True)  # of the rows of 30 days
    failures_to_fail = models.PositiveSmallIntegerField(null=True, blank=True)  # failed runs in a row
    good_runs_to_recover = models.PositiveSmallIntegerField(null=True, blank=True)  # in a row: hysteresis
    freshness_minutes = models.PositiveIntegerField(null=True, blank=True)  # 0: never stale
    lateness_minutes = models.PositiveIntegerField(null=True, blank=True)  # 0: never late
    zero_row_runs = models.PositiveSmallIntegerField(null=True, blank=True)  # in a row; 0: reading nothing is normal
    volume_band_percent = models.PositiveIntegerField(null=True, blank=True)  # around the median; 0: any volume is normal
    duration_minutes = models.PositiveIntegerField(null=True, blank=True)  # 0: any duration is normal
    dlq_depth_warn = models.PositiveIntegerField(null=True, blank=True)
    dlq_depth_fail = models.PositiveIntegerField(null=True, blank=True)  # 0: never
    dlq_age_hours = models.PositiveIntegerField(null=True, blank=True)  # 0: never
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        verbose_name = "status thresholds"
        verbose_name_plural = "status thresholds"

    def __str__(self) -> str:
        return f"thresholds of sync {self.sync_id}"


class SyncWatch(models.Model):
    """What the last judgement of a sync saw, and when the next is due although nothing happens (it would become late, stale).

    Its row is the lock of a judgement: who cannot take it leaves the sync to who has it.
    """

    sync = models.OneToOneField(Sync, on_delete=models.CASCADE, primary_key=True, related_name="watch")
    judged_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)  # null: only when something happens
    depth = models.PositiveIntegerField(default=0)  # live dead letters
    oldest_failed_at = models.DateTimeField(null=True, blank=True)  # first failure of the oldest live dead letter
    group_event_id = models.BigIntegerField(default=0)  # events of error groups up to here were looked at
    # Hysteresis: how many judgements, or runs, in a row asked for a better status than is shown.
    better_count = models.PositiveSmallIntegerField(default=0)
    findings = models.JSONField(default=list, blank=True)  # [{condition, level, text, cause, value, limit}], most urgent first

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(name="watch_due", fields=["due_at"], condition=Q(due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"watch of sync {self.sync_id}"


class StatusChange(models.Model):
    """A sync took another status. Written once, never changed. ``conditions``: what it rested on, see ``choices.Condition``."""

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="status_changes", db_index=False)
    at = models.DateTimeField(default=timezone.now)
    before = models.CharField(max_length=14, choices=labelled(SyncStatus))
    after = models.CharField(max_length=14, choices=labelled(SyncStatus))
    reason = models.TextField(blank=True, default="")
    conditions = models.JSONField(default=list, blank=True)
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            # History of one sync, newest first.
            models.Index(name="status_change_sync", fields=["sync", "-id"]),
            # The feed of all, and retention.
            models.Index(name="status_change_time", fields=["at"]),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="status_change_known", condition=Q(after__in=list(SyncStatus))),
            models.CheckConstraint(name="status_change_differs", condition=~Q(before=models.F("after"))),
        ]

    def __str__(self) -> str:
        return f"{self.before} to {self.after}"


class DepthHour(models.Model):
    """Live dead letters of a sync at a whole hour; hours in which there were none and had been none have no row."""

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="depth_hours", db_index=False)
    hour = models.DateTimeField()
    open_count = models.PositiveIntegerField(default=0)
    oldest_failed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["hour"]
        indexes: ClassVar = [models.Index(name="depth_hour_time", fields=["hour"])]
        constraints: ClassVar = [models.UniqueConstraint(name="depth_hour_once", fields=["sync", "hour"])]

    def __str__(self) -> str:
        return f"{self.open_count} at {self.hour:%Y-%m-%d %H}"
