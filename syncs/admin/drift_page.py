"""The drift page of a sync: what its destination changed, what that breaks, and the ways on."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from syncs.admin import acts, schema_acts, sync_pages
from syncs.console import links
from syncs.errors import RedriveError
from syncs.models import Sync
from syncs.services import drift, drift_report
from syncs.services.drift_report import Line

if TYPE_CHECKING:
    from syncs.admin.syncs import SyncAdmin

ACTS = ("acknowledge", "refresh")


def page(self: SyncAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    sync = sync_pages._find(self, request, pk)
    problem: RedriveError | None = None
    if request.method == "POST":
        acts.demand(self.has_change_permission(request, sync))
        try:
            _act(request, sync)
        except RedriveError as error:
            problem = error
        else:
            return HttpResponseRedirect(reverse("admin:syncs_sync_drift", args=(sync.pk,)))
    found = drift_report.report(sync)
    context = {
        **sync_pages._frame(self, request, sync, title="Changes of the destination"),
        "report": found,
        "lines": [(line, _entries_url(sync, line)) for line in found.lines],
        "problem": problem,
        "reason": request.POST.get("reason", "")[:300],
        "schema_url": schema_acts.schema_url(sync.destination_id, sync.destination_object),
        "mapping_url": links.page("admin:syncs_sync_mapping", sync.pk) or reverse("admin:syncs_sync_change", args=(sync.pk,)),
    }
    return TemplateResponse(request, "admin/syncs/sync/drift.html", context, status=400 if problem else 200)


def _act(request: HttpRequest, sync: Sync) -> None:
    name, by = request.POST.get("act", ""), schema_acts.user_of(request)
    if name == "refresh":
        schema_acts.refresh(request, sync.destination, sync.destination_object)
    elif name == "acknowledge":
        is_settled = drift.acknowledge(sync, by=by, reason=request.POST.get("reason", ""), door="admin")
        text = "The change is settled." if is_settled else "Noted. Preview the sync now: reprocess waits for it."
        messages.success(request, text)
    else:
        raise Http404("There is no such act.")


def _entries_url(sync: Sync, line: Line) -> str:
    """The live dead letters that the change explains: of the sync, of the field, failed since."""
    if not line.dead_letter_count:
        return ""
    query: dict[str, Any] = {"sync": str(sync.pk), "field": line.change.field, "failed": "between"}
    return links.entries(**query, **{"from": line.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")})
