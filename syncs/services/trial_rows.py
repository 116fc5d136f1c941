"""Rows of a sync to try a connection with: read from the warehouse and mapped as a run would, nothing sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncs.choices import SyncMode
from syncs.engine.hashing import canonical_body
from syncs.engine.strict_json import strict_loads
from syncs.errors import ConfigError
from syncs.models import Connection, Sync
from syncs.records import Operation
from syncs.services import access, audit, masks, previews, trials

if TYPE_CHECKING:
    from django.contrib.auth.models import User

ROWS = 5


@dataclass(frozen=True, slots=True)
class TrialRow:
    """``shown``: the payload as pages show it, sensitive values masked. ``problem`` where the row cannot be sent."""

    key: str
    shown: str
    problem: str = ""


def syncs(connection: Connection, user: User) -> list[Sync]:
    """Those that write through the connection and that the user may see."""
    found = Sync.objects.active().filter(destination=connection).order_by("name").only("pk", "name")
    return list(access.scoped(found, user, by="pk")[:100])


def rows(connection: Connection, sync_id: str, user: User) -> list[TrialRow]:
    """The first rows of the sync. Raises ``ConfigError`` for one that is not there, and what a preview raises."""
    found = previews.preview(_sync(connection, sync_id, user), limit=ROWS)
    mask = masks.build()
    made = []
    for row in found.rows:
        texts = [row.error.message if row.error else ""]
        _, payload, (said,) = masks.shown(mask, found.columns, row.values, row.payload, texts)
        made.append(TrialRow(row.key or "", canonical_body(payload).decode() if payload is not None else "", said))
    return made


def taken_draft(connection: Connection, sync_id: int, key: str, user: User, *, door: str) -> trials.Draft:
    """The same as a draft. Raises ``DraftRefusedError`` as well."""
    form = taken(connection, str(sync_id), key, user, door=door)
    fields = [name for name in form["key_fields"].split(", ") if name]
    return trials.written(connection, form["object"], Operation(form["operation"]), key, strict_loads(form["payload"]), fields)


def taken(connection: Connection, sync_id: str, key: str, user: User, *, door: str = "admin") -> dict[str, str]:
    """The form filled with one row, its values in the clear; who took it is told in the connection's history."""
    sync = _sync(connection, sync_id, user)
    row = next(iter(previews.preview(sync, limit=1, keys=[key]).rows), None)
    if row is None:
        raise ConfigError(f"The row “{key}” is not in the warehouse any more.", field="sync")
    if row.payload is None:
        raise ConfigError(row.error.message if row.error else "The row cannot be sent.", field="sync")
    audit.record("row_taken", connection, by=user, door=door, detail={"sync": sync.name, "sync_id": sync.pk, "key": key})
    mode = SyncMode(sync.mode)
    return {
        "object": sync.destination_object,
        "operation": (Operation.UPSERT if mode is SyncMode.MIRROR else Operation(mode.value)).value,
        "key": key,
        "payload": canonical_body(row.payload).decode(),
        "key_fields": ", ".join(
            sync.mappings.filter(is_key=True).order_by("position").values_list("destination_field", flat=True)
        ),
    }


def _sync(connection: Connection, sync_id: str, user: User) -> Sync:
    mine = access.scoped(Sync.objects.active().filter(destination=connection), user, by="pk")
    sync = mine.select_related("source").filter(pk=int(sync_id)).first() if sync_id.isdecimal() else None
    if sync is None:
        raise ConfigError("Choose a sync that writes through this connection.", field="sync")
    return sync
