"""What is open for the dashboard: incidents that somebody may see, each with those of its syncs that he sees; one query."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from monitoring.choices import PLATFORM, SEVERITIES, IncidentState, Severity
from monitoring.models import Incident

MOST = 2_000  # lines of incidents and their syncs that are looked at


@dataclass(slots=True)
class IncidentLine:
    """``sync_ids``: those that are affected and not well again yet."""

    pk: int
    title: str
    severity: str
    state: str
    condition: str
    opened_at: datetime
    owner: str
    sync_ids: set[int] = field(default_factory=set)


_COLUMNS = (
    *("pk", "title", "severity", "state", "condition", "opened_at"),
    *("owner__username", "affected__sync_id", "affected__recovered_at"),
)


def load(seen: Collection[int], *, with_platform: bool) -> list[IncidentLine]:
    """Those that affect one of these syncs, and those of Redrive itself; the gravest first, then the newest. What follows
    from another incident is left out."""
    rows = Incident.objects.exclude(state=IncidentState.RESOLVED).filter(follows__isnull=True).order_by("-id")
    found: dict[int, IncidentLine] = {}
    shown = set()
    mine = set(seen)
    for row in rows.values(*_COLUMNS)[:MOST]:
        sync_id, recovered_at = row["affected__sync_id"], row["affected__recovered_at"]
        line = found.get(row["pk"])
        if line is None:
            own = {name: row[name] for name in _COLUMNS[:6]}
            line = found[row["pk"]] = IncidentLine(**own, owner=row["owner__username"] or "")
        if sync_id in mine or (with_platform and line.condition in PLATFORM):
            shown.add(line.pk)
        if sync_id in mine and recovered_at is None:
            line.sync_ids.add(sync_id)
    rank = {severity: place for place, severity in enumerate(SEVERITIES)}
    lines = [line for pk, line in found.items() if pk in shown]
    return sorted(lines, key=lambda line: (-rank[Severity(line.severity)], -line.pk))
