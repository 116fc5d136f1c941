"""Single steps of an incident's life that the judgement, the clock and people take: a conditional UPDATE, a line in its
timeline, and in the same transaction the message."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from monitoring.choices import Event, IncidentEventKind, IncidentState
from monitoring.models import Incident, IncidentEvent, IncidentSync

logger = logging.getLogger(__name__)

Kind = IncidentEventKind
LIVE = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)
_TOLD = (Kind.OPENED, Kind.REOPENED, Kind.RELEASED)


def close(
    incident: Incident,
    now: datetime,
    resolution: str,
    *,
    kind: IncidentEventKind = Kind.RECOVERED,
    by_id: int | None = None,
    sync_id: int | None = None,
) -> bool:
    """End it and tell whoever was told of it. False: it was over already. A person's end leaves the syncs in it: whether they
    are well the next judgement says."""
    values = {"state": IncidentState.RESOLVED, "resolved_at": now, "resolved_by": by_id, "resolution": resolution[:255]}
    if Incident.objects.filter(pk=incident.pk, state__in=LIVE).update(**values, muted_until=None) != 1:
        return False
    incident.state, incident.resolved_at, incident.resolution = IncidentState.RESOLVED, now, resolution[:255]
    incident.resolved_by_id = by_id
    if by_id is None:
        IncidentSync.objects.filter(incident=incident, recovered_at=None).update(recovered_at=now)
    told = was_told(incident)
    log(incident, kind, now, actor_id=by_id, sync_id=sync_id, text=resolution, told=told)
    if told:
        announce(incident, Event.INCIDENT_RESOLVED, now, resolution)
    return True


def was_told(incident: Incident) -> bool:
    """Whether anybody heard of it at all: who did hears of its end as well."""
    return IncidentEvent.objects.filter(incident=incident, kind__in=_TOLD, detail__told=True).exists()


def unmute(incident: Incident, now: datetime, *, by_id: int | None = None) -> None:
    """Its mute is over: whoever was not told hears of it now. Where every rule is muted again meanwhile, it goes on."""
    rules = list(incident.rules.filter(is_active=True).values_list("muted_until", flat=True))
    mutes = [until for until in rules if until is not None and until > now]
    if by_id is None and rules and len(mutes) == len(rules):
        Incident.objects.filter(pk=incident.pk, muted_until__lte=now).update(muted_until=min(mutes))
        return
    if Incident.objects.filter(pk=incident.pk, muted_until__lte=now).update(muted_until=None) != 1:
        return
    incident.muted_until = None
    event = Event.INCIDENT_CHANGED if was_told(incident) else Event.INCIDENT_OPENED
    is_told = incident.follows_id is None
    text = "The mute is over, and this is not."
    log(incident, Kind.RELEASED, now, actor_id=by_id, text=text, told=is_told)
    if is_told:
        announce(incident, event, now, text)


def release(incident: Incident, now: datetime, *, text: str = "", sync_id: int | None = None) -> None:
    """What it followed from is over, and this is not: people are told now."""
    if Incident.objects.filter(pk=incident.pk, follows__isnull=False, state__in=LIVE).update(follows=None) != 1:
        return
    incident.follows_id = None
    is_told = not is_muted(incident, now)
    log(incident, Kind.RELEASED, now, sync_id=sync_id, text=text, told=is_told)
    if is_told:
        announce(incident, Event.INCIDENT_OPENED, now, text or "What it followed from is over, and this is not.")


def archive(incident: Incident, now: datetime) -> None:
    """Its archived syncs leave; the last one takes it along."""
    affected = IncidentSync.objects.filter(incident=incident, recovered_at=None)
    for sync_id in list(affected.filter(sync__is_archived=True).values_list("sync_id", flat=True)):
        affected.filter(sync=sync_id).update(recovered_at=now)
        log(incident, Kind.LEFT, now, sync_id=sync_id, text="The sync was archived.")
    if not affected.exists():
        close(incident, now, "Every sync it affected is archived.")


def settle(incident: Incident, now: datetime) -> None:
    """Somebody has dealt with the error, or none of its rows waits any more."""
    close(incident, now, "The error group was acknowledged or resolved, or none of its dead letters is open any more.")


def log(
    incident: Incident,
    kind: IncidentEventKind,
    at: datetime,
    *,
    actor_id: int | None = None,
    sync_id: int | None = None,
    run_id: int | None = None,
    text: str = "",
    told: bool | None = None,
    detail: Mapping[str, Any] | None = None,
) -> IncidentEvent:
    """One line of its timeline. ``told``: whether this step was announced."""
    more = {} if told is None else {"told": told}
    return IncidentEvent.objects.create(
        incident=incident,
        kind=kind,
        at=at,
        actor_id=actor_id,
        sync_id=sync_id,
        run_id=run_id,
        text=text,
        detail={**(detail or {}), **more},
    )


def announce(incident: Incident, event: Event, at: datetime, text: str = "") -> None:
    """Whatever goes wrong in telling people, the incident stands."""
    from monitoring.services import routing

    try:
        with transaction.atomic():
            routing.announce(incident, event, at=at, text=text)
    except Exception:
        logger.exception("Incident %s: nobody could be told that it is %s.", incident.pk, event)


def is_muted(incident: Incident, now: datetime) -> bool:
    return incident.muted_until is not None and incident.muted_until > now
