"""The fields of a sync's destination object, as far as anybody knows them: the newest snapshot, or what it says now."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass

from syncs.destinations.base import Field
from syncs.engine import schema_fields
from syncs.errors import RedriveError
from syncs.models import SchemaSnapshot, Sync
from syncs.services import connections, schemas
from syncs.services.kept import Kept

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """``fields`` None: nobody can tell, and ``problem`` says why where there is a reason. ``snapshot``: where they are from."""

    fields: tuple[Field, ...] | None
    snapshot: SchemaSnapshot | None = None
    problem: str = ""


_kept: Kept[Known] = Kept(seconds=300, count=32)


def known(sync: Sync, *, again: bool = False) -> Known:
    """One query where there is a snapshot; else one read-only call, kept for minutes; ``again`` asks anew. Never raises for
    the other side."""
    snapshot = schemas.current(sync.destination, sync.destination_object)
    if snapshot is not None:
        return Known(tuple(schemas.fields(snapshot)), snapshot)
    name = (
        f"{sync.destination_id}:{sync.destination.updated_at.isoformat()}:{sync.destination_object}:{sync.destination_options}"
    )
    found = None if again else _kept.find(name)
    if found is None:
        found = _asked(sync)
        _kept.keep(name, found)
    return found


def _asked(sync: Sync) -> Known:
    try:
        opened = connections.open_destination(
            sync.destination, object_name=sync.destination_object, options=sync.destination_options
        )
        with closing(opened) as destination:
            found = destination.fields()
            return Known(None if found is None else tuple(schema_fields.checked(found)))
    except RedriveError as error:
        return Known(None, problem=error.message)
    except Exception as error:  # noqa: BLE001 - reported below
        # A driver's text may hold the address with its password.
        logger.error("Connection %s: its fields could not be read (%s).", sync.destination_id, type(error).__name__)
        return Known(None, problem=f"The fields could not be read ({type(error).__name__}). Test the connection.")
