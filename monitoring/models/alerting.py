from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from dlq.models import ErrorGroup
from monitoring.choices import Condition, IncidentEventKind, IncidentState, Scope, Severity, Window
from syncs.choices import labelled
from syncs.models import Connection, Run, Sync, Tag


class AlertRule(models.Model):
    """When somebody is told. Scope says of which syncs, condition and its limits say what, channels say where to.

    ``limits``: of the condition, named as in ``judging.limits``; absent ones take the defaults there.
    """

    name = models.CharField(max_length=120, unique=True)
    template = models.CharField(max_length=40, blank=True, default="")  # what it was made from
    scope = models.CharField(max_length=10, choices=labelled(Scope), default=Scope.ALL)
    sync = models.ForeignKey(Sync, null=True, blank=True, on_delete=models.CASCADE, related_name="alert_rules")
    connection = models.ForeignKey(Connection, null=True, blank=True, on_delete=models.CASCADE, related_name="alert_rules")
    tag = models.ForeignKey(Tag, null=True, blank=True, on_delete=models.PROTECT, related_name="alert_rules")
    condition = models.CharField(max_length=20, choices=labelled(Condition))
    window = models.CharField(max_length=4, choices=labelled(Window), default=Window.DAY)
    limits = models.JSONField(default=dict, blank=True)
    severity = models.CharField(max_length=8, choices=labelled(Severity), default=Severity.WARNING)
    channels = models.ManyToManyField("monitoring.Channel", blank=True, related_name="rules")
    is_active = models.BooleanField(default=True)
    tells_recovery = models.BooleanField(default=True)
    muted_until = models.DateTimeField(null=True, blank=True)
    mute_reason = models.CharField(max_length=255, blank=True, default="")
    muted_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="owned_alert_rules"
    )
    runbook_url = models.URLField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]
        verbose_name = "alert rule"
        constraints: ClassVar = [
            models.CheckConstraint(name="alert_rule_condition_known", condition=Q(condition__in=list(Condition))),
            models.CheckConstraint(name="alert_rule_severity_known", condition=Q(severity__in=list(Severity))),
            models.CheckConstraint(
                name="alert_rule_scope_complete",
                condition=Q(scope=Scope.ALL, sync=None, connection=None, tag=None)
                | Q(scope=Scope.SYNC, sync__isnull=False, connection=None, tag=None)
                | Q(scope=Scope.CONNECTION, sync=None, connection__isnull=False, tag=None)
                | Q(scope=Scope.TAG, sync=None, connection=None, tag__isnull=False),
            ),
            models.CheckConstraint(
                name="alert_rule_mute_has_reason", condition=Q(muted_until__isnull=True) | ~Q(mute_reason="")
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Incident(models.Model):
    """One cause that somebody has to look at, from when it was noticed until it is over; however many runs, syncs or rules
    notice it. ``cause`` names it (``sync:12:run_failed``, ``connection:3:auth``); at most one that is not resolved has it.
    """

    cause = models.CharField(max_length=160)
    condition = models.CharField(max_length=20, choices=labelled(Condition))
    severity = models.CharField(max_length=8, choices=labelled(Severity))
    state = models.CharField(max_length=12, choices=labelled(IncidentState), default=IncidentState.OPEN)
    title = models.CharField(max_length=255)  # plain: names, never values of rows
    text = models.TextField(blank=True, default="")  # what was measured against what, and what to do
    drivers = models.JSONField(default=list, blank=True)  # [[label, value]]: what the judgement rests on
    rules = models.ManyToManyField(AlertRule, blank=True, related_name="incidents")
    sync = models.ForeignKey(Sync, null=True, blank=True, on_delete=models.CASCADE, related_name="incidents")
    connection = models.ForeignKey(Connection, null=True, blank=True, on_delete=models.CASCADE, related_name="incidents")
    group = models.ForeignKey(ErrorGroup, null=True, blank=True, on_delete=models.SET_NULL, related_name="incidents")
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")  # the first that showed it
    follows = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="followers")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="owned_incidents"
    )
    opened_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    seen_count = models.PositiveIntegerField(default=1)  # judgements that found it
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    muted_until = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    resolution = models.CharField(max_length=255, blank=True, default="")
    reopened_count = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            # List by state, newest first.
            models.Index(name="incident_state_newest", fields=["state", "-id"]),
            # Of one sync, newest first.
            models.Index(name="incident_sync_newest", fields=["sync", "-id"]),
            # Reopening: the last one of a cause.
            models.Index(name="incident_cause_newest", fields=["cause", "-id"]),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="incident_one_open_per_cause", fields=["cause"], condition=~Q(state=IncidentState.RESOLVED)
            ),
            models.CheckConstraint(name="incident_state_known", condition=Q(state__in=list(IncidentState))),
            models.CheckConstraint(name="incident_severity_known", condition=Q(severity__in=list(Severity))),
            models.CheckConstraint(
                name="incident_resolved_has_time",
                condition=Q(state=IncidentState.RESOLVED, resolved_at__isnull=False)
                | (~Q(state=IncidentState.RESOLVED) & Q(resolved_at__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_over(self) -> bool:
        return self.state == IncidentState.RESOLVED


class IncidentSync(models.Model):
    """A sync that an incident affects, from when and until when."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="affected")
    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="+")
    since = models.DateTimeField(default=timezone.now)
    recovered_at = models.DateTimeField(null=True, blank=True)
    text = models.TextField(blank=True, default="")  # the finding about this sync
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint(name="incident_sync_once", fields=["incident", "sync"])]

    def __str__(self) -> str:
        return f"sync {self.sync_id} in incident {self.incident_id}"


class IncidentEvent(models.Model):
    """One line of an incident's timeline. Written once, never changed."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=12, choices=labelled(IncidentEventKind))
    at = models.DateTimeField(default=timezone.now)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    sync = models.ForeignKey(Sync, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")  # whom it is about
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    text = models.TextField(blank=True, default="")
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="incident_event_kind_known", condition=Q(kind__in=list(IncidentEventKind)))
        ]

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M}"
