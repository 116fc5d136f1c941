"""Pages of one sync: its page, a version, and the acts behind its buttons."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from syncs.admin import acts
from syncs.admin.address import run_url, sync_url
from syncs.choices import RunStatus, SyncStatus, labelled
from syncs.console import charts, formats, links, words
from syncs.console.version_diff import by_field, differences
from syncs.errors import ErrorType, RedriveError
from syncs.models import Run, Sync, SyncVersion
from syncs.services import access, overview, schedules, starts

if TYPE_CHECKING:
    from syncs.admin.syncs import SyncAdmin

_NOTICES = {SyncStatus.FAILING: "bad", SyncStatus.DEGRADED: "warn", SyncStatus.PAUSED: "warn", SyncStatus.UNCONFIGURED: "info"}
STRIP = (900.0, 64.0)


def page(self: SyncAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    sync = _find(self, request, pk)
    runs = overview.recent_runs(sync)
    groups = overview.open_groups(sync)
    open_count = groups[0].of_all if groups else 0
    context = {
        **_frame(self, request, sync, title=sync.name),
        "notice": _notice(sync, runs),
        "schedule": words.schedule(sync),
        "tags": sorted(filter(None, (getattr(sync, "tag_names", None) or "").split(","))),
        "bars": _strip(runs),
        "runs": [(run, words.started_by(run)) for run in runs[:8]],
        "runs_url": links.page("admin:syncs_run_changelist", sync=str(sync.pk)),
        "groups": [_group(sync, group) for group in groups],
        "open_count": open_count,
        "entries_url": links.entries(sync=str(sync.pk)),
        "clear_url": links.page("admin:dlq_dlqentry_bulk", act="reprocess", status="open", sync=str(sync.pk)),
        "mappings": list(sync.mappings.order_by("position", "id")),
        "firings": _firings(sync),
        "versions": list(sync.versions.select_related("author").order_by("-number")[:8]),
    }
    return TemplateResponse(request, "admin/syncs/sync/page.html", context)


def version(self: SyncAdmin, request: HttpRequest, *, pk: int, number: int) -> HttpResponse:
    sync = _find(self, request, pk)
    found = SyncVersion.objects.select_related("author").filter(sync=sync, number=number).first()
    if found is None:
        raise Http404(f"“{sync}” has no version {number}.")
    other = sync.current_version if sync.current_version_id != found.pk else None
    context = {
        **_frame(self, request, sync, title=f"Version {number}"),
        "version": found,
        "other": other,
        "settings": differences(found.snapshot, other.snapshot if other else None),
        "mappings": differences(by_field(found.snapshot), by_field(other.snapshot) if other else None),
        "run_count": Run.objects.filter(version=found).count(),
    }
    return TemplateResponse(request, "admin/syncs/sync/version.html", context)


def act(self: SyncAdmin, request: HttpRequest, *, pk: int, name: str) -> HttpResponse:
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    acts.demand(acts.may(request, name))
    sync = _find(self, request, pk)
    if name not in acts.SYNC_ACTS:
        raise Http404(name)
    acts.on_syncs(request, [sync], acts.SYNC_ACTS[name])
    return HttpResponseRedirect(sync_url(sync.pk))


def status_chips(counts: dict[str, int], selected: list[str]) -> list[dict[str, Any]]:
    """All, then each status that some sync has, the most urgent first; a chip in force stays even at 0."""
    chips: list[dict[str, Any]] = [{"label": "All", "count": sum(counts.values()), "query": "?", "is_on": not selected}]
    labels = dict(labelled(SyncStatus))
    for status in overview.URGENCY:
        if counts.get(status) or selected == [status]:
            is_on = selected == [status.value]
            chips.append(
                {"label": labels[status], "count": counts.get(status, 0), "query": f"?status={status.value}", "is_on": is_on}
            )
    return chips


def _find(page: SyncAdmin, request: HttpRequest, pk: int) -> Sync:
    acts.demand(page.has_view_permission(request))
    related = ("source", "destination", "owner", "team", "current_version", "watch")  # the last: what judged it keeps
    rows = starts.with_starts(Sync.objects.select_related(*related).with_tags())
    sync = access.scoped(rows, request.user, by="pk").filter(pk=pk).first()
    if sync is None:
        raise Http404(f"There is no sync {pk}.")
    return sync


def _frame(page: SyncAdmin, request: HttpRequest, sync: Sync, *, title: str) -> dict[str, Any]:
    return {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "title": title,
        "sync": sync,
        "may_run": acts.may_run(request) and not sync.is_archived,
        "may_pause": acts.may_pause(request) and not sync.is_archived,
        "may_change": page.has_change_permission(request, sync) and not sync.is_archived,
        "page_url": sync_url(sync.pk),
        "change_url": reverse("admin:syncs_sync_change", args=(sync.pk,)),
        "preview_url": reverse("admin:syncs_sync_preview", args=(sync.pk,)),
        **keeping_urls(page, request, sync),
        "act_urls": {name: reverse("admin:syncs_sync_act", args=(sync.pk, name)) for name in acts.SYNC_ACTS},
    }


def keeping_urls(page: SyncAdmin, request: HttpRequest, sync: Sync) -> dict[str, str]:
    """Addresses behind the menu of a sync: its file, clone, archive or back; empty where the user may not."""
    archive = "unarchive" if sync.is_archived else "archive"
    may_archive = request.user.has_perm("syncs.change_sync")
    return {
        "clone_url": reverse("admin:syncs_sync_clone", args=(sync.pk,)) if page.has_add_permission(request) else "",
        "yaml_url": reverse("admin:syncs_sync_yaml", args=(sync.pk,)),
        "archive_url": reverse(f"admin:syncs_sync_{archive}", args=(sync.pk,)) if may_archive else "",
    }


def _notice(sync: Sync, runs: list[Run]) -> dict[str, Any] | None:
    """Why the sync is not healthy, and what to do about it."""
    status = SyncStatus(sync.status)
    if status not in _NOTICES or sync.is_archived:
        return None
    last = next((run for run in runs if not run.is_active), None)
    failed = last if last and last.status == RunStatus.FAILED else None
    remedy = {
        SyncStatus.PAUSED: "No run starts until someone resumes it.",
        SyncStatus.UNCONFIGURED: "Preview its rows, then run it once.",
        SyncStatus.DEGRADED: "Look at the open errors below: correct the rows or the mapping, then reprocess.",
        SyncStatus.FAILING: "Look at the last runs and the open errors below.",
    }[status]
    if failed and failed.failure_type in set(ErrorType):
        remedy = ErrorType(failed.failure_type).info.remedy
    is_guarded = failed is not None and failed.failure_code == "delete_guard" and sync.approved_delete_count is None
    return {"kind": _NOTICES[status], "remedy": remedy, "failed": failed, "is_guarded": is_guarded}


def _strip(runs: list[Run]) -> list[dict[str, Any]]:
    ordered = runs[::-1]
    boxes = charts.strip([run.read_count for run in ordered], width=STRIP[0], height=STRIP[1], slots=30)
    return [
        {
            "box": box,
            "fill": charts.fill(run.status),
            "url": run_url(run.pk),
            "title": f"Run {run.pk}: {run.get_status_display().lower()}, {formats.number(run.read_count)} rows read, "
            f"{formats.number(run.dead_lettered_count)} dead-lettered, {run.queued_at:%d %b %H:%M}",
        }
        for run, box in zip(ordered, boxes, strict=True)
    ]


def _group(sync: Sync, group: Any) -> dict[str, Any]:
    kinds = {kind.value: kind.info.label for kind in ErrorType}
    return {
        "group": group,
        "label": kinds.get(group.error_type, group.error_type),
        "url": links.entries(sync=str(sync.pk), group=str(group.pk)),
    }


def _firings(sync: Sync) -> list[datetime]:
    if sync.is_paused or sync.is_archived:
        return []
    try:
        return schedules.firings(sync, count=5)
    except RedriveError:  # the edit page says what is wrong with it; this page must show
        return []
