from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from syncs.errors import ERROR_TYPES, ErrorType
from syncs.models.connection import Connection


class ErrorRule(models.Model):
    """What an answer of a destination means. Of one connection, or of every connection of a kind; the first that fits decides,
    a connection's own before its kind's, and both before what the connection's settings say.

    Conditions that are empty hold for any answer; those that are given must all hold. ``text``: a bounded regular expression
    over the message, case-insensitive. ``is_permanent``: None: as the error type says.
    """

    connection = models.ForeignKey(Connection, null=True, blank=True, on_delete=models.CASCADE, related_name="error_rules")
    kind = models.CharField(max_length=40, blank=True, default="", help_text="A kind of destination: for all its connections.")
    position = models.PositiveIntegerField(default=0, help_text="The lowest is tried first.")
    is_enabled = models.BooleanField(default=True)
    name = models.CharField(max_length=120)
    statuses = models.JSONField(default=list, blank=True)  # HTTP status codes, for example [400, 422]
    codes = models.JSONField(default=list, blank=True)  # error codes of the destination, exact
    text = models.CharField(max_length=500, blank=True, default="")
    error_type = models.CharField(max_length=24, choices=[(one.value, ERROR_TYPES[one].label) for one in ErrorType])
    is_permanent = models.BooleanField(null=True, blank=True)
    advice = models.TextField(blank=True, default="", help_text="What a support agent should do; shown on the dead letter.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering: ClassVar = ["position", "id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="rule_error_type_known", condition=Q(error_type__in=list(ErrorType))),
            models.CheckConstraint(
                name="rule_of_connection_or_kind",
                condition=Q(connection__isnull=False, kind="") | (Q(connection__isnull=True) & ~Q(kind="")),
            ),
        ]

    def __str__(self) -> str:
        return self.name
