"""Keeping the corrections of a file, all of them in one transaction or none.

Between the look and the keeping the file waits in the export folder for an hour, under a name nobody can guess; what was looked
at is what is kept, or it is shown again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.core import signing

from dlq.choices import Door, EditState, EntryStatus, EventKind
from dlq.models import DLQEntry, DLQEvent, PayloadEdit
from dlq.services import edits, export_files, imports, moves
from dlq.services.imports import Correction, Proposal
from dlq.services.moves import ActRefusedError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_AGE = timedelta(hours=1)
_SALT = "dlq.import"
_CHUNK = 500
_PREFIX_OF_FILES = "import-"


def store(raw: bytes, name: str, proposal: Proposal, *, by: User) -> str:
    """Put the file aside until it is confirmed. Returns the signed token that finds it again."""
    remove_old()
    stored = f"{_PREFIX_OF_FILES}{secrets.token_hex(16)}"
    try:
        export_files.put(stored, raw)
    except OSError as error:
        raise ActRefusedError(export_files.problem(error), field="file") from error
    return signing.dumps({"file": stored, "name": name[:200], "user": by.pk, "seen": proposal.digest}, salt=_SALT)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that was looked at. ``seen``: the digest of what was shown."""

    raw: bytes
    name: str
    stored: str
    seen: str


def load(token: str, *, by: User) -> Waiting:
    """Raises ``ActRefusedError`` when it is too old, was changed on its way, or is somebody else's."""
    try:
        values = signing.loads(token, salt=_SALT, max_age=MAX_AGE)
    except signing.BadSignature:
        values = None
    path = export_files.find(values["file"]) if values and values["user"] == by.pk else None
    if values is None or path is None:
        raise ActRefusedError("The file was looked at over an hour ago, or is kept already. Choose it again.", field="file")
    return Waiting(path.read_bytes(), values["name"], values["file"], values["seen"])


def discard(waiting: Waiting) -> None:
    export_files.remove(waiting.stored)


def remove_old() -> None:
    """Files that nobody confirmed in time."""
    limit = time.time() - MAX_AGE.total_seconds()
    for path in export_files.folder().glob(f"{_PREFIX_OF_FILES}*"):
        if path.stat().st_mtime < limit:
            path.unlink(missing_ok=True)


def finish(waiting: Waiting, *, reason: str, by: User, door: Door) -> Proposal:
    """Keep what was looked at. Raises ``ActRefusedError``, also where the file would change something else by now."""
    proposal = imports.propose(waiting.raw, waiting.name, by=by, is_masked=True)
    if proposal.digest != waiting.seen:
        discard(waiting)
        raise ActRefusedError("Dead letters have changed since the file was looked at, so nothing is kept. Look at it again.")
    keep(proposal, reason=reason, by=by, door=door)
    discard(waiting)
    return proposal


def keep(proposal: Proposal, *, reason: str, by: User, door: Door) -> int:
    """Keep all the corrections, or none. Returns how many. Raises ``ActRefusedError``."""
    why = moves.checked_reason(reason, is_required=True)
    if not proposal.corrections:
        raise ActRefusedError("The file changes nothing, so there is nothing to keep.", field="file")

    def work(at: datetime) -> int:
        for start in range(0, len(proposal.corrections), _CHUNK):
            _keep_chunk(proposal.corrections[start : start + _CHUNK], why, by, door, at)
        return len(proposal.corrections)

    return moves.in_transaction(work)


def _keep_chunk(chunk: list[Correction], reason: str, by: User, door: Door, at: datetime) -> None:
    failed_at = {one.entry.pk: one.entry.last_failed_at for one in chunk}
    mine = DLQEntry.objects.filter(pk__in=failed_at, status=EntryStatus.OPEN)
    locked = mine.exclude(moves.is_overtaken()).order_by("pk").select_for_update(of=("self",))
    there = dict(locked.values_list("pk", "last_failed_at"))
    lost = [one.number for one in chunk if there.get(one.entry.pk) != one.entry.last_failed_at]
    if lost or mine.update(updated_at=at) != len(chunk):
        raise ActRefusedError(
            f"Line {lost[0] if lost else chunk[0].number}: the dead letter has changed since you looked. Nothing is kept.",
            field="file",
        )
    PayloadEdit.objects.filter(entry__in=list(failed_at), state=EditState.READY).update(state=EditState.DROPPED)
    made = PayloadEdit.objects.bulk_create(_edits(chunk, reason, by, door, at))
    DLQEvent.objects.bulk_create(
        DLQEvent(
            entry_id=one.entry.pk,
            kind=EventKind.EDITED,
            at=at,
            actor=by,
            door=door,
            reason=reason,
            detail={"edit": edit.pk, "file": True, **edits.told(one.lines)},
        )
        for one, edit in zip(chunk, made, strict=True)
    )


def _edits(chunk: Iterable[Correction], reason: str, by: User, door: Door, at: datetime) -> Iterable[PayloadEdit]:
    for one in chunk:
        yield PayloadEdit(
            entry=one.entry,
            before=one.entry.payload,
            payload=one.body,
            base_failed_at=one.entry.last_failed_at,
            reason=reason,
            door=door,
            created_by=by,
            created_at=at,
        )
