"""Saving a connection that a person or a program set up: its settings, its secrets under the row's lock, and its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from syncs.models import Connection
from syncs.services import connection_changes, connections

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from syncs.destinations.base import LockedCredentials

_LOGIN = {"client_id", "client_secret", "refresh_token"}
_OWN = ("name", "description", "config", "updated_at")


@dataclass(frozen=True, slots=True)
class NewSecrets:
    """``given``: name -> new value. ``removed``: names of those that are taken away."""

    given: Mapping[str, str] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()

    @property
    def names(self) -> connection_changes.Secrets:
        return connection_changes.Secrets(tuple(self.given), tuple(self.removed))


def create(connection: Connection, *, by: User, door: str) -> None:
    """``connection``: unsaved, with its secrets."""
    connection.save()
    connection_changes.created(connection, by=by, door=door)


@contextmanager
def locked(connection: Connection) -> Iterator[LockedCredentials | None]:
    """The stored secrets under their lock, for ``change``: whoever edits in a transaction takes this lock before it, since a
    worker that holds it writes to the database. None where nobody can open the secrets; then they are replaced."""
    if connections.unreadable(connection):
        yield None
        return
    with connections.ConnectionCredentials(connection.pk).locked() as stored:
        yield stored


def change(
    connection: Connection, secrets: NewSecrets, *, by: User, door: str, stored: LockedCredentials | None = None
) -> None:
    """Save settings, and say in the history what changed; a secret by its name alone. ``stored``: what ``locked`` gave."""
    before = connection_changes.settings_of(Connection.objects.get(pk=connection.pk))
    if stored is None:
        with locked(Connection.objects.get(pk=connection.pk)) as found:
            _save_merged(connection, secrets, found)
    else:
        _save_merged(connection, secrets, stored)
    connection_changes.changed(connection, before, secrets.names, by=by, door=door)


def take_expiry(connection: Connection, typed: date | None) -> None:
    """The typed date as the moment it begins; the day that a destination told keeps its time."""
    known = connection.credential_expires_at
    if typed != (known.date() if known else None):
        connection.credential_expires_at = datetime(typed.year, typed.month, typed.day, tzinfo=UTC) if typed else None


def _save_merged(connection: Connection, secrets: NewSecrets, stored: LockedCredentials | None) -> None:
    """Secrets are merged under the row's lock, since a worker may have refreshed a token meanwhile."""
    names = {*_OWN}
    known = Connection.objects.values_list("credential_expires_at", flat=True).get(pk=connection.pk)
    if connection.credential_expires_at != known:
        names.add("credential_expires_at")
    if stored is None:  # whoever saves here was told that they are lost
        connection.secrets = dict(secrets.given)
        connection.save(update_fields={*names, "secrets"})
        return
    merged = {name: value for name, value in stored.secrets.items() if name not in secrets.removed}
    merged.update(secrets.given)
    if _LOGIN & {*secrets.given, *secrets.removed}:  # what the former ones brought must not be used any longer
        merged = {name: value for name, value in merged.items() if name not in ("access_token", "expires_at")}
    connection.secrets = merged
    changed = {"secrets"} if merged != dict(stored.secrets) else set()
    connection.save(update_fields={*names, *changed})
