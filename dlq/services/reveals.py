"""Seeing the values that pages mask: of one dead letter, for one answer, with a reason that its history keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import signing

from dlq.choices import Door, EventKind
from dlq.models import DLQEntry, DLQEvent
from dlq.services import moves
from dlq.services.moves import Act, ActRefusedError

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User

TO_EDIT = "edit"
_SALT = "dlq.reveal"
_WINDOW = timedelta(hours=1)
_OPEN_SECONDS = 8 * 3600  # an editor may stay open for a working day


def reveal(entry: DLQEntry, *, by: User, reason: str, door: Door, purpose: str = "") -> None:
    """Note that ``by`` sees the true values now, before they are shown. Raises ``ActRefusedError``: without a reason (``field``
    "reason"), and for somebody who has seen as many within an hour as one may."""
    why = moves.checked_reason(reason, is_required=True)
    act = Act(by=by, door=door, reason=why, detail={"purpose": purpose} if purpose else {})

    def work(at: datetime) -> None:
        _count(by, at)
        mine = DLQEntry.objects.filter(pk=entry.pk)
        moves.check_events(moves.write_events(mine, kind=EventKind.REVEALED, act=act, at=at), 1)

    moves.in_transaction(work)


def _count(by: User, at: datetime) -> None:
    """One at a time for each person, so that none slips in between."""
    most: int = settings.RETL["REVEALS_PER_HOUR"]
    get_user_model().objects.select_for_update().filter(pk=by.pk).values_list("pk").first()
    mine = DLQEvent.objects.filter(actor=by, kind=EventKind.REVEALED, at__gt=at - _WINDOW)
    if mine.order_by().count() >= most:
        raise ActRefusedError(
            f"You have seen the true values of {most:,} dead letters within an hour, which is the most. Wait, or export "
            "them unmasked if your roles allow it."
        )


def pass_for(entry: DLQEntry, by: User) -> str:
    """Says that ``by`` has revealed this entry to edit it, for as long as an editor stays open."""
    return signing.dumps([entry.pk, by.pk], salt=_SALT)


def is_pass(text: str, entry: DLQEntry, by: User) -> bool:
    try:
        named = signing.loads(text[:500], salt=_SALT, max_age=_OPEN_SECONDS)
    except signing.BadSignature:
        return False
    return bool(named == [entry.pk, by.pk])
