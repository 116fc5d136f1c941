"""One dead letter with all that is said of it, as somebody may see it: for its page and for other programs alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dlq.choices import EntryStatus, RowState
from dlq.models import DLQEntry, DLQEvent, PayloadEdit
from dlq.services import attempts, edits, hints, passport, sight
from dlq.services.attempts import Carried
from dlq.services.changes import Verdict, parts_changed_since, verdict
from dlq.services.comparison import Comparison, compare
from dlq.services.live import Live
from dlq.services.paging import Position
from dlq.services.passport import Passport
from dlq.services.payloads import FieldDiff
from dlq.services.sight import Sight
from syncs.services import access, drift

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

_LOADED = ("sync__source", "sync__destination", "sync__current_version", "group", "run", "version", "owner", "closed_by")


@dataclass(frozen=True, slots=True)
class Detail:
    """``entry``: a copy with its values masked, never to be saved. ``edit``: the correction that waits; ``edit_diff``: what it
    changes. ``steps``: what to do next. ``held``: the schema of the destination has drifted."""

    entry: DLQEntry
    live: Live | None
    verdict: Verdict
    comparison: Comparison
    edit: PayloadEdit | None
    is_edit_current: bool
    edit_diff: Sequence[FieldDiff]
    carried: Sequence[Carried]
    events: Sequence[DLQEvent]
    steps: Sequence[str]
    changed_parts: Sequence[str]
    is_held: bool
    is_hiding: bool


def find(pk: int, user: User | AnonymousUser) -> DLQEntry | None:
    """With all that is said of it; None: it is not there, or of a sync that the user may not see."""
    return access.scoped(DLQEntry.objects.select_related(*_LOADED), user).filter(pk=pk).first()


def detail(
    entry: DLQEntry,
    *,
    now: Mapping[str, Any],
    live: Live | None = None,
    events: Sequence[DLQEvent] = (),
    has_calls: bool = False,
    is_revealed: bool = False,
) -> Detail:
    """``now``: the sync's snapshot of this moment. ``events``: those that are shown with it; ``has_calls``: and the calls that
    carried it. What is hidden in one of its texts is hidden in all of them."""
    is_open = entry.status == EntryStatus.OPEN
    seen = Sight(entry, using=None if is_revealed else sight.masker())
    calls = seen.carried(attempts.carried(entry, events)) if has_calls else []
    history = [seen.event(event) for event in events]
    edit = edits.standing(entry) if entry.is_live else None
    edit_diff = seen.diff(edits.diff(edit.before, edit.payload) if edit else ())
    shown, said = seen.live(live), seen.verdict(verdict(entry, now=now, live=live))
    seen.close()
    return Detail(
        entry=seen.entry,
        live=shown(),
        verdict=said(),
        comparison=compare(entry, live, now["mappings"], shown=(seen.entry, shown()) if seen.is_hiding else None),
        edit=edit,
        is_edit_current=edit is not None and edits.is_current(edit, entry),
        edit_diff=edit_diff(),
        carried=calls,
        events=history,
        steps=hints.steps(entry.error_type, is_gone=entry.row_state == RowState.GONE) if is_open else (),
        changed_parts=parts_changed_since(entry, now) or (),
        is_held=is_open and drift.is_held(entry.sync),
        is_hiding=seen.is_hiding,
    )


def row_passport(entry: DLQEntry, *, user: User, before: Position | None = None) -> tuple[DLQEntry, Passport]:
    """The entry and the passport of its row, both as the user may see them."""
    seen = Sight(entry, using=sight.masker())
    found = passport.passport(entry, user=user, before=before)
    moments = [replace(one, event=seen.event(one.event) if one.event else None) for one in found.moments]
    seen.close()
    return seen.entry, replace(found, moments=moments)
