from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from syncs.choices import SchemaChangeKind, SchemaOrigin, labelled
from syncs.models.connection import Connection


class SchemaSnapshot(models.Model):
    """The fields of one destination object as they were at one time. Written once, never changed; a refresh that finds the same
    fields moves ``seen_at`` only.

    ``fields``: [{name, label, type, is_required, is_key, is_writable, max_length, options}], as ``destinations.base.Field``.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="schemas")
    object_name = models.CharField(max_length=255)
    number = models.PositiveIntegerField()
    origin = models.CharField(max_length=10, choices=labelled(SchemaOrigin), default=SchemaOrigin.DISCOVERED)
    fields = models.JSONField(default=list)
    digest = models.CharField(max_length=64)  # SHA-256 of the fields, in hex
    taken_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    taken_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            # Also the look-up of the newest snapshot of an object.
            models.UniqueConstraint(name="schema_number_once", fields=["connection", "object_name", "number"]),
            models.CheckConstraint(name="schema_origin_known", condition=Q(origin__in=list(SchemaOrigin))),
        ]

    def __str__(self) -> str:
        return f"{self.object_name}, schema {self.number}"


class SchemaChange(models.Model):
    """What one refresh found to differ from the snapshot before, one row per field and kind.

    ``is_breaking``: rows that were taken before may be refused now. ``before``, ``after``: the value of what changed (a type, a
    length, a list of options), null where it does not apply.
    """

    snapshot = models.ForeignKey(SchemaSnapshot, on_delete=models.CASCADE, related_name="changes")
    kind = models.CharField(max_length=20, choices=labelled(SchemaChangeKind))
    field = models.CharField(max_length=255)
    is_breaking = models.BooleanField(default=False)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-is_breaking", "field", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="schema_change_once", fields=["snapshot", "field", "kind"]),
            models.CheckConstraint(name="schema_change_kind_known", condition=Q(kind__in=list(SchemaChangeKind))),
        ]

    def __str__(self) -> str:
        return f"{self.field}: {self.get_kind_display()}"


class SchemaWatch(models.Model):
    """When the fields of a destination object are read next, and how that went last. One row per object that is read.

    ``problem``: why the last reading gave nothing, in words; empty where it went well. ``failed_count``: in a row.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="schema_watches")
    object_name = models.CharField(max_length=255)
    next_at = models.DateTimeField()
    tried_at = models.DateTimeField(null=True, blank=True)
    problem = models.TextField(blank=True, default="")
    failed_count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(name="schema_watch_once", fields=["connection", "object_name"]),
        ]

    def __str__(self) -> str:
        return f"{self.object_name} of connection {self.connection_id}"
