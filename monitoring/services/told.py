"""Who hears of what happens to one sync: the people, why, and from when on."""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.choices import Digest, Follows
from monitoring.models import Subscription
from monitoring.services import audience, routing, timing
from syncs.models import Sync


@dataclass(frozen=True, slots=True)
class Line:
    """``how``: what makes him hear of it; ``severity``: from this on; ``places``: beside the console."""

    name: str
    how: str
    severity: str
    places: str


@dataclass(frozen=True, slots=True)
class Told:
    """``instead``: why the owner is not among them, and who is told in his place; "" where the owner is."""

    lines: list[Line]
    instead: str


def of(sync: Sync) -> Told:
    people = audience.of([sync.pk])
    chosen = routing.subscriptions(people)
    lines = []
    for person in people.people.values():
        ways = {
            Follows.OWNED: person.id in people.owned,
            Follows.WATCHED: person.id in people.watched,
            Follows.ALL: person.id in people.seen,
        }
        active = [one for one in chosen[person.id] if one.is_active and ways[Follows(one.follows)]]
        if active:
            words = [_how(one, person.id == sync.owner_id) for one in active]
            least = min(active, key=lambda one: timing.RANK[one.min_severity])  # type: ignore[index]
            places = sorted({place for one in active for place in _places(one, person.user.email)})
            lines.append(Line(person.name, ", ".join(words), least.get_min_severity_display(), ", ".join(places)))
    stand_in = people.stand_ins[0] if people.stand_ins else None
    instead = "" if stand_in is None else _instead(stand_in)
    return Told(lines, instead)


def _how(subscription: Subscription, is_owner: bool) -> str:
    if subscription.follows == Follows.OWNED:
        return "owner" if is_owner else "in the owner's place"
    return "watches it" if subscription.follows == Follows.WATCHED else "follows all syncs"


def _places(subscription: Subscription, email: str) -> list[str]:
    later = {Digest.DAILY: ", daily", Digest.WEEKLY: ", weekly"}.get(Digest(subscription.digest), "")
    found = ["email"] if subscription.by_email and email else []
    if subscription.channel and subscription.channel.is_enabled:
        found.append(subscription.channel.name)
    return [f"{one}{later}" for one in found]


def _instead(stand_in: audience.StandIn) -> str:
    who = f"the members of the team {stand_in.instead}" if stand_in.instead else "the admins"
    return f"In place of the owner {who} are told: {stand_in.why}."
