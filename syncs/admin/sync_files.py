"""A sync as a YAML file, and files that are looked at and applied."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from syncs.admin import acts
from syncs.admin.address import sync_url
from syncs.admin.sync_pages import _find
from syncs.errors import RedriveError
from syncs.models import Sync
from syncs.services import config_files
from syncs.services.config_files import Action, Environment, Plan

if TYPE_CHECKING:
    from syncs.admin.syncs import SyncAdmin

_RIGHTS = ("syncs.add_sync", "syncs.change_sync")
_MOST_SHOWN = 400  # changes on the page


def download(page: SyncAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    """With the documents of its connections for who may set those up."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    sync = _find(page, request, pk)
    try:
        used = config_files.used_by([sync]) if request.user.has_perm("syncs.change_connection") else []
        found = config_files.export([sync], used)
    except RedriveError as error:
        messages.error(request, error.message)
        return HttpResponseRedirect(sync_url(sync.pk))
    name = found[-1].path.rpartition("/")[2]
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return HttpResponse(config_files.one_text(found), content_type="application/yaml; charset=utf-8", headers=headers)


def apply(page: SyncAdmin, request: HttpRequest) -> HttpResponse:
    acts.demand(request.user.has_perms(_RIGHTS))
    context: dict[str, Any] = {"title": "Apply YAML", "may_connections": request.user.has_perm("syncs.change_connection")}
    if request.method == "POST":
        try:
            answer = _posted(request, context)
        except RedriveError as error:
            context["problem"], answer = error.message, None
        if answer is not None:
            return answer
    frame = {**page.admin_site.each_context(request), "opts": page.opts}
    return TemplateResponse(request, "admin/syncs/sync/apply.html", {**frame, **context})


def _posted(request: HttpRequest, context: dict[str, Any]) -> HttpResponse | None:
    """Look at the files; apply them where this was the second look, and nothing has changed since the first."""
    uploaded = [(str(one.name), one.read()) for one in request.FILES.getlist("file") if one.size is not None]
    kept = request.POST.get("kept", "")
    files = config_files.unpacked(kept) if kept and not uploaded else config_files.refuse_large(uploaded)
    environment = Environment(os.environ, is_any=False)
    user = acts.user_of(request)
    plan = config_files.matched(files, environment=environment, by=user)
    known = config_files.check(plan)
    context |= {"plan": plan, "kept": config_files.packed(files), "is_paused": request.POST.get("paused", "1") == "1"}
    context |= {"counts": [(action.value, count) for action, count in plan.counts.items()], **_shown(plan)}
    if plan.problems or not kept or uploaded:
        return None
    if request.POST.get("digest") != plan.digest:
        context["problem"] = "Something has changed since you looked: compare again, then apply."
        return None
    config_files.apply(plan, known, environment=environment, by=user, door="admin", is_paused=context["is_paused"])
    made = ", ".join(f"{count} {action}d" for action, count in plan.counts.items() if count and action != Action.UNCHANGED)
    messages.success(request, f"Applied: {made}." if made else "Nothing to change.")
    only = Sync.objects.filter(name=plan.items[0].name).first() if len(plan.of("sync")) == len(plan.items) == 1 else None
    return HttpResponseRedirect(sync_url(only.pk) if only else reverse("admin:syncs_sync_changelist"))


def _shown(plan: Plan) -> dict[str, Any]:
    """As many changes as a page holds, those of the largest documents cut last."""
    left, items = _MOST_SHOWN, []
    for item in sorted(plan.items, key=lambda item: list(Action).index(item.action)):
        shown = item.changes[:left]
        left -= len(shown)
        items.append({"item": item, "changes": shown, "more": len(item.changes) - len(shown)})
    creates_syncs = any(item.action == Action.CREATE for item in plan.of("sync"))
    return {"items": items, "creates_syncs": creates_syncs}
