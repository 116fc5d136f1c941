"""Bulk operations: the list, the page of one with its progress, and what a person does to one."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from dlq.admin import operation_page
from dlq.admin.base import ReadOnlyAdmin, user_of
from dlq.choices import Door, OperationKind, OperationStatus
from dlq.models import BulkOperation
from dlq.services import operation_access, operation_list, operations
from dlq.services.moves import ActRefusedError
from syncs.choices import labelled


@admin.register(BulkOperation)
class BulkOperationAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("<int:pk>/change/", require_GET(self.operation_view), "change"),
            ("<int:pk>/progress/", require_GET(self.progress_view), "progress"),
            ("<int:pk>/do/<str:name>/", require_POST(self.act_view), "act"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        asked = operation_list.parse(dict(request.GET.lists()))
        found = operation_list.page(asked, user=user_of(request))
        context = {
            "asked": asked,
            "rows": [operation_page.row(one) for one in found.operations],
            "older": found.older,
            "statuses": [(value, label, value in asked.statuses) for value, label in labelled(OperationStatus)],
            "kinds": [(value, label, value in asked.kinds) for value, label in labelled(OperationKind)],
        }
        status = 400 if asked.problems else 200
        return self.show(request, "admin/dlq/bulkoperation/list.html", context, title="Bulk operations", status=status)

    def operation_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        operation = self._operation(request, pk)
        context = operation_page.context(request, operation)
        title = f"{operation.get_kind_display()}, bulk operation {pk}"
        status = 400 if context.get("problem") else 200
        return self.show(request, "admin/dlq/bulkoperation/page.html", context, title=title, status=status)

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The page's content, for as long as the operation is active."""
        operation = self._operation(request, pk)
        html = render_to_string("admin/dlq/bulkoperation/live.html", operation_page.context(request, operation), request)
        return JsonResponse({"html": html, "status": operation.status, "is_active": not operation.is_over})

    def act_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        operation = self._operation(request, pk)
        act = _ACTS.get(name)
        if act is None:
            raise Http404("There is no such act on a bulk operation.")
        if not operation_page.may_steer(request, operation):
            raise PermissionDenied
        return HttpResponseRedirect(_page(act(request, operation)))

    def _operation(self, request: HttpRequest, pk: int) -> BulkOperation:
        seen = operation_access.visible(user_of(request)).select_related("created_by", "of_operation")
        found = seen.filter(pk=pk).first() if pk < 1 << 63 else None
        if found is None:
            raise Http404(f"There is no bulk operation {pk}.")
        return found


def _page(operation: BulkOperation) -> str:
    return reverse("admin:dlq_bulkoperation_change", args=(operation.pk,))


def _pause(request: HttpRequest, operation: BulkOperation) -> BulkOperation:
    done = operations.pause(operation, by=user_of(request))
    return _said(request, operation, done, "It pauses before its next step.", "It was not at work, so nothing is paused.")


def _resume(request: HttpRequest, operation: BulkOperation) -> BulkOperation:
    done = operations.resume(operation, by=user_of(request))
    return _said(request, operation, done, "It goes on.", "It was neither paused nor halted.")


def _cancel(request: HttpRequest, operation: BulkOperation) -> BulkOperation:
    done = operations.cancel(operation, by=user_of(request))
    return _said(request, operation, done, "It ends; what was done stands.", "It was over, or ending already.")


def _undo(request: HttpRequest, operation: BulkOperation) -> BulkOperation:
    """Leads to the operation that reopens them."""
    try:
        return operations.undo(operation, by=user_of(request), reason=request.POST.get("reason", ""), door=Door.ADMIN)
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
        return operation


def _said(request: HttpRequest, operation: BulkOperation, is_done: bool, yes: str, no: str) -> BulkOperation:
    messages.add_message(request, messages.SUCCESS if is_done else messages.WARNING, yes if is_done else no)
    return operation


_ACTS: dict[str, Callable[[HttpRequest, BulkOperation], BulkOperation]] = {
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "undo": _undo,
}
