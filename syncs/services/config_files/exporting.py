"""Syncs and connections as documents."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from syncs.errors import ConfigError
from syncs.models import Connection, Sync
from syncs.services import connections as connection_service
from syncs.services.config_files import documents, references, writing

_SLUG = 60


@dataclass(frozen=True, slots=True)
class Exported:
    """One document. ``path``: where it belongs in a folder of documents: ``syncs/contacts.yaml``."""

    kind: str
    name: str
    path: str
    values: dict[str, Any]

    @property
    def text(self) -> str:
        return writing.write([self.values])


def export(syncs: Sequence[Sync], connections: Sequence[Connection] = ()) -> list[Exported]:
    """These connections, then these syncs, both by name; apply takes them in any order. Names of secrets, never secrets.

    Raises ``ConfigError`` where a connection's kind cannot be loaded or its secrets cannot be opened: what is stored there
    would be missing from the document.
    """
    others = list(Connection.objects.values_list("name", flat=True)) if connections else []
    found = [_connection(one, others) for one in sorted(connections, key=lambda one: one.name)]
    loaded = Sync.objects.filter(pk__in=[sync.pk for sync in syncs])
    loaded = loaded.select_related("source", "destination", "owner", "team").prefetch_related("mappings", "tags")
    found += [_sync(sync) for sync in sorted(loaded, key=lambda sync: sync.name)]
    return _in_places_of_their_own(found)


def used_by(syncs: Iterable[Sync]) -> list[Connection]:
    ids = {pk for sync in syncs for pk in (sync.source_id, sync.destination_id)}
    return list(Connection.objects.filter(pk__in=ids))


def one_text(exported: Iterable[Exported]) -> str:
    return writing.write(one.values for one in exported)


def references_of(connection: Connection, others: Iterable[str]) -> dict[str, str]:
    """Name -> reference of the secrets that are stored. Raises ``ConfigError``."""
    if lost := connection_service.unreadable(connection):
        raise ConfigError(f"The secrets of “{connection.name}” cannot be read: {lost}", field="secrets")
    try:
        names = references.secret_names(connection.role, connection.kind)
    except ImportError as error:
        message = f"“{connection.name}” ({connection.kind}) needs a package that is not installed: {error.name or error}."
        raise ConfigError(message, field="kind") from error
    return references.written(connection, names, others)


def _connection(connection: Connection, others: Sequence[str]) -> Exported:
    content = documents.connection_content(connection, references_of(connection, others))
    return _exported(documents.CONNECTION, connection.name, content)


def _sync(sync: Sync) -> Exported:
    lines = sorted(sync.mappings.all(), key=lambda line: (line.position, line.pk))
    return _exported(documents.SYNC, sync.name, documents.sync_content(sync, lines))


def _exported(kind: str, name: str, content: dict[str, Any]) -> Exported:
    folder = f"{kind}s"
    return Exported(kind, name, f"{folder}/{_slug(name)}.yaml", documents.document(kind, content))


def _slug(name: str) -> str:
    """A file name that any system takes; with a digest where the name alone would not tell two apart."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_SLUG].strip("-")
    is_enough = re.fullmatch(r"[A-Za-z0-9]+(?:[ -][A-Za-z0-9]+)*", name) and len(name) <= _SLUG
    return plain if is_enough else "-".join(filter(None, (plain, hashlib.sha256(name.encode()).hexdigest()[:8])))


def _in_places_of_their_own(found: list[Exported]) -> list[Exported]:
    """“Contacts” and “contacts” would be one file: the digest tells them apart too."""
    paths = [one.path for one in found]
    return [one if paths.count(one.path) == 1 else Exported(one.kind, one.name, _with_digest(one), one.values) for one in found]


def _with_digest(one: Exported) -> str:
    return f"{one.path.removesuffix('.yaml')}-{hashlib.sha256(one.name.encode()).hexdigest()[:8]}.yaml"
