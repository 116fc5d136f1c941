"""What other tools read in order, again and again: runs that ended, and what happened to incidents.

A reader keeps the cursor of the last page and asks with it again. Nothing is given twice, and nothing is left out: the youngest
rows wait a moment, so that one whose transaction ends a little later cannot be overtaken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, Min, OuterRef, Q

from monitoring.choices import Severity
from monitoring.models import Incident, IncidentEvent, IncidentSync
from monitoring.services import incident_sight, messages
from monitoring.services.feed_input import Asked, Position
from syncs.choices import RUN_TERMINAL
from syncs.models import Run, Sync
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SETTLED = timedelta(seconds=10)  # longer than a judgement or the end of a run takes to commit
RUNS, INCIDENTS = "runs", "incidents"
RUN_WORDS = tuple(status.value for status in RUN_TERMINAL)
INCIDENT_WORDS = tuple(severity.value for severity in Severity)


@dataclass(frozen=True, slots=True)
class Page:
    """``after``: where the next page begins, whether or not there is more by now."""

    rows: list[dict[str, Any]]
    after: Position
    has_more: bool


def runs(asked: Asked, *, user: User | None, now: datetime) -> Page:
    """Runs that ended, in the order of their end; two queries. ``user`` None: of every sync."""
    at, pk = asked.after.at, asked.after.id
    # The first condition alone can be looked up; the second sorts out what shares the moment.
    found = Run.objects.filter(finished_at__gte=at, finished_at__lte=now - SETTLED).exclude(finished_at=at, pk__lte=pk)
    if asked.sync_id:
        found = found.filter(sync=asked.sync_id)
    if asked.words:
        found = found.filter(status__in=asked.words)
    if user is not None:
        found = access.scoped(found, user)
    rows = list(found.select_related("sync").order_by("finished_at", "pk")[: asked.limit + 1])
    shown = rows[: asked.limit]
    after = Position(shown[-1].finished_at or at, shown[-1].pk) if shown else asked.after
    return Page([_run(run) for run in shown], after, len(rows) > asked.limit)


def _run(run: Run) -> dict[str, Any]:
    """As webhooks are told, with the causes of dead letters by type and code: a message may repeat a value."""
    causes = [
        {"type": one.get("type", ""), "code": one.get("code", ""), "count": one.get("count", 0)} for one in run.error_summary
    ]
    return {**messages.run_json(run), "sync": messages.sync_json(run.sync), "dead_letter_causes": causes}


def incidents(asked: Asked, *, user: User | None, now: datetime) -> Page:
    """What happened to incidents, in order, each with the incident as it stands now; five queries at most."""
    after = asked.after
    newer = IncidentEvent.objects.filter(pk__gt=after.id)
    young = newer.filter(at__gt=now - SETTLED).aggregate(first=Min("pk"))["first"]
    found = newer if after.id else newer.filter(at__gte=after.at)  # once begun, ids alone decide
    if young is not None:
        found = found.filter(pk__lt=young)
    found = _seen(found, user)
    if asked.sync_id:
        mine = IncidentSync.objects.filter(incident=OuterRef("incident"), sync=asked.sync_id)
        found = found.filter(Exists(mine) | Q(incident__sync=asked.sync_id))
    if asked.words:
        found = found.filter(incident__severity__in=asked.words)
    about = [f"incident__{name}" for name in ("owner", "acknowledged_by", "connection")]
    rows = list(found.select_related("actor", *about).order_by("pk")[: asked.limit + 1])
    shown = rows[: asked.limit]
    syncs = _syncs_of({row.incident_id: row.incident for row in shown}.values(), user)
    told = [_event(row, syncs[row.incident_id]) for row in shown]
    return Page(told, Position(after.at, shown[-1].pk) if shown else after, len(rows) > asked.limit)


def _seen(events: Any, user: User | None) -> Any:
    ids = None if user is None else access.visible_sync_ids(user)
    if user is None or ids is None:
        return events
    return events.filter(Q(sync=None) | Q(sync__in=ids), incident__in=incident_sight.visible(user))


def _event(event: IncidentEvent, syncs: list[Sync]) -> dict[str, Any]:
    return {
        "id": event.pk,
        "kind": event.kind,
        "at": event.at.isoformat(),
        "text": event.text,
        "by": event.actor.get_username() if event.actor else None,
        "sync_id": event.sync_id,
        "run_id": event.run_id,
        "incident": messages.incident_json(event.incident, syncs),
    }


def _syncs_of(incidents: Iterable[Incident], user: User | None) -> dict[int, list[Sync]]:
    """Those still affected; of an incident that is over, all. Only what the user sees."""
    over = {incident.pk: incident.is_over for incident in incidents}
    rows = IncidentSync.objects.filter(incident__in=over).select_related("sync").order_by("pk")
    if user is not None:
        rows = access.scoped(rows, user)
    found: dict[int, list[Sync]] = defaultdict(list)
    for row in rows:
        if over[row.incident_id] or row.recovered_at is None:
            found[row.incident_id].append(row.sync)
    return found
