from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models


class AuditEvent(models.Model):
    """Who changed what of the set-up: connections, syncs, mappings, error rules. Written once, never changed.

    ``act``: a word such as ``created``, ``changed``, ``archived``. ``target_type``: a model's name in lower case; with the id
    and the name it had. ``detail``: {field: [before, after]} or what else explains it; never a secret.
    """

    at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    door = models.CharField(max_length=10)  # admin, api, cli, system
    act = models.CharField(max_length=24)
    target_type = models.CharField(max_length=40)
    target_id = models.BigIntegerField()
    target_name = models.CharField(max_length=255, blank=True, default="")
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            # History of one object, newest first.
            models.Index(name="audit_target_newest", fields=["target_type", "target_id", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.target_type} {self.target_id} {self.act}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("An AuditEvent is never changed.")
        super().save(*args, **kwargs)
