"""The dead letter list and the page of one entry."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dlq.admin import acts, bulk, edit_page, entry_page, evidence, imports, list_page, reclassifications, views
from dlq.admin.base import ReadOnlyAdmin
from dlq.models import DLQEntry


@admin.register(DLQEntry)
class DLQEntryAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("views/", require_http_methods(["GET", "POST"])(self.views_view), "views"),
            ("views/<int:pk>/", require_POST(views.change), "view"),
            ("bulk/", require_http_methods(["GET", "POST"])(lambda request: bulk.confirm(self, request)), "bulk"),
            ("bulk/<str:kind>/", require_POST(lambda request, kind: bulk.perform(self, request, kind)), "perform"),
            ("bulk/<str:kind>/look/", require_POST(lambda request, kind: bulk.look(self, request, kind)), "look"),
            ("import/", require_http_methods(["GET", "POST"])(partial(imports.import_view, self)), "import"),
            ("evidence/", require_http_methods(["GET", "POST"])(partial(evidence.evidence_view, self)), "evidence"),
            ("<int:pk>/change/", require_GET(lambda request, pk: entry_page.show(self, request, pk)), "change"),
            ("<int:pk>/beside/<str:way>/", require_GET(entry_page.beside), "beside"),
            ("<int:pk>/row/", require_GET(entry_page.row_now), "row"),
            ("<int:pk>/passport/", require_GET(lambda request, pk: entry_page.passport(self, request, pk)), "passport"),
            ("<int:pk>/edit/", require_http_methods(["GET", "POST"])(self.edit_view), "edit"),
            ("<int:pk>/reveal/", require_POST(lambda request, pk: entry_page.reveal(self, request, pk)), "reveal"),
            ("<int:pk>/rule/", require_GET(reclassifications.make_rule), "rule"),
            ("<int:pk>/act/", require_POST(acts.perform), "act"),
            ("<int:pk>/text/<str:part>/", require_GET(entry_page.text), "text"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        return list_page.show(self, request)

    def views_view(self, request: HttpRequest) -> HttpResponse:
        return views.save(request) if request.method == "POST" else views.listing(self, request)

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return edit_page.edit(self, request, pk)
