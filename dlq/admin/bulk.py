"""Bulk acts: the list posts what is chosen, the confirmation page shows what was frozen, the next post acts on just that."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase

from dlq.admin.acts import sentence_of
from dlq.admin.base import demand, list_url, permission_for, user_of
from dlq.choices import Door, ReprocessMode
from dlq.services import entries, export, selection, snapshots
from dlq.services.entries import ActRefusedError
from dlq.services.export import ExportFormat
from dlq.services.snapshots import BulkKind, Snapshot
from dlq.services.summary import summarise
from syncs.console import links

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin


def confirm(page: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    kind = _kind(request.POST.get("act", ""))
    demand(request, permission_for(kind))
    query = request.POST.get("filter", "")
    try:
        snapshot = _choose(request, kind, query)
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
        return HttpResponseRedirect(f"{list_url()}?{query}")
    return _ask(page, request, snapshot, back=f"{list_url()}?{query}")


def _choose(request: HttpRequest, kind: BulkKind, query: str) -> Snapshot:
    parsed = selection.parse(parse_qs(query, keep_blank_values=True))
    if parsed.problems:
        raise ActRefusedError(f"Filter {parsed.problems[0].field}: {parsed.problems[0].message}.")
    ids: tuple[int, ...] | None = None
    if not request.POST.get("across"):
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


def _ask(page: ReadOnlyAdmin, request: HttpRequest, snapshot: Snapshot, *, back: str, problem: str = "") -> HttpResponse:
    context = {
        "snapshot": snapshot,
        "kind": snapshot.kind.value,
        "token": snapshot.token(),
        "summary": summarise(snapshot),
        "formats": [(one.value, one.label) for one in ExportFormat],
        "back": back,
        "problem": problem,
        "reason": request.POST.get("reason", ""),
    }
    title = f"{snapshot.kind.value.capitalize()} dead letters"
    return page.show(request, "admin/dlq/dlqentry/confirm.html", context, title=title, status=400 if problem else 200)


def perform(page: ReadOnlyAdmin, request: HttpRequest, kind_name: str) -> HttpResponseBase:
    kind = _kind(kind_name)
    demand(request, permission_for(kind))
    back = list_url()
    try:
        snapshot = snapshots.load(request.POST.get("token", ""), kind, user=user_of(request))
        back = f"{list_url()}?{snapshot.query}"
        return _perform(request, snapshot, back)
    except ActRefusedError as refusal:
        if refusal.field == "reason":
            return _ask(page, request, snapshot, back=back, problem=str(refusal))
        messages.error(request, str(refusal))
        return HttpResponseRedirect(back)


def _perform(request: HttpRequest, snapshot: Snapshot, back: str) -> HttpResponseBase:
    chosen, by, reason = snapshots.checked(snapshot), user_of(request), request.POST.get("reason", "")
    if snapshot.kind == BulkKind.EXPORT:
        return export.response(chosen, _format(request), by=by, door=Door.ADMIN, reason=reason)
    if snapshot.kind == BulkKind.DISCARD:
        result = entries.discard(chosen, by=by, reason=reason, door=Door.ADMIN)
        verb = "discarded"
    else:
        result = entries.reprocess(chosen, by=by, reason=reason, mode=_mode(request), door=Door.ADMIN)
        verb = "queued"
    messages.add_message(request, messages.SUCCESS if result.taken else messages.WARNING, sentence_of(result, verb))
    run_page = links.page("admin:syncs_run_change", result.runs[0].pk) if len(result.runs) == 1 else ""
    return HttpResponseRedirect(run_page or back)


def _kind(text: str) -> BulkKind:
    if text not in (BulkKind.REPROCESS, BulkKind.DISCARD, BulkKind.EXPORT):
        raise Http404("There is no such act.")
    return BulkKind(text)


def _mode(request: HttpRequest) -> ReprocessMode:
    text = request.POST.get("mode", ReprocessMode.CURRENT)
    if text not in set(ReprocessMode):
        raise ActRefusedError("Choose which row is sent: today's, or the stored one.")
    return ReprocessMode(text)


def _format(request: HttpRequest) -> ExportFormat:
    text = request.POST.get("format", "")
    if text not in set(ExportFormat):
        raise ActRefusedError("Choose a file format: CSV, JSON or JSON Lines.")
    return ExportFormat(text)
