"""Alert rules: the list, new ones from templates or blank, tested against last week before they are saved, muted, switched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dlq.services.moves import ActRefusedError
from monitoring.admin.base import ReadOnlyAdmin, demand, may, user_of
from monitoring.admin.incident_words import SPANS
from monitoring.admin.rule_form import RuleForm
from monitoring.models import AlertRule
from monitoring.services import rule_draft, rule_edit, rule_list, rule_past, rule_words
from monitoring.services.rule_past import Past
from syncs.console import audit_words
from syncs.services import audit

_HISTORY = 20
_BOTH = ["GET", "POST"]


@admin.register(AlertRule)
class AlertRuleAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("add/", require_http_methods(_BOTH)(self.new_view), "add"),
            ("<int:pk>/change/", require_http_methods(_BOTH)(self.edit_view), "change"),
            ("<int:pk>/act/", require_POST(perform), "act"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        user, now = user_of(request), timezone.now()
        context = {
            "lines": rule_list.lines(user, now),
            "may_add": may(request, "add_alertrule"),
            "may_change": may(request, "change_alertrule"),
        }
        return self.show(request, "admin/monitoring/alertrule/list.html", context, title="Alert rules")

    def new_view(self, request: HttpRequest) -> HttpResponse:
        demand(request, "add_alertrule")
        given = request.POST if request.method == "POST" else request.GET
        blank = rule_draft.blank(given.get("template", ""), given.get("condition", ""))
        if blank is None:
            context = {"templates": rule_list.templates(), "conditions": rule_words.conditions()}
            return self.show(request, "admin/monitoring/alertrule/choose.html", context, title="New alert rule")
        return self._edit(request, blank)

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if request.method == "POST":
            demand(request, "change_alertrule")
        return self._edit(request, find(request, pk))

    def _edit(self, request: HttpRequest, rule: AlertRule) -> HttpResponse:
        user = user_of(request)
        if request.method == "GET":
            form = RuleForm(instance=rule, user=user)
            wants_past = rule.pk is not None and "test" in request.GET
            return self._form(request, rule, form, rule_past.test(rule, user=user, now=timezone.now()) if wants_past else None)
        form = RuleForm(request.POST, instance=rule, user=user)
        if not form.is_valid():
            return self._form(request, rule, form, status=400)
        made = form.rule()
        past = rule_past.test(made, user=user, now=timezone.now())
        if "test" in request.POST:
            return self._form(request, made, form, past)
        if past.is_doubtful and "confirm" not in request.POST:
            return self._form(request, made, form, past, is_doubted=True)
        return self._save(request, made, form, past)

    def _save(self, request: HttpRequest, rule: AlertRule, form: RuleForm, past: Past) -> HttpResponse:
        values = form.cleaned_data
        try:
            rule_edit.save(rule, values["channels"], by=user_of(request), door="admin", seen_at=values["seen_at"])
        except ActRefusedError as refusal:
            form.add_error(refusal.field or None, str(refusal))
            return self._form(request, rule, form, past, status=400)
        (messages.warning if past.is_doubtful else messages.success)(request, f"“{rule}” is saved. {past.sentence}")
        return HttpResponseRedirect(reverse("admin:monitoring_alertrule_changelist"))

    def _form(
        self,
        request: HttpRequest,
        rule: AlertRule,
        form: RuleForm,
        past: Past | None = None,
        *,
        is_doubted: bool = False,
        status: int = 200,
    ) -> HttpResponse:
        context = {
            "rule": rule,
            "form": form,
            "about": form.about,
            "past": past,
            "is_doubted": is_doubted,
            "may_save": may(request, "change_alertrule" if rule.pk else "add_alertrule"),
            "may_delete": bool(rule.pk) and may(request, "delete_alertrule"),
            "is_muted": rule.muted_until is not None and rule.muted_until > timezone.now(),
            "spans": SPANS,
            "incidents": rule_list.incidents(rule, user_of(request)) if rule.pk else [],
            "history": [audit_words.line(event) for event in audit.history(rule)[:_HISTORY]] if rule.pk else [],
        }
        title = f"Alert rule {rule.pk}" if rule.pk else "New alert rule"
        return self.show(request, "admin/monitoring/alertrule/form.html", context, title=title, status=status)


def find(request: HttpRequest, pk: int) -> AlertRule:
    rule = rule_edit.visible(user_of(request)).filter(pk=pk).first() if pk < 1 << 63 else None
    if rule is None:
        raise Http404(f"There is no alert rule {pk}.")
    return rule


# --- acts


def perform(request: HttpRequest, pk: int) -> HttpResponse:
    act = request.POST.get("act", "")
    if act not in _ACTS:
        raise Http404("There is no such act.")
    demand(request, "delete_alertrule" if act == "delete" else "change_alertrule")
    rule = find(request, pk)
    try:
        messages.success(request, _ACTS[act](request, rule))
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
    return HttpResponseRedirect(reverse("admin:monitoring_alertrule_changelist"))


def _who(request: HttpRequest) -> dict[str, Any]:
    return {"by": user_of(request), "door": "admin"}


def _mute(request: HttpRequest, rule: AlertRule) -> str:
    until = request.POST.get("until_at", "") or request.POST.get("until", "")
    return rule_edit.mute(rule, until=until, reason=request.POST.get("reason", ""), at=timezone.now(), **_who(request))


_ACTS: dict[str, Callable[[HttpRequest, AlertRule], str]] = {
    "mute": _mute,
    "unmute": lambda request, rule: rule_edit.unmute(rule, at=timezone.now(), **_who(request)),
    "on": lambda request, rule: rule_edit.switch(rule, is_active=True, **_who(request)),
    "off": lambda request, rule: rule_edit.switch(rule, is_active=False, **_who(request)),
    "delete": lambda request, rule: rule_edit.delete(rule, **_who(request)),
}
