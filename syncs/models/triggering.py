from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from syncs.choices import ChainWhen, labelled
from syncs.fields import EncryptedJSONField


class SyncTrigger(models.Model):
    """An address that starts runs of one sync when it is called with a signature: for jobs that cannot hold an API key.

    ``secrets``: {"current": "whsec_...", "previous": "whsec_..."}; the previous one is good until ``previous_until``.
    """

    sync = models.ForeignKey("syncs.Sync", on_delete=models.CASCADE, related_name="triggers")
    public_id = models.CharField(max_length=32, unique=True)
    name = models.CharField(max_length=120)
    secrets = EncryptedJSONField(default=dict)
    previous_until = models.DateTimeField(null=True, blank=True)
    is_enabled = models.BooleanField(default=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    last_called_at = models.DateTimeField(null=True, blank=True)
    last_outcome = models.CharField(max_length=255, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.name


class TriggerCall(models.Model):
    """A signed call that was taken in: its id is good once, so that a call sent again starts nothing more."""

    trigger = models.ForeignKey(SyncTrigger, on_delete=models.CASCADE, related_name="calls")
    call_id = models.CharField(max_length=255)
    run = models.ForeignKey("syncs.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["trigger", "call_id"], name="trigger_call_once")]

    def __str__(self) -> str:
        return self.call_id


class SyncChain(models.Model):
    """``sync`` runs after each run of ``after`` that ended as ``when`` says. Chains of a database never form a circle."""

    after = models.ForeignKey("syncs.Sync", on_delete=models.CASCADE, related_name="chains_from")
    sync = models.ForeignKey("syncs.Sync", on_delete=models.CASCADE, related_name="chains_to")
    when = models.CharField(max_length=16, choices=labelled(ChainWhen), default=ChainWhen.SUCCEEDED)
    is_enabled = models.BooleanField(default=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["after", "sync"], name="chain_once"),
            models.CheckConstraint(condition=~models.Q(after=models.F("sync")), name="chain_of_two"),
            models.CheckConstraint(condition=models.Q(when__in=[when.value for when in ChainWhen]), name="chain_when"),
        ]

    def __str__(self) -> str:
        return f"{self.after_id} → {self.sync_id}"


class ChainFiring(models.Model):
    """A chain answers the end of one run: once for each, whichever process sees it.

    ``outcome``: what came of it, or why no run did; empty: it is still to be answered. The run may go before this does.
    """

    chain = models.ForeignKey(SyncChain, on_delete=models.CASCADE, related_name="firings")
    after_run = models.ForeignKey("syncs.Run", on_delete=models.CASCADE, related_name="chain_firings")
    run = models.ForeignKey("syncs.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="chained_by")
    outcome = models.CharField(max_length=255, blank=True, default="")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["chain", "after_run"], name="chain_fires_once")]
        indexes: ClassVar = [
            # The tick: what is still to be answered.
            models.Index(name="chain_firing_due", fields=["id"], condition=models.Q(outcome="")),
        ]

    def __str__(self) -> str:
        return f"{self.chain_id} after run {self.after_run_id}"
