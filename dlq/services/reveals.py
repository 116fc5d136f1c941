"""Seeing the values that pages mask: of one dead letter, for one answer, with a reason that its history keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core import signing

from dlq.choices import Door, EventKind
from dlq.models import DLQEntry
from dlq.services import moves
from dlq.services.moves import Act

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User

TO_EDIT = "edit"
_SALT = "dlq.reveal"
_OPEN_SECONDS = 8 * 3600  # an editor may stay open for a working day


def reveal(entry: DLQEntry, *, by: User, reason: str, door: Door, purpose: str = "") -> None:
    """Note that ``by`` sees the true values now, before they are shown. Raises ``ActRefusedError`` (``field`` "reason")."""
    why = moves.checked_reason(reason, is_required=True)
    act = Act(by=by, door=door, reason=why, detail={"purpose": purpose} if purpose else {})

    def work(at: datetime) -> None:
        mine = DLQEntry.objects.filter(pk=entry.pk)
        moves.check_events(moves.write_events(mine, kind=EventKind.REVEALED, act=act, at=at), 1)

    moves.in_transaction(work)


def pass_for(entry: DLQEntry, by: User) -> str:
    """Says that ``by`` has revealed this entry to edit it, for as long as an editor stays open."""
    return signing.dumps([entry.pk, by.pk], salt=_SALT)


def is_pass(text: str, entry: DLQEntry, by: User) -> bool:
    try:
        named = signing.loads(text[:500], salt=_SALT, max_age=_OPEN_SECONDS)
    except signing.BadSignature:
        return False
    return bool(named == [entry.pk, by.pk])
