from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from dlq.choices import LIVE, EntryStatus, RowState
from dlq.models.group import ErrorGroup
from dlq.querysets import DLQEntryQuerySet
from syncs.choices import labelled
from syncs.errors import ErrorType, ErrorTypeInfo
from syncs.models import Run, Sync, SyncVersion


class DLQEntry(models.Model):
    """A dead letter: one row that could not be written, with everything needed to see why.

    ``source_row`` and ``payload`` are JSON *text*: exact bytes, any Unicode (NUL is escaped there), no parsing on write.
    At most one live entry per (sync, row key); a repeated failure raises its counts.
    """

    # Sync and group have no index of their own: others begin with them.
    sync = models.ForeignKey(Sync, on_delete=models.PROTECT, related_name="dlq_entries", db_index=False)
    row_key = models.CharField(max_length=255)
    status = models.CharField(max_length=10, choices=labelled(EntryStatus), default=EntryStatus.OPEN)
    group = models.ForeignKey(ErrorGroup, on_delete=models.PROTECT, related_name="entries", db_index=False)
    fingerprint = models.CharField(max_length=32)

    error_type = models.CharField(max_length=24, choices=[(member.value, member.info.label) for member in ErrorType])
    error_code = models.CharField(max_length=120, blank=True, default="")
    field = models.CharField(max_length=255, blank=True, default="")
    message = models.TextField(blank=True, default="")
    is_permanent = models.BooleanField(default=True)
    # The error rule that decided type and permanence; a number, not a key: rules are deleted, and then it names none. What the
    # destination's own module had made of the answer is kept beside it, so that rules can be applied anew, or taken back.
    error_rule_id = models.BigIntegerField(null=True, blank=True)
    said_type = models.CharField(max_length=24, blank=True, default="")
    said_permanent = models.BooleanField(null=True, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    response_excerpt = models.TextField(blank=True, default="")
    request_id = models.CharField(max_length=120, blank=True, default="")

    operation = models.CharField(max_length=8, default="upsert")
    source_row = models.TextField(blank=True, default="")
    payload = models.TextField(blank=True, default="")
    content_hash = models.BigIntegerField()

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="dlq_entries")  # the last that failed it
    first_run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    version = models.ForeignKey(SyncVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    step_number = models.PositiveIntegerField(null=True, blank=True)
    attempt_count = models.PositiveIntegerField(default=1)  # calls that carried the row, over all runs
    failure_count = models.PositiveIntegerField(default=1)  # runs that ended with it refused
    first_failed_at = models.DateTimeField()
    last_failed_at = models.DateTimeField()

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="owned_dlq_entries"
    )
    note = models.TextField(blank=True, default="")
    reprocess_run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="reprocessed_entries")
    reprocess_mode = models.CharField(max_length=8, blank=True, default="")
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    close_reason = models.CharField(max_length=255, blank=True, default="")
    row_state = models.CharField(max_length=8, choices=labelled(RowState), blank=True, default=RowState.UNKNOWN)
    row_checked_at = models.DateTimeField(null=True, blank=True)
    resolved_run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    updated_at = models.DateTimeField(default=timezone.now)

    objects = DLQEntryQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-last_failed_at", "-id"]
        verbose_name = "dead letter"
        verbose_name_plural = "dead letters"
        permissions: ClassVar = [
            ("reprocess_dlqentry", "Can reprocess dead letters"),
            ("discard_dlqentry", "Can discard and reopen dead letters"),
            ("export_dlqentry", "Can export dead letters"),
            ("resend_dlqentry", "Can resend stored payloads"),
            ("edit_dlqentry", "Can edit payloads and resend them"),
            ("annotate_dlqentry", "Can assign dead letters and write notes"),
            ("reveal_dlqentry", "Can see values that are masked"),
            ("exportraw_dlqentry", "Can export dead letters unmasked"),
        ]
        # Each index costs every write that touches the row. Those of few different values cost little: equal keys are stored
        # once (7 bytes an entry on PostgreSQL).
        indexes: ClassVar = [
            # List, newest first, all statuses.
            models.Index(name="entry_newest", fields=["-last_failed_at", "-id"]),
            # List filtered by status (the default: open).
            models.Index(name="entry_status_newest", fields=["status", "-last_failed_at", "-id"]),
            # List of one sync, usually with a status.
            models.Index(name="entry_sync_newest", fields=["sync", "status", "-last_failed_at", "-id"]),
            # Entries of a group; also counts per group.
            models.Index(name="entry_group", fields=["group", "status", "-last_failed_at"]),
            # Those of one owner, "my dead letters" with a status.
            models.Index(
                name="entry_owner_newest", fields=["owner", "status", "-last_failed_at"], condition=Q(owner__isnull=False)
            ),
            # Search by key, whole or its beginning (the pattern class serves both in any locale); history of one row.
            models.Index(name="entry_key", fields=["row_key"], opclasses=["varchar_pattern_ops"]),
            # List filtered by error type or response code, where the tally says that few match.
            models.Index(name="entry_cause", fields=["error_type", "http_status", "status", "sync"]),
            # List filtered by error code, where few match.
            models.Index(name="entry_code", fields=["error_code"]),
            # List filtered by attempts, where few match; most entries have one.
            models.Index(name="entry_attempts", fields=["attempt_count"], condition=Q(attempt_count__gt=1)),
            # List filtered by what the last look into the warehouse found; most rows were never looked at.
            models.Index(name="entry_row_state", fields=["row_state", "status"], condition=Q(row_state__gt="")),
            # List filtered by age: entries that failed again, by their first failure.
            models.Index(
                name="entry_again",
                fields=["status", "-last_failed_at", "-id", "first_failed_at"],
                condition=Q(first_failed_at__lt=F("last_failed_at")),
            ),
            # The oldest live entry of a sync: how long somebody has been waiting.
            models.Index(name="entry_oldest", fields=["sync", "first_failed_at"], condition=Q(status__in=list(LIVE))),
            # What a reprocess run works on, and what it must put back.
            models.Index(
                name="entry_reprocess", fields=["reprocess_run", "id"], condition=Q(status__in=["queued", "inflight"])
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="entry_one_live_per_row", fields=["sync", "row_key"], condition=Q(status__in=list(LIVE))
            ),
            models.CheckConstraint(name="entry_status_known", condition=Q(status__in=list(EntryStatus))),
            models.CheckConstraint(name="entry_row_state_known", condition=Q(row_state__in=list(RowState))),
            models.CheckConstraint(name="entry_type_known", condition=Q(error_type__in=list(ErrorType))),
            models.CheckConstraint(
                name="entry_closed_has_time",
                condition=Q(status__in=list(LIVE), closed_at__isnull=True) | Q(closed_at__isnull=False),
            ),
            models.CheckConstraint(
                name="entry_discard_has_reason", condition=~Q(status=EntryStatus.DISCARDED) | ~Q(close_reason="")
            ),
        ]

    def __str__(self) -> str:
        return self.row_key

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def info(self) -> ErrorTypeInfo:
        return ErrorType(self.error_type).info

    @property
    def source_values(self) -> dict[str, Any]:
        """The warehouse row as read: column -> value, numbers exact."""
        return _load(self.source_row)

    @property
    def payload_values(self) -> dict[str, Any]:
        return _load(self.payload)


def _load(text: str) -> dict[str, Any]:
    if not text:
        return {}
    loaded = json.loads(text, parse_float=Decimal)
    return loaded if isinstance(loaded, dict) else {"": loaded}
