"""How long things are kept, and the purges that delete what is older."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from monitoring.admin.base import ReadOnlyAdmin, demand, may, user_of
from monitoring.choices import Retained
from monitoring.models import Purge, RetentionRule
from monitoring.services.retention import figures, passes, reading, rules
from monitoring.services.retention.reading import Line
from monitoring.services.retention.rules import RetentionRefusedError


@admin.register(RetentionRule)
class RetentionRuleAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("<str:retained>/change/", require_http_methods(["GET", "POST"])(self.kind_view), "change"),
            ("<str:retained>/purge/", require_POST(self.purge_view), "purge"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        context = {"figures": figures.all_of_them(), "hour": passes.hour(), "may_see_purges": may(request, "view_purge")}
        return self.show(request, "admin/monitoring/retention/list.html", context, title="Retention")

    def kind_view(self, request: HttpRequest, retained: str) -> HttpResponse:
        chosen = _kind(retained)
        if request.method == "GET":
            return self._kind_page(request, chosen)
        demand(request, "change_retentionrule")
        typed = request.POST.get("days", "")
        try:
            is_new = rules.keep(chosen, rules.read(chosen, typed), by=user_of(request), door="admin")
        except RetentionRefusedError as refusal:
            return self._kind_page(request, chosen, typed=typed, problem=refusal.message)
        messages.success(request, "Saved. It holds from the next purge on." if is_new else "It was so already.")
        return HttpResponseRedirect(_kind_url(chosen))

    def purge_view(self, request: HttpRequest, retained: str) -> HttpResponse:
        """``act`` look: count only, with ``days`` where they are given. ``act`` purge: delete by the rule."""
        demand(request, "add_purge")
        chosen, act, typed = _kind(retained), request.POST.get("act"), request.POST.get("days", "")
        if act not in ("look", "purge"):
            raise Http404("There is no such act.")
        try:
            days = rules.read(chosen, typed) if act == "look" and typed.strip() else None
            purge = passes.request(chosen, by=user_of(request), door="admin", is_dry_run=act == "look", days=days)
        except RetentionRefusedError as refusal:
            return self._kind_page(request, chosen, typed=typed or None, problem=refusal.message)
        passes.start()
        return HttpResponseRedirect(_purge_url("change", purge.pk))

    def _kind_page(self, request: HttpRequest, kind: Retained, *, typed: str | None = None, problem: str = "") -> HttpResponse:
        found = figures.of(kind)
        context = {
            "one": found,
            "kind": rules.KINDS[kind],
            "least": rules.least(kind),
            "most": rules.MOST_DAYS,
            "default": rules.in_words(rules.KINDS[kind].days),
            "typed": typed if typed is not None else "" if found.days is None else found.days,
            "problem": problem,
            "may_change": may(request, "change_retentionrule"),
            "may_purge": may(request, "add_purge"),
            "purges": reading.newest(kind=kind)[0][:10] if may(request, "view_purge") else [],
            "history": rules.history(kind),
        }
        status = 400 if problem else 200
        return self.show(request, "admin/monitoring/retention/kind.html", context, title=found.name, status=status)


@admin.register(Purge)
class PurgeAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("<int:pk>/change/", require_GET(self.purge_view), "change"),
            ("<int:pk>/progress/", require_GET(self.progress_view), "progress"),
            ("<int:pk>/stop/", require_POST(self.stop_view), "stop"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        text, kind = request.GET.get("after", ""), request.GET.get("kind", "")
        is_lost = bool(text) and not (text.isascii() and text.isdigit() and len(text) <= 18)
        chosen = Retained(kind) if kind in set(Retained) else None
        lines, older = reading.newest(kind=chosen, before=int(text) if text and not is_lost else None)
        context = {
            "lines": [] if is_lost else lines, "older": None if is_lost else older, "after": text, "is_lost": is_lost,
            "kind": chosen, "kinds": [(one.value, rules.name(one)) for one in Retained],
        }  # fmt: skip
        status = 400 if is_lost else 200
        return self.show(request, "admin/monitoring/retention/purges.html", context, title="Purges", status=status)

    def purge_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        context = self._context(request, pk)
        return self.show(request, "admin/monitoring/retention/purge.html", context, title=f"Purge {pk}")

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        context = self._context(request, pk)
        html = render_to_string("admin/monitoring/retention/live.html", context, request)
        return JsonResponse({"html": html, "is_active": not context["line"].purge.is_over})

    def stop_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        demand(request, "add_purge")
        if passes.stop(_line(pk).purge, by=user_of(request), door="admin"):
            messages.success(request, "It is stopped; what it deleted stays deleted.")
        else:
            messages.warning(request, "It was over already.")
        return HttpResponseRedirect(_purge_url("change", pk))

    def _context(self, request: HttpRequest, pk: int) -> dict[str, Any]:
        line = _line(pk)
        kept = rules.days()[Retained(line.purge.kind)]
        return {
            "line": line,
            "kind": rules.KINDS[Retained(line.purge.kind)],
            "kept": rules.in_words(kept),
            "may_purge": may(request, "add_purge"),
            "offers_purge": line.is_ready and kept is not None and may(request, "add_purge"),
        }


def _kind(text: str) -> Retained:
    try:
        return Retained(text)
    except ValueError:
        raise Http404("There is no such kind.") from None


def _line(pk: int) -> Line:
    found = reading.find(pk)
    if found is None:
        raise Http404(f"There is no purge {pk}.")
    return found


def _kind_url(kind: Retained) -> str:
    return reverse("admin:monitoring_retentionrule_change", args=(kind.value,))


def _purge_url(name: str, pk: int) -> str:
    return reverse(f"admin:monitoring_purge_{name}", args=(pk,))
