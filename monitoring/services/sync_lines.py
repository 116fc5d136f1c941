"""Every sync a person may see as one line of plain values, from one query: what the dashboard counts, filters and names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Max, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce

from dlq.models import ErrorGroup
from monitoring.choices import Condition
from syncs.choices import RunStatus, ScheduleKind, SyncStatus, Trigger
from syncs.models import Run, Sync
from syncs.querysets import SyncQuerySet
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

    Viewer = User | AnonymousUser

WELL = (RunStatus.SUCCEEDED, RunStatus.PARTIAL)
GRACE = timedelta(minutes=15)  # of a slot, for a sync that was never judged
_BEHIND = (Condition.LATE, Condition.FRESHNESS)


@dataclass(frozen=True, slots=True)
class SyncLine:
    """``findings``: of the last judgement, most urgent first. ``last_well_at``: end of the last run of a whole slot that came
    through. ``is_judged``: false until somebody has looked at it."""

    pk: int
    name: str
    status: str
    reason: str
    since: datetime
    owner_id: int | None
    owner: str
    source_id: int
    source: str
    destination_id: int
    destination: str
    is_archived: bool
    schedule_kind: str
    next_run_at: datetime | None
    open_count: int
    oldest_failed_at: datetime | None
    last_well_at: datetime | None
    is_running: bool
    is_judged: bool
    findings: tuple[dict[str, Any], ...] = ()
    tags: frozenset[str] = field(default_factory=frozenset)

    @property
    def is_scheduled(self) -> bool:
        return self.schedule_kind != ScheduleKind.MANUAL and self.status != SyncStatus.PAUSED and not self.is_archived

    def finding(self, *conditions: str) -> dict[str, Any] | None:
        return next((one for one in self.findings if one.get("condition") in conditions), None)

    def behind(self, now: datetime) -> str:
        """Why it is late or stale, in a sentence; empty where it is neither."""
        if self.is_archived or self.status == SyncStatus.PAUSED:
            return ""
        if found := self.finding(*_BEHIND):
            return str(found.get("text", ""))
        is_overdue = self.next_run_at is not None and now - self.next_run_at > GRACE and not self.is_running
        return "A scheduled run has not started." if is_overdue and not self.is_judged else ""


_COLUMNS = (
    "pk", "name", "status", "status_reason", "status_since", "owner_id", "owner__username", "source_id", "source__name",
    "destination_id", "destination__name", "is_archived", "schedule_kind", "next_run_at", "watch__oldest_failed_at",
    "watch__judged_at", "watch__findings", "open_entries", "last_well_at", "live_run", "tag_names",
)  # fmt: skip


def load(user: Viewer) -> list[SyncLine]:
    """Of every sync the user may see, archived ones included, by name."""
    return list(_lines(access.scoped(Sync.objects.order_by("name"), user, by="pk")))


def _lines(syncs: SyncQuerySet) -> Iterator[SyncLine]:
    runs = Run.objects.filter(sync=OuterRef("pk"))
    well = runs.filter(status__in=WELL).exclude(trigger=Trigger.REPROCESS).order_by("-id")
    live = runs.filter(status=RunStatus.RUNNING).order_by()
    groups = ErrorGroup.objects.filter(sync=OuterRef("pk"), open_count__gt=0).order_by().values("sync")
    annotated: Any = syncs.with_tags().annotate(
        open_entries=Coalesce(Subquery(groups.annotate(n=Sum("open_count")).values("n")), 0),
        last_well_at=Subquery(well.values("finished_at")[:1]),
        live_run=Subquery(live.values("sync").annotate(n=Max("pk")).values("n")),
    )
    for row in annotated.values(*_COLUMNS):
        yield SyncLine(
            pk=row["pk"],
            name=row["name"],
            status=row["status"],
            reason=row["status_reason"],
            since=row["status_since"],
            owner_id=row["owner_id"],
            owner=row["owner__username"] or "",
            source_id=row["source_id"],
            source=row["source__name"],
            destination_id=row["destination_id"],
            destination=row["destination__name"],
            is_archived=row["is_archived"],
            schedule_kind=row["schedule_kind"],
            next_run_at=row["next_run_at"],
            open_count=row["open_entries"],
            oldest_failed_at=row["watch__oldest_failed_at"] if row["open_entries"] else None,
            last_well_at=row["last_well_at"],
            is_running=row["live_run"] is not None,
            is_judged=row["watch__judged_at"] is not None,
            findings=tuple(row["watch__findings"] or ()),
            tags=frozenset((row["tag_names"] or "").split(",")) - {""},
        )
