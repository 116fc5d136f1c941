"""What the schema page of a connection shows: its objects, the versions of one, and the syncs that use it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Max, Q

from syncs.destinations.base import Field
from syncs.engine.schema_fit import Misfit
from syncs.errors import RedriveError
from syncs.models import Connection, SchemaChange, SchemaSnapshot, Sync
from syncs.models.schema import SchemaWatch
from syncs.services import access, connections, drift, schema_store, schema_watch, schemas

if TYPE_CHECKING:
    from django.contrib.auth.models import User

FIELDS_SHOWN = 300
CHANGES_SHOWN = 100
VERSIONS_SHOWN = 30
OBJECTS_SHOWN = 500


@dataclass(frozen=True, slots=True)
class ObjectLine:
    """``snapshot``: the newest, without its fields. ``sync_count``, ``drifted_count``: of the syncs that the user may see."""

    name: str
    snapshot: SchemaSnapshot | None
    watch: SchemaWatch | None
    sync_count: int
    drifted_count: int


@dataclass(frozen=True, slots=True)
class ObjectList:
    """``problem``: why the settings of the connection name no objects."""

    lines: list[ObjectLine]
    more_count: int
    problem: str


def objects(connection: Connection, user: User) -> ObjectList:
    """Objects that the settings name, that syncs write to, or whose fields are kept. Four queries."""
    names, problem = _named(connection)
    syncs = access.scoped(Sync.objects.active().filter(destination=connection), user, by="pk")
    used = list(syncs.values_list("destination_object", "drift_since"))
    newest = SchemaSnapshot.objects.filter(connection=connection).values("object_name").annotate(last=Max("number"))
    wanted = Q()
    for row in newest[: OBJECTS_SHOWN * 2]:
        wanted |= Q(object_name=row["object_name"], number=row["last"])
    kept = SchemaSnapshot.objects.filter(wanted, connection=connection).defer("fields") if wanted else []
    snapshots = {snapshot.object_name: snapshot for snapshot in kept}
    watches = {watch.object_name: watch for watch in SchemaWatch.objects.filter(connection=connection)}
    counts = Counter(name for name, _since in used)
    drifted = Counter(name for name, since in used if since is not None)
    every = sorted({*names, *counts, *snapshots} - {""}, key=lambda name: (-drifted[name], -counts[name], name))
    lines = [
        ObjectLine(name, snapshots.get(name), watches.get(name), counts[name], drifted[name]) for name in every[:OBJECTS_SHOWN]
    ]
    return ObjectList(lines, max(0, len(every) - OBJECTS_SHOWN), problem)


def _named(connection: Connection) -> tuple[list[str], str]:
    try:
        return connections.objects(connection), ""
    except RedriveError as error:
        return [], error.message


@dataclass(frozen=True, slots=True)
class UsedBy:
    """A sync that writes to the object, with what of its mapping the newest version breaks for certain."""

    sync: Sync
    broken: list[Misfit]


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """``snapshot``: the version shown; ``newest_number``: of the newest. ``fields``: those that match, required and keys first.
    ``changes``: against the version before the one shown."""

    name: str
    snapshot: SchemaSnapshot | None
    newest_number: int
    versions: list[SchemaSnapshot]
    fields: list[Field]
    field_count: int
    match_count: int
    changes: list[SchemaChange]
    change_count: int
    used_by: list[UsedBy]
    watch: SchemaWatch | None


def one(
    connection: Connection, name: str, user: User, *, number: int | None = None, text: str = "", most: int = FIELDS_SHOWN
) -> ObjectPage:
    """``number``: an older version; ``text``: only fields whose name or label holds it, ``most`` of them. Eight queries at
    most."""
    newest = schema_store.current(connection, name)
    snapshot = newest
    if number is not None and (newest is None or number != newest.number):
        snapshot = SchemaSnapshot.objects.filter(connection=connection, object_name=name, number=number).first()
    versions = SchemaSnapshot.objects.filter(connection=connection, object_name=name).defer("fields").select_related("taken_by")
    fields = schema_store.fields(snapshot) if snapshot else []
    wanted = text.casefold()
    matching = [field for field in fields if wanted in field.name.casefold() or wanted in field.label.casefold()]
    matching.sort(key=lambda field: (not field.is_key, not field.is_required))
    changes = (
        list(SchemaChange.objects.filter(snapshot=snapshot).select_related("snapshot")[: CHANGES_SHOWN + 1]) if snapshot else []
    )
    return ObjectPage(
        name=name,
        snapshot=snapshot,
        newest_number=newest.number if newest else 0,
        versions=list(versions.order_by("-number")[:VERSIONS_SHOWN]),
        fields=matching[:most],
        field_count=len(fields),
        match_count=len(matching),
        changes=changes[:CHANGES_SHOWN],
        change_count=len(changes),
        used_by=_used_by(connection, name, user, newest),
        watch=schema_watch.watch_of(connection, name),
    )


def _used_by(connection: Connection, name: str, user: User, newest: SchemaSnapshot | None) -> list[UsedBy]:
    chosen = Sync.objects.active().filter(destination=connection, destination_object=name).order_by("name")
    found = []
    for sync in access.scoped(chosen, user, by="pk").prefetch_related("mappings")[:OBJECTS_SHOWN]:
        misfits = schemas.misfits(sync, drift.lines_of(sync), newest) if newest else []
        found.append(UsedBy(sync, [misfit for misfit in misfits if misfit.is_certain]))
    return found
