from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from dlq.choices import Door, EditState
from dlq.models.entry import DLQEntry
from syncs.choices import labelled
from syncs.models import Run


class PayloadEdit(models.Model):
    """A payload that somebody corrected by hand or by a file, to be sent instead of the stored one.

    ``before`` and ``payload`` are JSON text. It was made for the entry as it was at ``base_failed_at``: when the row has failed
    again since, or a newer version has landed, it is out of date and is not sent.
    """

    entry = models.ForeignKey(DLQEntry, on_delete=models.CASCADE, related_name="edits")
    before = models.TextField()
    payload = models.TextField()
    base_failed_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=labelled(EditState), default=EditState.READY)
    reason = models.CharField(max_length=255)
    door = models.CharField(max_length=8, choices=labelled(Door), default=Door.ADMIN)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    used_run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="edit_one_ready_per_entry", fields=["entry"], condition=Q(state=EditState.READY)),
            models.CheckConstraint(name="edit_state_known", condition=Q(state__in=list(EditState))),
            models.CheckConstraint(name="edit_has_reason", condition=~Q(reason="")),
        ]

    def __str__(self) -> str:
        return f"edit {self.pk} of dead letter {self.entry_id}"
