"""The acts on a single dead letter: exactly one caller wins, and everybody else is told what stood in the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlq.choices import Door, ReprocessMode
from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.services import entries
from dlq.services.entries import ActResult
from dlq.services.moves import ActRefusedError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from syncs.models import Run


@dataclass(frozen=True, slots=True)
class Done:
    """``entry``: as it is now, with its owner. ``sentence``: what was done."""

    entry: DLQEntry
    sentence: str
    run: Run | None = None


def reprocess(entry: DLQEntry, *, mode: ReprocessMode, by: User, reason: str, door: Door) -> Done:
    return _done(entry, entries.reprocess(_only(entry), by=by, reason=reason, mode=mode, door=door), "queued")


def delete_at_destination(entry: DLQEntry, *, by: User, reason: str, door: Door) -> Done:
    result = entries.delete_at_destination(_only(entry), by=by, reason=reason, door=door)
    return _done(entry, result, "queued to be deleted at the destination")


def discard(entry: DLQEntry, *, by: User, reason: str, door: Door) -> Done:
    return _done(entry, entries.discard(_only(entry), by=by, reason=reason, door=door), "discarded")


def reopen(entry: DLQEntry, *, by: User, reason: str, door: Door) -> Done:
    return _done(entry, entries.reopen(_only(entry), by=by, reason=reason, door=door), "reopened")


def assign(entry: DLQEntry, *, owner: User | None, by: User, door: Door) -> Done:
    """To give it to who has it already changes nothing, and is no refusal."""
    entries.assign(_only(entry), owner=owner, by=by, door=door)
    said = f"This dead letter is {owner.get_username()}'s." if owner else "This dead letter has no owner now."
    return Done(now(entry), said)


def note(entry: DLQEntry, *, text: str, by: User, door: Door) -> Done:
    entries.note(entry, text=text, by=by, door=door)
    return Done(now(entry), "The note is saved.")


def now(entry: DLQEntry) -> DLQEntry:
    """As it is in the database at this moment. Raises ``ActRefusedError`` when it is gone."""
    found = DLQEntry.objects.select_related("owner").filter(pk=entry.pk).first()
    if found is None:
        raise ActRefusedError("This dead letter is not there any more: what is closed is not kept for ever.")
    return found


def _only(entry: DLQEntry) -> DLQEntryQuerySet:
    return DLQEntry.objects.filter(pk=entry.pk)


def _done(entry: DLQEntry, result: ActResult, verb: str) -> Done:
    """Raises ``ActRefusedError`` where it was not taken."""
    if not result.taken:
        why = " ".join(f"{str(one).rstrip('.')}." for one in result.left_out)
        raise ActRefusedError(f"Nothing was {verb}. Left out: {why}")
    return Done(now(entry), f"This dead letter is {verb}.", next(iter(result.runs), None))
