"""Why a member of a bulk operation was left out, in words that stand beside it."""

from __future__ import annotations

from django.db.models import QuerySet

from dlq.choices import EntryStatus, ItemOutcome
from dlq.models import BulkItem
from dlq.services import slices

CHANGED = "It was changed after the confirmation."
RIVAL = "The row has a newer dead letter, which is the one to work on."
OVERTAKEN = "A newer version of the row has been delivered since."
DISCARDED = "It is discarded."
NO_KEY = "It has no usable row key, so no row can be read by it."
NO_EDIT = "It has no correction that was made for its last failure."
NO_PAYLOAD = "Nothing was sent of this row, so there is no payload to send again."
UNTOUCHED = "The run left the row as it was."
RETURNED = "Its run ended before it was sent."
SAME_ERROR = "Refused again with the same error."
OTHER_ERROR = "Refused again, with another error than before."
RESOLVED_ELSEWHERE = "Another run delivered the row."

_BUSY = "It is being reprocessed."
_BY_STATUS = {
    EntryStatus.QUEUED: _BUSY,
    EntryStatus.INFLIGHT: _BUSY,
    EntryStatus.RESOLVED: "It is resolved: a run has delivered the row.",
    EntryStatus.DISCARDED: DISCARDED,
    EntryStatus.SUPERSEDED: OVERTAKEN,
    EntryStatus.OPEN: "It is open.",
}


_OF_ONE = {slices.OVERTAKEN: OVERTAKEN, slices.NO_EDIT: NO_EDIT, slices.NO_PAYLOAD: NO_PAYLOAD}


def of_one(sentence: str) -> str:
    """A sentence that follows a number of entries, as said of one."""
    return _OF_ONE.get(sentence, f"It is left out; such entries {sentence}.")


def leave_out(items: QuerySet[BulkItem], note: str) -> int:
    return items.update(outcome=ItemOutcome.LEFT_OUT, note=note[:160])


def leave_out_by_status(items: QuerySet[BulkItem], *, wanted: EntryStatus) -> int:
    """Those whose entry is not in the status that the act is for."""
    return sum(leave_out(items.filter(entry__status=status), note) for status, note in _BY_STATUS.items() if status != wanted)
