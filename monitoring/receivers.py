"""What monitoring hears from the syncs. A signal that is lost costs seconds: what happened left a touch,
and the tick judges every sync that has one."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from django.utils import timezone

from monitoring.services import (
    alerts,
    channel_edit,
    deliveries,
    depth_hours,
    digests,
    evaluation,
    events,
    silence_watch,
    tracing,
)
from monitoring.services.retention import passes
from syncs.models import Run
from syncs.services import heartbeats
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
    heartbeats.beat(heartbeats.ALERTS)


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


@receiver(run_finished)
def tell_webhooks_of_a_run(run_id: int, **_: Any) -> None:
    events.run_finished(run_id)


@receiver(ticked)
def send_digests(**_: Any) -> None:
    digests.send_due(timezone.now())  # before what waited for them would go out one by one


@receiver(ticked)
def look_after_deliveries(**_: Any) -> None:
    now = timezone.now()
    deliveries.ring_due(now)
    events.catch_up(now)
    channel_edit.forget_former(now)


@receiver(idled)
def deliver_here(**_: Any) -> bool:
    return deliveries.send_due() > 0


@receiver(ticked)
def look_for_silence(**_: Any) -> None:
    silence_watch.tick(timezone.now())


@receiver(run_finished)
def trace_run(run_id: int, **_: Any) -> None:
    tracing.export(run_id)
