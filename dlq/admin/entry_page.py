"""The page of one dead letter, and what it loads once it is shown: the row of now, the passport of the row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from dlq.admin.base import demand, list_url, may, user_of
from dlq.choices import DELETE_BY_KEY, Door, EntryStatus, RowState
from dlq.models import DLQEntry
from dlq.services import entries, entry_detail, live, paging, people, reveals, selection, sight
from dlq.services.entry_detail import Detail
from dlq.services.entry_filter import EntryFilter
from dlq.services.live import Live
from dlq.services.moves import ActRefusedError
from syncs.console import links
from syncs.console.version_diff import by_field, differences
from syncs.errors import ErrorType, RedriveError
from syncs.services import access, versions

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin

EVENTS_SHOWN = 100
_TEXTS = {"payload": "payload", "row": "source_row", "response": "response_excerpt"}
_PERMISSIONS = ("reprocess", "resend", "edit", "discard", "annotate", "export", "reveal")


def find(request: HttpRequest, pk: int) -> DLQEntry:
    """With all that its page names. Raises ``Http404``, also for one of a sync that the user may not see."""
    entry = entry_detail.find(pk, user_of(request))
    if entry is None:
        raise Http404(f"There is no dead letter {pk}.")
    return entry


def show(page: ReadOnlyAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    entry = find(request, pk)
    now = versions.snapshot(entry.sync)
    found = live.look(entry, now["mappings"]) if request.GET.get("live") else None
    return _page(page, request, entry, now, found)


def reveal(page: ReadOnlyAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """The page with the true values, for this one answer. The history says who saw them and why."""
    demand(request, "reveal")
    entry = find(request, pk)
    try:
        reveals.reveal(entry, by=user_of(request), reason=request.POST.get("reason", ""), door=Door.ADMIN)
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
        return HttpResponseRedirect(url_of(pk, within=request.POST.get("in", "")))
    now = versions.snapshot(entry.sync)
    found = live.look(entry, now["mappings"]) if _looks_by_itself(entry) else None
    answer = _page(page, request, entry, now, found, is_revealed=True)
    answer["Cache-Control"] = "no-store, private"
    return answer


def _page(
    page: ReadOnlyAdmin, request: HttpRequest, entry: DLQEntry, now: dict[str, Any], found: Live | None, *,
    is_revealed: bool = False,
) -> HttpResponse:  # fmt: skip
    events = list(entry.events.select_related("actor").order_by("-pk")[: EVENTS_SHOWN + 1])
    seen = entry_detail.detail(
        entry, now=now, live=found, events=events[:EVENTS_SHOWN], has_calls=True, is_revealed=is_revealed
    )
    context = {
        **_row(entry, seen),
        **_acts(request, entry, seen),
        **_place(request),
        **_changes(entry, now, seen),
        "carried": seen.carried,
        "events": seen.events,
        "has_more_events": len(events) > EVENTS_SHOWN,
        "steps": seen.steps,
        "is_revealed": is_revealed,
        "is_hiding": seen.is_hiding,
    }
    return page.show(request, "admin/dlq/dlqentry/entry.html", context, title=f"Dead letter {entry.pk}")


def row_now(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page about the row, with what the warehouse holds at this moment. Looks only: what it finds is stored by
    the act "check"."""
    entry = find(request, pk)
    now = versions.snapshot(entry.sync)
    found = live.look(entry, now["mappings"])
    return TemplateResponse(request, "dlq/row.html", _row(entry, entry_detail.detail(entry, now=now, live=found)))


def _row(entry: DLQEntry, seen: Detail) -> dict[str, Any]:
    return {
        "entry": seen.entry,
        "live": seen.live,
        "verdict": seen.verdict,
        "comparison": seen.comparison,
        "can_look": entry.error_type != ErrorType.INVALID_KEY,
        "looks_by_itself": seen.live is None and _looks_by_itself(entry),
    }


def _looks_by_itself(entry: DLQEntry) -> bool:
    return _is_open(entry) and entry.error_type != ErrorType.INVALID_KEY


def _is_open(entry: DLQEntry) -> bool:
    return entry.status == EntryStatus.OPEN


def _acts(request: HttpRequest, entry: DLQEntry, seen: Detail) -> dict[str, Any]:
    """What this user may do with the entry as it is."""
    rights = {f"may_{name}": may(request, name) for name in _PERMISSIONS}
    is_sendable = _is_open(entry) and entry.error_type != ErrorType.INVALID_KEY
    held = [entry.sync] if seen.is_held else []
    return {
        **rights,
        "is_open": _is_open(entry),
        "is_discarded": entry.status == EntryStatus.DISCARDED,
        "is_sendable": is_sendable and not held,
        "held": held,
        "can_delete": rights["may_resend"] and is_sendable and entry.row_state == RowState.GONE and _can_delete(entry),
        "delete_mode": DELETE_BY_KEY,
        "edit": seen.edit,
        "is_edit_current": seen.is_edit_current,
        "edit_diff": seen.edit_diff,
        "people": people.assignable() if rights["may_annotate"] else (),
    }


def _can_delete(entry: DLQEntry) -> bool:
    try:
        return entries.can_delete(entry.sync)
    except RedriveError:
        return False


def _place(request: HttpRequest) -> dict[str, Any]:
    """The list that the user came from (``in``: its filter), and the links along it."""
    within = request.POST.get("in", request.GET.get("in", ""))
    found = _list(request, within)
    return {
        "within": within if found else "",
        "back_url": f"{list_url()}?{within}" if found else f"{list_url()}?status=open",
        "keep": f"?{urlencode({'in': within})}" if found else "",
    }


def _list(request: HttpRequest, within: str) -> EntryFilter | None:
    """The filter of the list; None where there is none, or none that can be read."""
    if not within:
        return None
    parsed = selection.parse(parse_qs(within, keep_blank_values=True), user=user_of(request))
    return None if parsed.problems else parsed.filter


def beside(request: HttpRequest, pk: int, way: str) -> HttpResponse:
    """Go to the entry before or after this one in the list of ``in``. Looked up when wanted: the list moves under work."""
    entry = find(request, pk)
    within = request.GET.get("in", "")
    found = _list(request, within)
    if found is None or way not in _WAYS:
        raise Http404("There is no such list.")
    there = paging.neighbours(found.at(timezone.now()), entry)
    goal = there.newer if way == "newer" else there.older
    if goal is None:
        messages.info(request, _WAYS[way])
    return HttpResponseRedirect(url_of(goal or pk, within=within))


_WAYS = {"newer": "Nothing stands before this one in the list.", "older": "Nothing stands after this one in the list."}


def url_of(pk: int, *, within: str = "") -> str:
    """Address of an entry's page, which keeps the list that the user works through."""
    url = reverse("admin:dlq_dlqentry_change", args=(pk,))
    return f"{url}?{urlencode({'in': within})}" if within else url


def _changes(entry: DLQEntry, now: dict[str, Any], seen: Detail) -> dict[str, Any]:
    """The sync as it refused the row and as it is today, where they differ."""
    then = entry.version.snapshot if entry.version else None
    lines = [*differences(by_field(then), by_field(now)), *differences(then, now)] if then else []
    current = entry.sync.current_version
    return {
        "changes": [line for line in lines if line.is_changed],
        "changed_parts": seen.changed_parts,
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
    shown, found = entry_detail.row_passport(entry, user=user_of(request), before=before)
    context = {"entry": shown, "passport": found, "before": before}
    if request.GET.get("part"):
        return TemplateResponse(request, "dlq/passport.html", context)
    return page.show(request, "admin/dlq/dlqentry/passport.html", context, title="Row passport")


def text(request: HttpRequest, pk: int, part: str) -> HttpResponse:
    """One stored text whole, masked, as a download: never rendered, whatever it holds."""
    if part not in _TEXTS:
        raise Http404(f"There is no “{part}”; there are {', '.join(_TEXTS)}.")
    chosen = access.scoped(DLQEntry.objects.filter(pk=pk), user_of(request))
    stored = chosen.values(*_TEXTS.values()).first()
    if stored is None:
        raise Http404(f"There is no dead letter {pk}.")
    found = sight.masked(stored)[_TEXTS[part]]
    answer = HttpResponse(found, content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="dead-letter-{pk}-{part}.txt"'
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Cache-Control"] = "no-store"
    return answer
