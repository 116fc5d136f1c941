from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from dlq.choices import Door
from syncs.choices import labelled
from syncs.models import Connection


class Reclassification(models.Model):
    """A walk over the open dead letters of some syncs, which applies the error rules of their connection as they are now.

    It goes on where it stood, whoever works on it. ``kind``: of every connection of that kind; else of ``connection``.
    """

    connection = models.ForeignKey(Connection, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    kind = models.CharField(max_length=40, blank=True, default="")
    place = models.CharField(max_length=80)  # "connection:3" or "kind:http"; one walk at a time
    sync_ids = models.JSONField(default=list)  # those that the person who asked may see
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    requested_at = models.DateTimeField(default=timezone.now)
    door = models.CharField(max_length=8, choices=labelled(Door), default=Door.ADMIN)
    reason = models.CharField(max_length=255, blank=True, default="")

    position = models.BigIntegerField(default=0)  # id of the last entry that was looked at
    is_second_look = models.BooleanField(default=False)  # at those that runs refused meanwhile
    is_over = models.BooleanField(default=False)
    is_cancelled = models.BooleanField(default=False)
    looked_count = models.PositiveIntegerField(default=0)
    changed_count = models.PositiveIntegerField(default=0)
    changes = models.JSONField(default=dict, blank=True)  # "rule|type|permanent|type|permanent" before and after -> entries
    moves = models.JSONField(default=dict, blank=True)  # "from:to", ids of groups -> entries
    touched_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(name="reclass_active", fields=["touched_at"], condition=Q(is_over=False)),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(name="reclass_one_per_place", fields=["place"], condition=Q(is_over=False)),
        ]

    def __str__(self) -> str:
        return f"error rules of {self.place}, applied {self.requested_at:%Y-%m-%d %H:%M}"
