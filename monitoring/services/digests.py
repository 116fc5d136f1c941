"""Digests: what waited for somebody's hour goes out as one message."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from monitoring.channels.base import Message
from monitoring.choices import DeliveryState, Digest, Event, IncidentState, Severity
from monitoring.models import Channel, Delivery, Incident, Subscription
from monitoring.services import audience, incident_sight, messages, outbox, timing

logger = logging.getLogger(__name__)

MOST_NAMED = 30  # incidents that a digest lists
_PERIOD = {Digest.DAILY: "day", Digest.WEEKLY: "week"}


def send_due(now: datetime | None = None) -> int:
    """Send what is due; called by the tick, before single messages are sent. One that fails keeps no other one waiting, and
    what it was to bring goes out by itself ``timing.DIGEST_GRACE`` later. Returns how many were sent."""
    now = now or timezone.now()
    wanting = Subscription.objects.filter(is_active=True).exclude(digest=Digest.NONE)
    due = wanting.filter(next_digest_at__lte=now) | wanting.filter(next_digest_at=None)
    sent = 0
    for one in due.select_related("user", "channel").order_by("pk"):
        try:
            sent += _send(one, now)
        except Exception:
            logger.exception("The digest of subscription %s could not be made; its messages go out one by one.", one.pk)
    return sent


@transaction.atomic
def _send(subscription: Subscription, now: datetime) -> int:
    """One for each place. Whoever moves the subscription to its next digest sends this one."""
    due = subscription.next_digest_at
    subscription.next_digest_at = None
    following = timing.next_digest(subscription, now)
    mine = Subscription.objects.filter(pk=subscription.pk, next_digest_at=due)
    if mine.update(next_digest_at=following) != 1 or due is None:
        return 0
    waiting = Delivery.objects.select_for_update(skip_locked=True, of=("self",)).filter(
        user=subscription.user_id,
        state=DeliveryState.HELD,
        not_before__lte=due + timing.DIGEST_GRACE,
        incident__isnull=False,
    )
    places: dict[int | None, list[Delivery]] = {}
    for row in waiting.order_by("pk"):
        places.setdefault(row.channel_id, []).append(row)
    channels = Channel.objects.in_bulk([pk for pk in places if pk is not None])
    return sum(_fold(subscription, channels.get(pk or 0), rows, due, now) for pk, rows in places.items())


def _fold(subscription: Subscription, channel: Channel | None, rows: list[Delivery], due: datetime, now: datetime) -> int:
    """What he may not see any more is left out, and goes nowhere."""
    user = subscription.user
    ids = [row.incident_id for row in rows if row.incident_id is not None]
    is_able = user.pk in audience.able()
    incidents = sorted(incident_sight.visible(user).filter(pk__in=ids), key=_order) if is_able else []
    made = None
    if incidents:
        made = outbox.put(
            event=Event.DIGEST,
            subject=f"digest:{subscription.pk}:{due.isoformat()}",
            severity=max((one.severity for one in incidents), key=lambda one: timing.RANK[Severity(one)]),
            message=_message(subscription, incidents, rows, due),
            channel=channel,
            user=user,
            not_before=now,
        )
    held = Delivery.objects.filter(pk__in=[row.pk for row in rows], state=DeliveryState.HELD)
    held.update(state=DeliveryState.FOLDED, digest=made)
    return int(made is not None)


def _message(subscription: Subscription, incidents: Sequence[Incident], rows: Iterable[Delivery], due: datetime) -> Message:
    open_count = sum(not one.is_over for one in incidents)
    period = _PERIOD[Digest(subscription.digest)]
    count = f"{len(incidents)} incident{'s' if len(incidents) != 1 else ''}"
    titles = {row.incident_id: Message.from_json(row.message).title for row in reversed(list(rows))}
    lines = [_line(one, titles.get(one.pk, "")) for one in incidents[:MOST_NAMED]]
    more = len(incidents) - MOST_NAMED
    if more > 0:
        lines.append(f"and {more} more")
    return messages.make(
        Event.DIGEST,
        severity=max((one.severity for one in incidents), key=lambda one: timing.RANK[Severity(one)]),
        subject=f"digest:{subscription.pk}",
        title=f"{count} of the last {period}: {open_count} open, {len(incidents) - open_count} over",
        text="\n".join(lines),
        at=due,
        facts=[("Open", str(open_count)), ("Over", str(len(incidents) - open_count))],
        links=[
            ("Notices", messages.url("admin:monitoring_subscription_notices")),
            ("Change what you are told", messages.url("admin:monitoring_subscription_changelist")),
        ],
        data={"incidents": [_json(one) for one in incidents[:MOST_NAMED]]},
    )


def _order(incident: Incident) -> tuple[bool, int, int]:
    """What is open first, then the gravest, then the newest."""
    return incident.is_over, -timing.RANK[Severity(incident.severity)], -incident.pk


def _line(incident: Incident, title: str) -> str:
    """As it stood in what he would have been told: what he may read of it was worked out then."""
    since = messages.said_moment(incident.opened_at)
    if incident.state == IncidentState.RESOLVED and incident.resolved_at:
        how = f"over since {messages.said_moment(incident.resolved_at)}"
    else:
        how = incident.get_state_display().lower()
    return f"{incident.get_severity_display()}: {title or incident.title} (since {since}, {how})"


def _json(incident: Incident) -> dict[str, object]:
    return {
        "id": incident.pk,
        "url": messages.url("admin:monitoring_incident_change", incident.pk),
        "title": incident.title,
        "severity": incident.severity,
        "state": incident.state,
    }
