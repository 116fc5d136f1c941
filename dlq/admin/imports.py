"""Importing a corrected export: choose the file, look at the differences, keep them, then reprocess these entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from dlq.admin.base import demand, list_url, user_of
from dlq.choices import Door
from dlq.services import import_files, import_keeping, imports
from dlq.services.imports import Proposal
from dlq.services.moves import ActRefusedError

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin

_SHOWN = 200  # corrections, and refused lines, on the page
_PART = 900  # entries a form can carry


def import_view(page: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    demand(request, "edit")
    if request.method == "GET":
        return _choose(page, request)
    try:
        return _keep(page, request) if request.POST.get("token") else _look(page, request)
    except ActRefusedError as refusal:
        return _choose(page, request, problem=refusal)


def _choose(page: ReadOnlyAdmin, request: HttpRequest, *, problem: ActRefusedError | None = None) -> HttpResponse:
    context = {"problem": problem, "max_rows": import_files.MAX_ROWS, "max_bytes": import_files.MAX_BYTES, "back": list_url()}
    status = 400 if problem else 200
    return page.show(request, "admin/dlq/import/choose.html", context, title="Import corrections", status=status)


def _look(page: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    given = request.FILES.get("file")
    if given is None:
        raise import_files.refused("Choose a file: an export as CSV or XLSX, with its payload columns corrected.")
    if given.size is None or given.size > import_files.MAX_BYTES:
        raise import_files.refused(f"The file is larger than {import_files.MAX_BYTES:,} bytes. Split it.")
    raw, name = given.read(), given.name or ""
    proposal = imports.propose(raw, name, by=user_of(request))
    token = import_keeping.store(raw, name, proposal, by=user_of(request)) if proposal.corrections else ""
    return _preview(page, request, proposal, name=name, token=token)


def _preview(
    page: ReadOnlyAdmin, request: HttpRequest, proposal: Proposal, *, name: str, token: str, problem: str = ""
) -> HttpResponse:
    context: dict[str, Any] = {
        "proposal": proposal,
        "corrections": proposal.corrections[:_SHOWN],
        "refused": proposal.refused[:_SHOWN],
        "hidden_corrections": max(0, len(proposal.corrections) - _SHOWN),
        "hidden_refused": max(0, len(proposal.refused) - _SHOWN),
        "by_sync": imports.by_sync(proposal),
        "name": name,
        "token": token,
        "problem": problem,
        "reason": request.POST.get("reason", ""),
    }
    status = 400 if problem else 200
    return page.show(request, "admin/dlq/import/preview.html", context, title="Look at the corrections", status=status)


def _keep(page: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    """What was looked at, or the look again where the entries have changed since."""
    by, token = user_of(request), request.POST.get("token", "")
    waiting = import_keeping.load(token, by=by)
    proposal = imports.propose(waiting.raw, waiting.name, by=by)
    if proposal.digest != waiting.seen:
        token = import_keeping.store(waiting.raw, waiting.name, proposal, by=by)
        import_keeping.discard(waiting)
        said = "Dead letters have changed since you looked, so nothing is kept yet. This is what the file would change now."
        return _preview(page, request, proposal, name=waiting.name, token=token, problem=said)
    try:
        count = import_keeping.keep(proposal, reason=request.POST.get("reason", ""), by=by, door=Door.ADMIN)
    except ActRefusedError as refusal:
        return _preview(page, request, proposal, name=waiting.name, token=token, problem=str(refusal))
    import_keeping.discard(waiting)
    messages.success(request, f"{count:,} correction{'s are' if count != 1 else ' is'} kept. Nothing is sent yet.")
    return _kept(page, request, proposal)


def _kept(page: ReadOnlyAdmin, request: HttpRequest, proposal: Proposal) -> HttpResponse:
    ids = [one.entry.pk for one in proposal.corrections]
    parts = [ids[start : start + _PART] for start in range(0, len(ids), _PART)]
    context = {
        "count": len(ids),
        "parts": [
            {"ids": part, "first": number * _PART + 1, "last": number * _PART + len(part)} for number, part in enumerate(parts)
        ],
        "bulk_url": reverse("admin:dlq_dlqentry_bulk"),
        "back": list_url(),
        "refused_count": len(proposal.refused),
    }
    return page.show(request, "admin/dlq/import/kept.html", context, title="Corrections are kept")
