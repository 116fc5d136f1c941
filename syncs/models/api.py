from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models

from syncs.fields import EncryptedJSONField

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class ServiceAccount(models.Model):
    """A user for machines: has roles and teams as people have, owns API keys, and can never sign in."""

    user: models.OneToOneField[User, User] = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="service_account"
    )
    description = models.CharField(max_length=255, blank=True, default="")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.user)


class ApiKey(models.Model):
    """A secret that stands for its owner, within ``scopes``. Of the secret only the SHA-256 is stored.

    The key as shown once is ``rd_<prefix>_<secret>``: 256 random bits in the secret. ``rotated_from``: the key that this one
    takes the place of; that one ends when the overlap does.
    """

    user: models.ForeignKey[User, User] = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys"
    )
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_from = models.GenericIPAddressField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    rotated_from = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} (rd_{self.prefix}…)"

    def is_good(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class ApiWindow(models.Model):
    """Requests of one caller in the running minute: the rate limit, shared by all web processes. One row per caller."""

    caller = models.CharField(max_length=64, primary_key=True)  # key:<id>, user:<id>, ip:<address>
    minute = models.BigIntegerField()  # minutes since 1970
    count = models.PositiveIntegerField()

    def __str__(self) -> str:
        return self.caller


class IdempotentRequest(models.Model):
    """A POST with an ``Idempotency-Key``: what it asked for and, once it has succeeded, what was answered.

    ``fingerprint``: SHA-256 of method, address and body. ``answer``: {status, body, headers}, encrypted, for it may hold a
    secret that is shown once. Without one it is under way, or its process died.
    """

    caller = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    answer = EncryptedJSONField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["caller", "key"], name="idempotent_once")]

    def __str__(self) -> str:
        return self.key
