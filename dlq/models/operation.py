from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from dlq.choices import OPERATION_OVER, Door, ItemOutcome, OperationKind, OperationStatus, ReprocessMode
from dlq.models.entry import DLQEntry
from syncs.choices import labelled
from syncs.models import Run


class BulkOperation(models.Model):
    """One act on many dead letters, frozen by predicate when it was confirmed: the filter with absolute times, the highest id,
    and nothing touched after ``as_of``. Its members are inserted from that, set-based; each is checked again as it is acted on.
    """

    kind = models.CharField(max_length=10, choices=labelled(OperationKind))
    status = models.CharField(max_length=10, choices=labelled(OperationStatus), default=OperationStatus.QUEUED)
    mode = models.CharField(max_length=8, choices=labelled(ReprocessMode), blank=True, default="")

    # What it acts on.
    query = models.TextField(blank=True, default="")  # the filter, as address parameters with absolute times
    ids = models.JSONField(null=True, blank=True)  # ticked rows, at most a page; null: all that match the filter
    of_operation = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="undone_by")
    max_id = models.BigIntegerField()
    as_of = models.DateTimeField()
    expected_count = models.PositiveIntegerField()

    # Who, why, from where.
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="bulk_operations"
    )
    created_at = models.DateTimeField(default=timezone.now)
    door = models.CharField(max_length=8, choices=labelled(Door), default=Door.ADMIN)
    reason = models.CharField(max_length=255, blank=True, default="")
    token_digest = models.CharField(max_length=64, unique=True)  # of the confirmation; posting it twice finds this operation
    options = models.JSONField(default=dict, blank=True)  # assign: {"owner": id or null}

    # How: waves of a reprocess.
    wave_sizes = models.JSONField(default=list, blank=True)  # the last size repeats
    halt_percent = models.PositiveSmallIntegerField(default=100)  # of a wave refused again with the fingerprint it had: halt
    rows_per_minute = models.PositiveIntegerField(null=True, blank=True)
    wave_number = models.PositiveIntegerField(default=0)  # of the wave that was sent last
    next_wave_at = models.DateTimeField(null=True, blank=True)
    waves = models.JSONField(default=list, blank=True)  # one object a wave, see ``services.operations.waves.Wave``
    halted_wave = models.PositiveIntegerField(default=0)  # the next halt is decided on waves after this one

    # Where it stands. The lease is by the database's clock; every commit checks the fence.
    fence = models.PositiveBigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=120, blank=True, default="")
    inserted_through = models.BigIntegerField(default=0)  # entry id up to which members are inserted
    is_frozen = models.BooleanField(default=False)  # all members are inserted
    position = models.BigIntegerField(default=0)  # item id up to which items were acted on
    member_count = models.PositiveIntegerField(default=0)
    done_count = models.PositiveIntegerField(default=0)
    refused_count = models.PositiveIntegerField(default=0)
    gone_count = models.PositiveIntegerField(default=0)
    left_out_count = models.PositiveIntegerField(default=0)
    not_reached_count = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True)
    # The status it is on its way to (cancelled, failed): what it has not reached is being marked so.
    ends_as = models.CharField(max_length=10, blank=True, default="")
    message = models.TextField(blank=True, default="")  # why it halted, failed or was cancelled, in words
    undo_until = models.DateTimeField(null=True, blank=True)  # discard: how long it can be undone as a whole

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name = "bulk operation"
        indexes: ClassVar = [
            # The tick: operations that may have work and that nobody holds.
            models.Index(name="operation_active", fields=["status", "lease_until"], condition=~Q(status__in=OPERATION_OVER)),
            # List, newest first, by status.
            models.Index(name="operation_status_newest", fields=["status", "-id"]),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="operation_kind_known", condition=Q(kind__in=list(OperationKind))),
            models.CheckConstraint(name="operation_status_known", condition=Q(status__in=list(OperationStatus))),
            models.CheckConstraint(
                name="operation_over_has_end", condition=~Q(status__in=OPERATION_OVER) | Q(finished_at__isnull=False)
            ),
            models.CheckConstraint(
                name="operation_over_balances",
                condition=~Q(status__in=OPERATION_OVER)
                | Q(
                    member_count=F("done_count")
                    + F("refused_count")
                    + F("gone_count")
                    + F("left_out_count")
                    + F("not_reached_count")
                ),
            ),
            models.CheckConstraint(
                name="operation_discard_has_reason", condition=~Q(kind=OperationKind.DISCARD) | ~Q(reason="")
            ),
        ]

    def __str__(self) -> str:
        return f"operation {self.pk}"

    @property
    def is_over(self) -> bool:
        return self.status in OPERATION_OVER

    @property
    def is_ending(self) -> bool:
        """Cancelled or failed, and not yet at its end."""
        return bool(self.ends_as) and not self.is_over

    @property
    def settled_count(self) -> int:
        return self.done_count + self.refused_count + self.gone_count + self.left_out_count + self.not_reached_count


class BulkItem(models.Model):
    """One entry in a bulk operation, and what became of it."""

    operation = models.ForeignKey(BulkOperation, on_delete=models.CASCADE, related_name="items")
    entry = models.ForeignKey(DLQEntry, on_delete=models.CASCADE, related_name="+")
    outcome = models.CharField(max_length=12, choices=labelled(ItemOutcome), default=ItemOutcome.PENDING)
    wave = models.PositiveIntegerField(null=True, blank=True)
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    fingerprint = models.CharField(max_length=32, blank=True, default="")  # before the wave; the same again counts to the halt
    note = models.CharField(max_length=160, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            # The next slice of work, and the entries of one outcome on the operation's page.
            models.Index(name="item_outcome", fields=["operation", "outcome", "id"]),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(name="item_once_per_operation", fields=["operation", "entry"]),
            models.CheckConstraint(name="item_outcome_known", condition=Q(outcome__in=list(ItemOutcome))),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} in operation {self.operation_id}"
