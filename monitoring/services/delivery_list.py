"""The log of deliveries: who sees which, filtered and paged; and sending one again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from dlq.services.moves import ActRefusedError
from monitoring.channels import webhook
from monitoring.channels.base import Message
from monitoring.choices import PLATFORM, DeliveryState, Event
from monitoring.models import Channel, Delivery
from monitoring.services import outbox
from monitoring.services.deliveries import WAITING
from syncs.services import access, audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PAGE = 50
MISSED = timedelta(days=7)
MISSED_MOST = 500
_OF_CHANNELS = (Event.TEST, Event.CHANNEL_DISABLED)


def visible(user: User) -> QuerySet[Delivery]:
    """Who sees all syncs sees all. Others see what went to themselves, and of what went to channels that which speaks of their
    syncs alone: a message about a connection names every sync it affects."""
    ids = access.visible_sync_ids(user)
    if user.has_perm(access.SEES_ALL):
        return Delivery.objects.all()
    to_channels = Q(incident=None, sync=None, event__in=_OF_CHANNELS) | Q(incident__condition__in=PLATFORM)
    if ids is None:
        to_channels = Q()
    else:
        to_channels |= Q(incident__sync__in=ids) | Q(incident=None, sync__in=ids)
    return Delivery.objects.filter(Q(user=user) | (Q(user=None) & to_channels))


@dataclass(frozen=True, slots=True)
class Page:
    """``problem``: why there is nothing to see. ``older``: where the next page begins."""

    rows: list[Delivery] = field(default_factory=list)
    older: int | None = None
    before: str = ""
    problem: str = ""


def page(user: User, query: Mapping[str, str]) -> Page:
    """Newest first. ``query``: channel, state, event, before."""
    values, problem = _read(query)
    if problem:
        return Page(problem=problem)
    rows = visible(user).filter(**values).select_related("channel", "user").defer("attempts").order_by("-pk")[: PAGE + 1]
    found = list(rows)
    older = found[PAGE - 1].pk if len(found) > PAGE else None
    return Page(found[:PAGE], older, query.get("before", ""))


def _read(query: Mapping[str, str]) -> tuple[dict[str, object], str]:
    values: dict[str, object] = {}
    for name, column in (("channel", "channel_id"), ("before", "pk__lt")):
        if text := query.get(name, ""):
            if not (text.isascii() and text.isdigit() and len(text) <= 18):
                return {}, f"“{text[:40]}” is no {'channel' if name == 'channel' else 'place in this list'}."
            values[column] = int(text)
    for name, known in (("state", set(DeliveryState)), ("event", set(Event))):
        if text := query.get(name, ""):
            if text not in known:
                return {}, f"There is no {name} “{text[:40]}”."
            values[name] = text
    return values, ""


def body_of(delivery: Delivery) -> dict[str, Any] | None:
    """What a webhook's receiver gets, but for the signature; None: it goes elsewhere."""
    if delivery.channel is None or delivery.channel.kind != "webhook":
        return None
    return webhook.body_of(Message.from_json(delivery.message))


# --- again


def redeliver(delivery: Delivery, *, by: User | None, door: str, now: datetime) -> Delivery:
    """The same message to the same place under the same id, as a delivery of its own. Raises ``ActRefusedError``."""
    with transaction.atomic():
        original = Delivery.objects.select_for_update(of=("self",)).select_related("channel", "user").get(pk=delivery.pk)
        if original.state in WAITING or original.resends.filter(state__in=WAITING).exists():
            raise ActRefusedError("It is on its way already. Wait until that is over.")
        if original.channel is not None and not original.channel.is_enabled:
            raise ActRefusedError(f"The channel “{original.channel}” is off. Switch it on first.")
        made = outbox.put(
            event=Event(original.event),
            # Of its own, for it stays when the original is purged.
            subject=f"{original.subject[:180]}:again:{uuid.uuid4().hex[:8]}",
            severity=original.severity,
            message=Message.from_json(original.message),
            channel=original.channel,
            user=original.user,
            incident=original.incident,
            sync=original.sync,
            run=original.run,
            not_before=now,
            resent_of=original,
        )
        if made is None:
            raise ActRefusedError("Channels of its kind take no such message any more.")
        audit.record(
            "redelivered", original.channel or original, by=by, door=door, detail={"message": f"delivery {original.pk}"}
        )
    return made


def missed(channel: Channel, now: datetime) -> QuerySet[Delivery]:
    """Given up within a week, and not sent again since."""
    again = Delivery.objects.filter(resent_of=OuterRef("pk"))
    lost = Delivery.objects.filter(channel=channel, state=DeliveryState.DEAD, created_at__gt=now - MISSED, resent_of=None)
    return lost.exclude(event=Event.TEST).filter(~Exists(again)).order_by("pk")


def redeliver_missed(channel: Channel, *, by: User, door: str, now: datetime) -> int:
    """Oldest first. Returns how many. Raises ``ActRefusedError`` where the channel is off."""
    done = 0
    for one in list(missed(channel, now)[:MISSED_MOST]):
        redeliver(one, by=by, door=door, now=now)
        done += 1
    return done
