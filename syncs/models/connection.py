from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models

from syncs.choices import ConnectionRole, ConnectionState, labelled
from syncs.fields import EncryptedJSONField


class Connection(models.Model):
    """A warehouse (source) or an operational tool (destination). ``config``: settings of its kind; ``secrets``: encrypted."""

    name = models.CharField(max_length=120, unique=True)
    role = models.CharField(max_length=12, choices=labelled(ConnectionRole))
    kind = models.CharField(max_length=40)
    config = models.JSONField(default=dict, blank=True)
    secrets: models.Field[dict[str, Any], dict[str, Any]] = EncryptedJSONField(default=dict, blank=True)
    description = models.TextField(blank=True, default="")
    state = models.CharField(max_length=12, choices=labelled(ConnectionState), default=ConnectionState.UNCHECKED)
    state_message = models.TextField(blank=True, default="")
    checked_at = models.DateTimeField(null=True, blank=True)
    # OAuth: when a person logged in, who, and when what was given then ends (null: not known, or never).
    authorized_at = models.DateTimeField(null=True, blank=True, editable=False)
    authorized_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    credential_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]
        permissions: ClassVar = [("try_connection", "Can send one record through a connection to try it")]
        constraints: ClassVar = [
            models.CheckConstraint(name="connection_role_known", condition=models.Q(role__in=list(ConnectionRole))),
            models.CheckConstraint(name="connection_state_known", condition=models.Q(state__in=list(ConnectionState))),
        ]

    def __str__(self) -> str:
        return self.name


class RateWindow(models.Model):
    """Calls used in the current window of a destination's request budget; every run of the connection draws on it.

    A row of its own, so that taking from the budget never touches the connection's settings.
    """

    connection = models.OneToOneField(Connection, on_delete=models.CASCADE, primary_key=True, related_name="rate_window")
    window_started_at = models.DateTimeField()
    used_count = models.IntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.used_count} calls since {self.window_started_at:%H:%M:%S}"
