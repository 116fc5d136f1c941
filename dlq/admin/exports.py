"""Exports written in the background: the list, the page of one with its progress, the download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from dlq.admin import operation_words
from dlq.admin.base import ReadOnlyAdmin, demand, list_url, user_of
from dlq.choices import ExportStatus
from dlq.models import Export
from dlq.services import export, export_files, export_plan, exports

PAGE_SIZE = 50


@admin.register(Export)
class ExportAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("<int:pk>/change/", require_GET(self.export_view), "change"),
            ("<int:pk>/progress/", require_GET(self.progress_view), "progress"),
            ("<int:pk>/file/", require_GET(self.file_view), "file"),
            ("<int:pk>/do/<str:name>/", require_POST(self.act_view), "act"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        text = request.GET.get("after", "")
        is_lost = bool(text) and not (text.isascii() and text.isdigit() and len(text) <= 18)
        chosen = exports.visible(user_of(request)).select_related("created_by").defer("ids", "query")
        if text and not is_lost:
            chosen = chosen.filter(pk__lt=int(text))
        rows = [] if is_lost else list(chosen.order_by("-pk")[: PAGE_SIZE + 1])
        context = {
            "rows": [_row(request, made) for made in rows[:PAGE_SIZE]],
            "older": rows[PAGE_SIZE - 1].pk if len(rows) > PAGE_SIZE else None,
            "after": text,
            "is_lost": is_lost,
            "sees_all": exports.may_see_all(user_of(request)),
            "days": export_files.days(),
        }
        return self.show(request, "admin/dlq/export/list.html", context, title="Exports", status=400 if is_lost else 200)

    def export_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        made = self._export(request, pk)
        return self.show(request, "admin/dlq/export/page.html", _context(request, made), title=f"Export {pk}")

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        made = self._export(request, pk)
        html = render_to_string("admin/dlq/export/live.html", _context(request, made), request)
        return JsonResponse({"html": html, "status": made.status, "is_active": made.status in exports.WORKING})

    def file_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The file, if it is ready and theirs."""
        demand(request, "export")
        made = self._export(request, pk)
        if not exports.may_fetch(made, user_of(request)):
            raise PermissionDenied
        path = export_files.find(made.file_name) if made.status == ExportStatus.READY else None
        if path is None:
            messages.error(request, exports.why_no_file(made))
            return HttpResponseRedirect(_url("change", pk))
        return export.answer(path.open("rb"), name=export.file_name(made.format, made.created_at), format=made.format)

    def act_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        demand(request, "export")
        made = self._export(request, pk)
        act = {"cancel": exports.cancel, "delete": exports.expire}.get(name)
        if act is None:
            raise Http404("There is no such act on an export.")
        if act(made, by=user_of(request)):
            messages.success(request, {"cancel": "It is cancelled.", "delete": "The file is deleted."}[name])
        else:
            messages.warning(request, "It is over already. Reload the page.")
        return HttpResponseRedirect(_url("change", pk))

    def _export(self, request: HttpRequest, pk: int) -> Export:
        mine = exports.visible(user_of(request)).select_related("created_by")
        found = mine.filter(pk=pk).first() if pk < 1 << 63 else None
        if found is None:
            raise Http404(f"There is no export {pk} of yours.")
        return found


def _url(name: str, *args: object) -> str:
    return reverse(f"admin:dlq_export_{name}", args=args)


def _row(request: HttpRequest, made: Export) -> dict[str, Any]:
    """One line of the list: no query of its own."""
    return {
        "made": made,
        "url": _url("change", made.pk),
        "file_url": _url("file", made.pk) if _is_offered(request, made) else "",
        "format": export_plan.ExportFormat(made.format).label,
        "is_working": made.status in exports.WORKING,
    }


def _is_offered(request: HttpRequest, made: Export) -> bool:
    return made.status == ExportStatus.READY and exports.may_fetch(made, user_of(request))


def _context(request: HttpRequest, made: Export) -> dict[str, Any]:
    plan = export_plan.Plan(export_plan.ExportFormat(made.format), tuple(made.columns), made.is_flat, made.is_raw)
    return {
        **_row(request, made),
        "columns": plan.columns,
        "is_all": plan.columns == export_plan.all_columns(),
        "conditions": operation_words.conditions(made.query, user=user_of(request)) if made.ids is None else (),
        "ticked_count": len(made.ids) if made.ids is not None else None,
        "filter_url": f"{list_url()}?{made.query}" if made.ids is None else "",
        "is_missing": made.status == ExportStatus.READY and export_files.find(made.file_name) is None,
        "missing": exports.why_no_file(made),
        "left_out": made.expected_count - made.row_count if made.status == ExportStatus.READY else 0,
        "cancel_url": _url("act", made.pk, "cancel"),
        "delete_url": _url("act", made.pk, "delete"),
        "progress_url": _url("progress", made.pk),
        "days": export_files.days(),
    }
