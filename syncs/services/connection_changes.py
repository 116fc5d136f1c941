"""What a person changed on a connection, for its history: settings by their paths, secrets by their names alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from syncs.http import Redactor
from syncs.models import Connection
from syncs.services import audit, credentials

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_MOST = 60  # settings named by one event
_LONGEST = 300  # characters of one value


@dataclass(frozen=True, slots=True)
class Secrets:
    """Names of those that were given a new value, and of those that were removed."""

    given: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.given or self.removed)


def settings_of(connection: Connection) -> dict[str, Any]:
    """{path: value} of all that is no secret: ``name``, ``limits.concurrency``, ``objects.contacts.operations.upsert.path``."""
    ends_at = connection.credential_expires_at
    own = {
        "name": connection.name,
        "description": connection.description,
        "expires_on": ends_at.date().isoformat() if ends_at else None,
    }
    return own | dict(_flat(connection.config or {}))


def created(connection: Connection, *, by: User, door: str = "admin") -> None:
    detail = {"kind": connection.kind, "role": connection.role, "secrets": sorted(connection.secrets or {})}
    audit.record("created", connection, by=by, door=door, detail=detail)


def changed(
    connection: Connection, before: Mapping[str, Any], secrets: Secrets, *, by: User | None, door: str = "admin"
) -> None:
    """``before``: ``settings_of`` the connection as it was. Says nothing where nothing changed."""
    found = audit.differences(before, settings_of(connection))
    if found:
        shown = {name: [_shown(one), _shown(other)] for name, (one, other) in list(found.items())[:_MOST]}
        more = {"more": len(found) - _MOST} if len(found) > _MOST else {}
        audit.record("changed", connection, by=by, door=door, detail=shown | more)
    if secrets:
        detail = {"given": sorted(secrets.given), "removed": sorted(secrets.removed)}
        audit.record("rotated", connection, by=by, door=door, detail=detail)
    if secrets or set(found) - {"name", "description"}:
        credentials.renewed(connection.pk)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


def _shown(value: Any) -> Any:
    """A token that somebody wrote into a setting is masked all the same."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return Redactor().excerpt(text, limit=_LONGEST)
