"""API keys in the console: one's own, and everybody's for who manages them. A key is shown once, on the page that made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from syncs.admin.acts import demand, user_of
from syncs.admin.key_forms import KeyForm
from syncs.choices import KeyState, labelled
from syncs.console.changelist import ConsoleAdmin
from syncs.models import ApiKey
from syncs.services import api_keys, service_accounts
from syncs.services.api_keys import Shown
from syncs.services.service_accounts import AccountRefusedError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_PAGE = 100
_REFUSALS = (api_keys.KeyRefusedError, AccountRefusedError)


@admin.register(ApiKey)
class ApiKeyAdmin(ConsoleAdmin):
    """Serves its own pages only: every change goes through ``services.api_keys``, which writes the audit log."""

    def get_urls(self) -> list[URLPattern]:
        views: list[tuple[str, Callable[..., HttpResponseBase], str]] = [
            ("", require_GET(self.list_view), "changelist"),
            ("add/", require_http_methods(["GET", "POST"])(self.new_view), "add"),
            ("<int:pk>/act/", require_POST(self.act_view), "act"),
        ]
        return [path(route, self.admin_site.admin_view(view), name=f"syncs_apikey_{name}") for route, view, name in views]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        demand(self.has_view_permission(request))
        user, now = user_of(request), timezone.now()
        chosen, problem = _asked(request)
        found = [] if problem else list(_chosen(user, chosen).order_by("-pk")[: _PAGE + 1])
        context = {
            "problem": problem,
            "chosen": chosen,
            "lines": [(key, api_keys.state_of(key, now), _may_rotate(key, request, now)) for key in found[:_PAGE]],
            "older": found[_PAGE - 1].pk if len(found) > _PAGE else None,
            "states": labelled(KeyState),
            "manages": api_keys.manages(user),
            "may_add": self.has_add_permission(request),
            "may_change": self.has_change_permission(request),
            "hours": api_keys.OVERLAP_HOURS,
            "hours_most": api_keys.OVERLAP_MOST,
        }
        return self._page(request, "list.html", context, title="API keys")

    def new_view(self, request: HttpRequest) -> HttpResponse:
        demand(self.has_add_permission(request))
        accounts = list(service_accounts.rows().order_by("user__username")) if _may_for_accounts(request) else []
        if request.method == "GET":
            account = request.GET.get("account", "")
            return self._form(request, KeyForm(accounts=accounts, initial={"account": account}))
        form = KeyForm(request.POST, accounts=accounts)
        if not form.is_valid():
            return self._form(request, form, status=400)
        user, values = user_of(request), form.cleaned_data
        try:
            shown = api_keys.make(
                form.owner(user), name=values["name"], scopes=values["scopes"], days=form.days_chosen, by=user, door="admin"
            )
        except _REFUSALS as refusal:
            place = {"expires_in_days": "days"}.get(refusal.field, refusal.field)
            form.add_error(place if place in form.fields else None, refusal.message)
            return self._form(request, form, status=400)
        return self._show_once(request, shown, before=None)

    def act_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        act = request.POST.get("act", "")
        if act not in ("rotate", "revoke"):
            raise Http404("There is no such act.")
        demand(self.has_change_permission(request))
        key = api_keys.seen_by(user_of(request)).filter(pk=pk).first() if pk < 1 << 63 else None
        if key is None:
            raise Http404(f"There is no API key {pk}.")
        try:
            if act == "rotate":
                shown = api_keys.rotate(key, hours=_hours(request), by=user_of(request), door="admin")
                return self._show_once(request, shown, before=ApiKey.objects.get(pk=key.pk))
            api_keys.revoke(key, by=user_of(request), door="admin")
            messages.success(request, f"“{key}” is revoked: it is refused from the next request on.")
        except _REFUSALS as refusal:
            messages.error(request, refusal.message)
        return HttpResponseRedirect(list_url(is_all=key.user_id != request.user.pk))

    def _form(self, request: HttpRequest, form: KeyForm, *, status: int = 200) -> HttpResponse:
        return self._page(request, "form.html", {"form": form, "back": list_url()}, title="New API key", status=status)

    def _show_once(self, request: HttpRequest, shown: Shown, *, before: ApiKey | None) -> HttpResponse:
        """Like every page of the admin it is never kept in a cache."""
        is_mine = shown.key.user_id == request.user.pk
        context = {"key": shown.key, "text": shown.text, "before": before, "back": list_url(is_all=not is_mine)}
        return self._page(request, "secret.html", context, title="New API key")

    def _page(
        self, request: HttpRequest, template: str, context: dict[str, Any], *, title: str, status: int = 200
    ) -> TemplateResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "title": title}
        return TemplateResponse(request, f"admin/syncs/apikey/{template}", {**shared, **context}, status=status)


def list_url(*, is_all: bool = False) -> str:
    return reverse("admin:syncs_apikey_changelist") + ("?whose=all" if is_all else "")


def _chosen(user: User, chosen: dict[str, str]) -> QuerySet[ApiKey]:
    rows = api_keys.seen_by(user)
    if chosen["whose"] != "all":
        rows = rows.filter(user=user)
    if chosen["state"]:
        rows = rows.filter(api_keys.in_states([chosen["state"]], timezone.now()))
    return rows.filter(pk__lt=int(chosen["before"])) if chosen["before"] else rows


def _may_for_accounts(request: HttpRequest) -> bool:
    return user_of(request).has_perm("syncs.change_serviceaccount")


def _may_rotate(key: ApiKey, request: HttpRequest, now: Any) -> bool:
    """Whether the button is there; the service has the last word."""
    is_account = getattr(key.user, "service_account", None) is not None
    is_standing = key.user_id == request.user.pk or (is_account and _may_for_accounts(request))
    return is_standing and key.is_good(now) and getattr(key, "replaced_by", None) is None


def _asked(request: HttpRequest) -> tuple[dict[str, str], str]:
    """What the address chooses, and what is wrong with it; a filter that is not understood shows nothing."""
    names = ("whose", "state", "before")
    chosen = {name: request.GET.get(name, "") for name in names}
    unknown = [name for name in request.GET if name not in names]
    if unknown:
        return chosen, f"This list has no filter called “{unknown[0][:40]}”."
    if chosen["state"] and chosen["state"] not in list(KeyState):
        return chosen, f"There is no state “{chosen['state'][:40]}”."
    if chosen["whose"] not in ("", "mine", "all"):
        return chosen, f"“{chosen['whose'][:40]}” is neither mine nor all."
    before = chosen["before"]
    if before and not (before.isascii() and before.isdigit() and len(before) <= 18):
        return chosen, f"“{before[:40]}” is no place in this list."
    return chosen, ""


def _hours(request: HttpRequest) -> int:
    text = request.POST.get("hours", "")
    if not text:
        return api_keys.OVERLAP_HOURS
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
