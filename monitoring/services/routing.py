"""Whom an incident is told to: the channels of its rules, and the people it concerns, each as they chose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q

from monitoring.channels.base import Message
from monitoring.choices import Condition, DeliveryState, Event, Follows, IncidentEventKind
from monitoring.models import AlertRule, Channel, Delivery, Incident, IncidentEvent, IncidentSync, Subscription
from monitoring.services import audience, messages, notices, outbox, timing
from monitoring.services.audience import Audience, Person
from monitoring.services.timing import Place, is_grave
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# Channels that keep an incident of their own open until they are told of its end.
KEEPS_OPEN = ("pagerduty",)
_NAMES_MOST = 8


@dataclass(slots=True)
class _Telling:
    """One announcement at work. ``affected``: (id, name, finding) of the syncs, in the order in which they were affected."""

    incident: Incident
    event: Event
    at: datetime
    message: Message
    affected: list[tuple[int, str, str]]
    told: list[str] = field(default_factory=list)
    channel_ids: set[int] = field(default_factory=set)
    user_ids: list[int] = field(default_factory=list)

    @property
    def round(self) -> str:
        """From one opening to its end: what was told in another does not count."""
        return f"incident:{self.incident.pk}:{self.incident.reopened_count}"

    @property
    def subject(self) -> str:
        """Told once per place: an opening once for each round, a change each time."""
        if self.event in (Event.INCIDENT_OPENED, Event.INCIDENT_RESOLVED):
            return f"{self.round}:"
        return f"{self.round}:{self.at.isoformat()}"


@transaction.atomic
def announce(incident: Incident, event: Event, *, at: datetime, text: str = "") -> None:
    """Tell of an incident that was opened, got worse, was acknowledged or resolved. Call it in the transaction of the step,
    after the affected syncs and the rules are written. ``text``: what just happened, for channels of rules.

    An opening reaches each place once, however often it is announced: a sync or rule that joins adds those only whom it
    concerns. An end reaches whoever was told of the beginning. Nobody reads of a sync that he may not see.
    """
    message = messages.of_incident(incident, event, at=at, text=text)
    telling = _Telling(incident, event, at, message, affected_by(incident))
    _tell_channels(telling)
    people = audience.of([pk for pk, _, _ in telling.affected])
    before = notices.last_told(incident)
    _tell_people(telling, people, before)
    _note(telling, people, was_told=bool(before))


def affected_by(incident: Incident) -> list[tuple[int, str, str]]:
    """(id, name, finding) of each sync; of what is over, of all that it affected."""
    rows = IncidentSync.objects.filter(incident=incident)
    if not incident.is_over:
        rows = rows.filter(recovered_at=None)
    found = list(rows.order_by("pk").values_list("sync_id", "sync__name", "text"))
    if not found and incident.sync_id is not None and incident.sync is not None:
        return [(incident.sync_id, incident.sync.name, "")]
    return found


# --- channels of rules


def _tell_channels(telling: _Telling) -> None:
    for channel in _channels(telling):
        if channel.is_enabled:
            telling.channel_ids.add(channel.pk)
        if _put(telling, telling.message, Place(channel, telling.at)) is not None:
            telling.told.append(str(channel) if channel.is_enabled else f"{channel} (switched off)")


def _channels(telling: _Telling) -> list[Channel]:
    incident = telling.incident
    channels = Channel.objects.order_by("pk")  # one that is switched off gets a row that says so
    is_end = telling.event in (Event.INCIDENT_RESOLVED, Event.INCIDENT_ACKNOWLEDGED)
    if is_end and incident.condition != Condition.RECOVERY:
        told = Delivery.objects.filter(incident=incident, user=None, subject__startswith=f"{telling.round}:")
        found = channels.filter(pk__in=told.values("channel"))
        return list(found.exclude(_unasked(incident)) if telling.event == Event.INCIDENT_RESOLVED else found)
    unmuted = Q(muted_until=None) | Q(muted_until__lte=telling.at)
    rules = AlertRule.objects.filter(unmuted, incidents=incident, is_active=True)
    chosen = channels.filter(pk__in=AlertRule.channels.through.objects.filter(alertrule__in=rules).values("channel"))
    return [one for one in chosen if is_grave(incident.severity, one.min_severity)]


def _unasked(incident: Incident) -> Q:
    """Channels of which no rule wants to hear of the recovery."""
    links = AlertRule.channels.through.objects.filter(alertrule__incidents=incident)
    wanting = links.filter(alertrule__tells_recovery=True).values("channel")
    return Q(pk__in=links.values("channel")) & ~Q(pk__in=wanting) & ~Q(kind__in=KEEPS_OPEN)


# --- people


def _tell_people(telling: _Telling, people: Audience, before: dict[int, str]) -> None:
    chosen = subscriptions(people)
    notes = []
    for person_id, person in people.people.items():
        if person_id not in people.seen:
            continue
        matching = [one for one in chosen[person_id] if _matches(one, person_id, people, telling)]
        if not _is_told(telling, person_id, bool(matching), before.get(person_id)):
            continue
        message = _for(telling, people.seen.get(person_id, frozenset()))
        only = next(iter(people.seen[person_id])) if len(people.seen.get(person_id, ())) == 1 else None
        notes.append(notices.Note(person_id, message, only))
        telling.user_ids.append(person_id)
        _deliver(telling, person, message, matching or chosen[person_id])
    notices.write(notes, at=telling.at, incident=telling.incident)


def subscriptions(people: Audience) -> dict[int, list[Subscription]]:
    """What each chose, with the defaults for what they did not."""
    found: dict[int, dict[str, Subscription]] = {person_id: {} for person_id in people.people}
    rows = Subscription.objects.filter(user__in=found.keys()).select_related("channel", "fallback").order_by("pk")
    for row in rows:
        found[row.user_id][row.follows] = row
    return {
        person_id: [chosen.get(follows) or timing.default(person_id, follows) for follows in Follows]
        for person_id, chosen in found.items()
    }


def _matches(subscription: Subscription, person_id: int, people: Audience, telling: _Telling) -> bool:
    match subscription.follows:
        case Follows.OWNED:
            is_concerned = person_id in people.owned
        case Follows.WATCHED:
            is_concerned = person_id in people.watched
        case _:
            is_concerned = person_id in people.seen
    if not subscription.is_active or not is_concerned:
        return False
    return is_grave(telling.incident.severity, subscription.min_severity)


def _is_told(telling: _Telling, person_id: int, is_matching: bool, last: str | None) -> bool:
    """``last``: what he was told of the incident last."""
    incident, event = telling.incident, telling.event
    knows = last not in (None, Event.INCIDENT_RESOLVED)
    if event == Event.INCIDENT_OPENED:
        return is_matching and not knows
    if event == Event.INCIDENT_CHANGED:
        return is_matching
    if event == Event.INCIDENT_RESOLVED:
        is_news = knows or (is_matching and incident.condition == Condition.RECOVERY)
        return is_news and incident.resolved_by_id != person_id
    return knows and incident.acknowledged_by_id != person_id


def _for(telling: _Telling, seen: frozenset[int]) -> Message:
    return _as_seen(telling.message, telling.incident, telling.affected, seen)


def as_read_by(user: User, message: Message, incident: Incident) -> Message:
    """A message about the incident that was made for a channel, as this person may read it."""
    affected = affected_by(incident)
    seen = access.visible_sync_ids(user)
    return message if seen is None else _as_seen(message, incident, affected, frozenset(seen))


def _as_seen(whole: Message, incident: Incident, affected: list[tuple[int, str, str]], seen: frozenset[int]) -> Message:
    """The same for who sees every affected sync, else of those he sees alone."""
    if all(pk in seen for pk, _, _ in affected):
        return whole
    mine = [(name, finding) for pk, name, finding in affected if pk in seen]
    lines = [f"{name}: {finding}" if finding else name for name, finding in mine[:_NAMES_MOST]]
    facts = [("Severity", incident.get_severity_display()), *(("Sync", name) for name, _ in mine[:_NAMES_MOST])]
    about = {"id": incident.pk, "state": incident.state, "severity": incident.severity, "condition": incident.condition}
    return replace(
        whole,
        text="\n".join([*lines, incident.text]).strip(),
        facts=tuple(facts),
        links=whole.links[:1],
        data={"incident": about},
    )


def _deliver(telling: _Telling, person: Person, message: Message, chosen: Sequence[Subscription]) -> None:
    if telling.event == Event.INCIDENT_ACKNOWLEDGED:  # nobody is woken to hear that somebody else is
        telling.told.append(person.name)
        return
    earliest: dict[int, Place] = {}
    for place in _places(telling, person, chosen):
        if place.key not in earliest or place.at < earliest[place.key].at:
            earliest[place.key] = place
    told = person.name
    for place in earliest.values():
        if place.key and place.key in telling.channel_ids and not place.is_held:
            continue  # whoever reads that channel has been told there
        if place.key and not place.is_held:
            telling.channel_ids.add(place.key)
        made = _put(telling, message, place, person)
        if made is not None and telling.event == Event.INCIDENT_RESOLVED and not place.waits_for_digest:
            _fold_opening(telling, person, place, made)
        if place.is_held:
            told = (
                f"{person.name} ({'with a digest' if place.waits_for_digest else f'after quiet hours, {place.at:%H:%M} UTC'})"
            )
    telling.told.append(told)


def _places(telling: _Telling, person: Person, chosen: Sequence[Subscription]) -> Iterable[Place]:
    severity, at = telling.incident.severity, telling.at
    for one in chosen:
        yield from timing.places(one, severity, email=person.user.email, at=at)
    if telling.event == Event.INCIDENT_RESOLVED:
        # Where the beginning went while it was quiet, the end goes too.
        sent = Delivery.objects.filter(incident=telling.incident, user=person.id, subject__startswith=f"{telling.round}:")
        went = sent.filter(channel__is_enabled=True).exclude(state__in=(DeliveryState.HELD, DeliveryState.FOLDED))
        for channel in Channel.objects.filter(pk__in=went.values("channel")):
            yield Place(channel, at)


def _fold_opening(telling: _Telling, person: Person, place: Place, end: Delivery) -> None:
    """What was over before the quiet hours were is told once, when it is told."""
    held = Delivery.objects.filter(
        incident=telling.incident, user=person.id, channel=place.channel, state=DeliveryState.HELD
    ).exclude(pk=end.pk)
    held.update(state=DeliveryState.FOLDED, digest=end)


def _put(telling: _Telling, message: Message, place: Place, person: Person | None = None) -> Delivery | None:
    incident = telling.incident
    return outbox.put(
        event=telling.event,
        subject=telling.subject,
        severity=incident.severity,
        message=message,
        channel=place.channel,
        user=None if person is None else person.user,
        incident=incident,
        not_before=place.at,
        state=place.state,
    )


# --- the timeline


def _note(telling: _Telling, people: Audience, *, was_told: bool) -> None:
    """Who was told stands in the timeline; that nobody was, too. No sync is named: not every reader sees each."""
    if not telling.told and (was_told or telling.event != Event.INCIDENT_OPENED):
        return
    first, rest = telling.told[:_NAMES_MOST], len(telling.told) - _NAMES_MOST
    text = f"{', '.join(first)}{f' and {rest} more' if rest > 0 else ''}."
    if not telling.told:
        text = "Nobody: no channel of its rules takes it, and nobody who may see it follows it."
    IncidentEvent.objects.create(
        incident=telling.incident,
        kind=IncidentEventKind.NOTIFIED,
        at=telling.at,
        text=text,
        detail={"event": telling.event, "channels": sorted(telling.channel_ids), "users": sorted(telling.user_ids)},
    )
    for one in people.stand_ins if telling.event == Event.INCIDENT_OPENED and not was_told else ():
        instead = f"the team {one.instead}" if one.instead else "the admins"
        IncidentEvent.objects.create(
            incident=telling.incident,
            kind=IncidentEventKind.NOTIFIED,
            at=telling.at,
            sync_id=one.sync_id,
            text=f"In place of the sync's owner {instead}: {one.why}.",
            detail={"event": telling.event},
        )
