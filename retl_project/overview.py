"""The numbers of the console's first page: what needs attention, what ran, how much moved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q, Sum
from django.http import HttpRequest
from django.utils import timezone

from dlq.models import DLQEntry, ErrorGroup
from syncs.choices import RunStatus, SyncStatus
from syncs.console import charts, formats, links, words
from syncs.models import Run, Sync
from syncs.services import access, overview

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

    Viewer = User | AnonymousUser

DAYS = 14
WIDTH, HEIGHT, LEFT, BASE, TOP = 600.0, 300.0, 44.0, 268.0, 12.0
COUNT_CAP = 100_000  # new dead letters are counted up to here


@dataclass(frozen=True, slots=True)
class Figure:
    value: str
    label: str
    note: str
    url: str
    tone: str = ""


def context(request: HttpRequest) -> dict[str, Any]:
    """What the signed-in user may see; sections without the right to them stay out."""
    user = request.user
    sees_syncs, sees_runs = user.has_perm("syncs.view_sync"), user.has_perm("syncs.view_run")
    found: dict[str, Any] = {"figures": figures(request), "sees_syncs": sees_syncs, "sees_runs": sees_runs}
    if sees_syncs:
        found["attention"] = attention(user)
        found["syncs_url"] = links.page("admin:syncs_sync_changelist")
    if sees_runs:
        found["runs"] = [(run, words.started_by(run)) for run in latest_runs(user)]
        found["runs_url"] = links.page("admin:syncs_run_changelist")
        found["chart"] = chart(overview.rows_per_day(DAYS, runs=access.scoped(Run.objects.all(), user)))
    return found


def figures(request: HttpRequest) -> list[Figure]:
    made = []
    user = request.user
    if user.has_perm("syncs.view_sync"):
        made.append(_failing(user))
    if user.has_perm("dlq.view_dlqentry"):
        made += [_open(user), _new(user)]
    if user.has_perm("syncs.view_run"):
        made.append(_failed_runs(user))
    return made


def _failing(user: Viewer) -> Figure:
    counts = overview.status_counts(access.scoped(Sync.objects.active(), user, by="pk"))
    failing = counts.get(SyncStatus.FAILING, 0)
    others = [status for status in overview.URGENCY if status != SyncStatus.FAILING and counts.get(status)]
    note = ", ".join(f"{counts[status]} {status.value}" for status in reversed(others)) or "no other syncs"
    url = links.page("admin:syncs_sync_changelist", status=SyncStatus.FAILING.value)
    return Figure(
        formats.number(failing), "Failing sync" if failing == 1 else "Failing syncs", note, url, "bad" if failing else ""
    )


def _open(user: Viewer) -> Figure:
    groups = access.scoped(ErrorGroup.objects.filter(open_count__gt=0), user).aggregate(n=Sum("open_count"), groups=Count("pk"))
    count = groups["n"] or 0
    note = (
        f"{groups['groups']} distinct error{'' if groups['groups'] == 1 else 's'}" if count else "every row is where it belongs"
    )
    return Figure(formats.number(count), "Open dead letters", note, links.entries(), "warn" if count else "")


def _new(user: Viewer) -> Figure:
    since = timezone.now() - timedelta(hours=24)
    # By last_failed_at as well: it is never before the first failure, and it is the one with an index.
    fresh = access.scoped(DLQEntry.objects.filter(last_failed_at__gte=since, first_failed_at__gte=since), user).order_by()
    count = fresh.values("pk")[: COUNT_CAP + 1].count()
    text = f"{formats.number(COUNT_CAP)}+" if count > COUNT_CAP else formats.number(count)
    url = links.page("admin:dlq_dlqentry_changelist", status="any", failed="24h")
    return Figure(text, "New dead letters", "first refused in the last 24 hours", url)


def _failed_runs(user: Viewer) -> Figure:
    since = timezone.now() - timedelta(hours=24)
    recent = access.scoped(Run.objects.filter(finished_at__gte=since), user).exclude(status=RunStatus.SKIPPED)
    counts = recent.order_by().aggregate(all=Count("pk"), failed=Count("pk", filter=Q(status=RunStatus.FAILED)))
    url = links.page("admin:syncs_run_changelist", status=RunStatus.FAILED.value, since="24h")
    label = "Failed run" if counts["failed"] == 1 else "Failed runs"
    note = f"of {formats.number(counts['all'])} in the last 24 hours"
    return Figure(formats.number(counts["failed"]), label, note, url, "bad" if counts["failed"] else "")


def attention(user: Viewer, limit: int = 8) -> list[dict[str, Any]]:
    """Failing and degraded syncs, the most urgent first, then those with the most dead letters."""
    syncs = overview.with_list_figures(access.scoped(Sync.objects.active().select_related("owner"), user, by="pk"))
    syncs = syncs.filter(status__in=(SyncStatus.FAILING, SyncStatus.DEGRADED))
    rows: list[dict[str, Any]] = []
    for sync in syncs.order_by("urgency", "-open_count", "name")[:limit]:
        count = getattr(sync, "open_count", 0)
        rows.append({"sync": sync, "count": count, "url": links.entries(sync=str(sync.pk)) if count else ""})
    return rows


def latest_runs(user: Viewer, limit: int = 6) -> list[Run]:
    runs = access.scoped(Run.objects.exclude(status=RunStatus.SKIPPED), user).select_related("sync", "requested_by")
    return list(runs.defer("error_summary", "failure_message").order_by("-id")[:limit])


def chart(days: list[overview.Day]) -> dict[str, Any]:
    """Stacked bars per day: accepted below, dead-lettered above. Geometry for the template, and the numbers beneath."""
    highest = max((day.accepted + day.dead_lettered for day in days), default=0)
    top = charts.nice_top(highest)
    scale = (BASE - TOP) / top
    slot = (WIDTH - LEFT) / max(len(days), 1)
    bars = []
    for index, day in enumerate(days):
        x = LEFT + index * slot + slot * 0.18
        accepted, refused = charts.stack([day.accepted, day.dead_lettered], x=x, width=slot * 0.64, base=BASE, scale=scale)
        title = f"{day.day:%d %b}: {formats.number(day.accepted)} accepted, {formats.number(day.dead_lettered)} dead-lettered"
        label = {"x": round(x + slot * 0.32, 2), "text": f"{day.day.day}"}
        bars.append({"accepted": accepted, "refused": refused, "title": title, "label": label, "day": day})
    ticks = [{"y": round(BASE - value * scale, 2), "text": formats.short_number(value)} for value in (top, top / 2, 0)]
    return {
        "bars": bars,
        "ticks": ticks,
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "is_empty": highest == 0,
        "accepted": sum(day.accepted for day in days),
        "dead_lettered": sum(day.dead_lettered for day in days),
    }
