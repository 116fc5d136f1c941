"""Corrections by a file: an export is corrected in a spreadsheet, looked at as a difference, then kept as edited payloads.

This is the look: lines that cannot be taken are refused with their number, field and reason. ``import_keeping`` keeps the rest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dlq.choices import EntryStatus
from dlq.models import DLQEntry
from dlq.resources import CorrectionResource
from dlq.services import documents, edits, import_files, import_values, masking, moves, payloads
from dlq.services.export_plan import PREFIX, REST
from dlq.services.import_files import Line
from dlq.services.import_values import WHOLE, LineRefusedError
from dlq.services.masking import Masker
from dlq.services.masking_rules import shape
from dlq.services.moves import ActRefusedError
from dlq.services.payloads import FieldDiff
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Correction:
    """``body``: the payload as it will be sent. ``lines``: the difference. ``shown``: the same, hidden values masked."""

    number: int
    entry: DLQEntry
    body: str
    lines: tuple[FieldDiff, ...]
    shown: tuple[FieldDiff, ...]


@dataclass(frozen=True, slots=True)
class RefusedLine:
    number: int
    field: str
    reason: str


@dataclass(slots=True)
class Proposal:
    """``ignored``: columns that an import does not look at."""

    corrections: list[Correction] = field(default_factory=list)
    refused: list[RefusedLine] = field(default_factory=list)
    unchanged_count: int = 0
    ignored: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Of what would be kept: entry, failure and payload of each correction."""
        found = hashlib.sha256()
        for one in self.corrections:
            found.update(f"{one.entry.pk}\0{one.entry.last_failed_at.isoformat()}\0{one.body}\0".encode())
        return found.hexdigest()


# --- Looking


def propose(raw: bytes, name: str, *, by: User, is_masked: bool = False) -> Proposal:
    """What the file would change. ``is_masked``: hidden values are masked for whoever may see them, too.

    Raises ``ActRefusedError`` (``field`` "file") where the file as a whole cannot be taken.
    """
    names, lines = import_files.read(raw, name)
    known = CorrectionResource.names()
    if "id" not in names:
        raise import_files.refused("The file has no column “id”, so its rows cannot be told apart. Export anew with it.")
    flat = [one for one in names if one.startswith(PREFIX) or one == REST]
    if WHOLE not in names and not flat:
        raise import_files.refused("The file has no payload column to correct: export “payload”, whole or by fields.")
    if WHOLE in names and flat:
        raise import_files.refused("The file has the payload twice, whole and by fields. Delete one of the two.")
    wanted = {*known, *flat}
    proposal = Proposal(ignored=tuple(one for one in names if one and one not in wanted))
    reader = _Reader(proposal, by, may_see=not is_masked and by.has_perm("dlq.reveal_dlqentry"))
    for start in range(0, len(lines), _CHUNK):
        reader.read(lines[start : start + _CHUNK])
    return proposal


class _Reader:
    """Matches lines with entries, chunk by chunk: a few queries each."""

    def __init__(self, proposal: Proposal, by: User, *, may_see: bool) -> None:
        self._proposal = proposal
        self._by = by
        self._masker = masking.masker()
        self._may_see = may_see
        self._seen: dict[int, int] = {}
        self._key_fields: dict[tuple[int, int | None], list[str]] = {}

    def read(self, lines: list[Line]) -> None:
        ids = {line.number: pk for line in lines if (pk := _id(line.cells.get("id", ""))) is not None}
        chosen = DLQEntry.objects.filter(pk__in=set(ids.values())).select_related("sync", "version")
        found = {entry.pk: entry for entry in access.scoped(chosen, self._by).defer("response_excerpt", "note")}
        overtaken = set(DLQEntry.objects.filter(pk__in=found).filter(moves.is_overtaken()).values_list("pk", flat=True))
        for line in lines:
            try:
                self._take(line, found.get(ids.get(line.number, 0)), overtaken)
            except ActRefusedError as refusal:
                self._proposal.refused.append(RefusedLine(line.number, refusal.field or WHOLE, str(refusal)))

    def _take(self, line: Line, entry: DLQEntry | None, overtaken: set[int]) -> None:
        for column, reason in line.problems.items():
            if column in ("id", "row_key", WHOLE, "", REST) or column.startswith(PREFIX):
                raise LineRefusedError(reason, field=column or "line")
        if entry is None:
            raise LineRefusedError(f"“{line.cells.get('id', '')[:40]}” is no dead letter that you may see", field="id")
        if entry.pk in self._seen:
            raise LineRefusedError(f"is in line {self._seen[entry.pk]} already", field="id")
        self._seen[entry.pk] = line.number
        self._check_key(line, entry)
        texts = {"payload": entry.payload, "source_row": entry.source_row}
        if not entry.payload:
            if any(text for name, text in line.cells.items() if name == WHOLE or name.startswith(PREFIX)):
                raise LineRefusedError(edits.NOTHING_SENT, field=WHOLE)
            self._proposal.unchanged_count += 1
            return
        asked = import_values.corrected(texts, line.cells, self._masker)
        if asked is None:
            self._proposal.unchanged_count += 1
            return
        if entry.status != EntryStatus.OPEN:
            raise LineRefusedError("this dead letter is not open any more", field="id")
        if entry.pk in overtaken:
            raise LineRefusedError(edits.OVERTAKEN, field="id")
        self._propose(line, entry, asked)

    def _check_key(self, line: Line, entry: DLQEntry) -> None:
        given = line.cells.get("row_key")
        if given is None or given == entry.row_key:
            return
        texts = {"payload": entry.payload, "source_row": entry.source_row, "row_key": entry.row_key}
        if given != self._masker.entry(texts)["row_key"]:
            raise LineRefusedError(
                f"is “{given[:60]}”, but dead letter {entry.pk} is of another row; lines and ids may have been shifted",
                field="row_key",
            )

    def _propose(self, line: Line, entry: DLQEntry, asked: str) -> None:
        body = payloads.body_of(payloads.parsed(asked))
        lines = tuple(payloads.diff(entry.payload, body))
        if not lines:
            self._proposal.unchanged_count += 1
            return
        place = (entry.sync_id, entry.version_id)
        if place not in self._key_fields:
            self._key_fields[place] = edits.key_fields(entry)
        moved = payloads.changed_keys(entry.payload, body, self._key_fields[place])
        if moved:
            said = "is the key by which the destination finds the record; correct it in the warehouse"
            raise LineRefusedError(said, field=moved[0])
        shown = lines if self._may_see else tuple(_hidden(one, self._masker) for one in lines)
        self._proposal.corrections.append(Correction(line.number, entry, body, lines, shown))


def _id(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _hidden(line: FieldDiff, masker: Masker) -> FieldDiff:
    """Without the value as it was; what was written is the person's own."""
    if line.before is None or not masker.hides(line.field):
        return line
    before = documents.parse(line.before)
    return FieldDiff(line.field, documents.quoted(shape(documents.cell(before.value) if before else "")), line.after)


def by_sync(proposal: Proposal) -> list[tuple[str, int]]:
    return Counter(one.entry.sync.name for one in proposal.corrections).most_common()
