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
from dlq.services import edits, entries, reveals, sight
from dlq.services.moves import ActRefusedError

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin


def edit(page: ReadOnlyAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """Whoever corrects a payload sees its true values. Where some are masked, opening the editor is to reveal them."""
    demand(request, "edit")
    entry = find(request, pk)
    if sight.hides(entry.payload, _start(entry)):
        demand(request, "reveal")
        if request.POST.get("step") == "open":
            return _open(page, request, entry)
        if not reveals.is_pass(request.POST.get("pass", ""), entry, user_of(request)):
            return _form(page, request, entry, text="", is_closed=True)
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


def _open(page: ReadOnlyAdmin, request: HttpRequest, entry: DLQEntry) -> HttpResponse:
    reason = request.POST.get("reason", "")
    try:
        reveals.reveal(entry, by=user_of(request), reason=reason, door=Door.ADMIN, purpose=reveals.TO_EDIT)
    except ActRefusedError as refusal:
        return _form(page, request, entry, text="", is_closed=True, problem=refusal)
    return _form(page, request, entry, reason=reason, is_opened=True)


def _start(entry: DLQEntry) -> str:
    """What the editor begins with: the correction that waits, else the payload that was refused."""
    standing = edits.ready(entry)
    return standing.payload if standing else entry.payload


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
    is_closed: bool = False,
    is_opened: bool = False,
) -> HttpResponse:
    """``found``: the difference, to be looked at before it is kept. ``is_closed``: the values have not been revealed yet;
    ``is_opened``: they are now."""
    within = request.POST.get("in", request.GET.get("in", ""))
    standing = edits.ready(entry)
    start = standing.payload if standing else entry.payload
    context = {
        "entry": entry,
        "text": edits.pretty(start) if text is None else text,
        "reason": reason or (standing.reason if standing and text is None else ""),
        "seen": request.POST.get("seen") or entry.last_failed_at.isoformat(),
        "found": found,
        "is_closed": is_closed and bool(entry.payload),
        "pass": reveals.pass_for(entry, user_of(request)) if is_opened else request.POST.get("pass", ""),
        "problem": problem,
        "obstacle": "" if entry.payload else edits.NOTHING_SENT,
        "within": within,
        "back_url": url_of(entry.pk, within=within),
    }
    title = "Look at the correction" if found else "Edit payload"
    answer = page.show(request, "admin/dlq/dlqentry/edit.html", context, title=title, status=400 if problem else 200)
    answer["Cache-Control"] = "no-store, private"
    return answer
