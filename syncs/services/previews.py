"""What a run would do with the first rows, or with chosen ones. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from syncs.choices import Detection
from syncs.destinations.base import Field
from syncs.engine.hashing import split_key
from syncs.engine.schema_fit import Misfit
from syncs.errors import ConfigError
from syncs.models import SchemaSnapshot, Sync
from syncs.records import RowValues
from syncs.services import connections, drift, mappings, schemas, versions
from syncs.services.preview_rows import Act, PreviewRow, Verdict, delivered, judged
from syncs.sources.base import SourceQuery

__all__ = ["LIMITS", "MOST_KEYS", "Act", "Preview", "PreviewRow", "Verdict", "preview"]

LIMITS = (5, 20, 100)
MOST_KEYS = 100
LONGEST_SECONDS = 15  # a person waits


@dataclass(frozen=True)
class Preview:
    """``columns`` in the query's order; ``rows[].values`` in the same order. ``counts``: rows per verdict.

    ``missing``: chosen keys that the query has no row of; ``vanished``: those of them that a mirror would delete. ``misfits``:
    what of the mapping the destination's fields break; ``snapshot``: which fields, None where nobody knows any. ``digest``: of
    the sync as it was when the rows were read. ``has_more``: the query has more rows than these. ``starts_over``: what the
    ledger knows is of another target, and a run would begin anew. ``drifted``: fields whose change waits for a clean preview.
    """

    columns: tuple[str, ...]
    rows: list[PreviewRow]
    missing: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    misfits: tuple[Misfit, ...] = ()
    snapshot: SchemaSnapshot | None = None
    digest: str = ""
    has_more: bool = False
    starts_over: bool = False
    drifted: frozenset[str] = frozenset()

    @property
    def counts(self) -> dict[Verdict, int]:
        return dict(Counter(row.verdict for row in self.rows))

    @property
    def acts(self) -> dict[Act, int]:
        """In the order of ``Act``."""
        found = Counter(row.act for row in self.rows)
        return {act: found[act] for act in Act if found[act]}

    @cached_property
    def violation_count(self) -> int:
        return sum(bool(row.violations) for row in self.rows)

    @cached_property
    def is_clean(self) -> bool:
        """At least one payload, and nothing known against any. While the sync has drifted, judged by the drifted fields alone:
        rows that were refused before the destination changed do not keep a backlog from being cleared."""
        if not any(row.payload is not None for row in self.rows):
            return False
        if self.drifted:
            return not any(_concerns(path, self.drifted) for row in self.rows for path in _paths(row)) and not any(
                misfit.is_certain and _concerns(misfit.field, self.drifted) for misfit in self.misfits
            )
        is_certain = any(misfit.is_certain for misfit in self.misfits)
        return not is_certain and not any(row.error or row.violations for row in self.rows)


def _held_against(row: PreviewRow, fields: Sequence[Field]) -> PreviewRow:
    if not fields or row.payload is None:
        return row
    return replace(row, violations=tuple(schemas.violations(row.payload, fields, row.operation)))


def _paths(row: PreviewRow) -> list[str]:
    """Destination fields that something is known against."""
    return [issue.field for issue in row.violations] + ([row.error.field] if row.error else [])


def _concerns(path: str, fields: Collection[str]) -> bool:
    path = path.removesuffix("[]")
    return any(path == name or path.startswith(f"{name}.") or name.startswith(f"{path}.") for name in fields if path)


def preview(sync: Sync, *, limit: int = 20, keys: Sequence[str] | None = None) -> Preview:
    """The first ``limit`` rows, or the rows of these row keys, mapped with today's mapping, held against the destination's
    fields and judged by the ledger.

    Writes nothing, here or there. Raises ``RedriveError`` kinds for a query, connection or mapping that cannot work.
    """
    if keys is not None and len(keys) > MOST_KEYS:
        raise ConfigError(
            f"{len(keys):,} row keys are too many for a preview; at most {MOST_KEYS} are looked at.", field="keys"
        )
    snapshot = versions.snapshot(sync)
    mapping = mappings.lines(sync)
    columns, rows, has_more = _read(sync, limit, keys)
    schema = schemas.current(sync.destination, sync.destination_object)
    fields: list[Field] = schemas.fields(schema) if schema else []
    found = judged(sync, mapping, columns, rows, snapshot)
    made = [_held_against(row, fields) for row in found.rows[: limit if keys is None else None]]
    present = {row.key for row in made}
    missing = tuple(key for key in dict.fromkeys(keys or ()) if key not in present)
    return Preview(
        columns=columns,
        rows=made,
        missing=missing,
        vanished=() if found.starts_over else delivered(sync, missing),
        misfits=tuple(schemas.misfits(sync, mapping, schema)) if schema else (),
        snapshot=schema,
        digest=versions.digest_of(snapshot),
        has_more=has_more,
        starts_over=found.starts_over,
        drifted=drift.drifted_fields(sync),
    )


def _read(sync: Sync, limit: int, keys: Sequence[str] | None) -> tuple[tuple[str, ...], list[RowValues], bool]:
    """(columns, rows, whether there are more). One row more than the limit is read: it may have the key of the last one."""
    width = len(sync.key_column_list)
    most = len(keys) * 3 if keys is not None else limit + 1  # a doubled key shows by its second row
    query = SourceQuery(
        sql=sync.query,
        key_columns=sync.key_column_list,
        keys=[_split(key, width) for key in keys] if keys is not None else None,
        limit=most,
    )
    with closing(connections.open_source(sync.source, at_most_seconds=LONGEST_SECONDS)) as source:
        found, rows = source.preview(query, limit=most)
    columns = tuple(column.name for column in found)
    lacking = [name for name in sync.key_column_list if name not in columns]
    if lacking:
        raise ConfigError(f"The query returns no column {', '.join(lacking)}.", field="key_columns")
    return columns, list(rows), keys is None and len(rows) > limit


def _split(key: str, width: int) -> tuple[str, ...]:
    try:
        parts = split_key(key, width)
    except (ValueError, TypeError):
        parts = ()
    if len(parts) != width or not all(isinstance(part, str) for part in parts):
        raise ConfigError(f"“{key[:80]}” is not a row key of this sync: it has {width} key columns.", field="keys")
    return parts


def note(sync: Sync, found: Preview, *, by: Any, door: str) -> bool:
    """Keep that somebody has seen this preview: a clean one of the sync as it is now releases the dead letters that a change of
    the destination holds back. True: it did."""
    return schemas.note_preview(sync, found.digest, found.is_clean, snapshot=found.snapshot, by=by, door=door)


def reads_from(sync: Sync) -> str:
    """From which cursor value on the next run reads; "" where it reads every row."""
    if sync.detection != Detection.WATERMARK or not isinstance(sync.watermark, dict):
        return ""
    return str(sync.watermark.get("value", ""))[:200]
