"""Bulk acts: the list posts what is chosen, the confirmation page shows what was frozen, the next post acts on just that.

A page that only links here (an error group, a sync) gives the filter in the address; looking at it changes nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse

from dlq.admin import bulk_export, bulk_form, bulk_page
from dlq.admin.base import demand, list_url, may, permission_for, user_of
from dlq.choices import Door, OperationKind
from dlq.services import confirmation, preflight, selection, snapshots
from dlq.services.moves import ActRefusedError
from dlq.services.snapshots import BulkKind, Snapshot
from dlq.services.summary import summarise

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin


def confirm(page: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    """Freeze the choice and show it. GET takes the filter from the address and all that match it."""
    given = request.POST if request.method == "POST" else request.GET
    kind = _kind(given.get("act", ""))
    demand(request, permission_for(kind))
    query = _query(request)
    try:
        snapshot = _choose(request, kind, query)
    except ActRefusedError as refusal:
        return _lost(request, refusal, _back(query))
    if kind == BulkKind.EXPORT:
        return bulk_export.ask(page, request, snapshot)
    return bulk_page.show(page, request, snapshot, summarise(snapshot))


def _back(query: str) -> str:
    return f"{list_url()}?{query}"


def _query(request: HttpRequest) -> str:
    if request.method == "POST":
        return request.POST.get("filter", "")
    rest = request.GET.copy()
    rest.pop("act", None)
    return rest.urlencode()


def _choose(request: HttpRequest, kind: BulkKind, query: str) -> Snapshot:
    parsed = selection.parse(parse_qs(query, keep_blank_values=True), user=user_of(request))
    if parsed.problems:
        raise ActRefusedError(f"Filter {parsed.problems[0].field}: {parsed.problems[0].message}.")
    ids: tuple[int, ...] | None = None
    if request.method == "POST" and not request.POST.get("across"):
        ticked = request.POST.getlist("entry")
        if not ticked:
            raise ActRefusedError("Nothing is chosen. Tick rows, or tick “all that match”.")
        if not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in ticked):
            raise ActRefusedError("The chosen rows could not be read. Reload the list and choose again.")
        ids = tuple(sorted({int(text) for text in ticked}))
    snapshot = snapshots.take(kind, parsed.filter, user=user_of(request), ids=ids)
    if not snapshot.count:
        raise ActRefusedError("No dead letter matches any more. Somebody else may have worked on them.")
    return snapshot


def look(page: ReadOnlyAdmin, request: HttpRequest, kind_name: str) -> HttpResponse:
    """Compare a sample with the warehouse: the parts of the page that this changes, or the page anew without JavaScript."""
    kind = _kind(kind_name)
    demand(request, permission_for(kind))
    try:
        snapshot = snapshots.load(request.POST.get("token", ""), kind, user=user_of(request))
        looked = preflight.look(snapshot)
    except ActRefusedError as refusal:
        return _lost(request, refusal, list_url())
    snapshot = snapshot.showing(looked=looked)
    if request.headers.get("Accept") != "application/json":
        return bulk_page.show(page, request, snapshot, summarise(snapshot))
    context = bulk_page.rows_context(request, snapshot)
    return JsonResponse(
        {
            "token": snapshot.token(),
            "rows": render_to_string("dlq/confirm_rows.html", context, request),
            "acknowledgement": render_to_string("dlq/confirm_acknowledgement.html", context, request),
        }
    )


def perform(page: ReadOnlyAdmin, request: HttpRequest, kind_name: str) -> HttpResponseBase:
    """Make the operation and go to its page. What is missing re-shows the confirmation with what was typed."""
    kind = _kind(kind_name)
    demand(request, permission_for(kind))
    back = list_url()
    try:
        snapshot = snapshots.load(request.POST.get("token", ""), kind, user=user_of(request))
        back = _back(snapshot.query)
        if kind == BulkKind.EXPORT:
            return bulk_export.perform(page, request, snapshot)
        choice = bulk_form.read(request.POST, kind)
        operation = confirmation.place(snapshot, choice, by=user_of(request), may=partial(may, request), door=Door.ADMIN)
    except ActRefusedError as refusal:
        if refusal.field:
            return bulk_page.show(page, request, snapshot, summarise(snapshot), problem=refusal)
        return _lost(request, refusal, back)
    if not user_of(request).has_perm("dlq.view_bulkoperation"):
        messages.success(request, f"Bulk operation {operation.pk} has begun.")
        return HttpResponseRedirect(back)
    return HttpResponseRedirect(reverse("admin:dlq_bulkoperation_change", args=(operation.pk,)))


def _lost(request: HttpRequest, refusal: ActRefusedError, back: str) -> HttpResponse:
    """The confirmation itself is no good any more."""
    if request.headers.get("Accept") == "application/json":
        return JsonResponse({"message": str(refusal)}, status=400)
    messages.error(request, str(refusal))
    return HttpResponseRedirect(back)


def _kind(text: str) -> BulkKind:
    if text not in {*OperationKind, BulkKind.EXPORT}:
        raise Http404("There is no such act.")
    return BulkKind(text)
