"""The page where a payload is corrected: write, look at the difference, keep (and send)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.dateparse import parse_datetime

from dlq.admin import acts
from dlq.admin.base import demand, user_of
from dlq.admin.entry_page import find, url_of
from dlq.choices import Door, ReprocessMode
from dlq.models import DLQEntry
from dlq.services import edits, entries
from dlq.services.moves import ActRefusedError

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin


def edit(page: ReadOnlyAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    demand(request, "edit")
    entry = find(request, pk)
    if request.method == "GET":
        return _form(page, request, entry)
    text, reason = request.POST.get("payload", ""), request.POST.get("reason", "")
    if request.POST.get("step") == "back":
        return _form(page, request, entry, text=text, reason=reason)
    try:
        body = edits.checked(entry, text)
        if request.POST.get("step") not in ("keep", "send"):
            return _form(page, request, entry, text=text, reason=reason, found=edits.diff(entry.payload, body))
        return _keep(request, entry, text=text, reason=reason)
    except ActRefusedError as refusal:
        return _form(page, request, entry, text=text, reason=reason, problem=refusal)


def _keep(request: HttpRequest, entry: DLQEntry, *, text: str, reason: str) -> HttpResponse:
    by = user_of(request)
    seen = parse_datetime(request.POST.get("seen", "")[:40])
    if seen is None or seen.tzinfo is None:
        raise ActRefusedError("The form came back incomplete. Reload the page and correct the payload again.", field="payload")
    edits.save(entry, text=text, reason=reason, by=by, door=Door.ADMIN, seen_failed_at=seen)
    if request.POST.get("step") == "send":
        chosen = DLQEntry.objects.filter(pk=entry.pk)
        result = entries.reprocess(chosen, by=by, reason=reason, mode=ReprocessMode.EDITED, door=Door.ADMIN)
        level = messages.SUCCESS if result.taken else messages.WARNING
        messages.add_message(request, level, acts.sentence_of(result, "queued"))
    else:
        messages.success(request, "The correction is kept. It is sent when you choose “Send the correction”.")
    return HttpResponseRedirect(url_of(entry.pk, within=request.POST.get("in", "")))


def _form(
    page: ReadOnlyAdmin,
    request: HttpRequest,
    entry: DLQEntry,
    *,
    text: str | None = None,
    reason: str = "",
    found: Any = None,
    problem: ActRefusedError | None = None,
) -> HttpResponse:
    """``found``: the difference, to be looked at before it is kept."""
    within = request.POST.get("in", request.GET.get("in", ""))
    standing = edits.ready(entry)
    start = standing.payload if standing else entry.payload
    context = {
        "entry": entry,
        "text": edits.pretty(start) if text is None else text,
        "reason": reason or (standing.reason if standing and text is None else ""),
        "seen": request.POST.get("seen") or entry.last_failed_at.isoformat(),
        "found": found,
        "problem": problem,
        "obstacle": "" if entry.payload else edits.NOTHING_SENT,
        "within": within,
        "back_url": url_of(entry.pk, within=within),
    }
    title = "Look at the correction" if found else "Edit payload"
    return page.show(request, "admin/dlq/dlqentry/edit.html", context, title=title, status=400 if problem else 200)
