"""When and where something reaches one person: at once, after the quiet hours, by the fallback, or with the next digest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from monitoring.choices import SEVERITIES, DeliveryState, Digest, Follows, Severity
from monitoring.judging import hours
from monitoring.models import Channel, Subscription

# What waits for a digest goes out by itself so long after it was due: nothing is lost where no digest comes.
DIGEST_GRACE = timedelta(hours=6)
RANK = {severity: place for place, severity in enumerate(SEVERITIES)}


@dataclass(frozen=True, slots=True)
class Place:
    """``channel`` None: by email to the person. ``waits_for_digest``: goes out with others; ``at`` is then the latest."""

    channel: Channel | None
    at: datetime
    is_held: bool = False
    waits_for_digest: bool = False

    @property
    def key(self) -> int:
        return self.channel.pk if self.channel else 0

    @property
    def state(self) -> DeliveryState:
        return DeliveryState.HELD if self.is_held else DeliveryState.PENDING


def is_grave(severity: str, least: str) -> bool:
    return RANK[Severity(severity)] >= RANK[Severity(least)]


def default(user_id: int, follows: Follows) -> Subscription:
    """Of somebody who has chosen nothing: owned and watched syncs, from Warning, at once, in the console and by email."""
    return Subscription(user_id=user_id, follows=follows, by_email=True, is_active=follows != Follows.ALL)


def places(subscription: Subscription, severity: str, *, email: str, at: datetime) -> list[Place]:
    """Outside the console; none: in the console only."""
    channel = subscription.channel if subscription.channel and subscription.channel.is_enabled else None
    # A channel that was switched off must not swallow anything.
    by_email = bool(email) and (subscription.by_email or (subscription.channel is not None and channel is None))
    wanted: list[Channel | None] = [channel] if channel else []
    wanted += [None] if by_email else []
    if not wanted:
        return []
    if subscription.digest != Digest.NONE and severity != Severity.PAGE:
        due = next_digest(subscription, at)
        return [Place(one, due + DIGEST_GRACE, is_held=True, waits_for_digest=True) for one in wanted]
    quiet = quiet_until(subscription, at)
    if quiet is None or is_grave(severity, subscription.quiet_lets_through):
        return [Place(one, at) for one in wanted]
    if subscription.fallback and subscription.fallback.is_enabled:
        return [Place(subscription.fallback, at)]
    return [Place(one, quiet, is_held=True) for one in wanted]


def quiet_until(subscription: Subscription, at: datetime) -> datetime | None:
    if subscription.quiet_from is None or subscription.quiet_until is None:
        return None
    return hours.quiet_until(at, subscription.quiet_from, subscription.quiet_until, zone_of(subscription))


def next_digest(subscription: Subscription, after: datetime) -> datetime:
    """The digest that is due next; what an earlier tick has not sent yet stays due."""
    if subscription.next_digest_at is not None:
        return subscription.next_digest_at
    weekday = subscription.digest_weekday if subscription.digest == Digest.WEEKLY else None
    return hours.next_digest(after, subscription.digest_hour, weekday, zone_of(subscription))


def zone_of(subscription: Subscription) -> ZoneInfo:
    """UTC for a name that the system's time zone data has lost since."""
    try:
        return ZoneInfo(subscription.timezone)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")
