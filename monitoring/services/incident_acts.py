"""The acts of people on an incident: one conditional UPDATE each, a line in its timeline, and one in the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction

from dlq.services.moves import ActRefusedError
from monitoring.choices import Event, IncidentEventKind, IncidentState
from monitoring.models import Incident
from monitoring.services import incident_steps, mutes
from syncs.services import audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NOTE_MAX = 2_000
REASON_MAX = 255
LIVE = incident_steps.LIVE
Kind = IncidentEventKind


def acknowledge(incident: Incident, *, by: User, at: datetime, door: str) -> str:
    """Somebody has seen it and works on it; without an owner it becomes his. Raises ``ActRefusedError``."""
    with transaction.atomic():
        values = {"state": IncidentState.ACKNOWLEDGED, "acknowledged_at": at, "acknowledged_by": by}
        _change(incident, values, by=by, door=door, act="acknowledged", states=(IncidentState.OPEN,))
        Incident.objects.filter(pk=incident.pk, owner=None).update(owner=by)
        incident.refresh_from_db()
        incident_steps.log(incident, Kind.ACKNOWLEDGED, at, actor_id=by.pk)
        if incident_steps.was_told(incident):
            incident_steps.announce(incident, Event.INCIDENT_ACKNOWLEDGED, at, f"By {by.get_username()}.")
    return "The incident is acknowledged: others see that you work on it."


def resolve(incident: Incident, *, by: User, at: datetime, reason: str, door: str) -> str:
    """A person says that it is over. Raises ``ActRefusedError`` without a reason, and when it is over already."""
    reason = _text(reason, REASON_MAX, field="reason", what="What was done? Others will read it.")
    with transaction.atomic():
        if not incident_steps.close(incident, at, reason, kind=Kind.RESOLVED, by_id=by.pk):
            raise ActRefusedError(_STALE)
        audit.record("resolved", incident, by=by, door=door, detail={"reason": reason})
    return "The incident is resolved. It opens again when a newer run shows it, or when it is still so in 24 hours."


def note(incident: Incident, *, by: User, at: datetime, text: str, door: str) -> str:
    text = _text(text, NOTE_MAX, field="note", what="Write the note first.")
    with transaction.atomic():
        incident_steps.log(incident, Kind.NOTED, at, actor_id=by.pk, text=text)
        audit.record("noted", incident, by=by, door=door, detail={"note": text})
    return "The note is in the timeline."


def mute(incident: Incident, *, by: User, at: datetime, until: str, reason: str, door: str) -> str:
    """``until``: a key of ``mutes.SPANS`` or a time. Raises ``ActRefusedError``."""
    ends_at = mutes.end(until, at)
    reason = _text(reason, REASON_MAX, field="reason", what="Why is it muted? Others will read it.")
    with transaction.atomic():
        _change(incident, {"muted_until": ends_at}, by=by, door=door, act="muted", detail={"reason": reason})
        detail = {"until": ends_at.isoformat()}
        incident_steps.log(incident, Kind.MUTED, at, actor_id=by.pk, text=reason, detail=detail)
    return f"Nobody is told of this incident until {mutes.said(ends_at)}. That it is over is still told."


def unmute(incident: Incident, *, by: User, at: datetime, door: str) -> str:
    with transaction.atomic():
        live = Incident.objects.select_for_update().filter(pk=incident.pk, muted_until__gt=at, state__in=LIVE)
        if live.first() is None:
            raise ActRefusedError("Nothing was changed: the incident is not muted any more.")
        Incident.objects.filter(pk=incident.pk).update(muted_until=at)
        incident_steps.unmute(incident, at, by_id=by.pk)
        audit.record("unmuted", incident, by=by, door=door)
    return "The mute is lifted."


def assign(incident: Incident, *, by: User, at: datetime, owner: User | None, door: str) -> str:
    if owner is not None and not (owner.is_active and owner.is_staff):
        raise ActRefusedError(f"{owner.get_username()} cannot sign in here; choose somebody who can.", field="owner")
    if incident.owner_id == (owner.pk if owner else None):
        raise ActRefusedError("Nothing was changed: it has that owner already.")
    name = owner.get_username() if owner else ""
    with transaction.atomic():
        if Incident.objects.filter(pk=incident.pk, owner=incident.owner_id).update(owner=owner) != 1:
            raise ActRefusedError(_STALE)
        incident_steps.log(incident, Kind.NOTED, at, actor_id=by.pk, detail={"owner": name})
        audit.record("assigned", incident, by=by, door=door, detail={"owner": name})
    return f"The incident belongs to {name} now." if name else "The incident has no owner now."


_STALE = "Nothing was changed: somebody else has acted on it meanwhile. Reload the page to see who."


def _change(
    incident: Incident,
    values: dict[str, Any],
    *,
    by: User,
    door: str,
    act: str,
    detail: dict[str, Any] | None = None,
    states: tuple[IncidentState, ...] = LIVE,
) -> None:
    if Incident.objects.filter(pk=incident.pk, state__in=states).update(**values) != 1:
        raise ActRefusedError(_STALE)
    audit.record(act, incident, by=by, door=door, detail=detail)


def _text(text: str, most: int, *, field: str, what: str) -> str:
    text = text.strip().replace("\r\n", "\n")
    if not text:
        raise ActRefusedError(what, field=field)
    if len(text) > most or "\0" in text:
        raise ActRefusedError(f"At most {most:,} characters of plain text, please; these are {len(text):,}.", field=field)
    return text
