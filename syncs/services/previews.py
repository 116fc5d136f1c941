"""What a run would do with the first rows, or with chosen ones. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from syncs.choices import Detection
from syncs.engine.hashing import canonical_body, hash64, hash_row, key_problem, row_key, split_key
from syncs.engine.mapping import compile_mapping
from syncs.errors import ConfigError, ErrorType
from syncs.models import DeliveredRow, Sync
from syncs.records import RowError, RowValues
from syncs.services import connections
from syncs.services.validation import mapping_of
from syncs.sources.base import SourceQuery


class Verdict(StrEnum):
    """Against the ledger: never sent, differs from what was accepted, equals it, waits in the DLQ, cannot be sent."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """``key`` is None where the row has none. Either ``payload`` or ``error`` is set."""

    key: str | None
    values: RowValues
    payload: dict[str, Any] | None
    error: RowError | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Preview:
    """``columns`` in the query's order; ``rows[].values`` in the same order. ``counts``: rows per verdict."""

    columns: tuple[str, ...]
    rows: list[PreviewRow]

    @property
    def counts(self) -> dict[Verdict, int]:
        return dict(Counter(row.verdict for row in self.rows))


def preview(sync: Sync, *, limit: int = 20, keys: Sequence[str] | None = None) -> Preview:
    """The first ``limit`` rows, or the rows of these row keys, mapped with today's mapping and judged by the ledger.

    Writes nothing, here or there. Raises ``RedriveError`` kinds for a query, connection or mapping that cannot work.
    """
    width = len(sync.key_column_list)
    query = SourceQuery(
        sql=sync.query,
        key_columns=sync.key_column_list,
        keys=[_split(key, width) for key in keys] if keys is not None else None,
        limit=limit,
    )
    with closing(connections.open_source(sync.source)) as source:
        found, rows = source.preview(query, limit=limit)
    columns = tuple(column.name for column in found)
    lacking = [name for name in sync.key_column_list if name not in columns]
    if lacking:
        raise ConfigError(f"The query returns no column {', '.join(lacking)}.", field="key_columns")
    return Preview(columns, _judge(sync, columns, rows))


def _split(key: str, width: int) -> tuple[str, ...]:
    try:
        parts = split_key(key, width)
    except (ValueError, TypeError):
        parts = ()
    if len(parts) != width:
        raise ConfigError(f"“{key}” is not a row key of this sync: it has {width} key columns.", field="keys")
    return parts


def _judge(sync: Sync, columns: tuple[str, ...], rows: Sequence[RowValues]) -> list[PreviewRow]:
    mapper = compile_mapping(mapping_of(sync.mappings.order_by("position", "id")), columns)
    indexes = [columns.index(name) for name in sync.key_column_list]
    mapped = [(_key(row, indexes), row, mapper(row)) for row in rows]
    doubled = {key for key, count in Counter(key for key, _, _ in mapped).items() if count > 1}
    ledger = {
        row_key: (accepted, held, is_permanent)
        for row_key, accepted, held, is_permanent in DeliveredRow.objects.filter(
            sync=sync, row_key__in=[key for key, _, _ in mapped if key]
        ).values_list("row_key", "payload_hash", "held_hash", "is_hold_permanent")
    }
    sends_all = sync.detection == Detection.ALL_ROWS
    judged = []
    for key, row, result in mapped:
        if key is None or key in doubled:
            text = "Several rows have this row key." if key else "The row key is empty or too long."
            result = RowError(ErrorType.INVALID_KEY, text, field=", ".join(sync.key_column_list))
        error = result if isinstance(result, RowError) else None
        payload = None if isinstance(result, RowError) else result
        content = hash_row(columns, row) if payload is None else hash64(canonical_body(payload))
        verdict = _verdict(content, ledger.get(key or ""), is_refused=error is not None, sends_all=sends_all)
        judged.append(PreviewRow(key, row, payload, error, verdict))
    return judged


def _key(row: RowValues, indexes: Sequence[int]) -> str | None:
    key = row_key([row[index] for index in indexes])
    return None if key is None or key_problem(key) else key


def _verdict(content: int, known: tuple[int | None, int | None, bool] | None, *, is_refused: bool, sends_all: bool) -> Verdict:
    if is_refused:
        return Verdict.REFUSED
    if known is None:
        return Verdict.NEW
    accepted, held, is_permanent = known
    if held == content and is_permanent:
        return Verdict.HELD
    if accepted is None:
        return Verdict.NEW
    return Verdict.UNCHANGED if accepted == content and not sends_all else Verdict.CHANGED
