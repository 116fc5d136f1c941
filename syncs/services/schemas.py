"""Schemas of destination objects: read from the destination or typed by a person, kept in versions, held against mappings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from syncs.choices import ConnectionRole, SchemaOrigin
from syncs.connectors import Issue
from syncs.destinations.base import Field
from syncs.engine import schema_diff, schema_fields, schema_fit
from syncs.engine.mapping import MappingField
from syncs.engine.schema_fit import Misfit, violations
from syncs.errors import ConfigError, RedriveError
from syncs.models import Connection, FieldMapping, SchemaChange, SchemaSnapshot, Sync
from syncs.services import audit, connections, drift
from syncs.services.drift import drifted_fields, note_preview
from syncs.services.schema_store import current, fields, mapping_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

__all__ = [
    "Refresh", "current", "drifted_fields", "fields", "misfits", "note_preview", "problems", "refresh", "typed", "violations",
]  # fmt: skip

CHANGED, TYPED = "schema_changed", "schema_typed"
NO_DISCOVERY = "no_discovery"
_TOLD_MAX = 20  # changes named in an event


@dataclass(frozen=True, slots=True)
class Refresh:
    """``is_new``: a new snapshot was kept; ``changes``: against the one before, none for the first. ``syncs``: those whose
    mapping the changes break."""

    snapshot: SchemaSnapshot
    changes: list[SchemaChange]
    is_new: bool
    syncs: tuple[Sync, ...] = ()


def refresh(connection: Connection, object_name: str, *, by: User | None = None, door: str) -> Refresh:
    """Ask the destination for the object's fields and keep them. Nothing is written there.

    Raises ``RedriveError`` kinds with a sentence where it cannot be asked, does not tell (code ``no_discovery``), or tells
    nonsense (code ``schema_answer``); then nothing is changed.
    """
    return _keep(connection, object_name, _discovered(connection, object_name), SchemaOrigin.DISCOVERED, by=by, door=door)


def typed(connection: Connection, object_name: str, found: Sequence[Field], *, by: User, door: str) -> Refresh:
    """Keep what a person typed, for an object whose destination does not tell. Raises ``ConfigError``."""
    if not object_name.strip() or len(object_name) > schema_fields.MAX_NAME:
        raise ConfigError(f"Name the object, with at most {schema_fields.MAX_NAME} characters.", field="object")
    if connection.role != ConnectionRole.DESTINATION:
        raise ConfigError(f"“{connection.name}” is a source: only destinations have fields to be written.", field="object")
    checked = schema_fields.checked(list(found))
    return _keep(connection, object_name, checked, SchemaOrigin.TYPED, by=by, door=door)


def _discovered(connection: Connection, object_name: str) -> list[Field]:
    try:
        with closing(connections.open_destination(connection, object_name=object_name, options={})) as opened:
            found: Any = opened.fields()
    except RedriveError:
        raise
    except Exception as error:  # noqa: BLE001 - reported below
        # As for a test of the connection: a driver's text may hold the address with its password.
        logger.error("Connection %s: its fields could not be read (%s).", connection.pk, type(error).__name__)
        text = f"The fields of “{object_name}” could not be read ({type(error).__name__}). Test the connection."
        raise ConfigError(text, field="destination_object") from None
    if found is None:
        text = f"“{connection.name}” does not tell the fields of “{object_name}”. Type them by hand."
        raise ConfigError(text, field="destination_object", code=NO_DISCOVERY)
    return schema_fields.checked(found)


def _keep(
    connection: Connection, object_name: str, found: list[Field], origin: SchemaOrigin, *, by: User | None, door: str
) -> Refresh:
    try:
        return _kept(connection, object_name, found, origin, by=by, door=door)
    except IntegrityError:  # another refresh took the number: against its snapshot, this one finds nothing new
        return _kept(connection, object_name, found, origin, by=by, door=door)


@transaction.atomic
def _kept(
    connection: Connection, object_name: str, found: list[Field], origin: SchemaOrigin, *, by: User | None, door: str
) -> Refresh:
    Connection.objects.select_for_update(no_key=True).only("pk").get(pk=connection.pk)  # one refresh of it at a time
    before = current(connection, object_name)
    digest, now = schema_fields.digest(found), timezone.now()
    if before is not None and (before.digest, before.origin) == (digest, origin):
        SchemaSnapshot.objects.filter(pk=before.pk).update(seen_at=now)
        before.seen_at = now
        return Refresh(before, [], False)
    snapshot = SchemaSnapshot.objects.create(
        connection=connection,
        object_name=object_name,
        number=before.number + 1 if before else 1,
        origin=origin,
        fields=schema_fields.as_json(found),
        digest=digest,
        taken_at=now,
        seen_at=now,
        taken_by=by,
    )
    differences = schema_diff.differences(fields(before), found) if before else []
    changes = SchemaChange.objects.bulk_create(
        [
            SchemaChange(
                snapshot=snapshot,
                kind=change.kind,
                field=change.field,
                is_breaking=change.is_breaking,
                before=change.before,
                after=change.after,
            )
            for change in differences
        ],
        batch_size=500,
    )
    concerned = drift.mark(snapshot, changes, by=by, door=door)
    _record(connection, snapshot, changes, concerned, by=by, door=door)
    return Refresh(snapshot, changes, True, tuple(concerned))


def _record(
    connection: Connection,
    snapshot: SchemaSnapshot,
    changes: Sequence[SchemaChange],
    concerned: Sequence[Sync],
    *,
    by: User | None,
    door: str,
) -> None:
    is_typed = snapshot.origin == SchemaOrigin.TYPED
    if not changes and not is_typed:
        return  # the first reading is no change
    told = [f"{change.field}: {change.get_kind_display()}" for change in changes[:_TOLD_MAX]]
    more = [f"and {len(changes) - _TOLD_MAX} more"] if len(changes) > _TOLD_MAX else []
    detail = {
        "object": snapshot.object_name,
        "schema": snapshot.number,
        "message": f"{snapshot.object_name}, version {snapshot.number}. " + "; ".join([*told, *more]),
        "change_count": len(changes),
        "breaking_count": sum(change.is_breaking for change in changes),
        "sync_count": len(concerned),
    }
    audit.record(TYPED if is_typed else CHANGED, connection, by=by, door=door, detail=detail)


def misfits(sync: Sync, mappings: Sequence[FieldMapping | MappingField], snapshot: SchemaSnapshot) -> list[Misfit]:
    """What of these mapping lines the schema breaks, in their order; lacking lines last. ``sync`` may be unsaved."""
    return schema_fit.misfits(mapping_of(mappings), fields(snapshot), mode=sync.mode)


def problems(sync: Sync, mappings: Sequence[FieldMapping | MappingField], snapshot: SchemaSnapshot) -> list[Issue]:
    """The same as issues: ``mappings.<index>.<attribute>`` (from 0), or ``mappings`` where a line is lacking."""
    return [misfit.issue for misfit in misfits(sync, mappings, snapshot)]
