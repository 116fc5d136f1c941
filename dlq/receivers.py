"""What dead letters do when something happens elsewhere."""

from __future__ import annotations

from typing import Any

from django.db import connections, transaction
from django.db.models.signals import post_migrate
from django.dispatch import receiver

from dlq import triggers
from dlq.services import exports, operations, reclassify, regrouping, tally
from syncs.signals import idled, run_finished, ticked


@receiver(ticked)
def fold_tally(**_: Any) -> None:
    tally.fold()


@receiver(ticked)
def wake_operations(**_: Any) -> None:
    operations.advance_due()


@receiver(ticked)
def wake_regrouping(**_: Any) -> None:
    regrouping.WALK.ring_lost()


@receiver(idled)
def regroup_here(**_: Any) -> bool:
    return regrouping.WALK.advance_here()


@receiver(ticked)
def wake_reclassifying(**_: Any) -> None:
    reclassify.WALK.ring_lost()


@receiver(idled)
def reclassify_here(**_: Any) -> bool:
    return reclassify.WALK.advance_here()


@receiver(run_finished)
def go_on_after_wave(run_id: int, **_: Any) -> None:
    operations.on_run_finished(run_id)


@receiver(idled)
def advance_operations_here(**_: Any) -> bool:
    return operations.advance_here()


@receiver(ticked)
def look_after_exports(**_: Any) -> None:
    exports.look_after()


@receiver(idled)
def write_exports_here(**_: Any) -> bool:
    return exports.advance_here()


@receiver(post_migrate)
def keep_triggers(sender: Any, using: str, **_: Any) -> None:
    """A migration that alters the entry table on SQLite drops its triggers. On the way back to before they existed, nothing."""
    if sender.name != "dlq" or "dlq_entrytally" not in connections[using].introspection.table_names():
        return
    with transaction.atomic(using=using):
        triggers.ensure(connections[using])
