"""Exporting a choice: the same frozen selection, as a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from dlq.admin import operation_words
from dlq.admin.base import list_url, may, user_of
from dlq.choices import Door
from dlq.services import export, export_plan, exports
from dlq.services.export_plan import ExportFormat
from dlq.services.moves import ActRefusedError
from dlq.services.snapshots import Snapshot
from dlq.services.summary import summarise

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin

_HELP = {
    ExportFormat.CSV: "For spreadsheets and scripts. Texts that a sheet would run as a formula get an apostrophe in front.",
    ExportFormat.XLSX: "A workbook, at most 1,048,575 rows. Guarded like CSV; values too long for a cell go to a second sheet.",
    ExportFormat.JSON: "One list; numbers and texts exactly as they were.",
    ExportFormat.JSONL: "One object a line, for tools that read as they go.",
}


@dataclass(frozen=True, slots=True)
class Form:
    """What the form shows: the choices there are, and those that were made. ``wrong``: the input to correct."""

    may_raw: bool
    is_large: bool
    limit: int
    format: str = "csv"
    columns: tuple[str, ...] = ()
    is_flat: bool = False
    is_raw: bool = False
    reason: str = ""
    wrong: str = ""
    all_columns: tuple[str, ...] = ()
    formats: tuple[tuple[str, str, str], ...] = ()


def ask(
    page: ReadOnlyAdmin, request: HttpRequest, snapshot: Snapshot, *, problem: ActRefusedError | None = None
) -> HttpResponse:
    is_filter = snapshot.ids is None
    context = {
        "snapshot": snapshot,
        "token": snapshot.token(),
        "summary": summarise(snapshot),
        "conditions": operation_words.conditions(snapshot.query, user=user_of(request)) if is_filter else (),
        "form": _form(request, snapshot, wrong=problem.field if problem else ""),
        "problem": problem,
        "back": f"{list_url()}?{snapshot.query}",
    }
    status = 400 if problem else 200
    return page.show(request, "admin/dlq/dlqentry/confirm_export.html", context, title="Export dead letters", status=status)


def _form(request: HttpRequest, snapshot: Snapshot, *, wrong: str) -> Form:
    given = request.POST
    return Form(
        may_raw=may(request, "exportraw"),
        is_large=export.is_large(snapshot.count),
        limit=export.stream_rows(),
        format=given.get("format") or ExportFormat.CSV.value,
        columns=tuple(given.getlist("column")),
        is_flat=given.get("flat") == "1",
        is_raw=given.get("raw") == "1",
        reason=given.get("reason", ""),
        wrong=wrong,
        all_columns=export_plan.all_columns(),
        formats=tuple((one.value, one.label, _HELP[one]) for one in ExportFormat),
    )


def perform(page: ReadOnlyAdmin, request: HttpRequest, snapshot: Snapshot) -> HttpResponseBase:
    """The file, or the page of the export that a worker writes."""
    try:
        made = exports.start(
            snapshot,
            format=request.POST.get("format", ""),
            columns=request.POST.getlist("column"),
            is_flat=request.POST.get("flat") == "1",
            is_raw=request.POST.get("raw") == "1",
            by=user_of(request),
            reason=request.POST.get("reason", ""),
            door=Door.ADMIN,
        )
    except ActRefusedError as refusal:
        if not refusal.field:
            raise
        return ask(page, request, snapshot, problem=refusal)
    if isinstance(made, export.Download):
        return export.answer(made.file, name=made.name, format=made.format)
    return HttpResponseRedirect(reverse("admin:dlq_export_change", args=(made.pk,)))
