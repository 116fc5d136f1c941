from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from dlq.choices import Door, GroupEventKind, GroupState, RuleKind
from dlq.headlines import headline
from syncs.choices import labelled
from syncs.errors import ErrorType
from syncs.models import Run, Sync


class ErrorGroup(models.Model):
    """All dead letters of a sync with one cause: same error type, code, field and masked message.

    The counters move in the same transactions as the entries. ``fingerprint`` is made from the error; a rule may merge several
    causes into one group, or split one cause into several, and then names the group instead.
    """

    sync = models.ForeignKey(Sync, on_delete=models.PROTECT, related_name="error_groups")
    fingerprint = models.CharField(max_length=32)
    error_type = models.CharField(max_length=24)
    error_code = models.CharField(max_length=120, blank=True, default="")
    field = models.CharField(max_length=255, blank=True, default="")
    title = models.TextField()  # the message with ids, numbers, mails and quoted values masked
    state = models.CharField(max_length=12, choices=labelled(GroupState), default=GroupState.OPEN)
    open_count = models.PositiveIntegerField(default=0)  # live entries: open, queued, inflight
    total_count = models.PositiveIntegerField(default=0)  # entries ever; one whose cause changed counts in both groups
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="owned_error_groups"
    )
    note = models.TextField(blank=True, default="")
    runbook_url = models.URLField(max_length=500, blank=True, default="")
    state_changed_at = models.DateTimeField(null=True, blank=True)
    first_run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    last_run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")  # that refused a row
    rule = models.ForeignKey(
        "dlq.FingerprintRule", null=True, blank=True, on_delete=models.SET_NULL, related_name="made_groups"
    )  # the split that made it; its fingerprint is that rule's, not an error's
    rule_value = models.CharField(max_length=80, blank=True, default="")  # the text that {value} of that split stands for

    class Meta:
        ordering: ClassVar = ["-last_seen_at", "-id"]
        indexes: ClassVar = [
            # Group list, newest failures first.
            models.Index(name="group_newest", fields=["-last_seen_at", "-id"]),
            # The same for one sync.
            models.Index(name="group_sync_newest", fields=["sync", "-last_seen_at", "-id"]),
            # Those with open entries, however many are settled.
            models.Index(name="group_open_newest", fields=["-last_seen_at", "-id"], condition=Q(open_count__gt=0)),
            # Most open entries first; the settled ones stand at its end.
            models.Index(name="group_most", fields=["-open_count", "-id"]),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(name="group_once_per_sync", fields=["sync", "fingerprint"]),
            models.CheckConstraint(name="group_state_known", condition=Q(state__in=list(GroupState))),
            models.CheckConstraint(name="group_type_known", condition=Q(error_type__in=list(ErrorType))),
            models.CheckConstraint(name="group_counts_sane", condition=Q(open_count__lte=models.F("total_count"))),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def headline(self) -> str:
        """What is wrong, in a few words for people; ``title`` holds the message itself."""
        said = headline(self.error_type, self.error_code, self.field, self.title)
        return f"{said}: “{self.rule_value}”" if self.rule_value and self.rule_value not in said else said


class GroupHour(models.Model):
    """How many entries of a group failed in one hour; kept in the transaction that stores them. For sparklines."""

    group = models.ForeignKey(ErrorGroup, on_delete=models.CASCADE, related_name="hours")
    hour = models.DateTimeField()
    failed_count = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["hour"]
        constraints: ClassVar = [models.UniqueConstraint(name="group_hour_once", fields=["group", "hour"])]

    def __str__(self) -> str:
        return f"{self.failed_count} at {self.hour:%Y-%m-%d %H}"


class GroupDay(models.Model):
    """The same for one day (UTC): kept for longer, and what charts over weeks add up."""

    group = models.ForeignKey(ErrorGroup, on_delete=models.CASCADE, related_name="days", db_index=False)
    day = models.DateField()
    failed_count = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["day"]
        indexes: ClassVar = [
            # Charts over all groups.
            models.Index(name="group_day_time", fields=["day"]),
        ]
        constraints: ClassVar = [models.UniqueConstraint(name="group_day_once", fields=["group", "day"])]

    def __str__(self) -> str:
        return f"{self.failed_count} on {self.day:%Y-%m-%d}"


class GroupEvent(models.Model):
    """One thing that happened to an error group: who, when, what, why. Written once, never changed."""

    group = models.ForeignKey(ErrorGroup, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=12, choices=labelled(GroupEventKind))
    at = models.DateTimeField(default=timezone.now)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    door = models.CharField(max_length=8, choices=labelled(Door), default=Door.RUN)
    reason = models.CharField(max_length=255, blank=True, default="")
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="group_event_kind_known", condition=Q(kind__in=list(GroupEventKind)))
        ]

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M}"


class FingerprintRule(models.Model):
    """A person's correction of how errors are grouped: merge what only looks different, or split what only looks alike.

    ``pattern`` is matched against the whole message: literal text, ``*`` for anything, and in a split one ``{value}``. Empty
    conditions match everything. The first active rule of the sync, in order of ``position``, decides. A merge moves what
    matches into ``target``.
    """

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="fingerprint_rules")
    position = models.PositiveIntegerField(default=0)
    kind = models.CharField(max_length=8, choices=labelled(RuleKind))
    error_type = models.CharField(max_length=24, blank=True, default="")
    error_code = models.CharField(max_length=120, blank=True, default="")
    field = models.CharField(max_length=255, blank=True, default="")
    pattern = models.CharField(max_length=500, blank=True, default="")
    title = models.CharField(max_length=255)
    target = models.ForeignKey(ErrorGroup, null=True, blank=True, on_delete=models.PROTECT, related_name="merging_rules")
    is_active = models.BooleanField(default=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["sync", "position", "id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="rule_kind_known", condition=Q(kind__in=list(RuleKind))),
            models.CheckConstraint(name="rule_merge_has_target", condition=~Q(kind=RuleKind.MERGE) | Q(target__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.title


class Regrouping(models.Model):
    """A walk over the live entries of a sync after its rules changed; it goes on where it stood, whoever works on it."""

    sync = models.OneToOneField(Sync, on_delete=models.CASCADE, related_name="regrouping")
    position = models.BigIntegerField(default=0)  # id of the last entry that was looked at
    is_second_look = models.BooleanField(default=False)  # at those that runs with the old rules refused meanwhile
    is_over = models.BooleanField(default=False)
    looked_count = models.PositiveIntegerField(default=0)
    moved_count = models.PositiveIntegerField(default=0)
    moves = models.JSONField(default=dict, blank=True)  # "from:to", ids of groups -> entries, for the groups' histories
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    reason = models.CharField(max_length=255, blank=True, default="")
    requested_at = models.DateTimeField(default=timezone.now)
    touched_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(name="regrouping_active", fields=["touched_at"], condition=Q(is_over=False)),
        ]

    def __str__(self) -> str:
        return f"regrouping of sync {self.sync_id}"
