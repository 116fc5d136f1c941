"""The second post of a bulk act: what the person chose is held against what the page showed, then the operation is made.

Nothing is counted here, so that it costs the same for one dead letter and for a million.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import F

from dlq.choices import Door, EditState, ReprocessMode
from dlq.models import BulkOperation, PayloadEdit
from dlq.services import operations
from dlq.services.moves import ActRefusedError
from dlq.services.preflight import needs_acknowledgement
from dlq.services.snapshots import BulkKind, Snapshot

if TYPE_CHECKING:
    from django.contrib.auth.models import User

ONE_WAVE = (50_000,)  # without waves: as many at once as an operation sends
USUAL_REASONS = (
    "Not needed any more",
    "Test data",
    "Corrected by hand at the destination",
    "The row was deleted on purpose",
    "Another row took its place",
    "Cannot be repaired; the loss is accepted",
)
UNACKNOWLEDGED = (
    "Nothing is known to have changed in what would be sent, so it is likely to be refused with the same error. "
    "Confirm the root cause first, then tick that you have."
)
_MODES = {
    ReprocessMode.CURRENT: "reprocess",
    ReprocessMode.STORED: "resend",
    ReprocessMode.PAYLOAD: "resend",
    ReprocessMode.EDITED: "edit",
}
_NEEDED = {
    BulkKind.REPROCESS: "reprocess",
    BulkKind.DISCARD: "discard",
    BulkKind.EXPORT: "export",
    BulkKind.REOPEN: "discard",
    BulkKind.ASSIGN: "annotate",
    BulkKind.CHECK: "annotate",  # it reads many warehouse rows and notes what it found
}
_FIRST_ACTS = (BulkKind.REPROCESS, BulkKind.DISCARD, BulkKind.REOPEN, BulkKind.ASSIGN)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chose on the confirmation page. ``typed``: the number as typed. ``owner``: for assign; None: nobody."""

    reason: str = ""
    typed: str = ""
    is_acknowledged: bool = False
    mode: ReprocessMode = ReprocessMode.CURRENT
    waves: tuple[int, ...] | None = None
    rows_per_minute: int | None = None
    halt_percent: int | None = None
    owner: int | None = None


def place(snapshot: Snapshot, choice: Choice, *, by: User, may: Callable[[str], bool], door: Door) -> BulkOperation:
    """The operation; posted twice, the one that the first post made. Raises ``ActRefusedError`` with the field to correct.

    ``may``: whether the person has a permission on dead letters, by its word (``resend``).
    """
    _check_number(snapshot, choice.typed)
    if snapshot.kind != BulkKind.REPROCESS:
        options = {"owner": choice.owner} if snapshot.kind == BulkKind.ASSIGN else None
        return operations.create(snapshot, by=by, reason=choice.reason, door=door, options=options)
    if not may(_MODES[choice.mode]):
        raise ActRefusedError("You may not send that. Choose today's warehouse row, or ask who may.", field="mode")
    if needs_acknowledgement(snapshot.shown, choice.mode) and not choice.is_acknowledged:
        raise ActRefusedError(UNACKNOWLEDGED, field="acknowledged")
    if snapshot.shown.count > settings.RETL["REASON_ABOVE"] and not choice.reason.strip():
        above = settings.RETL["REASON_ABOVE"]
        raise ActRefusedError(f"Give a reason or a ticket: it is asked for above {above:,} dead letters.", field="reason")
    return operations.create(
        snapshot,
        by=by,
        reason=choice.reason,
        door=door,
        mode=choice.mode,
        waves=ONE_WAVE if choice.waves is None else choice.waves,
        rows_per_minute=choice.rows_per_minute,
        halt_percent=choice.halt_percent,
    )


def needed(kind: BulkKind) -> str:
    """The word of the permission on dead letters that an act needs."""
    return _NEEDED[kind]


def needed_for(mode: ReprocessMode) -> str:
    """The same for what a reprocess sends."""
    return _MODES[mode]


def needs_number(snapshot: Snapshot) -> bool:
    return snapshot.kind in _FIRST_ACTS and snapshot.shown.count > settings.RETL["TYPED_COUNT_ABOVE"]


def needs_reason(snapshot: Snapshot) -> bool:
    is_large = snapshot.kind == BulkKind.REPROCESS and snapshot.shown.count > settings.RETL["REASON_ABOVE"]
    return snapshot.kind == BulkKind.DISCARD or is_large


def _check_number(snapshot: Snapshot, typed: str) -> None:
    """With or without separators of thousands: ``158,194``, ``158194``, ``158 194``. A number that was not asked for is held
    against the count, too."""
    if not (needs_number(snapshot) or typed.strip()):
        return
    plain = typed.translate(dict.fromkeys(map(ord, ",.' \u00a0\u202f\u2009_")))
    if not (plain.isascii() and plain.isdigit() and len(plain) < 19 and int(plain) == snapshot.shown.count):
        raise ActRefusedError(f"Type {snapshot.shown.count:,}, the number of dead letters, to confirm it.", field="typed")


def modes(snapshot: Snapshot, may: Callable[[str], bool]) -> dict[ReprocessMode, int | None]:
    """What the person may send, with how many have it (None: all may). One query where corrections may be sent."""
    found: dict[ReprocessMode, int | None] = {}
    for mode, needed in _MODES.items():
        if not may(needed):
            continue
        corrected = _corrected(snapshot) if mode is ReprocessMode.EDITED else None
        if corrected != 0:
            found[mode] = corrected
    return found


def _corrected(snapshot: Snapshot) -> int:
    ready = PayloadEdit.objects.filter(state=EditState.READY, base_failed_at=F("entry__last_failed_at"))
    return ready.filter(entry__in=snapshot.entries().open().order_by()).count()
