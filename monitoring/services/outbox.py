"""Messages on their way to channels and people: a row before the first call, and a doorbell that rings with the commit."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils import timezone
from django_q.tasks import async_task

from monitoring.channels import registry
from monitoring.channels.base import Message
from monitoring.choices import DeliveryState, Event, Severity
from monitoring.models import Channel, Delivery, Incident
from syncs.models import Run, Sync
from syncs.services.doorbell import FAST_CLUSTER

if TYPE_CHECKING:
    from django.contrib.auth.models import User

TASK = "monitoring.tasks.deliver"
SWITCHED_OFF = "The channel was switched off when this came up."


def put(
    *,
    event: Event,
    subject: str,
    severity: Severity | str,
    message: Message,
    channel: Channel | None = None,
    user: User | None = None,
    incident: Incident | None = None,
    sync: Sync | None = None,
    run: Run | None = None,
    not_before: datetime | None = None,
    state: DeliveryState = DeliveryState.PENDING,
    resent_of: Delivery | None = None,
) -> Delivery | None:
    """Note one message to one place, in the caller's transaction; a worker is rung for what is due when that commits.

    ``channel`` without ``user``: to the channel. Both: to the channel, for this person. ``user`` alone: by email to the person.
    ``subject``: of the delivery, at most 200 characters; the same event with the same subject goes to one place once.
    ``message.subject`` is another thing: the thread that the messages of one incident share.
    ``state`` HELD: waits for ``not_before`` (or until somebody folds it into a digest).

    None: the place has been told already, or channels of its kind do not take such events (PagerDuty takes incidents only).
    A channel that is switched off gets a row that is given up from the start, and that a person may send later.
    """
    if channel is not None and not registry.takes(channel.kind, event):
        return None
    key = uuid.uuid4()
    is_off = channel is not None and not channel.is_enabled and event != Event.TEST
    row = Delivery(
        key=key,
        channel=channel,
        user=user,
        event=event,
        subject=subject[:200],
        severity=severity,
        incident=incident,
        sync=sync,
        run=run,
        # A message that goes out again keeps the id under which its receiver may know it.
        message=(message if resent_of is not None else replace(message, id=str(key))).as_json(),
        state=DeliveryState.DEAD if is_off else state,
        last_error=SWITCHED_OFF if is_off else "",
        not_before=not_before or timezone.now(),
        resent_of=resent_of,
    )
    Delivery.objects.bulk_create([row], ignore_conflicts=True)
    made = Delivery.objects.filter(key=key).first()
    if made is not None and made.state == DeliveryState.PENDING and made.not_before <= timezone.now():
        ring(made.pk)
    return made


def ring(delivery_id: int) -> None:
    """Wake a worker. The message is a row of the same database: it is there when the transaction is, and not before."""
    async_task(TASK, delivery_id, cluster=FAST_CLUSTER)
