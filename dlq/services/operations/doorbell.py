"""Waking a worker for a bulk operation. A message may be lost or doubled: what is true stands in the operation."""

from __future__ import annotations

from django.utils import timezone
from django_q.models import OrmQ
from django_q.tasks import async_task

from syncs.services.doorbell import FAST_CLUSTER

ADVANCE = "dlq.tasks.advance"


def ring(operation_id: int) -> None:
    """Within a transaction, the message rides its commit."""
    async_task(ADVANCE, operation_id, cluster=FAST_CLUSTER)


def waiting_messages() -> int:
    """Messages that will still wake somebody: those a cluster has taken are locked far into the future."""
    count: int = OrmQ.objects.filter(key=FAST_CLUSTER, lock__lte=timezone.now()).count()
    return count
