"""Error rules: the list per connection and kind, the form, and what is done to one from the list."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from syncs.admin.acts import demand
from syncs.console import links
from syncs.console.changelist import ConsoleAdmin
from syncs.models import ErrorRule
from syncs.services import audit, error_rule_input, error_rule_list, error_rules
from syncs.services.error_rule_input import Written
from syncs.services.error_rules import Place, RuleRefusedError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_DOOR = "admin"
_EVENTS = 30


@admin.register(ErrorRule)
class ErrorRuleAdmin(ConsoleAdmin):
    """Serves its own pages only: every change goes through ``services.error_rules``, which writes the audit log."""

    def get_urls(self) -> list[URLPattern]:
        views: list[tuple[str, Callable[..., HttpResponseBase], str]] = [
            ("", require_GET(self.list_view), "changelist"),
            ("add/", require_http_methods(["GET", "POST"])(self.new_view), "add"),
            ("<int:pk>/change/", require_http_methods(["GET", "POST"])(self.edit_view), "change"),
            ("<int:pk>/act/", require_POST(self.act_view), "act"),
        ]
        return [path(route, self.admin_site.admin_view(view), name=f"syncs_errorrule_{name}") for route, view, name in views]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        demand(self.has_view_permission(request))
        where = error_rule_input.place(request.GET)
        if where is None and (request.GET.get("connection") or request.GET.get("kind")):
            raise Http404("There is no such destination.")
        context = {
            "where": where,
            "sections": error_rule_list.sections(where),
            "places": error_rule_list.places(),
            "may_add": self.has_add_permission(request),
            "may_change": self.has_change_permission(request),
            "may_delete": self.has_delete_permission(request),
            "preview_url": links.page("admin:dlq_reclassification_preview"),
            "apply_url": links.page("admin:dlq_reclassification_apply"),
        }
        return self._page(request, "list.html", context, title="Error rules")

    def new_view(self, request: HttpRequest) -> HttpResponse:
        demand(self.has_add_permission(request))
        values = request.POST if request.method == "POST" else request.GET
        where = error_rule_input.place(values)
        if where is None:
            messages.error(request, "Choose the connection or the kind of destination that the rule is for.")
            return HttpResponseRedirect(list_url())
        if request.method == "GET":
            return self._form(request, error_rule_input.fresh(request.GET, where), where)
        return self._save(request, where, None)

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        demand(self.has_view_permission(request) if request.method == "GET" else self.has_change_permission(request))
        rule = _find(pk)
        if request.method == "GET":
            return self._form(request, error_rule_input.stored(rule), error_rules.place_of(rule), rule)
        return self._save(request, error_rules.place_of(rule), rule)

    def act_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        act = request.POST.get("act", "")
        demand(self.has_delete_permission(request) if act == "delete" else self.has_change_permission(request))
        rule = _find(pk)
        where = error_rules.place_of(rule)
        messages.success(request, _perform(request, rule, act))
        return HttpResponseRedirect(list_url(where))

    # --- parts

    def _save(self, request: HttpRequest, where: Place, rule: ErrorRule | None) -> HttpResponse:
        written = error_rule_input.read(request.POST, where, pk=rule.pk if rule else None)
        if "edit" in request.POST:  # from the preview, back to the fields
            return self._form(request, written, where, rule)
        if written.issues or written.draft is None:
            return self._form(request, written, where, rule, status=400)
        try:
            saved = error_rules.save(written.draft, by=_user(request), door=_DOOR, seen_at=written.seen_at)
        except RuleRefusedError as refusal:
            return self._form(request, error_rule_input.with_issues(written, refusal.issues), where, rule, status=400)
        messages.success(
            request,
            f"“{saved}” is saved. It holds for answers to runs that start from now on; apply it to open dead letters below.",
        )
        return HttpResponseRedirect(list_url(where))

    def _form(
        self, request: HttpRequest, written: Written, where: Place, rule: ErrorRule | None = None, *, status: int = 200
    ) -> HttpResponse:
        context = {
            "where": where,
            "rule": rule,
            "written": written,
            "values": written.values,
            "problems": written.problems,
            "general": written.problems.get(""),
            "error_types": error_rule_input.error_types(),
            "permanence": error_rule_input.PERMANENCE,
            "may_save": self.has_change_permission(request) if rule else self.has_add_permission(request),
            "history": list(audit.history(rule)[:_EVENTS]) if rule else [],
            "preview_url": links.page("admin:dlq_reclassification_preview"),
            "list_url": list_url(where),
        }
        title = f"Error rule {rule.pk}" if rule else "New error rule"
        return self._page(request, "form.html", context, title=title, status=status)

    def _page(
        self, request: HttpRequest, template: str, context: dict[str, Any], *, title: str, status: int = 200
    ) -> TemplateResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "title": title}
        return TemplateResponse(request, f"admin/syncs/errorrule/{template}", {**shared, **context}, status=status)


def list_url(where: Place | None = None) -> str:
    url = reverse("admin:syncs_errorrule_changelist")
    if where is None:
        return url
    named = {"connection": where.connection.pk} if where.connection is not None else {"kind": where.kind}
    return f"{url}?{urlencode(named)}"


def _perform(request: HttpRequest, rule: ErrorRule, act: str) -> str:
    who: dict[str, Any] = {"by": _user(request), "door": _DOOR}
    if act in ("up", "down"):
        moved = error_rules.move(rule, by_places=-1 if act == "up" else 1, **who)
        return f"“{rule}” is tried {'earlier' if act == 'up' else 'later'}." if moved else f"“{rule}” stands where it stood."
    if act in ("on", "off"):
        error_rules.switch(rule, is_enabled=act == "on", **who)
        return f"“{rule}” is {act}. Open dead letters stay as they are until the rules are applied to them."
    if act == "delete":
        error_rules.delete(rule, **who)
        return f"“{rule}” is deleted. Open dead letters stay as they are until the rules are applied to them."
    raise Http404("There is no such act.")


def _find(pk: int) -> ErrorRule:
    rule = ErrorRule.objects.select_related("connection", "updated_by").filter(pk=pk).first() if pk < 1 << 63 else None
    if rule is None:
        raise Http404(f"There is no error rule {pk}.")
    return rule


def _user(request: HttpRequest) -> User:
    return cast("User", request.user)  # behind the admin's login
