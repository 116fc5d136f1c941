"""Channels that do not work: switched off by themselves in the end, and somebody is told."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import transaction

from monitoring.channels import registry
from monitoring.channels.base import Message, Sent
from monitoring.choices import DeliveryState, Event, Severity
from monitoring.models import Channel, Delivery
from monitoring.services import messages, notices, outbox
from syncs.services import audit

logger = logging.getLogger(__name__)

FAILS = 10  # calls in a row, and ...
FOR = timedelta(hours=24)  # ... so long without one that worked: the channel is switched off
_DAY = timedelta(days=1)
_MOST = 1000


def look(channel_id: int, delivery: Delivery, sent: Sent, now: datetime) -> None:
    """After a call that failed."""
    channel = Channel.objects.select_related("owner").get(pk=channel_id)
    if sent.is_gone:
        switch_off(channel, now, f"It says that it does not exist any more: {sent.error}")
    elif channel.failed_count >= FAILS and channel.failing_since is not None and now - channel.failing_since >= FOR:
        since = messages.said_moment(channel.failing_since)
        switch_off(channel, now, f"{channel.failed_count} calls in a row failed, since {since}. The last: {sent.error}")
    elif Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.DEAD).exists():
        _tell_given_up(channel, delivery, sent, now)


@transaction.atomic
def switch_off(channel: Channel, now: datetime, reason: str) -> bool:
    """By itself. What waits is given up; what was meant for one person goes to that person by email. False: it was off."""
    on = Channel.objects.filter(pk=channel.pk, is_enabled=True)
    if on.update(is_enabled=False, disabled_at=now, disabled_reason=reason[:255]) != 1:
        return False
    channel.is_enabled, channel.disabled_at, channel.disabled_reason = False, now, reason[:255]
    logger.warning("Channel %s was switched off: %s", channel.pk, reason)
    audit.record("channel_switched_off", channel, by=None, door="system", detail={"reason": reason[:255]})
    give_up(channel, f"The channel was switched off. {reason}")
    _tell(channel, messages.of_disabled(channel, at=now, reason=reason), now)
    return True


def give_up(channel: Channel, reason: str) -> int:
    """What waits for a channel that is off. Returns how many."""
    waiting = Delivery.objects.filter(channel=channel, state__in=(DeliveryState.PENDING, DeliveryState.HELD))
    for one in waiting.filter(user__isnull=False).select_related("user", "incident", "sync", "run")[:_MOST]:
        outbox.put(
            event=Event(one.event),
            subject=one.subject,
            severity=one.severity,
            message=Message.from_json(one.message),
            user=one.user,
            incident=one.incident,
            sync=one.sync,
            run=one.run,
            not_before=one.not_before,
            state=DeliveryState(one.state),
        )
    return waiting.update(state=DeliveryState.DEAD, last_error=reason)


def _tell(channel: Channel, message: Message, now: datetime) -> None:
    """Admins in the console; the owner of the channel by email."""
    notices.to_admins(message, at=now)
    owner = channel.owner
    if owner is not None and owner.is_active and owner.email:
        outbox.put(event=message.event, subject=message.subject, severity=message.severity, message=message, user=owner)


def _tell_given_up(channel: Channel, delivery: Delivery, sent: Sent, now: datetime) -> None:
    """A message that will not arrive, the first within a day."""
    others = Delivery.objects.filter(channel=channel, state=DeliveryState.DEAD, created_at__gt=now - _DAY)
    if others.exclude(pk=delivery.pk).exclude(event=Event.TEST).exists():
        return
    message = messages.make(
        Event.CHANNEL_DISABLED,
        severity=Severity.WARNING,
        subject=f"delivery:{delivery.pk}:dead",
        title=f"A message to the channel “{channel.name}” was given up",
        text=f"{registry.label(channel.kind)} did not take it after {delivery.attempt_count} attempts. {sent.error}",
        at=now,
        links=[("Delivery", messages.url("admin:monitoring_delivery_change", delivery.pk))],
    )
    _tell(channel, message, now)
