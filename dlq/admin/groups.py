"""The list of error groups: fifty thousand dead letters with three causes read as three lines."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from dlq.admin.base import ReadOnlyAdmin, list_url
from dlq.models import ErrorGroup
from dlq.services import groups
from syncs.models import Sync


@admin.register(ErrorGroup)
class ErrorGroupAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("<int:pk>/change/", require_GET(self.group_view), "change"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        asked = groups.parse(dict(request.GET.lists()))
        page = groups.page(asked)
        names = Sync.objects.order_by("name").values_list("pk", "name")
        context = {
            "page": page,
            "asked": asked,
            "problems": asked.problems,
            "syncs": [(pk, name, pk in asked.sync_ids) for pk, name in names],
        }
        status = 400 if asked.problems else 200
        return self.show(request, "admin/dlq/errorgroup/list.html", context, title="Dead letters by error", status=status)

    def group_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return HttpResponseRedirect(f"{list_url()}?group={pk}&status=open")
