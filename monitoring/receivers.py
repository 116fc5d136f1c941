"""What monitoring hears from the syncs. A signal that is lost costs seconds: what happened left a touch,
and the tick judges every sync that has one."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from django.utils import timezone

from monitoring.services import alerts, depth_hours, evaluation
from monitoring.services.retention import passes
from syncs.models import Run
from syncs.signals import connection_switched, idled, run_finished, sync_switched, ticked


@receiver(run_finished)
def on_run_finished(run_id: int, **_: Any) -> None:
    sync_id = Run.objects.filter(pk=run_id).values_list("sync_id", flat=True).first()
    if sync_id is not None:
        evaluation.judge(sync_id)


@receiver(sync_switched)
def on_sync_switched(sync_id: int, **_: Any) -> None:
    evaluation.judge(sync_id)


@receiver(connection_switched)
def on_connection_switched(connection_id: int, **_: Any) -> None:
    evaluation.judge_connection(connection_id)


@receiver(ticked)
def on_ticked(**_: Any) -> None:
    evaluation.judge_due()


@receiver(ticked)
def keep_depths(**_: Any) -> None:
    depth_hours.keep(timezone.now())


@receiver(ticked)
def look_after_purges(**_: Any) -> None:
    passes.look_after()


@receiver(idled)
def purge_here(**_: Any) -> bool:
    return passes.advance_here()


@receiver(ticked)
def tend_incidents(**_: Any) -> None:
    alerts.tend(timezone.now())
