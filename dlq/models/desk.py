"""What people keep at their desk: saved views and exports; and the tally that makes counts cheap."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from dlq.choices import Door, EntryStatus, ExportStatus
from syncs.choices import labelled
from syncs.models import Sync


class SavedView(models.Model):
    """A filter of the dead letter list under a name: private, or shared with everybody who may see the list."""

    name = models.CharField(max_length=80)
    query = models.TextField(blank=True, default="")  # address parameters, relative times kept relative
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [models.UniqueConstraint(name="view_name_once_per_owner", fields=["owner", "name"])]

    def __str__(self) -> str:
        return self.name


class Export(models.Model):
    """A file of dead letters, written in the background and offered for download until it expires."""

    status = models.CharField(max_length=10, choices=labelled(ExportStatus), default=ExportStatus.QUEUED)
    format = models.CharField(max_length=8)
    columns = models.JSONField(default=list, blank=True)  # chosen columns in order; empty: all
    is_flat = models.BooleanField(default=False)  # payload fields as columns of their own
    is_raw = models.BooleanField(default=False)  # unmasked
    query = models.TextField(blank=True, default="")
    ids = models.JSONField(null=True, blank=True)
    max_id = models.BigIntegerField()
    as_of = models.DateTimeField()
    expected_count = models.PositiveIntegerField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="dlq_exports"
    )
    created_at = models.DateTimeField(default=timezone.now)
    door = models.CharField(max_length=8, choices=labelled(Door), default=Door.ADMIN)
    reason = models.CharField(max_length=255, blank=True, default="")
    token_digest = models.CharField(max_length=64, unique=True)

    fence = models.PositiveBigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    file_name = models.CharField(max_length=200, blank=True, default="")  # below the export directory
    row_count = models.PositiveIntegerField(default=0)
    byte_count = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    message = models.TextField(blank=True, default="")

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            # The tick: exports to write, and files to remove.
            models.Index(name="export_active", fields=["status", "lease_until"]),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="export_status_known", condition=Q(status__in=list(ExportStatus))),
            models.CheckConstraint(
                name="export_ready_is_whole",
                condition=~Q(status=ExportStatus.READY) | (~Q(sha256="") & Q(expires_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return f"export {self.pk}"


class EntryTally(models.Model):
    """How many entries there are by sync, status, error type and response code. Written by triggers on the entry table only, as
    signed changes that are summed up when read and folded together now and then, so that no writer waits for another.
    """

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="+")
    status = models.CharField(max_length=10, choices=labelled(EntryStatus))
    error_type = models.CharField(max_length=24)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    count = models.BigIntegerField()

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.count} {self.status}"
