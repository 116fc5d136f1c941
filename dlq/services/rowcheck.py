"""Dead letters against the warehouse: is the row still what was refused? Reads only."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any

from dlq.choices import RowState
from dlq.models import DLQEntry
from syncs.engine.hashing import row_json, row_key
from syncs.errors import ConfigError, ErrorType
from syncs.models import Sync
from syncs.services import connections
from syncs.services.rows import rows_of_keys
from syncs.sources.base import Source, SourceQuery


def compare_rows(sync: Sync, entries: Sequence[DLQEntry], *, at_most_seconds: int | None = None) -> dict[int, RowState]:
    """Entry id -> what the warehouse has now for its key: the SAME row as was refused, a CHANGED one, or none (GONE).

    ``entries`` are of this sync, with ``row_key`` and ``source_row``. They are compared by the columns that were stored; a
    column that the query returns only now is no difference. Entries without a usable key are left out of the answer. Raises
    ``RedriveError`` kinds for a connection or query that does not work.
    """
    keyed = [entry for entry in entries if entry.error_type != ErrorType.INVALID_KEY]
    if not keyed:
        return {}
    with closing(connections.open_source(sync.source, at_most_seconds=at_most_seconds)) as source:
        found = _read(source, sync, [entry.row_key for entry in keyed])
    return {entry.pk: state_of(entry.source_row, found.get(entry.row_key, [])) for entry in keyed}


def _read(source: Source, sync: Sync, keys: Sequence[str]) -> dict[str, list[str]]:
    """Row key -> its rows as JSON texts, as a dead letter stores them. A key that is not unique has several."""
    query = SourceQuery(sql=sync.query, key_columns=tuple(sync.key_column_list))
    columns = tuple(column.name for column in source.columns(query.sql))
    lacking = [name for name in query.key_columns if name not in columns]
    if lacking:
        raise ConfigError(f"The query returns no column {', '.join(lacking)}.", field="key_columns")
    indexes = [columns.index(name) for name in query.key_columns]
    found = defaultdict(list)
    for rows in rows_of_keys(source, query, list(dict.fromkeys(keys))):
        for row in rows:
            found[row_key([row[index] for index in indexes]) or ""].append(row_json(columns, row))
    return found


def state_of(stored: str, now: Sequence[str]) -> RowState:
    """``stored``: the row as it was refused; ``now``: the rows of its key in the warehouse, both as JSON text."""
    if not now:
        return RowState.GONE
    return RowState.SAME if any(_is_same(stored, text) for text in now) else RowState.CHANGED


def _is_same(stored: str, now: str) -> bool:
    if stored == now:
        return True
    then, there = _values(stored), _values(now)
    return bool(then) and all(name in there and there[name] == value for name, value in then.items())


def _values(text: str) -> dict[str, Any]:
    try:
        loaded = json.loads(text, parse_float=Decimal) if text else {}
    except (ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}
