from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from monitoring.choices import DeliveryState, Digest, Event, Follows, Severity
from monitoring.models.alerting import Incident
from syncs.choices import labelled
from syncs.fields import EncryptedJSONField
from syncs.models import Run, Sync


class Channel(models.Model):
    """A place messages go to. ``config`` and ``secrets``: of its kind, see ``channels.registry``.

    ``events``: what a webhook channel is told beside the incidents of rules and subscriptions that name it (``choices.Event``).
    """

    name = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=20)
    config = models.JSONField(default=dict, blank=True)
    secrets: models.Field[dict[str, Any], dict[str, Any]] = EncryptedJSONField(default=dict, blank=True)
    events = models.JSONField(default=list, blank=True)
    min_severity = models.CharField(max_length=8, choices=labelled(Severity), default=Severity.INFO)
    is_enabled = models.BooleanField(default=True)
    disabled_at = models.DateTimeField(null=True, blank=True)  # by itself, after too many deliveries that were given up
    disabled_reason = models.CharField(max_length=255, blank=True, default="")
    failed_count = models.PositiveIntegerField(default=0)  # calls in a row
    failing_since = models.DateTimeField(null=True, blank=True)
    last_delivered_at = models.DateTimeField(null=True, blank=True)
    rotated_at = models.DateTimeField(
        null=True, blank=True
    )  # the signing secret; the old one signs too until ``overlap_until``
    overlap_until = models.DateTimeField(null=True, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="owned_channels"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One message to one place: a row before the first call, and what became of it. ``message``: ``channels.base.Message`` as
    JSON. ``attempts``: [{at, milliseconds, http_status, error, excerpt}], the newest kept; excerpts are redacted.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)  # stays the same over attempts: webhook-id
    channel = models.ForeignKey(Channel, null=True, blank=True, on_delete=models.CASCADE, related_name="deliveries")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="deliveries"
    )  # whom it is for, where it goes to one person
    event = models.CharField(max_length=24, choices=labelled(Event))
    subject = models.CharField(max_length=200)  # with event, channel and user: told once
    severity = models.CharField(max_length=8, choices=labelled(Severity), default=Severity.INFO)
    incident = models.ForeignKey(Incident, null=True, blank=True, on_delete=models.CASCADE, related_name="deliveries")
    sync = models.ForeignKey(Sync, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    message = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=labelled(DeliveryState), default=DeliveryState.PENDING)
    not_before = models.DateTimeField(default=timezone.now)
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.PositiveIntegerField(default=0)
    attempt_count = models.PositiveSmallIntegerField(default=0)
    attempts = models.JSONField(default=list, blank=True)
    last_error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    delivered_at = models.DateTimeField(null=True, blank=True)
    resent_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="resends")
    digest = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="folded")

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name_plural = "deliveries"
        indexes: ClassVar = [
            # What is due.
            models.Index(
                name="delivery_due",
                fields=["not_before"],
                condition=Q(state__in=[DeliveryState.PENDING, DeliveryState.HELD, DeliveryState.SENDING]),
            ),
            # Log of a channel, newest first.
            models.Index(name="delivery_channel_newest", fields=["channel", "-id"]),
            # Retention.
            models.Index(name="delivery_created", fields=["created_at"]),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="delivery_state_known", condition=Q(state__in=list(DeliveryState))),
            models.CheckConstraint(name="delivery_has_a_place", condition=Q(channel__isnull=False) | Q(user__isnull=False)),
            models.UniqueConstraint(
                name="delivery_once_per_channel",
                fields=["channel", "event", "subject"],
                condition=Q(user__isnull=True, resent_of__isnull=True),
            ),
            models.UniqueConstraint(
                name="delivery_once_per_person",
                fields=["channel", "user", "event", "subject"],
                condition=Q(user__isnull=False, resent_of__isnull=True),
            ),
            models.UniqueConstraint(  # without a channel it goes to the person's own address; NULLs are never equal above
                name="delivery_once_by_email",
                fields=["user", "event", "subject"],
                condition=Q(user__isnull=False, channel__isnull=True, resent_of__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.key}"


class Subscription(models.Model):
    """What one person wants to be told of some syncs, and how. A notice in the console comes at once in any case; ``channel``
    and ``by_email`` say where else. Without a row of the person: ``services.timing.default``.

    Quiet hours are times of the day in ``timezone``; what is less grave than ``quiet_lets_through`` waits for their end,
    or goes to ``fallback`` at once where there is one.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="subscriptions")
    follows = models.CharField(max_length=8, choices=labelled(Follows), default=Follows.OWNED)
    min_severity = models.CharField(max_length=8, choices=labelled(Severity), default=Severity.WARNING)
    by_email = models.BooleanField(default=False)
    channel = models.ForeignKey(Channel, null=True, blank=True, on_delete=models.SET_NULL, related_name="subscriptions")
    digest = models.CharField(max_length=8, choices=labelled(Digest), default=Digest.NONE)
    digest_hour = models.PositiveSmallIntegerField(default=8)
    digest_weekday = models.PositiveSmallIntegerField(default=0)  # Monday
    next_digest_at = models.DateTimeField(null=True, blank=True, editable=False)
    timezone = models.CharField(max_length=64, default="UTC")
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)
    quiet_lets_through = models.CharField(max_length=8, choices=labelled(Severity), default=Severity.PAGE)
    fallback = models.ForeignKey(Channel, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["user", "id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="subscription_quiet_complete",
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
            ),
            models.UniqueConstraint(name="subscription_once", fields=["user", "follows"]),
            models.CheckConstraint(name="subscription_hour_real", condition=Q(digest_hour__lte=23, digest_weekday__lte=6)),
        ]

    def __str__(self) -> str:
        return f"subscription {self.pk} of user {self.user_id}"


class WatchedSync(models.Model):
    """Somebody wants to hear of a sync that is not theirs."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="watched_syncs")
    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="watchers")
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(name="watched_once", fields=["user", "sync"])]

    def __str__(self) -> str:
        return f"user {self.user_id} watches sync {self.sync_id}"


class Notice(models.Model):
    """A message to one person in the console."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notices", db_index=False)
    delivery = models.OneToOneField(Delivery, null=True, blank=True, on_delete=models.SET_NULL, related_name="notice")
    incident = models.ForeignKey(Incident, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    sync = models.ForeignKey(Sync, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    event = models.CharField(max_length=24, choices=labelled(Event))
    severity = models.CharField(max_length=8, choices=labelled(Severity), default=Severity.INFO)
    title = models.CharField(max_length=255)
    text = models.TextField(blank=True, default="")
    url = models.CharField(max_length=500, blank=True, default="")  # within the console
    created_at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(name="notice_newest", fields=["user", "-id"]),
            models.Index(name="notice_unread", fields=["user"], condition=Q(read_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.title
