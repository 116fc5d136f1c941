"""The daily reading of schemas: each destination object that a sync uses, one at a time, by a worker of the fast cluster.

The truth is ``SchemaWatch.next_at``. A tick moves it on before it rings, so that a lost message costs minutes; a reading that
fails is noted there and tried again later, ever more seldom up to a day.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When
from django.utils import timezone
from django_q.tasks import async_task

from syncs.errors import RedriveError
from syncs.models import Connection, Sync
from syncs.models.schema import SchemaWatch
from syncs.services import schemas
from syncs.services.doorbell import FAST_CLUSTER

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

DAY = timedelta(days=1)
RUNG = timedelta(minutes=10)  # what a message gets to be heard in, and a reading to end
AGAIN = timedelta(minutes=30)  # after the first failure; doubled by each further one, up to a day
TASK = "syncs.tasks.refresh_schema"


def ring_due(now: datetime | None = None) -> int | None:
    """Wake a worker for the one object that waits longest. Returns its watch's id; None: nothing is due. Any number of ticks
    may do so at once: one of them wins. One query when nothing is due."""
    now = now or timezone.now()
    waiting = SchemaWatch.objects.filter(
        connection_id=OuterRef("destination_id"), object_name=OuterRef("destination_object"), next_at__gt=now
    )
    used = Sync.objects.active().filter(~Exists(waiting)).exclude(destination_object="").order_by("pk")
    found = used.values_list("destination_id", "destination_object").first()
    if found is None:
        return None
    watch = _watch(*found, now)
    with transaction.atomic():
        if not SchemaWatch.objects.filter(pk=watch.pk, next_at__lte=now).update(next_at=now + RUNG):
            return None
        async_task(TASK, watch.pk, cluster=FAST_CLUSTER)
    return watch.pk


def _watch(connection_id: int, object_name: str, now: datetime) -> SchemaWatch:
    try:
        with transaction.atomic():
            found, _ = SchemaWatch.objects.get_or_create(
                connection_id=connection_id, object_name=object_name, defaults={"next_at": now}
            )
    except IntegrityError:
        found = SchemaWatch.objects.get(connection_id=connection_id, object_name=object_name)
    return found


def work(watch_id: int) -> bool:
    """Answer one message: read the object once. False: somebody has just done so, or the watch is gone.

    What the other side does is noted, never raised.
    """
    now = timezone.now()
    mine = SchemaWatch.objects.filter(pk=watch_id)
    if not mine.filter(Q(tried_at__isnull=True) | Q(tried_at__lt=now - RUNG)).update(tried_at=now):
        return False
    watch = mine.select_related("connection").first()
    if watch is None:
        return False
    try:
        refresh(watch.connection, watch.object_name, door="system")
    except RedriveError as problem:
        logger.info("The fields of %s of connection %s: %s", watch.object_name, watch.connection_id, problem.message)
    except DatabaseError:
        raise  # its time comes again
    except Exception as error:
        logger.exception("The fields of %s of connection %s could not be kept.", watch.object_name, watch.connection_id)
        _failed(mine, f"They could not be kept ({type(error).__name__}). The worker's log has the details.")
    return True


def refresh(connection: Connection, object_name: str, *, by: User | None = None, door: str) -> schemas.Refresh:
    """``schemas.refresh``, with how it went noted; the daily reading counts from now. Raises what that raises.

    A name that gives nothing leaves no trace where nobody reads it daily.
    """
    watch = SchemaWatch.objects.filter(connection=connection, object_name=object_name)
    try:
        found = schemas.refresh(connection, object_name, by=by, door=door)
    except RedriveError as problem:
        if problem.code == schemas.NO_DISCOVERY:
            _settled(watch, problem.message)
        else:
            _failed(watch, problem.message)
        raise
    _watch(connection.pk, object_name, timezone.now())
    _settled(watch, "")
    return found


def _settled(watch: QuerySet[SchemaWatch], note: str) -> None:
    now = timezone.now()
    watch.update(next_at=now + DAY, tried_at=now, problem=note, failed_count=0)


def _failed(watch: QuerySet[SchemaWatch], problem: str) -> None:
    now = timezone.now()
    waits = (When(failed_count=count, then=Value(now + AGAIN * 2**count)) for count in range(5))
    watch.update(
        next_at=Case(*waits, default=Value(now + DAY)),
        tried_at=now,
        problem=problem[:2_000],
        failed_count=F("failed_count") + 1,
    )


def watch_of(connection: Connection, object_name: str) -> SchemaWatch | None:
    return SchemaWatch.objects.filter(connection=connection, object_name=object_name).first()
