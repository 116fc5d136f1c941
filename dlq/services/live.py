"""One dead letter against the warehouse of this moment: the row by its key, and what today's mapping makes of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from dlq.choices import Door, EventKind, RowState
from dlq.models import DLQEntry
from dlq.services import moves, rowcheck
from dlq.services.moves import Act, ActRefusedError
from dlq.services.payloads import body_text
from syncs.engine.hashing import row_json, split_key
from syncs.engine.mapping import MappingField, compile_mapping
from syncs.errors import ErrorType, RedriveError
from syncs.records import RowError, RowValues
from syncs.services import connections
from syncs.sources.base import SourceQuery

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)
AT_MOST_SECONDS = 5  # to connect, and for a statement
NO_KEY = "The row has no usable key, so it cannot be looked up."
OTHER_KEY = "The row key was made of other columns than the sync has now, so the row cannot be looked up by it."
SAID = {
    RowState.UNKNOWN: "The row was looked up.",
    RowState.SAME: "The warehouse row is the one that was refused.",
    RowState.CHANGED: "The warehouse row has changed since it was refused.",
    RowState.GONE: "The warehouse has no such row any more.",
}
DOUBLED = "Several rows of the query have this row key now; the next run sends none of them."


@dataclass(frozen=True, slots=True)
class Live:
    """``problem``: why the warehouse could not be asked; then nothing else is known. ``row``: the row as JSON text, "" where it
    is gone. ``payload``: what would be sent now, as JSON text, "" where ``refused`` says why today's mapping makes none of it.
    """

    checked_at: datetime
    state: RowState = RowState.UNKNOWN
    row: str = ""
    payload: str = ""
    refused: str = ""
    refused_field: str = ""
    problem: str = ""
    warnings: Sequence[str] = field(default_factory=tuple)


def look(entry: DLQEntry, mapping: Sequence[Any]) -> Live:
    """Read the row (within seconds) and map it. ``mapping``: today's lines as a version's snapshot holds
    them. Never raises for what the warehouse does. Needs ``entry.sync.source`` loaded; writes nothing."""
    at = timezone.now()
    if entry.error_type == ErrorType.INVALID_KEY:
        return Live(at, problem=NO_KEY)
    try:
        columns, rows = _read(entry)
    except RedriveError as error:
        return Live(at, problem=error.message)
    except Exception as error:  # noqa: BLE001 - drivers raise what they like, and their words may hold the address
        logger.error("Dead letter %s: looking up its row failed with %s.", entry.pk, type(error).__name__)
        return Live(at, problem=f"The warehouse could not be asked ({type(error).__name__}). Test the connection on its page.")
    if not rows:
        return Live(at, RowState.GONE)
    texts = [row_json(columns, row) for row in rows]
    state = rowcheck.state_of(entry.source_row, texts)
    warnings = (DOUBLED,) if len(rows) > 1 else ()
    payload, fault = _mapped(columns, rows[0], mapping)
    refused, where = (fault.message, fault.field) if fault else ("", "")
    return Live(at, state, texts[0], payload, refused, where, warnings=warnings)


def _read(entry: DLQEntry) -> tuple[Sequence[str], list[RowValues]]:
    sync = entry.sync
    try:
        parts = split_key(entry.row_key, len(sync.key_column_list))
    except (ValueError, TypeError):
        parts = ()
    if len(parts) != len(sync.key_column_list):
        raise ActRefusedError(OTHER_KEY)
    query = SourceQuery(sql=sync.query, key_columns=sync.key_column_list, keys=[parts], limit=2)
    with closing(connections.open_source(sync.source, at_most_seconds=AT_MOST_SECONDS)) as source:
        found, rows = source.preview(query, limit=2)
    return [column.name for column in found], rows


def _mapped(columns: Sequence[str], row: RowValues, lines: Sequence[Any]) -> tuple[str, RowError | None]:
    try:
        mapper = compile_mapping([MappingField.from_snapshot(line) for line in lines], columns)
    except RedriveError as error:  # the mapping as a whole cannot work
        return "", RowError(ErrorType.MAPPING, error.message)
    result = mapper(row)
    if isinstance(result, RowError):
        return "", result
    try:
        return body_text(result), None
    except UnicodeEncodeError:
        return "", RowError(ErrorType.MAPPING, "A value is not valid Unicode (lone surrogate).")


def keep(entry: DLQEntry, live: Live) -> bool:
    """Remember on the entry what was found, unless the row has failed again meanwhile. Not an act: ``updated_at`` stays."""
    if live.problem:
        return False
    same = DLQEntry.objects.filter(pk=entry.pk, last_failed_at=entry.last_failed_at)
    return bool(same.update(row_state=live.state, row_checked_at=live.checked_at))


def check(entry: DLQEntry, mapping: Sequence[Any], *, by: User | None, door: Door) -> Live:
    """Look, remember, and note in the history that somebody looked. Raises ``ActRefusedError`` with the warehouse's own
    sentence when it cannot be asked."""
    live = look(entry, mapping)
    if live.problem:
        raise ActRefusedError(live.problem)
    act = Act(by=by, door=door, detail={"state": live.state.value})

    def work(at: datetime) -> Live:
        if keep(entry, live):
            mine = DLQEntry.objects.filter(pk=entry.pk)
            moves.check_events(moves.write_events(mine, kind=EventKind.CHECKED, act=act, at=at), 1)
        return live

    return moves.in_transaction(work)
