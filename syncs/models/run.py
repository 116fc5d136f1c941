from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from syncs import choices as c
from syncs.models.sync import Sync, SyncVersion
from syncs.querysets import RunQuerySet

_ENDED_WITH_ROWS = [c.RunStatus.SUCCEEDED, c.RunStatus.PARTIAL, c.RunStatus.FAILED, c.RunStatus.CANCELLED]


class Run(models.Model):
    """One execution of a sync. Counts are totals so far; the database checks that they add up once the run has ended."""

    sync = models.ForeignKey(Sync, on_delete=models.PROTECT, related_name="runs")
    version = models.ForeignKey(SyncVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    status = models.CharField(max_length=10, choices=c.labelled(c.RunStatus), default=c.RunStatus.QUEUED)
    trigger = models.CharField(max_length=10, choices=c.labelled(c.Trigger), default=c.Trigger.MANUAL)
    trigger_detail = models.CharField(max_length=255, blank=True, default="")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="requested_runs"
    )
    options = models.JSONField(default=dict, blank=True)  # full: bool, limit: int, keys: [text], selection: text
    is_short = models.BooleanField(default=False)  # few rows: goes to the fast queue, never waits behind long runs
    queued_at = models.DateTimeField(default=timezone.now)
    not_before = models.DateTimeField(null=True, blank=True)
    scheduled_for = models.DateTimeField(null=True, blank=True)
    missed_count = models.PositiveIntegerField(default=0)  # slots folded into this run
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    # Lease and fence: see the claim in querysets.py. Times of the lease are the database's clock.
    fence = models.PositiveBigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=120, blank=True, default="")
    crash_count = models.PositiveSmallIntegerField(default=0)  # in a row, without progress
    total_crash_count = models.PositiveIntegerField(default=0)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    read_count = models.PositiveBigIntegerField(default=0)
    vanished_count = models.PositiveBigIntegerField(default=0)  # mirror: rows to delete, beside those read
    accepted_count = models.PositiveBigIntegerField(default=0)
    created_count = models.PositiveBigIntegerField(default=0)  # of accepted, where the destination says
    updated_count = models.PositiveBigIntegerField(default=0)
    deleted_count = models.PositiveBigIntegerField(default=0)
    unchanged_count = models.PositiveBigIntegerField(default=0)
    skipped_count = models.PositiveBigIntegerField(default=0)
    dead_lettered_count = models.PositiveBigIntegerField(default=0)
    pending_count = models.PositiveBigIntegerField(default=0)
    request_count = models.PositiveBigIntegerField(default=0)
    retry_count = models.PositiveBigIntegerField(default=0)
    bytes_sent = models.PositiveBigIntegerField(default=0)
    progress_at = models.DateTimeField(null=True, blank=True)

    error_summary = models.JSONField(default=list, blank=True)  # [{type, code, field, message, count}]
    failure_type = models.CharField(max_length=24, blank=True, default="")
    failure_code = models.CharField(max_length=120, blank=True, default="")  # for example delete_guard, breaker
    failure_message = models.TextField(blank=True, default="")
    # Whose fault: the way to the source or to the destination failed (every sync of that connection has it). Empty: the run's.
    failure_role = models.CharField(max_length=12, blank=True, default="")
    reason = models.CharField(max_length=255, blank=True, default="")  # why skipped, cancelled or cut short

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            # Run list of one sync, newest first; last run of a sync.
            models.Index(name="run_sync_newest", fields=["sync", "-id"]),
            # Run list filtered by status, newest first.
            models.Index(name="run_status_newest", fields=["status", "-id"]),
            # The feed of runs, and retention: in the order of their end.
            models.Index(name="run_finished", fields=["finished_at", "id"], condition=Q(finished_at__isnull=False)),
            # Workers and the reaper: live runs.
            models.Index(name="run_live", fields=["status", "lease_until"], condition=Q(status__in=list(c.RUN_ACTIVE))),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="run_status_known", condition=Q(status__in=list(c.RunStatus))),
            models.CheckConstraint(name="run_trigger_known", condition=Q(trigger__in=list(c.Trigger))),
            models.CheckConstraint(
                name="run_counts_balance",
                condition=~Q(status__in=_ENDED_WITH_ROWS)
                | Q(
                    pending_count=F("read_count")
                    + F("vanished_count")
                    - F("accepted_count")
                    - F("unchanged_count")
                    - F("skipped_count")
                    - F("dead_lettered_count")
                ),
            ),
            models.CheckConstraint(
                name="run_succeeded_is_clean",
                condition=~Q(status=c.RunStatus.SUCCEEDED) | Q(dead_lettered_count=0, pending_count=0),
            ),
            models.CheckConstraint(
                name="run_partial_left_nothing", condition=~Q(status=c.RunStatus.PARTIAL) | Q(pending_count=0)
            ),
            models.CheckConstraint(
                name="run_terminal_has_end",
                condition=Q(status__in=list(c.RUN_ACTIVE)) | Q(finished_at__isnull=False),
            ),
            models.CheckConstraint(
                name="run_running_has_lease",
                condition=~Q(status=c.RunStatus.RUNNING) | Q(lease_until__isnull=False, started_at__isnull=False),
            ),
            models.UniqueConstraint(name="run_one_live_per_sync", fields=["sync"], condition=Q(status=c.RunStatus.RUNNING)),
            # Two schedulers, one slot: the second insert fails.
            models.UniqueConstraint(
                name="run_slot_once", fields=["sync", "scheduled_for"], condition=Q(scheduled_for__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk}"

    @property
    def is_active(self) -> bool:
        return self.status in c.RUN_ACTIVE

    def duration(self, now: datetime | None = None) -> timedelta | None:
        if self.started_at is None:
            return None
        return (self.finished_at or now or timezone.now()) - self.started_at

    @property
    def settled_count(self) -> int:
        return self.accepted_count + self.unchanged_count + self.skipped_count + self.dead_lettered_count


class Step(models.Model):
    """A part of a run. An upload step is one batch and holds its attempts (see ``engine.ports.Attempt`` for the shape)."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=8, choices=c.labelled(c.StepKind))
    status = models.CharField(max_length=12, choices=c.labelled(c.StepStatus))
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    row_count = models.PositiveIntegerField(default=0)
    accepted_count = models.PositiveIntegerField(default=0)
    dead_lettered_count = models.PositiveIntegerField(default=0)
    attempts = models.JSONField(default=list, blank=True)
    sends = models.JSONField(default=list, blank=True)  # open: [{operation, keys, idempotency_key, attempt, crash_count, job}]
    message = models.TextField(blank=True, default="")

    class Meta:
        ordering: ClassVar = ["number"]
        indexes: ClassVar = [
            # Resume after a crash: what was in flight.
            models.Index(name="step_inflight", fields=["run"], condition=Q(status__in=list(c.STEP_OPEN))),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(name="step_number_once", fields=["run", "number"]),
            models.CheckConstraint(name="step_kind_known", condition=Q(kind__in=list(c.StepKind))),
            models.CheckConstraint(name="step_status_known", condition=Q(status__in=list(c.StepStatus))),
        ]

    def __str__(self) -> str:
        return f"step {self.number}"
