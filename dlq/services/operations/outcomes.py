"""What became of a member of a bulk operation, and why it was left out, in words that stand beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from django.db.models import QuerySet

from dlq.choices import EntryStatus, ItemOutcome
from dlq.models import BulkItem, DLQEntry
from dlq.services import slices
from dlq.services.ids import AnyOf

CHANGED = "It was changed after the confirmation."
RIVAL = "The row has a newer dead letter, which is the one to work on."
OVERTAKEN = "A newer version of the row has been delivered since."
NO_KEY = "It has no usable row key, so no row can be read by it."
NO_EDIT = "It has no correction that was made for its last failure."
NO_PAYLOAD = "Nothing was sent of this row, so there is no payload to send again."
UNTOUCHED = "The run left the row as it was."
RETURNED = "Its run ended before it was sent."
SAME_ERROR = "Refused again with the same error."
OTHER_ERROR = "Refused again, with another error than before."
GONE = "The warehouse has no such row any more."
RESOLVED_ELSEWHERE = "Another run delivered the row."

_BUSY = "It is being reprocessed."
BY_STATUS = {
    EntryStatus.QUEUED: _BUSY,
    EntryStatus.INFLIGHT: _BUSY,
    EntryStatus.RESOLVED: "It is resolved: a run has delivered the row.",
    EntryStatus.DISCARDED: "It is discarded.",
    EntryStatus.SUPERSEDED: OVERTAKEN,
    EntryStatus.OPEN: "It is open.",
}
_OF_ONE = {slices.OVERTAKEN: OVERTAKEN, slices.NO_EDIT: NO_EDIT, slices.NO_PAYLOAD: NO_PAYLOAD}


def of_one(sentence: str) -> str:
    """A sentence that follows a number of entries, as said of one."""
    return _OF_ONE.get(sentence, f"It is left out; such entries {sentence}.")


def leave_out(items: QuerySet[BulkItem], entry_ids: Collection[int], note: str) -> int:
    """Those of the items that are for these entries. Returns how many."""
    if not entry_ids:
        return 0
    return items.filter(AnyOf("entry_id", entry_ids)).update(outcome=ItemOutcome.LEFT_OUT, note=note[:160])


def leave_out_rest(items: QuerySet[BulkItem], *, wanted: EntryStatus) -> int:
    """All of these items: because of the status of their entry, or else because it was changed."""
    ids = list(items.values_list("entry_id", flat=True))
    by_note: dict[str, list[int]] = defaultdict(list)
    for pk, status in statuses(ids):
        by_note[CHANGED if status == wanted else BY_STATUS[EntryStatus(status)]].append(pk)
    return sum(leave_out(items, pks, note) for note, pks in by_note.items())


def statuses(entry_ids: Iterable[int]) -> Iterable[tuple[int, str]]:
    return DLQEntry.objects.filter(AnyOf("pk", entry_ids)).values_list("pk", "status")
