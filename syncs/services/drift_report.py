"""What a sync's drift page shows: what changed, which mapping lines it breaks, which dead letters it explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from syncs.engine import schema_drift
from syncs.engine.schema_drift import Touch
from syncs.engine.schema_fit import Misfit
from syncs.models import AuditEvent, FieldMapping, SchemaChange, SchemaSnapshot, Sync
from syncs.models.schema import SchemaWatch
from syncs.services import drift, schema_store, schema_watch, schemas

CHANGES_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One change. ``lines``: the mapping lines that write its field; ``misfits``: what of the mapping it breaks now;
    ``is_touching``: it concerns this sync. ``since``: when the field was last seen unchanged, so that the change came later;
    ``dead_letter_count``: live ones whose error names the field, seen since then."""

    change: SchemaChange
    lines: tuple[FieldMapping, ...]
    misfits: tuple[Misfit, ...]
    is_touching: bool
    since: datetime
    dead_letter_count: int


@dataclass(frozen=True, slots=True)
class Report:
    """``since``: the drift, or else the newest change; ``broken`` and ``possible``: misfits that no recent change explains, for
    certain or depending on the values. ``snapshot`` None: the fields of the object are not known. ``acknowledged``: since the
    last break. ``is_held``: reprocess waits."""

    snapshot: SchemaSnapshot | None
    since: datetime | None
    lines: list[Line]
    more_count: int
    broken: list[Misfit]
    possible: list[Misfit]
    acknowledged: AuditEvent | None
    is_held: bool
    is_fitting: bool
    watch: SchemaWatch | None


def report(sync: Sync) -> Report:
    """At most ten queries. ``sync`` with its connections loaded."""
    snapshot = schema_store.current(sync.destination, sync.destination_object)
    watch = schema_watch.watch_of(sync.destination, sync.destination_object)
    if snapshot is None:
        return Report(None, sync.drift_since, [], 0, [], [], None, False, True, watch)
    since = sync.drift_since or snapshot.taken_at
    changes = list(schema_store.changes_since(sync.destination_id, sync.destination_object, since)[: CHANGES_SHOWN + 1])
    mapping = drift.lines_of(sync)
    touched = {id(touch.change): touch for touch in _touches(sync, changes, mapping, snapshot)}
    groups, unchanged = _groups(sync, changes), _last_unchanged(changes)
    lines = [
        _line(change, touched.get(id(change)), mapping, groups, unchanged[change.snapshot.number])
        for change in changes[:CHANGES_SHOWN]
    ]
    explained = {misfit for touch in touched.values() for misfit in touch.misfits}
    found = schemas.misfits(sync, mapping, snapshot)
    return Report(
        snapshot=snapshot,
        since=since,
        lines=sorted(lines, key=lambda line: (not line.is_touching, not line.change.is_breaking)),
        more_count=max(0, len(changes) - CHANGES_SHOWN),
        broken=[misfit for misfit in found if misfit not in explained and misfit.is_certain],
        possible=[misfit for misfit in found if misfit not in explained and not misfit.is_certain],
        acknowledged=drift.acknowledged(sync) if sync.drift_since else None,
        is_held=drift.is_held(sync),
        is_fitting=not any(touch.is_certain for touch in touched.values()),
        watch=watch,
    )


def _touches(
    sync: Sync, changes: Sequence[SchemaChange], mapping: Sequence[FieldMapping], snapshot: SchemaSnapshot
) -> list[Touch]:
    return schema_drift.touches(changes, schema_store.mapping_of(mapping), schema_store.fields(snapshot), mode=sync.mode)


def _line(
    change: SchemaChange, touch: Touch | None, mapping: Sequence[FieldMapping], groups: Sequence[_Group], since: datetime
) -> Line:
    lines = tuple(mapping[index] for index in touch.lines) if touch else ()
    count = sum(group.open_count for group in groups if group.field == change.field and group.last_seen_at >= since)
    return Line(change, lines, touch.misfits if touch else (), touch is not None, since, count)


class _Group(NamedTuple):
    """Of an error group."""

    field: str
    open_count: int
    last_seen_at: datetime


def _groups(sync: Sync, changes: Sequence[SchemaChange]) -> list[_Group]:
    """Groups with live dead letters whose errors name one of the fields. One query: the counters of the groups, no entries."""
    if not changes:
        return []
    groups: Any = getattr(sync, "error_groups")  # noqa: B009 - by its name: this app knows nothing of the one that keeps them
    found = groups.filter(field__in={change.field for change in changes}, open_count__gt=0)
    return [_Group(*row) for row in found.values_list(*_Group._fields)]


def _last_unchanged(changes: Sequence[SchemaChange]) -> dict[int, datetime]:
    """Number of a version -> when the version before it was seen last: what it changed was changed after that. One query."""
    taken = {change.snapshot.number: change.snapshot for change in changes}
    if not taken:
        return {}
    newest = next(iter(taken.values()))
    earlier = SchemaSnapshot.objects.filter(
        connection_id=newest.connection_id, object_name=newest.object_name, number__in=[number - 1 for number in taken]
    )
    seen = dict(earlier.values_list("number", "seen_at"))
    return {number: seen.get(number - 1, snapshot.taken_at) for number, snapshot in taken.items()}
