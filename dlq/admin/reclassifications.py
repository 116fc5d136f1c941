"""Error rules and dead letters that are there: preview, applying, and what each walk did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dlq.admin.base import ReadOnlyAdmin, may, user_of
from dlq.admin.entry_page import find
from dlq.choices import Door
from dlq.models import Reclassification
from dlq.services import reclassify, rule_drafts, rule_preview, rule_walks
from dlq.services.moves import ActRefusedError
from syncs.models import ErrorRule
from syncs.services import error_rule_input
from syncs.services.error_rule_input import Written
from syncs.services.error_rules import Place, place_of

_NAMED = {"rule", "connection", "kind"}


@admin.register(Reclassification)
class ReclassificationAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("preview/", require_http_methods(["GET", "POST"])(self.preview_view), "preview"),
            ("apply/", require_http_methods(["GET", "POST"])(self.apply_view), "apply"),
            ("<int:pk>/change/", require_GET(self.walk_view), "change"),
            ("<int:pk>/progress/", require_GET(self.progress_view), "progress"),
            ("<int:pk>/stop/", require_POST(self.stop_view), "stop"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        context = {"walks": rule_walks.recent(user_of(request))}
        return self.show(request, "admin/dlq/reclassification/list.html", context, title="Error rules applied")

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """GET: of a saved rule (``rule``). POST: of what the form holds, saved or not."""
        _demand(request, "syncs.view_errorrule", "dlq.view_dlqentry")
        if request.method == "POST":
            _demand(request, "syncs.change_errorrule")
        if not _NAMED & _values(request).keys():
            return _choose(request, "Choose the rule to look at.")
        written, where, rule = _written(request)
        assert written.draft is not None
        found = rule_preview.preview(written.draft, user=user_of(request))
        found.issues = list(written.issues) or found.issues
        context = {
            "written": written,
            "values": written.values,
            "draft": written.draft,
            "where": where,
            "rule": rule,
            "preview": found,
            "looked_most": rule_preview.LOOKED_AT,
            "is_unsaved": request.method == "POST",
            "form_url": _form_url(rule),
            "apply_url": f"{reverse('admin:dlq_reclassification_apply')}?{_query(where)}",
            "may_save": user_of(request).has_perm("syncs.change_errorrule" if rule else "syncs.add_errorrule"),
        }
        status = 400 if found.issues else 200
        return self.show(
            request, "admin/dlq/reclassification/preview.html", context, title="Preview of an error rule", status=status
        )

    def apply_view(self, request: HttpRequest) -> HttpResponse:
        _demand(request, "syncs.view_errorrule", "dlq.view_dlqentry")
        if not _NAMED & _values(request).keys():
            return _choose(request, "Choose whose rules are to be applied.")
        where = _place(request)
        if request.method == "POST":
            _demand(request, "dlq.add_reclassification")
            return _apply(request, where)
        context = {
            "where": where,
            "outlook": rule_walks.outlook(where, user=user_of(request)),
            "walks": rule_walks.recent(user_of(request), place=where, most=10),
            "may_apply": user_of(request).has_perm("dlq.add_reclassification"),
        }
        return self.show(request, "admin/dlq/reclassification/apply.html", context, title="Apply error rules")

    def walk_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.show(
            request, "admin/dlq/reclassification/walk.html", _of_walk(request, pk), title=f"Error rules applied, {pk}"
        )

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        context = _of_walk(request, pk)
        html = render_to_string("admin/dlq/reclassification/live.html", context, request)
        return JsonResponse({"html": html, "is_active": not context["walk"].is_over})

    def stop_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        _demand(request, "dlq.add_reclassification")
        done = reclassify.cancel(_walk(request, pk), by=user_of(request))
        if done:
            messages.success(request, "It is stopped; what it changed stands.")
        else:
            messages.warning(request, "It was over already.")
        return HttpResponseRedirect(_walk_url(pk))


def _choose(request: HttpRequest, text: str) -> HttpResponse:
    messages.error(request, text)
    return HttpResponseRedirect(reverse("admin:syncs_errorrule_changelist"))


def _values(request: HttpRequest) -> QueryDict:
    return request.POST if request.method == "POST" else request.GET


def make_rule(request: HttpRequest, pk: int) -> HttpResponse:
    """From a dead letter to the form of a rule, with what its answer and its like have in common."""
    _demand(request, "syncs.add_errorrule", "syncs.view_errorrule")
    suggested = {name: value for name, value in rule_drafts.suggested(find(request, pk)).items() if value}
    return HttpResponseRedirect(f"{reverse('admin:syncs_errorrule_add')}?{urlencode(suggested)}")


def _apply(request: HttpRequest, where: Place) -> HttpResponse:
    try:
        job = reclassify.request(where, by=user_of(request), door=Door.ADMIN, reason=request.POST.get("reason", ""))
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
        return HttpResponseRedirect(f"{reverse('admin:dlq_reclassification_apply')}?{_query(where)}")
    if reclassify.start(job):
        messages.success(request, "The error rules are applied.")
    return HttpResponseRedirect(_walk_url(job.pk))


def _written(request: HttpRequest) -> tuple[Written, Place, ErrorRule | None]:
    values = _values(request)
    rule = _rule(values.get("rule", ""))
    where = place_of(rule) if rule else error_rule_input.place(values)
    if where is None:
        raise Http404("There is no such destination.")
    if request.method == "GET":
        if rule is None:
            raise Http404("Name a rule.")
        return error_rule_input.stored(rule), where, rule
    return error_rule_input.read(values, where, pk=rule.pk if rule else None), where, rule


def _rule(text: str) -> ErrorRule | None:
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
    rule = ErrorRule.objects.select_related("connection").filter(pk=number).first()
    if rule is None:
        raise Http404("There is no such error rule.")
    return rule


def _place(request: HttpRequest) -> Place:
    where = error_rule_input.place(_values(request))
    if where is None:
        raise Http404("There is no such destination.")
    return where


def _walk(request: HttpRequest, pk: int) -> Reclassification:
    found = rule_walks.visible(user_of(request)).filter(pk=pk).first() if pk < 1 << 63 else None
    if found is None:
        raise Http404(f"There is no walk {pk}.")
    return found


def _of_walk(request: HttpRequest, pk: int) -> dict[str, Any]:
    walk = _walk(request, pk)
    return {
        "walk": walk,
        "where": reclassify.place_of(walk),
        "lines": rule_walks.lines(walk),
        "may_apply": user_of(request).has_perm("dlq.add_reclassification"),
        "may_view_entries": may(request, "view"),
    }


def _walk_url(pk: int) -> str:
    return reverse("admin:dlq_reclassification_change", args=(pk,))


def _form_url(rule: ErrorRule | None) -> str:
    return reverse("admin:syncs_errorrule_change", args=(rule.pk,)) if rule else reverse("admin:syncs_errorrule_add")


def _query(where: Place) -> str:
    return urlencode({"connection": where.connection.pk} if where.connection is not None else {"kind": where.kind})


def _demand(request: HttpRequest, *permissions: str) -> None:
    if not user_of(request).has_perms(permissions):
        raise PermissionDenied
