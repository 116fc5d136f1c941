"""What the confirmation page shows. Nothing here acts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from dlq.admin import bulk_form, operation_words
from dlq.admin.base import list_url, may, user_of
from dlq.choices import ReprocessMode
from dlq.services import confirmation, drift_guard, preflight
from dlq.services.moves import ActRefusedError
from dlq.services.snapshots import BulkKind, Looked, Snapshot
from dlq.services.summary import Summary, told

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin

_MODES = {
    ReprocessMode.CURRENT: (
        "Today's warehouse row",
        "Each row is read again by its key and mapped with today's mapping. Right in almost every case.",
    ),
    ReprocessMode.STORED: (
        "The stored row, mapped anew",
        "The row of the failed run with today's mapping. For rows that have left the warehouse.",
    ),
    ReprocessMode.PAYLOAD: (
        "The stored payload, as it was",
        "Exactly what was refused, once more. For a fault that was at the destination.",
    ),
    ReprocessMode.EDITED: ("The corrected payloads", "What somebody corrected by hand or by a file; the others are left out."),
}


@dataclass(frozen=True, slots=True)
class Mode:
    value: str
    label: str
    note: str
    is_chosen: bool
    needs_acknowledgement: bool


def show(
    page: ReadOnlyAdmin, request: HttpRequest, snapshot: Snapshot, summary: Summary, *, problem: ActRefusedError | None = None
) -> HttpResponse:
    """Where the form is shown again, what was typed is kept."""
    snapshot = told(snapshot, summary)
    kind, act = snapshot.kind, operation_words.ACTS[snapshot.kind]
    context = {
        **rows_context(request, snapshot),
        "act": act,
        "summary": summary,
        "sync_sentence": preflight.sync_sentence(summary.changes) if summary.changes else "",
        "is_sync_unchanged": summary.changes is not None and summary.changes.same == summary.changes.total,
        "conditions": _conditions(request, snapshot, summary) if snapshot.ids is None else (),
        "held": drift_guard.held_among(snapshot.entries().reprocessable()) if kind == BulkKind.REPROCESS else (),
        "back": f"{list_url()}?{snapshot.query}",
        "problem": str(problem) if problem else "",
        "wrong": problem.field if problem else "",
        "form": _form(request),
        "needs_number": confirmation.needs_number(snapshot),
        "needs_reason": confirmation.needs_reason(snapshot),
        "perform_url": reverse("admin:dlq_dlqentry_perform", args=(kind.value,)),
        "usual_reasons": confirmation.USUAL_REASONS if kind == BulkKind.DISCARD else (),
        "people": bulk_form.people() if kind == BulkKind.ASSIGN else (),
        "nobody": bulk_form.NOBODY,
        "undo_days": settings.RETL["UNDO_DAYS"],
    }
    title = f"{act.verb} dead letters"
    return page.show(request, "admin/dlq/dlqentry/confirm.html", context, title=title, status=400 if problem else 200)


def _conditions(request: HttpRequest, snapshot: Snapshot, summary: Summary) -> list[tuple[str, str]]:
    known = {"syncs": summary.sync_names, "groups": summary.group_titles}
    return operation_words.conditions(snapshot.query, user=user_of(request), **known)


def rows_context(request: HttpRequest, snapshot: Snapshot) -> dict[str, Any]:
    """The part that a look into the warehouse changes, and the choices whose meaning depends on it."""
    looked = snapshot.shown.looked
    modes = _modes(request, snapshot) if snapshot.kind == BulkKind.REPROCESS else []
    chosen = next((mode for mode in modes if mode.is_chosen), None)
    return {
        "snapshot": snapshot,
        "kind": snapshot.kind.value,
        "token": snapshot.token(),
        "looked": looked,
        "rows_sentence": preflight.rows_sentence(looked, snapshot.shown.count) if looked else "",
        "bars": _bars(looked),
        "sample": preflight.SAMPLE,
        "look_url": reverse("admin:dlq_dlqentry_look", args=(snapshot.kind.value,)),
        "modes": modes,
        "is_acknowledgement_needed": chosen is not None and chosen.needs_acknowledgement,
        "is_acknowledged": request.POST.get("acknowledged") == "1",
    }


def _modes(request: HttpRequest, snapshot: Snapshot) -> list[Mode]:
    offered = confirmation.modes(snapshot, partial(may, request))
    wanted = request.POST.get("mode", ReprocessMode.CURRENT)
    first = wanted if wanted in offered else next(iter(offered), "")
    made = []
    for mode, count in offered.items():
        label, note = _MODES[mode]
        label = label if count is None else f"{label} ({count:,})"
        made.append(Mode(mode.value, label, note, mode == first, preflight.needs_acknowledgement(snapshot.shown, mode)))
    return made


def _form(request: HttpRequest) -> dict[str, Any]:
    """What was typed; at first the usual values."""
    sizes = settings.RETL["WAVE_SIZES"]
    first = {"in_waves": "1", "waves": ", ".join(map(str, sizes)), "halt_percent": "100"}
    names = ("reason", "usual", "typed", "owner", "in_waves", "waves", "rows_per_minute", "halt_percent")
    is_again = request.method == "POST" and "token" in request.POST
    return {name: request.POST.get(name, "")[:1_000] for name in names} if is_again else first


def _bars(looked: Looked | None) -> list[dict[str, Any]]:
    """The sample as a bar 600 wide."""
    if looked is None or not looked.total:
        return []
    found, x = [], 0.0
    for label, count, fill in (
        ("changed", looked.changed, "good"),
        ("gone", looked.gone, "warn"),
        ("the same", looked.same, "mute"),
    ):
        width = count * 600 / looked.total
        found.append({"label": label, "count": count, "fill": fill, "x": f"{x:.2f}", "width": f"{width:.2f}"})
        x += width
    return found
