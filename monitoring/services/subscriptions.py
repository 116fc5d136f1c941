"""What one person chose to be told of and how, kept; and which syncs he watches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from monitoring.choices import SEVERITIES, DeliveryState, Digest, Follows, Severity
from monitoring.models import Channel, Delivery, Subscription, WatchedSync
from monitoring.services import audience, incident_sight, timing
from monitoring.services.subscription_rules import NOT_PERSONAL, Choice, Choices, ChoicesRefusedError, Quiet, problems
from syncs.models import Sync
from syncs.services import access, audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_MOST = 10_000  # lines of incidents and their syncs that a forecast looks at
_KEPT = (
    "is_active", "min_severity", "by_email", "channel_id", "digest", "digest_hour", "digest_weekday",
    "timezone", "quiet_from", "quiet_until", "quiet_lets_through", "fallback_id",
)  # fmt: skip


def rows(user: User) -> dict[Follows, Subscription]:
    """One for each thing to follow, kept or not: what holds for the person now."""
    kept = {row.follows: row for row in Subscription.objects.filter(user=user).select_related("channel", "fallback")}
    return {follows: kept.get(follows) or timing.default(user.pk, follows) for follows in Follows}


def choices(found: dict[Follows, Subscription]) -> Choices:
    some = found[Follows.OWNED]
    quiet = Quiet(some.timezone, some.quiet_from, some.quiet_until, Severity(some.quiet_lets_through), some.fallback_id)
    return Choices({follows: _choice(row) for follows, row in found.items()}, quiet)


def channels() -> QuerySet[Channel]:
    """Those that a person may choose for himself, switched off ones too."""
    return Channel.objects.exclude(kind__in=NOT_PERSONAL).order_by("name")


def lock(user: User) -> None:
    """Orders those who write what a person is told of, whether there is anything yet or not; within a transaction."""
    get_user_model()._default_manager.select_for_update(no_key=True, of=("self",)).only("pk").get(pk=user.pk)


@transaction.atomic
def save(user: User, wanted: Choices, *, now: datetime, door: str) -> bool:
    """Keep what he chose. False: it is what held already. Raises ``ChoicesRefusedError``, with nothing kept."""
    lock(user)
    offered = {one.pk: one for one in channels()}
    if found := problems(wanted, offered, email=user.email):
        raise ChoicesRefusedError(found)
    before = rows(user)
    is_changed = [_keep(user, follows, before[follows], wanted, now, door) for follows in Follows]
    if any(is_changed):
        _retime(user, now)
    return any(is_changed)


def _keep(user: User, follows: Follows, before: Subscription, wanted: Choices, now: datetime, door: str) -> bool:
    values = _values(wanted.of[follows], wanted.quiet)
    old = {name: getattr(before, name) for name in _KEPT}
    if before.pk is not None and old == values:
        return False
    made = Subscription(user=user, follows=follows, **values)
    made.next_digest_at = timing.next_digest(made, now) if made.is_active and made.digest != Digest.NONE else None
    fields = {**values, "next_digest_at": made.next_digest_at, "updated_at": now}
    row, _ = Subscription.objects.update_or_create(user=user, follows=follows, defaults=fields)
    detail = audit.differences({**_plain(old)}, _plain(values))
    if detail:
        audit.record("changed", row, by=user, door=door, detail=detail)
    return bool(detail)


def _values(choice: Choice, quiet: Quiet) -> dict[str, Any]:
    return {
        "is_active": choice.is_active,
        "min_severity": choice.min_severity,
        "by_email": choice.by_email,
        "channel_id": choice.channel_id,
        "digest": choice.digest,
        "digest_hour": choice.digest_hour,
        "digest_weekday": choice.digest_weekday,
        "timezone": quiet.timezone,
        "quiet_from": quiet.begin,
        "quiet_until": quiet.end,
        "quiet_lets_through": quiet.lets_through,
        "fallback_id": quiet.fallback_id,
    }


def _choice(row: Subscription) -> Choice:
    return Choice(
        row.is_active,
        Severity(row.min_severity),
        row.by_email,
        row.channel_id,
        Digest(row.digest),
        row.digest_hour,
        row.digest_weekday,
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if name in ("quiet_from", "quiet_until") and value else value for name, value in values.items()}


def _retime(user: User, now: datetime) -> None:
    """What waits, waits no longer than today's choices say: until the next digest, the end of the quiet hours, or now."""
    active = Subscription.objects.filter(user=user, is_active=True)
    digests = [row.next_digest_at for row in active if row.digest != Digest.NONE and row.next_digest_at]
    quiet = [until for row in active if (until := timing.quiet_until(row, now))]
    latest = max(digests) + timing.DIGEST_GRACE if digests else max(quiet, default=now)
    held = Delivery.objects.filter(user=user, state=DeliveryState.HELD, not_before__gt=latest)
    held.update(not_before=latest)


# --- watching


def watch(user: User, sync: Sync, *, at: datetime, door: str) -> bool:
    """False: he watches it already. For who may see the sync."""
    made = WatchedSync.objects.bulk_create([WatchedSync(user=user, sync=sync, since=at)], ignore_conflicts=True)
    done = bool(made) and WatchedSync.objects.filter(user=user, sync=sync, since=at).exists()
    if done:
        audit.record("watched", sync, by=user, door=door)
    return done


def unwatch(user: User, sync: Sync, *, door: str) -> bool:
    done = WatchedSync.objects.filter(user=user, sync=sync).delete()[0] > 0
    if done:
        audit.record("unwatched", sync, by=user, door=door)
    return done


def watchers(sync_id: int, user: User) -> tuple[bool, int]:
    """Whether he watches it, and how many people do."""
    found = WatchedSync.objects.filter(sync=sync_id).order_by()
    counted = found.aggregate(all=Count("pk"), mine=Count("pk", filter=Q(user=user)))
    return bool(counted["mine"]), counted["all"]


@dataclass(frozen=True, slots=True)
class Concerned:
    """Syncs by name: ``owned`` and ``watched`` ones that he may see and that are in use; ``instead``: those that he is told of
    in the owner's place, with the reason. ``last_week``: incidents of seven days by what is followed, gravest first."""

    owned: list[Sync]
    watched: list[Sync]
    instead: list[tuple[Sync, str]]
    last_week: dict[Follows, list[tuple[Severity, int]]]


def concerned(user: User, *, now: datetime) -> Concerned:
    is_watched = Exists(WatchedSync.objects.filter(user=user, sync=OuterRef("pk")))
    mine = access.scoped(Sync.objects.active(), user, by="pk").annotate(is_watched=is_watched)
    found = list(mine.filter(Q(owner=user) | Q(is_watched=True)).only("name", "status", "owner").order_by("name"))
    owned = [one for one in found if one.owner_id == user.pk]
    watched = [one for one in found if one.is_watched]  # type: ignore[attr-defined]
    instead = audience.stood_in_by(user)
    of = {
        Follows.OWNED: {one.pk for one in owned} | {sync.pk for sync, _ in instead},
        Follows.WATCHED: {one.pk for one in watched},
        Follows.ALL: None,
    }
    return Concerned(owned, watched, instead, _last_week(user, of, now))


def _last_week(user: User, of: dict[Follows, set[int] | None], now: datetime) -> dict[Follows, list[tuple[Severity, int]]]:
    """What each choice would have told of. What followed from something else was told to nobody."""
    lately = incident_sight.visible(user).filter(opened_at__gte=now - timedelta(days=7), follows=None).order_by()
    counted: dict[Follows, Counter[str]] = {follows: Counter() for follows in Follows}
    seen: set[tuple[Follows, int]] = set()
    for pk, severity, sync_id in lately.values_list("pk", "severity", "affected__sync_id")[:_MOST]:
        for follows, ids in of.items():
            if (ids is None or sync_id in ids) and (follows, pk) not in seen:
                seen.add((follows, pk))
                counted[follows][severity] += 1
    return {follows: [(one, counts[one]) for one in reversed(SEVERITIES) if counts[one]] for follows, counts in counted.items()}
