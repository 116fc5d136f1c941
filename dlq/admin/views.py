"""Saved views: the page that lists them, and what is posted from there and from the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from dlq.admin import filterbar
from dlq.admin.base import list_url, user_of
from dlq.services import views
from dlq.services.entry_filter import EntryFilter
from dlq.services.moves import ActRefusedError
from dlq.services.offers import offers

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin
    from dlq.models import SavedView


def listing(page: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    offered = offers(EntryFilter(), user)
    gone = views.gone(offered.views, user)
    shown = [
        {
            "view": view,
            "gone": gone.get(view.pk, ""),
            "words": filterbar.words(view.query, offered),
            "is_mine": view.owner_id == user.pk,
            "may_change": views.may_change(view, user),
        }
        for view in offered.views
    ]
    context = {"shown": shown, "may_share": views.may_share(user)}
    return page.show(request, "admin/dlq/dlqentry/views.html", context, title="Saved views")


def save(request: HttpRequest) -> HttpResponse:
    """From the list: its filter under a name. Back to the list as it was."""
    query = request.POST.get("filter", "")
    try:
        view = views.save(
            owner=user_of(request),
            name=request.POST.get("name", ""),
            query=query,
            is_shared=bool(request.POST.get("shared")),
            is_replacing=bool(request.POST.get("replace")),
        )
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
        return HttpResponseRedirect(f"{list_url()}?{query[: views.QUERY_MAX]}")
    messages.success(request, f"The view “{view.name}” is saved.")
    return HttpResponseRedirect(f"{list_url()}?{view.query}")


def change(request: HttpRequest, pk: int) -> HttpResponse:
    view = views.find(pk, user_of(request))
    if view is None:
        raise Http404(f"There is no saved view {pk}.")
    if not views.may_change(view, user_of(request)):
        raise PermissionDenied
    try:
        messages.success(request, _changed(request, view))
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
    return HttpResponseRedirect(reverse("admin:dlq_dlqentry_views"))


def _changed(request: HttpRequest, view: SavedView) -> str:
    act = request.POST.get("act", "")
    user = user_of(request)
    if act == "rename":
        views.change(view, name=request.POST.get("name", ""), by=user)
        return f"The view is named “{view.name}” now."
    if act in ("share", "unshare"):
        views.change(view, is_shared=act == "share", by=user)
        return f"“{view.name}” is {'shared with everybody who may see the list' if act == 'share' else 'yours alone again'}."
    if act == "delete":
        views.delete(view, by=user)
        return f"The view “{view.name}” is deleted. No dead letter was touched."
    raise Http404("There is no such act.")
