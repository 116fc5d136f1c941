"""How a call went: the delivery's next state, and what it says about its channel."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Greatest

from monitoring.channels import registry
from monitoring.channels.base import WAITS, Sent
from monitoring.choices import DeliveryState, Event
from monitoring.models import Channel, Delivery
from monitoring.services import channel_health

ATTEMPTS_KEPT = 20
_MOST_WAIT = timedelta(hours=24)
_BACKLOG_WAIT = timedelta(minutes=30)  # what else waits for a place that fails, at most


@transaction.atomic
def note(delivery: Delivery, fence: int, sent: Sent, now: datetime) -> bool:
    """False: another worker holds it by now, and this call counts for nothing."""
    mine = Delivery.objects.filter(pk=delivery.pk, fence=fence, state=DeliveryState.SENDING)
    if mine.update(lease_until=None, attempts=_attempts(delivery, sent, now), **_outcome(delivery, sent, now)) != 1:
        return False
    if delivery.channel is not None:
        _note_channel(delivery.channel, delivery, sent, now)
    return True


def _outcome(delivery: Delivery, sent: Sent, now: datetime) -> dict[str, Any]:
    if sent.is_delivered:
        return {"state": DeliveryState.DELIVERED, "delivered_at": now, "last_error": sent.error}
    retry_at = None if _is_last(delivery, sent) else next_at(delivery, sent, now)
    if retry_at is None:
        return {"state": DeliveryState.DEAD, "last_error": sent.error}
    return {"state": DeliveryState.PENDING, "last_error": sent.error, "not_before": retry_at}


def _is_last(delivery: Delivery, sent: Sent) -> bool:
    """A test is tried once: whoever asked for it is looking."""
    return sent.is_permanent or sent.is_gone or delivery.event == Event.TEST


def next_at(delivery: Delivery, sent: Sent, now: datetime) -> datetime | None:
    """After the wait of its kind, a little more for each so that not all come back at once; None: that was the last attempt."""
    waits = registry.module(delivery.channel.kind).WAITS if delivery.channel else WAITS
    if delivery.attempt_count > len(waits):
        return None
    wait = waits[delivery.attempt_count - 1] * (1 + random.random() / 10)  # noqa: S311 - not a secret
    return now + min(timedelta(seconds=max(wait, sent.retry_after or 0)), _MOST_WAIT)


def _attempts(delivery: Delivery, sent: Sent, now: datetime) -> list[dict[str, Any]]:
    made = {
        "at": now.isoformat(),
        "milliseconds": round(sent.milliseconds, 1),
        "http_status": sent.http_status,
        "error": sent.error,
        "excerpt": sent.excerpt,
    }
    return [*delivery.attempts, made][-ATTEMPTS_KEPT:]


def _note_channel(channel: Channel, delivery: Delivery, sent: Sent, now: datetime) -> None:
    row = Channel.objects.filter(pk=channel.pk)
    if sent.is_delivered:
        row.update(failed_count=0, failing_since=None, last_delivered_at=now)
        return
    if delivery.event == Event.TEST:
        return
    row.update(failed_count=F("failed_count") + 1, failing_since=Coalesce(F("failing_since"), now))
    _hold_back(channel, sent, now)
    channel_health.look(channel.pk, delivery, sent, now)


def _hold_back(channel: Channel, sent: Sent, now: datetime) -> None:
    """What else waits for this place would fail too, and cost a call each: it waits, the longer the longer this lasts."""
    if sent.is_permanent:  # this message was refused, the next may not be
        return
    count = min(Channel.objects.values_list("failed_count", flat=True).get(pk=channel.pk), len(WAITS))
    until = now + min(timedelta(seconds=max(WAITS[count - 1], sent.retry_after or 0)), _BACKLOG_WAIT)
    waiting = Delivery.objects.filter(channel=channel, state=DeliveryState.PENDING, not_before__lt=until)
    waiting.update(not_before=Greatest(F("not_before"), until))
