from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from syncs.models.sync import Sync


class JobBatch(models.Model):
    """The records of a batch that a destination works on as a job, exactly as they were sent.

    The job's answer speaks of this content, and may come to another worker after the warehouse has changed. Written with the
    job's name, deleted with its end. ``records``: see ``services.job_batches``.
    """

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="+")
    idempotency_key = models.CharField(max_length=64)
    records = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions: ClassVar = ()
        constraints: ClassVar = [models.UniqueConstraint(name="jobbatch_once", fields=["sync", "idempotency_key"])]

    def __str__(self) -> str:
        return self.idempotency_key
