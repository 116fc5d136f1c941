"""Everything that can be known to be wrong with a sync before a row is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing

from syncs.choices import Detection, SyncMode
from syncs.connectors import Issue
from syncs.engine.mapping import MappingField, validate_mapping
from syncs.errors import RedriveError
from syncs.models import FieldMapping, Sync
from syncs.records import Operation
from syncs.services import connections
from syncs.services.schedules import validate_schedule
from syncs.services.versions import MAPPING_FIELDS


def mapping_of(lines: Iterable[FieldMapping]) -> list[MappingField]:
    return [MappingField.from_snapshot({name: getattr(line, name) for name in MAPPING_FIELDS}) for line in lines]


def validate(sync: Sync, *, mappings: Sequence[FieldMapping] | None = None) -> list[Issue]:
    """All issues, each with the field it stands in; ``mappings.<index>.<attribute>`` for a mapping line (from 0).

    Deep: the query's columns are asked of the warehouse, without reading rows. ``sync`` and ``mappings`` may be unsaved.
    What a connection refuses becomes an issue too; nothing is raised for bad settings.
    """
    if mappings is None:
        mappings = list(sync.mappings.order_by("position", "id")) if sync.pk else []
    issues = validate_schedule(sync.schedule_kind, sync.interval_minutes, sync.cron, sync.timezone)
    columns, found = _columns(sync)
    issues += found
    if columns is not None:
        issues += _column_issues(sync, columns)
    issues += validate_mapping(mapping_of(mappings), columns)
    return issues + _destination_issues(sync)


def _columns(sync: Sync) -> tuple[list[str] | None, list[Issue]]:
    """The query's columns in order, or None and why they are not known."""
    if not sync.query.strip():
        return None, [Issue("query", "Write the query: one SELECT.")]
    if sync.source_id is None:
        return None, [Issue("source", "Choose the source connection.")]
    try:
        with closing(connections.open_source(sync.source)) as source:
            return [column.name for column in source.columns(sync.query)], []
    except RedriveError as error:
        # A fault of the connection's own settings names one of its fields, which the sync's form does not have.
        field = "query" if error.field in ("query", "") else "source"
        return None, [Issue(field, error.message)]


def _column_issues(sync: Sync, columns: Sequence[str]) -> list[Issue]:
    issues = []
    doubled = sorted(name for name, count in Counter(columns).items() if count > 1)
    if doubled:
        text = f"The query returns the column {_listed(doubled)} twice. Give each column a name of its own (AS)."
        issues.append(Issue("query", text))
    if not sync.key_column_list:
        issues.append(Issue("key_columns", "Name the column that identifies a row."))
    lacking = [name for name in sync.key_column_list if name not in columns]
    if lacking:
        text = f"The query returns no column {_listed(lacking)}. It returns {_listed(columns)}."
        issues.append(Issue("key_columns", text))
    if len(set(sync.key_column_list)) < len(sync.key_column_list):
        issues.append(Issue("key_columns", "A key column is named twice."))
    if sync.detection == Detection.WATERMARK:
        issues += _watermark_issues(sync, columns)
    return issues


def _watermark_issues(sync: Sync, columns: Sequence[str]) -> list[Issue]:
    issues = []
    if not sync.cursor_column:
        issues.append(Issue("cursor_column", "Watermark detection needs a cursor column, for example updated_at."))
    elif sync.cursor_column not in columns:
        text = f"The query returns no column {sync.cursor_column}. It returns {_listed(columns)}."
        issues.append(Issue("cursor_column", text))
    if sync.mode == SyncMode.MIRROR:
        text = "Mirror mode must read every row to see what vanished. Choose changed rows, or another mode."
        issues.append(Issue("detection", text))
    return issues


def _destination_issues(sync: Sync) -> list[Issue]:
    if sync.destination_id is None:
        return [Issue("destination", "Choose the destination connection.")]
    if not sync.destination_object.strip():
        return [Issue("destination_object", "Name the object to write to.")]
    try:
        known = connections.objects(sync.destination)
        if known and sync.destination_object not in known:
            text = f"“{sync.destination.name}” has no object “{sync.destination_object}”. It has {_listed(known)}."
            return [Issue("destination_object", text)]
        opened = connections.open_destination(
            sync.destination, object_name=sync.destination_object, options=sync.destination_options
        )
    except RedriveError as error:
        field = error.field if error.field in ("destination_object", "destination_options") else "destination"
        return [Issue(field, error.message)]
    with closing(opened) as destination:
        return _mode_issues(sync, destination.capabilities.operations)


def _mode_issues(sync: Sync, operations: frozenset[Operation]) -> list[Issue]:
    needed = {Operation.UPSERT, Operation.DELETE} if sync.mode == SyncMode.MIRROR else {Operation(sync.mode)}
    lacking = sorted(needed - operations)
    if not lacking:
        return []
    text = f"“{sync.destination_object}” has no operation {_listed(lacking)}. It has {_listed(sorted(operations))}."
    return [Issue("mode", text)]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown}, and {len(names) - 12} more" if len(names) > 12 else shown
