from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from syncs.models.sync import Sync


class DeliveredRow(models.Model):
    """The ledger: per row key, the content the destination accepted last, and the content that is held back in the DLQ.

    Change detection and the checkpoint in one. The primary key is (sync, row key): no second index to write. ``run_id`` is
    a plain number: a million rows need no foreign key check each.
    """

    pk = models.CompositePrimaryKey("sync_id", "row_key")
    # No constraint in the database: it would be checked for each row of each batch, and a live run protects its sync.
    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    row_key = models.CharField(max_length=255)
    payload_hash = models.BigIntegerField(null=True)
    accepted_at = models.DateTimeField(null=True)
    held_hash = models.BigIntegerField(null=True)
    is_hold_permanent = models.BooleanField(default=False)
    run_id = models.BigIntegerField()
    seen_run_id = models.BigIntegerField(null=True)  # mirror mode only

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="ledger_row_says_something", condition=Q(payload_hash__isnull=False) | Q(held_hash__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.row_key
