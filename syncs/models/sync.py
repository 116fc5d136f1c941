from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models

from syncs import choices as c
from syncs.models.connection import Connection
from syncs.models.tag import Tag
from syncs.models.team import Team
from syncs.querysets import SyncQuerySet


class Sync(models.Model):
    """Rows of one query, mapped, written to one object of a destination, on a schedule."""

    name = models.CharField(max_length=120, unique=True)
    description = models.TextField(blank=True, default="")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="owned_syncs"
    )
    team = models.ForeignKey(
        Team,
        null=True,
        blank=True,
        on_delete=models.PROTECT,  # a team that goes must not open its syncs to everybody
        related_name="syncs",
        help_text="Who sees it and works on it. Empty: everybody who may see syncs.",
    )
    tags = models.ManyToManyField(Tag, blank=True, related_name="syncs", help_text="Words to find and watch syncs by.")
    source = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="syncs_from")
    query = models.TextField(help_text="One SELECT. Redrive wraps it; ordering and limits are added around it.")
    key_columns = models.CharField(
        max_length=255,
        help_text="Column that identifies a row; several are joined by commas. Never NULL, never doubled.",
    )
    destination = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="syncs_to")
    destination_object = models.CharField(max_length=255, help_text="For example contacts, or schema.table.")
    destination_options = models.JSONField(default=dict, blank=True)
    mode = models.CharField(max_length=10, choices=c.labelled(c.SyncMode), default=c.SyncMode.UPSERT)
    detection = models.CharField(max_length=14, choices=c.labelled(c.Detection), default=c.Detection.CHANGED_ROWS)
    cursor_column = models.CharField(max_length=120, blank=True, default="", help_text="Watermark detection only.")
    cursor_overlap_seconds = models.PositiveIntegerField(
        default=300, help_text="Watermark detection reads this much again, for rows that were committed late."
    )
    watermark = models.JSONField(null=True, blank=True, editable=False)
    on_mapping_error = models.CharField(
        max_length=12, choices=c.labelled(c.OnMappingError), default=c.OnMappingError.DEAD_LETTER
    )
    delete_guard_percent = models.PositiveSmallIntegerField(default=10)
    delete_guard_rows = models.PositiveIntegerField(default=1000)

    batch_records = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: as much as the destination takes.")
    max_attempts = models.PositiveSmallIntegerField(default=5, help_text="Calls per batch before its rows are dead-lettered.")
    retry_budget_seconds = models.PositiveIntegerField(default=900, help_text="Longest time one batch may keep retrying.")
    breaker_threshold = models.PositiveSmallIntegerField(
        default=5, help_text="Whole-batch failures in a row that stop the run."
    )

    schedule_kind = models.CharField(max_length=10, choices=c.labelled(c.ScheduleKind), default=c.ScheduleKind.MANUAL)
    interval_minutes = models.PositiveIntegerField(null=True, blank=True)
    cron = models.CharField(max_length=120, blank=True, default="", help_text="Five fields, for example 15 6 * * 1-5.")
    timezone = models.CharField(max_length=64, default="UTC", help_text="IANA name, for example Europe/Berlin.")
    next_run_at = models.DateTimeField(null=True, blank=True, editable=False)
    overlap_policy = models.CharField(max_length=10, choices=c.labelled(c.OverlapPolicy), default=c.OverlapPolicy.SKIP)

    is_paused = models.BooleanField(default=False, editable=False)
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    pause_reason = models.CharField(max_length=255, blank=True, default="", editable=False)
    is_archived = models.BooleanField(default=False, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    # A refresh of the destination's schema found a break; reprocess waits for a preview that is newer.
    drift_since = models.DateTimeField(null=True, blank=True, editable=False)
    drift_reason = models.TextField(blank=True, default="", editable=False)
    previewed_at = models.DateTimeField(null=True, blank=True, editable=False)  # the last preview without a problem
    previewed_digest = models.CharField(max_length=64, blank=True, default="", editable=False)  # of the version it was of
    # A mirror run that would delete too much stops and asks; the next run may delete up to this many rows.
    approved_delete_count = models.PositiveIntegerField(null=True, blank=True, editable=False)

    status = models.CharField(
        max_length=14, choices=c.labelled(c.SyncStatus), default=c.SyncStatus.UNCONFIGURED, editable=False
    )
    status_reason = models.TextField(blank=True, default="Never ran.", editable=False)
    status_since = models.DateTimeField(auto_now_add=True)
    current_version = models.ForeignKey(
        "SyncVersion", null=True, blank=True, editable=False, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SyncQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        permissions: ClassVar = [
            ("run_sync", "Can run syncs and cancel runs"),
            ("pause_sync", "Can pause and resume syncs"),
            ("allteams_sync", "Can see the syncs of every team"),
        ]
        indexes: ClassVar = [
            # The tick: syncs whose slot is due.
            models.Index(
                name="sync_due",
                fields=["next_run_at"],
                condition=models.Q(is_paused=False, is_archived=False, next_run_at__isnull=False),
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="sync_mode_known", condition=models.Q(mode__in=list(c.SyncMode))),
            models.CheckConstraint(name="sync_detection_known", condition=models.Q(detection__in=list(c.Detection))),
            models.CheckConstraint(name="sync_status_known", condition=models.Q(status__in=list(c.SyncStatus))),
            models.CheckConstraint(
                name="sync_schedule_complete",
                condition=models.Q(schedule_kind=c.ScheduleKind.MANUAL)
                | models.Q(schedule_kind=c.ScheduleKind.INTERVAL, interval_minutes__gte=1)
                | (models.Q(schedule_kind=c.ScheduleKind.CRON) & ~models.Q(cron="")),
            ),
            models.CheckConstraint(
                name="sync_watermark_has_column",
                condition=~models.Q(detection=c.Detection.WATERMARK) | ~models.Q(cursor_column=""),
            ),
            models.CheckConstraint(name="sync_batch_positive", condition=~models.Q(batch_records=0)),
            models.CheckConstraint(name="sync_attempts_positive", condition=models.Q(max_attempts__gte=1)),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def key_column_list(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.key_columns.split(",") if name.strip())


class FieldMapping(models.Model):
    """One destination field and where its value comes from. ``options``: per type (see the mapping page of the user guide)."""

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="mappings")
    position = models.PositiveIntegerField(default=0)
    destination_field = models.CharField(max_length=255, help_text="Dots nest (address.city); [] collects a list (tags[]).")
    kind = models.CharField(max_length=10, choices=c.labelled(c.MappingKind), default=c.MappingKind.COLUMN)
    column = models.CharField(max_length=255, blank=True, default="")
    constant = models.JSONField(null=True, blank=True)
    template = models.TextField(blank=True, default="", help_text="Liquid, for example {{ first }} {{ last | upcase }}.")
    type = models.CharField(max_length=10, choices=c.labelled(c.FieldType), default=c.FieldType.STRING)
    options = models.JSONField(default=dict, blank=True)
    on_null = models.CharField(max_length=8, choices=c.labelled(c.OnNull), default=c.OnNull.NULL)
    default = models.JSONField(null=True, blank=True)
    is_required = models.BooleanField(default=False)
    is_key = models.BooleanField(default=False, help_text="The destination finds its record by this field.")

    class Meta:
        ordering: ClassVar = ["position", "id"]
        constraints: ClassVar = [
            # A list collects several mappings; any other field has one.
            models.UniqueConstraint(
                name="mapping_field_once_per_sync",
                fields=["sync", "destination_field"],
                condition=~models.Q(destination_field__endswith="[]"),
            ),
            models.CheckConstraint(name="mapping_kind_known", condition=models.Q(kind__in=list(c.MappingKind))),
            models.CheckConstraint(name="mapping_type_known", condition=models.Q(type__in=list(c.FieldType))),
            models.CheckConstraint(name="mapping_on_null_known", condition=models.Q(on_null__in=list(c.OnNull))),
            models.CheckConstraint(
                name="mapping_column_named", condition=~models.Q(kind=c.MappingKind.COLUMN) | ~models.Q(column="")
            ),
        ]

    def __str__(self) -> str:
        return self.destination_field


class SyncVersion(models.Model):
    """What a sync was when a run started: query, mapping, settings. Written once, never changed; each run pins one."""

    sync = models.ForeignKey(Sync, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    snapshot = models.JSONField()
    digest = models.CharField(max_length=64)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    note = models.CharField(max_length=255, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [models.UniqueConstraint(name="version_number_once", fields=["sync", "number"])]

    def __str__(self) -> str:
        return f"version {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("A SyncVersion is never changed; make a new one.")
        super().save(*args, **kwargs)
