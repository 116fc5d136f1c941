from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from dlq.choices import GroupState
from syncs.choices import labelled
from syncs.errors import ErrorType
from syncs.models import Sync


class ErrorGroup(models.Model):
    """All dead letters of a sync with one cause: same error type, code, field and masked message.

    The counters move in the same transactions as the entries.
    """

    sync = models.ForeignKey(Sync, on_delete=models.PROTECT, related_name="error_groups")
    fingerprint = models.CharField(max_length=32)
    error_type = models.CharField(max_length=24)
    error_code = models.CharField(max_length=120, blank=True, default="")
    field = models.CharField(max_length=255, blank=True, default="")
    title = models.TextField()  # the message with ids, numbers, mails and quoted values masked
    state = models.CharField(max_length=12, choices=labelled(GroupState), default=GroupState.OPEN)
    open_count = models.PositiveIntegerField(default=0)  # live entries: open, queued, inflight
    total_count = models.PositiveIntegerField(default=0)  # entries ever
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="owned_error_groups"
    )
    note = models.TextField(blank=True, default="")

    class Meta:
        ordering: ClassVar = ["-last_seen_at", "-id"]
        indexes: ClassVar = [
            # Group list, newest failures first.
            models.Index(name="group_newest", fields=["-last_seen_at", "-id"]),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(name="group_once_per_sync", fields=["sync", "fingerprint"]),
            models.CheckConstraint(name="group_state_known", condition=Q(state__in=list(GroupState))),
            models.CheckConstraint(name="group_type_known", condition=Q(error_type__in=list(ErrorType))),
            models.CheckConstraint(name="group_counts_sane", condition=Q(open_count__lte=models.F("total_count"))),
        ]

    def __str__(self) -> str:
        return self.title
