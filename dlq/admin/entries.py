"""The dead letter list and the page of one entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dlq.admin import acts, bulk, list_page, views
from dlq.admin.base import ReadOnlyAdmin, may
from dlq.choices import EntryStatus
from dlq.models import DLQEntry
from dlq.services.changes import verdict
from dlq.services.comparison import compare
from syncs.models import Step

_EVENTS_SHOWN = 100
_TEXTS = {"payload": "payload", "row": "source_row", "response": "response_excerpt"}


@admin.register(DLQEntry)
class DLQEntryAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("views/", require_http_methods(["GET", "POST"])(self.views_view), "views"),
            ("views/<int:pk>/", require_POST(views.change), "view"),
            ("bulk/", require_POST(lambda request: bulk.confirm(self, request)), "bulk"),
            ("bulk/<str:kind>/", require_POST(lambda request, kind: bulk.perform(self, request, kind)), "perform"),
            ("<int:pk>/change/", require_GET(self.entry_view), "change"),
            ("<int:pk>/act/", require_POST(acts.perform), "act"),
            ("<int:pk>/text/<str:part>/", require_GET(self.text_view), "text"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        return list_page.show(self, request)

    def views_view(self, request: HttpRequest) -> HttpResponse:
        return views.save(request) if request.method == "POST" else views.listing(self, request)

    def entry_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        entry = self._entry(pk)
        events = list(entry.events.select_related("actor", "run").order_by("-pk")[: _EVENTS_SHOWN + 1])
        step = Step.objects.filter(run_id=entry.run_id, number=entry.step_number).first() if entry.step_number else None
        context = {
            "entry": entry,
            "verdict": verdict(entry),
            "comparison": compare(entry),
            "step": step,
            "events": events[:_EVENTS_SHOWN],
            "has_more_events": len(events) > _EVENTS_SHOWN,
            "is_open": entry.status == EntryStatus.OPEN,
            "is_discarded": entry.status == EntryStatus.DISCARDED,
            "can_reprocess": entry.status == EntryStatus.OPEN and entry.error_type != "invalid_key",
            "may_reprocess": may(request, "reprocess"),
            "may_discard": may(request, "discard"),
            "may_change": may(request, "change"),
            "may_export": may(request, "export"),
            "is_mine": entry.owner_id == request.user.pk,
        }
        return self.show(request, "admin/dlq/dlqentry/entry.html", context, title=f"Dead letter {entry.pk}")

    def _entry(self, pk: int) -> DLQEntry:
        related = ("sync", "group", "run", "version", "owner", "closed_by")
        entry = DLQEntry.objects.select_related(*related).filter(pk=pk).first()
        if entry is None:
            raise Http404(f"There is no dead letter {pk}.")
        return entry

    def text_view(self, request: HttpRequest, pk: int, part: str) -> HttpResponse:
        """One stored text whole, as a download: never rendered, whatever it holds."""
        if part not in _TEXTS:
            raise Http404(f"There is no “{part}”; there are {', '.join(_TEXTS)}.")
        found: Any = DLQEntry.objects.filter(pk=pk).values_list(_TEXTS[part], flat=True).first()
        if found is None:
            raise Http404(f"There is no dead letter {pk}.")
        answer = HttpResponse(found, content_type="text/plain; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="dead-letter-{pk}-{part}.txt"'
        answer["X-Content-Type-Options"] = "nosniff"
        answer["Cache-Control"] = "no-store"
        return answer
