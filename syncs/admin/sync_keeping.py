"""Clone, archive and unarchive a sync: each is confirmed on a page of its own, which says what will happen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from syncs.admin import acts
from syncs.admin.address import sync_url
from syncs.admin.sync_pages import _find
from syncs.errors import RedriveError
from syncs.models import Sync
from syncs.services import access, archives, clones, overview

if TYPE_CHECKING:
    from syncs.admin.syncs import SyncAdmin


def clone(page: SyncAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    acts.demand(page.has_add_permission(request))
    sync = _find(page, request, pk)
    problem: RedriveError | None = None
    if request.method == "POST":
        try:
            made = clones.clone(sync, name=request.POST.get("name", ""), by=acts.user_of(request), door="admin")
        except RedriveError as error:
            problem = error
        else:
            messages.success(request, f"“{made}” is a copy of “{sync}”, and paused. Look at it, then resume it.")
            return HttpResponseRedirect(sync_url(made.pk))
    name = request.POST.get("name", "")[:200] if request.method == "POST" else clones.free_name(sync)
    return _page(page, request, sync, "clone", {"name": name, "problem": problem, "mapping_count": sync.mappings.count()})


def archive(page: SyncAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    acts.demand(page.has_change_permission(request))
    sync = _find(page, request, pk)
    problem: RedriveError | None = None
    if request.method == "POST":
        try:
            is_cancelling = request.POST.get("cancel") == "1" and acts.may_run(request)
            archives.archive(sync, by=acts.user_of(request), door="admin", is_cancelling=is_cancelling)
        except RedriveError as error:
            problem = error
        else:
            messages.success(request, f"“{sync}” is archived. It runs no more; its runs and dead letters stay.")
            return HttpResponseRedirect(sync_url(sync.pk))
    live = archives.live_runs(sync)
    context = {"problem": problem, "live": live, "may_run": acts.may_run(request), "open_count": overview.open_count(sync)}
    return _page(page, request, sync, "archive", context)


def unarchive(page: SyncAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    acts.demand(page.has_change_permission(request))
    sync = _find(page, request, pk)
    if request.method == "POST":
        if archives.unarchive(sync, by=acts.user_of(request), door="admin"):
            messages.success(request, f"“{sync}” is back, and paused. Resume it when it is ready to run.")
        else:
            messages.warning(request, f"“{sync}” is not archived.")
        return HttpResponseRedirect(sync_url(sync.pk))
    return _page(page, request, sync, "unarchive", {})


def refused_edit(request: HttpRequest, object_id: str) -> HttpResponse | None:
    """Away from the edit form of an archived sync, with the reason; None for any other."""
    pk = unquote(object_id)
    kept = access.scoped(Sync.objects.filter(is_archived=True), request.user, by="pk")
    sync = kept.filter(pk=pk).first() if pk.isascii() and pk.isdigit() and len(pk) < 19 else None
    if sync is None or not request.user.has_perm("syncs.view_sync"):
        return None
    messages.error(request, f"“{sync}” is archived. Take it out of the archive, then edit it.")
    return HttpResponseRedirect(sync_url(sync.pk))


def _page(page: SyncAdmin, request: HttpRequest, sync: Sync, name: str, context: dict[str, Any]) -> HttpResponse:
    frame = {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "title": f"{name.capitalize()} {sync}",
        "sync": sync,
        "page_url": sync_url(sync.pk),
    }
    return TemplateResponse(request, f"admin/syncs/sync/{name}.html", {**frame, **context})
