"""What dead letters do when something happens elsewhere."""

from __future__ import annotations

from typing import Any

from django.db import connections, transaction
from django.db.models.signals import post_migrate
from django.dispatch import receiver

from dlq import triggers
from dlq.services import tally
from syncs.signals import ticked


@receiver(ticked)
def fold_tally(**_: Any) -> None:
    tally.fold()


@receiver(post_migrate)
def keep_triggers(sender: Any, using: str, **_: Any) -> None:
    """A migration that alters the entry table on SQLite drops its triggers. On the way back to before they existed, nothing."""
    if sender.name != "dlq" or "dlq_entrytally" not in connections[using].introspection.table_names():
        return
    with transaction.atomic(using=using):
        triggers.ensure(connections[using])
