"""Payloads corrected by hand or by a file: kept with their reason, shown before they are sent, sent once.

A correction is made for one failure. Once the row has failed again, or a newer version of it has landed, it is out of date.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Exists, OuterRef

from dlq.choices import Door, EditState, EntryStatus, EventKind
from dlq.models import DLQEntry, PayloadEdit
from dlq.services import moves, payloads
from dlq.services.moves import Act, ActRefusedError
from dlq.services.payloads import FieldDiff, diff, pretty
from syncs.models import FieldMapping, Run

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = [
    "FieldDiff", "bodies", "checked", "diff", "has_ready", "is_current", "key_fields", "pretty", "put_back", "ready", "save",
    "standing", "told", "use", "withdraw",
]  # fmt: skip

NOTHING_SENT = (
    "Nothing was sent of this row, so there is no payload to correct. Correct the value in the warehouse or the mapping, "
    "then reprocess."
)
NOT_OPEN = "This dead letter is not open any more, so its payload cannot be corrected. Reload the page."
FAILED_AGAIN = "The row has failed again since you opened this page. Look at the new failure, then correct the payload anew."
OVERTAKEN = "A newer version of the row has been delivered since it failed; sending this payload would put older data over it."
_FIELDS_IN_EVENT = 50
_VALUE_IN_EVENT = 200


def standing(entry: DLQEntry) -> PayloadEdit | None:
    """The correction that waits to be sent, out of date or not."""
    return entry.edits.filter(state=EditState.READY).select_related("created_by").first()


def is_current(edit: PayloadEdit, entry: DLQEntry) -> bool:
    """False: the row has failed again since the correction was made."""
    return edit.base_failed_at == entry.last_failed_at


def ready(entry: DLQEntry) -> PayloadEdit | None:
    """The correction that would be sent now; None where there is none, or an out-of-date one."""
    edit = standing(entry)
    return edit if edit is not None and is_current(edit, entry) else None


def has_ready() -> Exists:
    """Condition on entries: a correction waits that was made for this very failure."""
    mine = PayloadEdit.objects.filter(
        entry=OuterRef("pk"), state=EditState.READY, base_failed_at=OuterRef("last_failed_at")
    ).order_by()
    return Exists(mine)


def checked(entry: DLQEntry, text: str) -> str:
    """The corrected payload as it will be sent. Raises ``ActRefusedError`` (``field`` "payload") for what cannot be sent."""
    if not entry.payload:
        raise ActRefusedError(NOTHING_SENT, field="payload")
    body = payloads.body_of(payloads.parsed(text))
    if not diff(entry.payload, body):
        raise ActRefusedError("Nothing is changed: this is the payload that was refused.", field="payload")
    moved = payloads.changed_keys(entry.payload, body, key_fields(entry))
    if moved:
        raise ActRefusedError(
            f"{', '.join(moved)} is the key by which the destination finds the record; with another value the correction "
            "would go to another record. Put it back, or correct the key in the warehouse.",
            field="payload",
        )
    return body


def key_fields(entry: DLQEntry) -> list[str]:
    """The destination's key: of the mapping that made the payload, and of today's."""
    lines = entry.version.snapshot.get("mappings", []) if entry.version else []
    then = [str(line.get("destination_field", "")) for line in lines if line.get("is_key")]
    today = FieldMapping.objects.filter(sync_id=entry.sync_id, is_key=True).values_list("destination_field", flat=True)
    return [name for name in dict.fromkeys([*then, *today]) if name]


def save(entry: DLQEntry, *, text: str, reason: str, by: User | None, door: Door, seen_failed_at: datetime) -> PayloadEdit:
    """Keep a correction, ready to be sent; an older one that was not sent is dropped. ``seen_failed_at``: the failure that the
    person looked at. Raises ``ActRefusedError`` with ``field`` "payload" or "reason"."""
    why = moves.checked_reason(reason, is_required=True)
    body = checked(entry, text)
    found = diff(entry.payload, body)

    def work(at: datetime) -> PayloadEdit:
        mine = DLQEntry.objects.filter(pk=entry.pk, status=EntryStatus.OPEN, last_failed_at=seen_failed_at)
        if not mine.exclude(moves.is_overtaken()).update(updated_at=at):
            raise ActRefusedError(_why_not(entry, seen_failed_at), field="payload")
        PayloadEdit.objects.filter(entry=entry, state=EditState.READY).update(state=EditState.DROPPED)
        edit = PayloadEdit.objects.create(
            entry=entry,
            before=entry.payload,
            payload=body,
            base_failed_at=seen_failed_at,
            reason=why,
            door=door,
            created_by=by,
            created_at=at,
        )
        act = Act(by=by, door=door, reason=why, detail={"edit": edit.pk, **told(found)})
        moves.check_events(moves.write_events(mine, kind=EventKind.EDITED, act=act, at=at), 1)
        return edit

    return moves.in_transaction(work)


def _why_not(entry: DLQEntry, seen_failed_at: datetime) -> str:
    now = DLQEntry.objects.filter(pk=entry.pk).values("status", "last_failed_at").first()
    if now is None or now["status"] != EntryStatus.OPEN:
        return NOT_OPEN
    return FAILED_AGAIN if now["last_failed_at"] != seen_failed_at else OVERTAKEN


def told(found: Sequence[FieldDiff]) -> dict[str, Any]:
    """The differences as the history keeps them: short, and without what no database text holds."""
    lines = [[_short(one.field), _short(one.before), _short(one.after)] for one in found[:_FIELDS_IN_EVENT]]
    return {"fields": lines, "field_count": len(found)}


def _short(text: str | None) -> str | None:
    if text is None:
        return None
    cut = text if len(text) <= _VALUE_IN_EVENT else f"{text[: _VALUE_IN_EVENT - 1]}…"
    return cut.replace("\0", "\\u0000").encode("utf-8", "replace").decode()


def withdraw(entry: DLQEntry, *, by: User | None, door: Door, reason: str = "") -> bool:
    """Take the waiting correction back; it stays in the history. False: there was none."""
    why = moves.checked_reason(reason, is_required=False)

    def work(at: datetime) -> bool:
        edit = PayloadEdit.objects.filter(entry=entry, state=EditState.READY).values_list("pk", flat=True).first()
        if edit is None or not PayloadEdit.objects.filter(pk=edit, state=EditState.READY).update(state=EditState.DROPPED):
            return False
        mine = DLQEntry.objects.filter(pk=entry.pk)
        mine.update(updated_at=at)
        moves.write_events(mine, kind=EventKind.EDITED, act=Act(by, door, why, {"withdrawn": edit}), at=at)
        return True

    return moves.in_transaction(work)


def use(run: Run, queued: models.QuerySet[DLQEntry]) -> None:
    """The corrections of these entries go with the run that sends them. Within the transaction that queues them."""
    PayloadEdit.objects.filter(entry__in=queued.order_by().values("pk"), state=EditState.READY).update(
        state=EditState.USED, used_run=run
    )


def bodies(run: Run, ids: Sequence[int]) -> dict[int, str]:
    """Entry id -> the corrected payload that goes with this run."""
    mine = PayloadEdit.objects.filter(entry_id__in=ids, used_run=run, state=EditState.USED)
    return dict(mine.values_list("entry_id", "payload"))


def put_back(run: Run, waiting: models.QuerySet[DLQEntry]) -> None:
    """The run ended without sending these entries: their corrections wait again. Before the entries leave the run."""
    PayloadEdit.objects.filter(entry__in=waiting.order_by().values("pk"), state=EditState.USED, used_run=run).update(
        state=EditState.READY, used_run=None
    )
