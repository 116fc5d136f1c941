from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from dlq.choices import Door, EventKind
from dlq.models.entry import DLQEntry
from syncs.choices import labelled
from syncs.models import Run


class DLQEvent(models.Model):
    """One thing that happened to a dead letter: who, when, what, why, from where. Written once, never changed."""

    entry = models.ForeignKey(DLQEntry, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=12, choices=labelled(EventKind))
    at = models.DateTimeField(default=timezone.now)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    door = models.CharField(max_length=8, choices=labelled(Door), default=Door.RUN)
    reason = models.CharField(max_length=255, blank=True, default="")
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="event_kind_known", condition=Q(kind__in=list(EventKind))),
            models.CheckConstraint(name="event_door_known", condition=Q(door__in=list(Door))),
        ]

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M}"
