"""“My alerts”: what one is told, and how; who hears of a sync; and the notices behind the bell."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from monitoring.admin.base import ReadOnlyAdmin, user_of
from monitoring.admin.subscription_form import AlertsForm
from monitoring.choices import Follows, Severity
from monitoring.models import Subscription
from monitoring.services import notices, subscriptions, told
from monitoring.services.subscription_rules import ChoicesRefusedError, zones
from syncs.choices import labelled
from syncs.models import Sync
from syncs.services import access

PAGE = "admin:monitoring_subscription_changelist"
NAMED = 12  # syncs of each kind that the page lists
_HELP = {
    Follows.OWNED: "And those whose owner cannot be told, where you stand in.",
    Follows.WATCHED: "Press “Watch” on the page of a sync.",
    Follows.ALL: "Also what is wrong with Redrive itself: no worker lives, runs wait.",
}


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Any, str]]:
        return [
            ("", self.mine, "changelist"),
            ("sync/<int:pk>/", self.of_sync, "sync"),
            ("notices/", self.notices, "notices"),
            ("notices/read/", require_POST(self.read), "read"),
        ]

    def mine(self, request: HttpRequest) -> HttpResponse:
        user, now = user_of(request), timezone.now()
        held, offered = subscriptions.choices(subscriptions.rows(user)), list(subscriptions.channels())
        form = AlertsForm(held, offered, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                is_new = subscriptions.save(user, form.choices(), now=now, door="admin")
            except ChoicesRefusedError as refusal:
                form.refuse(refusal.problems)
            else:
                messages.success(request, "Saved." if is_new else "Nothing was changed.")
                return HttpResponseRedirect(reverse(PAGE))
        context = {"form": form, "zones": sorted(zones()), **_concerned(form, subscriptions.concerned(user, now=now))}
        status = 400 if form.is_refused else 200
        return self.show(request, "admin/monitoring/subscription/page.html", context, title="My alerts", status=status)

    def of_sync(self, request: HttpRequest, pk: int) -> HttpResponse:
        user, sync = user_of(request), _sync(request, pk)
        if request.method == "POST":
            _watch(request, sync)
            return HttpResponseRedirect(_back(request, reverse("admin:monitoring_subscription_sync", args=(pk,))))
        is_watching, _ = subscriptions.watchers(pk, user)
        context = {"sync": sync, "told": told.of(sync), "is_watching": is_watching}
        return self.show(request, "admin/monitoring/subscription/told.html", context, title=f"Who hears of {sync}")

    def notices(self, request: HttpRequest) -> HttpResponse:
        before = request.GET.get("before", "")
        if before and not (before.isascii() and before.isdigit() and len(before) < 19):
            raise Http404("“before” is the number of a notice.")
        is_unread = request.GET.get("show") == "unread"
        page = notices.page(user_of(request), before=int(before) if before else None, is_unread=is_unread)
        return self.show(
            request, "admin/monitoring/subscription/notices.html", {"page": page, "is_unread": is_unread}, title="Notices"
        )

    def read(self, request: HttpRequest) -> HttpResponse:
        one, up_to = (_number(request.POST.get(name, "")) for name in ("notice", "up_to"))
        if one is None and up_to is None:
            raise Http404("Say which notice.")
        url = notices.read(user_of(request), at=timezone.now(), pk=one, up_to=up_to)
        return HttpResponseRedirect(url if url and "go" in request.POST else reverse("admin:monitoring_subscription_notices"))


def _concerned(form: AlertsForm, found: subscriptions.Concerned) -> dict[str, Any]:
    words = dict(labelled(Follows))
    week = {
        follows: ", ".join(f"{count} {dict(labelled(Severity))[severity].lower()}" for severity, count in counts)
        for follows, counts in found.last_week.items()
    }
    parts = [
        {"follows": follows, "label": words[follows], "help": _HELP[follows], "form": part, "week": week[follows]}
        for follows, part in form.parts.items()
    ]
    lists = {
        name: {"first": rows[:NAMED], "more": max(0, len(rows) - NAMED)}
        for name, rows in (("owned", found.owned), ("watched", found.watched), ("instead", found.instead))
    }
    return {"parts": parts, **lists}


def _sync(request: HttpRequest, pk: int) -> Sync:
    rows = access.scoped(Sync.objects.select_related("owner", "team"), request.user, by="pk")
    sync = rows.filter(pk=pk).first() if request.user.has_perm("syncs.view_sync") else None
    if sync is None:
        raise Http404(f"There is no sync {pk}.")
    return sync


def _watch(request: HttpRequest, sync: Sync) -> None:
    user = user_of(request)
    if request.POST.get("act") == "unwatch":
        subscriptions.unwatch(user, sync, door="admin")
        messages.success(request, f"You watch “{sync}” no longer.")
    elif request.POST.get("act") == "watch":
        subscriptions.watch(user, sync, at=timezone.now(), door="admin")
        messages.success(request, f"You watch “{sync}”: “My alerts” says how you are told of it.")
    else:
        raise Http404("There is no such act.")


def _back(request: HttpRequest, here: str) -> str:
    """To the page that the button stands on."""
    pages = {"alerts": reverse(PAGE), "sync": reverse("admin:syncs_sync_page", args=(request.resolver_match.kwargs["pk"],))}  # type: ignore[union-attr]
    return pages.get(request.POST.get("from", ""), here)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
