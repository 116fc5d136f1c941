"""Exporting a choice: the same frozen selection, as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from dlq.admin.base import list_url, user_of
from dlq.choices import Door
from dlq.services import export, snapshots
from dlq.services.export import ExportFormat
from dlq.services.moves import ActRefusedError
from dlq.services.snapshots import Snapshot
from dlq.services.summary import summarise

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin


def ask(page: ReadOnlyAdmin, request: HttpRequest, snapshot: Snapshot) -> HttpResponse:
    context = {
        "snapshot": snapshot,
        "kind": snapshot.kind.value,
        "token": snapshot.token(),
        "summary": summarise(snapshot),
        "formats": [(one.value, one.label) for one in ExportFormat],
        "back": f"{list_url()}?{snapshot.query}",
    }
    return page.show(request, "admin/dlq/dlqentry/confirm_export.html", context, title="Export dead letters")


def download(request: HttpRequest, snapshot: Snapshot) -> HttpResponseBase:
    text = request.POST.get("format", "")
    if text not in set(ExportFormat):
        raise ActRefusedError("Choose a file format: CSV, JSON or JSON Lines.")
    chosen = snapshots.checked(snapshot)
    return export.response(chosen, ExportFormat(text), by=user_of(request), door=Door.ADMIN, reason="")
