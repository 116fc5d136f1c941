"""Incidents in words: tabs, filters and chips of the list, lines of the timeline, where to go next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils.dateparse import parse_datetime

from monitoring.choices import Condition, IncidentEventKind, Severity
from monitoring.models import Incident, IncidentEvent
from monitoring.services import mutes
from monitoring.services.incident_list import ME, NOBODY, Asked, Shown
from syncs.choices import labelled
from syncs.console import links as pages
from syncs.console.popovers import Option, Popover
from syncs.models import Connection, Sync
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Kind = IncidentEventKind
SPANS = [(key, label) for key, (label, _length) in mutes.SPANS.items()]
_TABS = {
    Shown.OPEN: "Not over",
    Shown.ACKNOWLEDGED: "Acknowledged",
    Shown.FOLLOWING: "Following from others",
    Shown.RESOLVED: "Resolved",
    Shown.ALL: "All",
}


def tabs(asked: Asked, counts: dict[str, int]) -> list[tuple[str, str, int | None, bool]]:
    """(query, label, how many, whether it is shown)."""
    return [
        (replace(asked, show=shown, before=None).query(), label, counts.get(shown), shown == asked.show)
        for shown, label in _TABS.items()
    ]


def popovers(asked: Asked) -> list[Popover]:
    severities = [Option(value, label, value in asked.severities) for value, label in reversed(labelled(Severity))]
    conditions = [Option(value, label, value in asked.conditions) for value, label in labelled(Condition)]
    owners = [Option("", "Anybody", not asked.owner), Option(ME, "Me", asked.owner == ME)]
    owners.append(Option(NOBODY, "Nobody", asked.owner == NOBODY))
    return [
        Popover("severity", "Severity", "checkbox", severities, len(asked.severities)),
        Popover("condition", "Condition", "checkbox", conditions, len(asked.conditions)),
        Popover("owner", "Owner", "radio", owners, 1 if asked.owner else 0),
    ]


def chips(asked: Asked, user: User) -> list[tuple[str, str, str]]:
    """(title, label, query without it)."""
    return list(_chips(asked, user))


def _chips(asked: Asked, user: User) -> Iterator[tuple[str, str, str]]:
    for severity in asked.severities:
        yield "Severity", dict(labelled(Severity))[severity], asked.without("severity", severity).query()
    for condition in asked.conditions:
        yield "Condition", dict(labelled(Condition))[condition], asked.without("condition", condition).query()
    if asked.owner:
        words = {ME: "me", NOBODY: "nobody"}
        yield "Owner", words.get(asked.owner, f"user {asked.owner}"), asked.without("owner").query()
    if asked.sync_id is not None:
        name = access.scoped(Sync.objects.filter(pk=asked.sync_id), user, by="pk").values_list("name", flat=True).first()
        yield "Sync", name or str(asked.sync_id), asked.without("sync").query()
    if asked.connection_id is not None:
        known = Connection.objects.filter(pk=asked.connection_id).values_list("name", flat=True).first()
        yield "Connection", known or str(asked.connection_id), asked.without("connection").query()
    if asked.text:
        yield "Text", asked.text, asked.without("q").query()


# --- the timeline


@dataclass(frozen=True, slots=True)
class Line:
    """``what``: a sentence without names; ``sync``: whom it is about."""

    event: IncidentEvent
    what: str
    until: datetime | None = None
    lead_id: int | None = None


_WHAT: dict[str, str] = {
    Kind.OPENED: "Opened",
    Kind.JOINED: "Affects one more sync",
    Kind.LEFT: "One sync is out of it",
    Kind.SUPPRESSED: "Follows from another incident: nobody is told of this one",
    Kind.RELEASED: "What kept it quiet is over, and this is not",
    Kind.NOTIFIED: "Told",
    Kind.ACKNOWLEDGED: "Acknowledged",
    Kind.NOTED: "Note",
    Kind.MUTED: "Muted",
    Kind.RECOVERED: "Over: nothing is found any more",
    Kind.RESOLVED: "Resolved",
    Kind.REOPENED: "Came back",
}


def line(event: IncidentEvent, incident: Incident) -> Line:
    detail = event.detail
    what = _WHAT.get(event.kind, event.get_kind_display())
    if event.kind == Kind.CHANGED:
        before, after = (dict(labelled(Severity)).get(one, one) for one in detail.get("severity", ("", "")))
        what = f"Graver: {after}, was {before}" if before else "Got worse"
    if event.kind == Kind.NOTED and "owner" in detail:
        what = f"Assigned to {detail['owner']}" if detail["owner"] else "Assigned to nobody"
    if event.kind == Kind.RELEASED and event.actor_id:
        what = "Unmuted"
    if event.kind == Kind.OPENED and incident.sync_id is None and incident.connection_id is not None:
        what = "Opened by the first sync that showed it"
    return Line(event, what, _moment(detail.get("until")), detail.get("follows"))


def _moment(text: object) -> datetime | None:
    return parse_datetime(str(text)) if text else None


# --- where to go


def links(incident: Incident) -> list[tuple[str, str]]:
    """(label, address) of where it is mended or looked into, the nearest first."""
    found = []
    if incident.group_id:
        found.append(("Open the error group", pages.page("admin:dlq_errorgroup_change", incident.group_id)))
    if incident.connection_id:
        found.append(("Open the connection", pages.page("admin:syncs_connection_page", incident.connection_id)))
    if incident.condition == Condition.DRIFT and incident.sync_id:
        found.append(("See what changed", pages.page("admin:syncs_sync_drift", incident.sync_id)))
    if incident.condition in (Condition.DLQ_DEPTH, Condition.DLQ_AGE, Condition.ERROR_RATE, Condition.ERROR_BUDGET):
        found.append(("Open the dead letters", pages.entries(sync=str(incident.sync_id)) if incident.sync_id else ""))
    if incident.run_id:
        found.append((f"Open run {incident.run_id}", pages.page("admin:syncs_run_change", incident.run_id)))
    if incident.sync_id:
        found.append(("Open the sync", pages.page("admin:syncs_sync_page", incident.sync_id)))
    return [(label, url) for label, url in found if url]
