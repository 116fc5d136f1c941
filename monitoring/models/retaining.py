from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from monitoring.choices import Retained
from syncs.choices import labelled


class RetentionRule(models.Model):
    """How many days one kind of thing is kept; no row: the default (``services.retention``). Null days: for ever."""

    kind = models.CharField(max_length=24, choices=labelled(Retained), unique=True)
    days = models.PositiveIntegerField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering: ClassVar = ["kind"]
        verbose_name = "retention rule"
        constraints: ClassVar = [
            models.CheckConstraint(name="retention_kind_known", condition=Q(kind__in=list(Retained))),
            models.CheckConstraint(name="retention_days_positive", condition=Q(days__isnull=True) | Q(days__gte=1)),
        ]

    def __str__(self) -> str:
        return self.get_kind_display()


class Purge(models.Model):
    """One pass of deleting what is old, one row per kind: what it may delete, and how far it came. Goes on where it stood."""

    kind = models.CharField(max_length=24, choices=labelled(Retained))
    before = models.DateTimeField()  # what is older than this
    is_dry_run = models.BooleanField(default=False)
    is_over = models.BooleanField(default=False)
    position = models.BigIntegerField(default=0)  # id up to which was looked, in the table of ``place``
    place = models.JSONField(default=dict, blank=True)  # what else says where it stands, see ``services.retention.places``
    deleted_count = models.PositiveBigIntegerField(default=0)  # dry run: that would be
    kept_count = models.PositiveBigIntegerField(default=0)  # old enough, but something still needs it
    bytes_freed = models.PositiveBigIntegerField(default=0)  # an estimate, 0 where nobody knows
    lease_until = models.DateTimeField(null=True, blank=True)
    door = models.CharField(max_length=10, default="system")  # admin, api, cli; system: by the day
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    started_at = models.DateTimeField(default=timezone.now)
    touched_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    message = models.TextField(blank=True, default="")

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="purge_kind_known", condition=Q(kind__in=list(Retained))),
            models.UniqueConstraint(name="purge_one_active_per_kind", fields=["kind"], condition=Q(is_over=False)),
        ]

    def __str__(self) -> str:
        return f"purge {self.pk} of {self.kind}"
