"""What the page of a bulk operation shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from dlq.admin import operation_words
from dlq.admin.base import list_url, may, permission_for, user_of
from dlq.choices import ItemOutcome, OperationKind, OperationStatus, ReprocessMode
from dlq.models import BulkOperation
from dlq.services import operation_access, operations
from dlq.services.operations import Progress
from dlq.services.snapshots import BulkKind
from syncs.console import links
from syncs.services import access

WAVES_SHOWN = 50
_FILLS = {
    ItemOutcome.DONE: "good",
    ItemOutcome.REFUSED: "bad",
    ItemOutcome.GONE: "warn",
    ItemOutcome.LEFT_OUT: "mute",
    ItemOutcome.NOT_REACHED: "mute",
    ItemOutcome.SENT: "live",
    ItemOutcome.PENDING: "track",
}
_RESTING = (OperationStatus.PAUSED, OperationStatus.HALTED)
_SENT_AS = {
    ReprocessMode.CURRENT: "today's warehouse rows",
    ReprocessMode.STORED: "stored rows, mapped anew",
    ReprocessMode.PAYLOAD: "stored payloads as they were",
    ReprocessMode.EDITED: "corrected payloads",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One outcome: its count, its share of a bar 600 wide, and the list of its entries."""

    value: str
    label: str
    count: int
    fill: str
    x: str
    width: str
    url: str


def context(request: HttpRequest, operation: BulkOperation) -> dict[str, Any]:
    """All of it changes while the operation is active, its members included."""
    progress = operations.progress(operation)
    here = _url("change", operation.pk)
    return {
        "operation": operation,
        "progress": progress,
        "said": operation_words.verdict(operation, progress),
        "hints": operation_words.hints(operation, progress, here=here, may=partial(may, request)),
        "parts": _parts(operation, progress, here),
        "waves": progress.waves[-WAVES_SHOWN:][::-1],
        "hidden_waves": max(0, len(progress.waves) - WAVES_SHOWN),
        "run_url": links.page("admin:syncs_run_changelist"),
        "acts": _acts(request, operation),
        "undo": _undo(request, operation),
        "took": operation.finished_at - operation.started_at if operation.finished_at and operation.started_at else None,
        "here": here,
        "progress_url": f"{_url('progress', operation.pk)}?{request.GET.urlencode()}",
        **_chosen(request, operation),
        **_items(request, operation),
    }


def _url(name: str, *args: object) -> str:
    return reverse(f"admin:dlq_bulkoperation_{name}", args=args)


def _parts(operation: BulkOperation, progress: Progress, here: str) -> list[Part]:
    words = operation_words.outcomes(operation)
    found, x = [], 0.0
    for outcome, fill in _FILLS.items():
        count = progress.counts[outcome]
        width = count * 600 / progress.total if progress.total else 0.0
        url = f"{here}?outcome={outcome.value}#items"
        found.append(Part(outcome.value, words[outcome], count, fill, f"{x:.2f}", f"{width:.2f}", url))
        x += width
    always = {ItemOutcome.DONE} if operation.is_over else {ItemOutcome.DONE, ItemOutcome.PENDING}
    return [part for part in found if part.count or part.value in always]


def may_steer(request: HttpRequest, operation: BulkOperation) -> bool:
    needed = permission_for(BulkKind(operation.kind))
    return may(request, needed) and operation_access.may_steer(operation, user_of(request))


def _acts(request: HttpRequest, operation: BulkOperation) -> list[dict[str, str]]:
    """Buttons for what can be done to it now."""
    if operation.is_over or operation.ends_as or not may_steer(request, operation):
        return []
    is_resting = operation.status in _RESTING
    first = ("resume", "Resume", "rd-button-primary") if is_resting else ("pause", "Pause", "")
    chosen = (first, ("cancel", "Cancel", "rd-button-danger"))
    return [{"url": _url("act", operation.pk, name), "label": label, "look": look} for name, label, look in chosen]


def _undo(request: HttpRequest, operation: BulkOperation) -> dict[str, Any]:
    """``url`` where the discard can be undone now; ``by``: the operation that does or did."""
    if operation.kind != OperationKind.DISCARD or not operation.is_over or not operation.done_count:
        return {}
    by = operation.undone_by.only("pk", "status").order_by("-pk").first()
    is_open = by is None or by.status in (OperationStatus.CANCELLED, OperationStatus.FAILED)
    is_in_time = operation.undo_until is not None and operation.undo_until > timezone.now()
    may_undo = is_open and is_in_time and may_steer(request, operation)
    return {
        "by": by,
        "until": operation.undo_until if is_in_time else None,
        "url": _url("act", operation.pk, "undo") if may_undo else "",
    }


def _chosen(request: HttpRequest, operation: BulkOperation) -> dict[str, Any]:
    """What it acts on, in words."""
    is_filter = operation.ids is None and operation.of_operation_id is None
    return {
        "conditions": operation_words.conditions(operation.query, user=user_of(request)) if is_filter else (),
        "filter_url": f"{list_url()}?{operation.query}" if is_filter else "",
        "ticked_count": len(operation.ids) if operation.ids is not None else None,
        "sent_as": _SENT_AS.get(ReprocessMode(operation.mode)) if operation.mode else "",
        "owner": operation_words.owner_of(operation),
        "sizes": ", ".join(f"{size:,}" for size in operation.wave_sizes),
    }


def _items(request: HttpRequest, operation: BulkOperation) -> dict[str, Any]:
    """The members, page by page; ``problem`` where the address cannot be read, and then none."""
    outcome, after = request.GET.get("outcome", ""), request.GET.get("after", "")
    words = operation_words.outcomes(operation)
    found: dict[str, Any] = {"outcome": outcome}
    if outcome and outcome not in set(ItemOutcome):
        return {**found, "problem": f"There is no such outcome; there are {', '.join(ItemOutcome)}."}
    if after and not (after.isascii() and after.isdigit() and len(after) <= 18):
        return {**found, "problem": "The position in the list is not valid. Start again at the first."}
    wanted = ItemOutcome(outcome) if outcome else None
    seen = access.visible_sync_ids(user_of(request))
    page = operations.items(operation, wanted, int(after) if after else None, sync_ids=seen)
    rows = [(item, words[ItemOutcome(item.outcome)]) for item in page.items]
    return {**found, "rows": rows, "next_after": page.next_after, "after": after}


def row(operation: BulkOperation) -> dict[str, Any]:
    """One line of the list: no query of its own."""
    total = operation.member_count if operation.is_frozen or operation.is_over else operation.expected_count
    return {
        "operation": operation,
        "url": _url("change", operation.pk),
        "total": total,
        "settled": operation.settled_count - operation.not_reached_count,
        "done_word": operation_words.outcomes(operation)[ItemOutcome.DONE],
    }
