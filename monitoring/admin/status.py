"""The status history, and the thresholds that make a sync degraded or failing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from monitoring.admin.base import ReadOnlyAdmin, demand, may, user_of
from monitoring.models import StatusChange, SyncPolicy
from monitoring.services import status_history, thresholds
from monitoring.services.threshold_words import THRESHOLDS
from syncs.models import Sync
from syncs.services import access


@admin.register(StatusChange)
class StatusChangeAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("sync/<int:pk>/", require_GET(self.sync_view), "sync"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        before, is_lost = _before(request)
        changes, has_older = ([], False) if is_lost else status_history.newest(user_of(request), before=before)
        context = {
            "lines": [status_history.line_of_many(change) for change in changes],
            "older": changes[-1].pk if has_older else None,
            "is_older": before is not None,
            "is_lost": is_lost,
        }
        status = 400 if is_lost else 200
        return self.show(request, "admin/monitoring/status/list.html", context, title="Status changes", status=status)

    def sync_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        sync, now = _sync(request, pk), timezone.now()
        before, is_lost = _before(request)
        found = status_history.of_sync(sync, now, before=None if is_lost else before)
        context = {
            "sync": sync,
            "found": found,
            "is_older": before is not None,
            "is_lost": is_lost,
            "may_see_thresholds": may(request, "view_syncpolicy"),
        }
        title = f"Status of {sync.name}"
        return self.show(request, "admin/monitoring/status/sync.html", context, title=title, status=400 if is_lost else 200)


@admin.register(SyncPolicy)
class SyncPolicyAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [("<int:pk>/change/", require_http_methods(["GET", "POST"])(self.change_view_), "change")]

    def change_view_(self, request: HttpRequest, pk: int) -> HttpResponse:
        """``act`` save writes what is typed, try shows what it would have done, reset goes back to the defaults."""
        sync, now = _sync(request, pk), timezone.now()
        if request.method == "GET":
            return self._page(request, thresholds.page(sync, now))
        demand(request, "change_syncpolicy")
        act = request.POST.get("act", "save")
        if act not in ("save", "try", "reset"):
            raise Http404("There is no such act.")
        typed = {name: "" if act == "reset" else request.POST.get(name, "") for name in THRESHOLDS}
        page = thresholds.page(sync, now, typed=typed)
        if act == "try" or page.problems:
            return self._page(request, page)
        is_new = thresholds.save(sync, page.values, by=user_of(request), door="admin")
        messages.success(request, page.saved_text if is_new else "They were so already.")
        return HttpResponseRedirect(reverse("admin:monitoring_syncpolicy_change", args=(pk,)))

    def _page(self, request: HttpRequest, page: thresholds.Page) -> HttpResponse:
        context: dict[str, Any] = {"page": page, "sync": page.sync, "may_change": may(request, "change_syncpolicy")}
        status = 400 if page.problems else 200
        title = f"Thresholds of {page.sync.name}"
        return self.show(request, "admin/monitoring/status/thresholds.html", context, title=title, status=status)


def _sync(request: HttpRequest, pk: int) -> Sync:
    found = access.scoped(Sync.objects.select_related("source", "destination"), request.user, by="pk").filter(pk=pk).first()
    if found is None:
        raise Http404(f"There is no sync {pk}.")
    return found


def _before(request: HttpRequest) -> tuple[int | None, bool]:
    """(id that the page goes on before, whether what was given is none)."""
    text = request.GET.get("before", "")
    if not text:
        return None, False
    return (int(text), False) if text.isascii() and text.isdigit() and len(text) <= 18 else (None, True)
