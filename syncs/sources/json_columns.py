"""JSON columns of drivers that hand them over as text."""

from __future__ import annotations

import json
from contextlib import suppress

from syncs.records import RowValues


def with_json(rows: list[RowValues], columns: list[int]) -> list[RowValues]:
    """The rows with these columns' JSON text read; text that is no JSON stays text."""
    changed = []
    for row in rows:
        values = list(row)
        for at in columns:
            if isinstance(values[at], str):
                with suppress(ValueError, RecursionError):
                    values[at] = json.loads(values[at])
        changed.append(tuple(values))
    return changed
