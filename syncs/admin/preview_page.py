"""The preview of a sync, and the confirmation that sends a few of its rows for real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from syncs.admin import acts, sync_pages
from syncs.admin.address import run_url
from syncs.errors import RedriveError
from syncs.models import Sync
from syncs.services import preview_words, previews, sends
from syncs.services.previews import LIMITS, MOST_KEYS, Preview

if TYPE_CHECKING:
    from syncs.admin.syncs import SyncAdmin

PREVIEW_ROWS = 20
_LONGEST_KEYS = 20_000  # characters


@dataclass(frozen=True)
class _Chosen:
    """``keys`` None: the first ``limit`` rows."""

    limit: int
    keys: list[str] | None

    @property
    def text(self) -> str:
        return "\n".join(self.keys or ())


def preview(self: SyncAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    """GET looks. POST looks too, and keeps that it was seen: a clean one releases what a changed destination holds back."""
    sync = sync_pages._find(self, request, pk)
    is_noted = request.method == "POST"
    acts.demand(not is_noted or _may_note(request))
    chosen = _chosen(request.POST if is_noted else request.GET)
    context = _frame(self, request, sync, title="Preview") | {"chosen": chosen, "limits": LIMITS, "most_keys": MOST_KEYS}
    try:
        found = previews.preview(sync, limit=chosen.limit, keys=chosen.keys)
        context |= _shown(found)
        if is_noted and previews.note(sync, found, by=_user(request), door="admin"):
            messages.success(request, f"The change of the destination is settled: dead letters of “{sync}” may be reprocessed.")
            return HttpResponseRedirect(context["page_url"])
        context["is_noted"] = is_noted
    except RedriveError as error:
        context["problem"] = error
    return TemplateResponse(request, "admin/syncs/sync/preview.html", context)


def send(self: SyncAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    """Ticked rows are shown once more; with the token of that page they are sent."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    acts.demand(acts.may_run(request))
    sync = sync_pages._find(self, request, pk)
    token = request.POST.get("token", "")
    try:
        if token:
            run = sends.send(sync, token, by=_user(request), is_full=request.POST.get("full") == "1")
            messages.success(request, f"Run {run.pk} is queued: it sends the rows that you confirmed, and no others.")
            return HttpResponseRedirect(run_url(run.pk))
        offer = sends.offer(sync, request.POST.getlist("key")[: MOST_KEYS + 1], by=_user(request))
    except RedriveError as error:
        messages.error(request, error.message)
        return HttpResponseRedirect(reverse("admin:syncs_sync_preview", args=(sync.pk,)))
    context = _frame(self, request, sync, title="Send rows") | _shown(offer.found) | {"token": offer.token, "is_offer": True}
    return TemplateResponse(request, "admin/syncs/sync/send.html", context)


def _chosen(data: Mapping[str, Any]) -> _Chosen:
    """What cannot be read is left out: a preview changes nothing."""
    text = str(data.get("keys", ""))[:_LONGEST_KEYS]
    keys = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    limit = str(data.get("rows", ""))
    return _Chosen(int(limit) if limit in map(str, LIMITS) else PREVIEW_ROWS, keys or None)


def _may_note(request: HttpRequest) -> bool:
    """Who runs the sync, or works off its dead letters: both wait for it."""
    return acts.may_run(request) or bool(request.user.has_perm("dlq.reprocess_dlqentry"))


def _frame(self: SyncAdmin, request: HttpRequest, sync: Sync, *, title: str) -> dict[str, Any]:
    return {
        **sync_pages._frame(self, request, sync, title=title),
        "may_note": _may_note(request),
        "refusal": sends.refusal(sync),
        "most_sent": sends.MOST_ROWS,
        "reads_from": previews.reads_from(sync),
        "send_url": reverse("admin:syncs_sync_send", args=(sync.pk,)),
        "mapping_url": reverse("admin:syncs_sync_mapping", args=(sync.pk,)),
    }


def _shown(found: Preview) -> dict[str, Any]:
    rows = _rows(found)
    return {
        "preview": found,
        "rows": rows,
        "counts": [(act.value, count) for act, count in found.acts.items()],
        "has_sendable": any(row["row"].is_sendable for row in rows),
    }


def _rows(found: Preview) -> list[dict[str, Any]]:
    """Values masked as on other pages. The first rows that a run would send are ticked."""
    ticked = 0
    shown = []
    for one in preview_words.masked(found):
        row = one.row
        is_ticked = row.is_sendable and row.act in ("create", "update", "delete") and ticked < sends.MOST_ROWS
        ticked += is_ticked
        words = {"values": one.values, "payload": one.payload, "error": one.error, "violations": one.violations}
        shown.append({"row": row, "is_ticked": is_ticked, **words})
    return shown


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
