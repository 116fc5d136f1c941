"""Where one delivery goes: its channel opened, or the address of a person; and the call that is to be made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings

from monitoring.channels import registry
from monitoring.channels.base import Message, Place, Sent
from monitoring.choices import Event
from monitoring.models import Channel, Delivery
from monitoring.services import audience, incident_sight, notices, routing
from syncs.errors import RedriveError
from syncs.secrets import SecretsError
from syncs.services import access


@dataclass(frozen=True, slots=True)
class Call:
    """``is_local``: it writes to the database, and so is made where the database is."""

    make: Callable[[], Sent]
    is_local: bool = False


def prepare(delivery: Delivery, now: datetime) -> Call:
    """The delivery comes with its channel and user. What it lacks makes a call that says so, never an exception."""
    message = Message.from_json(delivery.message)
    if why := _not_for_them(delivery):
        return Call(partial(Sent, False, error=why, is_permanent=True), is_local=True)
    if delivery.channel is None:
        assert delivery.user is not None  # delivery_has_a_place
        place = Place({}, {}, recipients=(delivery.user.email,) if delivery.user.email else ())
        return Call(partial(registry.module("email").send, message, place))
    try:
        place = place_of(delivery.channel, now, delivery)
        module = registry.module(delivery.channel.kind)
    except (SecretsError, RedriveError) as error:
        return Call(partial(Sent, False, error=str(error)), is_local=True)
    return Call(partial(module.send, message, place), is_local=delivery.channel.kind in registry.LOCAL)


def place_of(channel: Channel, now: datetime, delivery: Delivery | None = None) -> Place:
    """Raises ``SecretsError`` where no configured key opens its secrets."""
    secrets: dict[str, Any] = dict(channel.secrets or {})
    former = str(secrets.pop("former_secret", ""))
    overlaps = channel.overlap_until is not None and channel.overlap_until > now
    user = delivery.user if delivery is not None else None
    return Place(
        config=channel.config or {},
        secrets=secrets,
        recipients=(user.get_username(),) if user is not None and channel.kind in registry.LOCAL else (),
        allowed_private_networks=allowed_networks(),
        former_secret=former if overlaps else "",
        note=partial(_write_notices, delivery=delivery, now=now),
    )


def allowed_networks() -> tuple[str, ...]:
    return tuple(settings.RETL["ALLOWED_PRIVATE_NETWORKS"])


def _not_for_them(delivery: Delivery) -> str:
    """What has waited may have become none of this person's business."""
    user = delivery.user
    if user is None:
        return ""
    if not user.is_active:
        return "The person was deactivated meanwhile."
    if delivery.channel is None and not user.email:
        return "The person has no email address."
    if delivery.incident_id and not incident_sight.visible(user).filter(pk=delivery.incident_id).exists():
        return "The person may not see this any more."
    if delivery.sync_id and not access.may_see(user, delivery.sync_id):
        return "The person may not see this sync any more."
    return ""


def _write_notices(message: Message, names: tuple[str, ...], *, delivery: Delivery | None, now: datetime) -> list[str]:
    """Nobody is told of a sync that he may not see."""
    able = {person.user.get_username(): person for person in audience.able().values()}
    incident = delivery.incident if delivery else None
    notes = []
    for name in names:
        person = able.get(name)
        if person is not None and (message.event == Event.TEST or _concerns(person.user, delivery)):
            said = routing.as_read_by(person.user, message, incident) if incident else message
            notes.append(notices.Note(person.id, said, delivery.sync_id if delivery else None))
    notices.write(notes, at=now, incident=incident, is_only_news=True)
    return [name for name in names if name not in able]


def _concerns(user: Any, delivery: Delivery | None) -> bool:
    if delivery is None:
        return True
    if delivery.incident_id and not incident_sight.visible(user).filter(pk=delivery.incident_id).exists():
        return False
    return not delivery.sync_id or access.may_see(user, delivery.sync_id)
