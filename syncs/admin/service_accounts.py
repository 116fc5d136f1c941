"""Service accounts in the console: users for machines, with roles and teams, whose keys other programs call with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from syncs.admin.acts import demand, user_of
from syncs.admin.key_forms import AccountForm
from syncs.console import audit_words
from syncs.console.changelist import ConsoleAdmin
from syncs.models import ServiceAccount
from syncs.services import api_keys, audit, service_accounts
from syncs.services.service_accounts import AccountRefusedError

_HISTORY = 20


@admin.register(ServiceAccount)
class ServiceAccountAdmin(ConsoleAdmin):
    def get_urls(self) -> list[URLPattern]:
        both = require_http_methods(["GET", "POST"])
        views: list[tuple[str, Callable[..., HttpResponseBase], str]] = [
            ("", require_GET(self.list_view), "changelist"),
            ("add/", both(self.new_view), "add"),
            ("<int:pk>/change/", both(self.edit_view), "change"),
        ]
        return [
            path(route, self.admin_site.admin_view(view), name=f"syncs_serviceaccount_{name}") for route, view, name in views
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        demand(self.has_view_permission(request))
        context = {"accounts": service_accounts.rows().order_by("user__username"), "may_add": self.has_add_permission(request)}
        return self._page(request, "list.html", context, title="Service accounts")

    def new_view(self, request: HttpRequest) -> HttpResponse:
        demand(self.has_add_permission(request))
        form = AccountForm(request.POST if request.method == "POST" else None, by=user_of(request), account=None)
        if request.method == "POST" and form.is_valid():
            name = form.cleaned_data["name"]
            try:
                made = service_accounts.create(name, form.wanted(), by=user_of(request), door="admin")
            except AccountRefusedError as refusal:
                form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
            else:
                messages.success(request, f"“{made}” is set up. Make a key for it.")
                return HttpResponseRedirect(f"{reverse('admin:syncs_apikey_add')}?account={made.pk}")
        return self._form(request, form, None)

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        demand(self.has_view_permission(request) if request.method == "GET" else self.has_change_permission(request))
        account = service_accounts.rows().filter(pk=pk).first() if pk < 1 << 63 else None
        if account is None:
            raise Http404(f"There is no service account {pk}.")
        form = AccountForm(request.POST if request.method == "POST" else None, by=user_of(request), account=account)
        if request.method == "POST" and form.is_valid():
            try:
                seen = form.cleaned_data["etag"]
                service_accounts.change(account, form.wanted(), by=user_of(request), door="admin", seen=seen)
            except AccountRefusedError as refusal:
                form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
            else:
                messages.success(request, f"“{account}” is saved.")
                return HttpResponseRedirect(reverse("admin:syncs_serviceaccount_change", args=(pk,)))
        return self._form(request, form, account)

    def _form(self, request: HttpRequest, form: AccountForm, account: ServiceAccount | None) -> HttpResponse:
        now = timezone.now()
        keys = api_keys.seen_by(user_of(request)).filter(user=account.user_id).order_by("-pk")[:100] if account else []
        context = {
            "form": form,
            "account": account,
            "keys": [(key, api_keys.state_of(key, now)) for key in keys],
            "may_save": self.has_change_permission(request) if account else self.has_add_permission(request),
            "history": [audit_words.line(event) for event in audit.history(account)[:_HISTORY]] if account else [],
        }
        title = str(account) if account else "New service account"
        return self._page(request, "form.html", context, title=title, status=400 if form.errors else 200)

    def _page(
        self, request: HttpRequest, template: str, context: dict[str, Any], *, title: str, status: int = 200
    ) -> TemplateResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "title": title}
        return TemplateResponse(request, f"admin/syncs/serviceaccount/{template}", {**shared, **context}, status=status)
