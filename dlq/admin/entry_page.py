"""The page of one dead letter, and what it loads once it is shown: the row of now, the passport of the row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from dlq.admin.base import list_url, may, user_of
from dlq.choices import DELETE_BY_KEY, EntryStatus, RowState
from dlq.models import DLQEntry
from dlq.services import attempts, edits, hints, live, paging, people, selection
from dlq.services import passport as passports
from dlq.services.changes import parts_changed_since, verdict
from dlq.services.comparison import compare
from dlq.services.live import Live
from syncs.console import links
from syncs.console.version_diff import by_field, differences
from syncs.errors import ErrorType
from syncs.services import access, versions

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin

EVENTS_SHOWN = 100
_TEXTS = {"payload": "payload", "row": "source_row", "response": "response_excerpt"}
_LOADED = ("sync__source", "sync__destination", "sync__current_version", "group", "run", "version", "owner", "closed_by")
_PERMISSIONS = ("reprocess", "resend", "edit", "discard", "annotate", "export")


def find(request: HttpRequest, pk: int) -> DLQEntry:
    """With all that its page names. Raises ``Http404``, also for one of a sync that the user may not see."""
    entry = access.scoped(DLQEntry.objects.select_related(*_LOADED), user_of(request)).filter(pk=pk).first()
    if entry is None:
        raise Http404(f"There is no dead letter {pk}.")
    return entry


def show(page: ReadOnlyAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    entry = find(request, pk)
    events = list(entry.events.select_related("actor").order_by("-pk")[: EVENTS_SHOWN + 1])
    now = versions.snapshot(entry.sync)
    found = _looked(entry, now) if request.GET.get("live") else None
    context = {
        **_row(entry, now, found),
        **_acts(request, entry),
        **_neighbours(request, entry),
        **_changes(entry, now),
        "carried": attempts.carried(entry, events),
        "events": events[:EVENTS_SHOWN],
        "has_more_events": len(events) > EVENTS_SHOWN,
        "steps": hints.steps(entry.error_type, is_gone=entry.row_state == RowState.GONE) if _is_open(entry) else (),
    }
    return page.show(request, "admin/dlq/dlqentry/entry.html", context, title=f"Dead letter {entry.pk}")


def row_now(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page about the row, with what the warehouse holds at this moment."""
    entry = find(request, pk)
    now = versions.snapshot(entry.sync)
    answer = TemplateResponse(request, "dlq/row.html", _row(entry, now, _looked(entry, now)))
    answer["Cache-Control"] = "no-store"
    return answer


def _looked(entry: DLQEntry, now: dict[str, Any]) -> Live:
    found = live.look(entry, now["mappings"])
    live.keep(entry, found)
    return found


def _row(entry: DLQEntry, now: dict[str, Any], found: Live | None) -> dict[str, Any]:
    return {
        "entry": entry,
        "live": found,
        "verdict": verdict(entry, now=now, live=found),
        "comparison": compare(entry, found, now["mappings"]),
        "can_look": entry.error_type != ErrorType.INVALID_KEY,
        "looks_by_itself": found is None and _is_open(entry) and entry.error_type != ErrorType.INVALID_KEY,
    }


def _is_open(entry: DLQEntry) -> bool:
    return entry.status == EntryStatus.OPEN


def _acts(request: HttpRequest, entry: DLQEntry) -> dict[str, Any]:
    """What this user may do with the entry as it is."""
    rights = {f"may_{name}": may(request, name) for name in _PERMISSIONS}
    edit = edits.standing(entry) if entry.is_live else None
    is_sendable = _is_open(entry) and entry.error_type != ErrorType.INVALID_KEY
    return {
        **rights,
        "is_open": _is_open(entry),
        "is_discarded": entry.status == EntryStatus.DISCARDED,
        "is_sendable": is_sendable,
        "is_gone": is_sendable and entry.row_state == RowState.GONE,
        "delete_mode": DELETE_BY_KEY,
        "edit": edit,
        "is_edit_current": edit is not None and edits.is_current(edit, entry),
        "edit_diff": edits.diff(edit.before, edit.payload) if edit else (),
        "people": people.assignable() if rights["may_annotate"] else (),
    }


def _neighbours(request: HttpRequest, entry: DLQEntry) -> dict[str, Any]:
    """Links to the entries beside this one in the list that the user came from (``in``: its filter)."""
    query = request.GET.get("in", "")
    if not query:
        return {"within": "", "back_url": f"{list_url()}?status=open"}
    parsed = selection.parse(parse_qs(query, keep_blank_values=True), user=user_of(request))
    if parsed.problems:
        return {"within": "", "back_url": f"{list_url()}?status=open"}
    beside = paging.neighbours(parsed.filter.at(timezone.now()), entry)
    return {
        "within": query,
        "back_url": f"{list_url()}?{query}",
        "newer_url": url_of(beside.newer, within=query),
        "older_url": url_of(beside.older, within=query),
    }


def url_of(pk: int | None, *, within: str = "") -> str:
    """Address of an entry's page, which keeps the list that the user works through; "" for None."""
    if pk is None:
        return ""
    url = reverse("admin:dlq_dlqentry_change", args=(pk,))
    return f"{url}?{urlencode({'in': within})}" if within else url


def _changes(entry: DLQEntry, now: dict[str, Any]) -> dict[str, Any]:
    """The sync as it refused the row and as it is today, where they differ."""
    then = entry.version.snapshot if entry.version else None
    lines = [*differences(by_field(then), by_field(now)), *differences(then, now)] if then else []
    current = entry.sync.current_version
    return {
        "changes": [line for line in lines if line.is_changed],
        "changed_parts": parts_changed_since(entry, now) or (),
        "then_url": _version_url(entry, entry.version.number) if entry.version else "",
        "current": current,
        "current_url": _version_url(entry, current.number) if current else "",
    }


def _version_url(entry: DLQEntry, number: int) -> str:
    return links.page("admin:syncs_sync_version", entry.sync_id, number)


def passport(page: ReadOnlyAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """What happened to the row in all syncs of its source. ``part``: without the page around it."""
    entry = find(request, pk)
    text = request.GET.get("before", "")
    before = paging.Position.parse(text) if text else None
    if text and before is None:
        raise Http404(f"“{text[:60]}” is no place in this time line.")
    context = {"entry": entry, "passport": passports.passport(entry, user=user_of(request), before=before), "before": before}
    if request.GET.get("part"):
        return TemplateResponse(request, "dlq/passport.html", context)
    return page.show(request, "admin/dlq/dlqentry/passport.html", context, title="Row passport")


def text(request: HttpRequest, pk: int, part: str) -> HttpResponse:
    """One stored text whole, as a download: never rendered, whatever it holds."""
    if part not in _TEXTS:
        raise Http404(f"There is no “{part}”; there are {', '.join(_TEXTS)}.")
    chosen = access.scoped(DLQEntry.objects.filter(pk=pk), user_of(request))
    found: Any = chosen.values_list(_TEXTS[part], flat=True).first()
    if found is None:
        raise Http404(f"There is no dead letter {pk}.")
    answer = HttpResponse(found, content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="dead-letter-{pk}-{part}.txt"'
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Cache-Control"] = "no-store"
    return answer
