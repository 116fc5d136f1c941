"""What is kept of destination objects: the newest snapshot of their fields, and what changed since a moment."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db.models import QuerySet

from syncs.destinations.base import Field
from syncs.engine import schema_fields
from syncs.engine.mapping import MappingField
from syncs.models import Connection, FieldMapping, SchemaChange, SchemaSnapshot
from syncs.services.versions import MAPPING_FIELDS


def current(connection: Connection, object_name: str) -> SchemaSnapshot | None:
    """The newest snapshot of the object's fields; None: nobody has read or typed them yet. One query."""
    return SchemaSnapshot.objects.filter(connection=connection, object_name=object_name).order_by("-number").first()


def fields(snapshot: SchemaSnapshot) -> list[Field]:
    return schema_fields.from_json(snapshot.fields)


def changes_since(connection_id: int, object_name: str, moment: datetime) -> QuerySet[SchemaChange]:
    """Of snapshots taken at or after the moment, newest snapshot first; breaking ones before the others."""
    chosen = SchemaChange.objects.filter(
        snapshot__connection_id=connection_id, snapshot__object_name=object_name, snapshot__taken_at__gte=moment
    )
    return chosen.select_related("snapshot").order_by("-snapshot__number", "-is_breaking", "field", "id")


def mapping_of(lines: Iterable[FieldMapping | MappingField]) -> list[MappingField]:
    return [
        line
        if isinstance(line, MappingField)
        else MappingField.from_snapshot({name: getattr(line, name) for name in MAPPING_FIELDS})
        for line in lines
    ]
