"""Connections: opened with their secrets, tested, and their rotating tokens refreshed by one worker at a time."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from syncs.choices import ConnectionRole, ConnectionState
from syncs.connectors import CheckReport, Issue
from syncs.destinations import registry as destinations
from syncs.destinations.base import Destination
from syncs.destinations.ruled import ruled
from syncs.errors import ConfigError, RedriveError
from syncs.models import Connection
from syncs.secrets import SecretsError
from syncs.services import connection_tests, credentials, error_rules
from syncs.services.credentials import REAUTHORIZE
from syncs.sources import registry as sources
from syncs.sources.base import Source
from syncs.sources.settings import TIMEOUTS, number

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)


@dataclass
class _Locked:
    """Secrets read after the lock was taken. ``save`` keeps new ones at once, whatever happens afterwards."""

    connection_id: int
    secrets: Mapping[str, Any]

    def save(self, secrets: Mapping[str, Any]) -> None:
        values: dict[str, Any] = {"secrets": dict(secrets), "updated_at": timezone.now()}
        if credentials.ENDS_AT in secrets:  # a destination that tells when its login ends
            values["credential_expires_at"] = credentials.moment(secrets[credentials.ENDS_AT])
        Connection.objects.filter(pk=self.connection_id).update(**values)
        self.secrets = dict(secrets)

    def revoke(self, reason: str) -> None:
        credentials.lost(self.connection_id, reason)


class ConnectionCredentials:
    """``destinations.base.CredentialStore`` over the database row. Used from the engine's sending threads as well."""

    def __init__(self, connection_id: int) -> None:
        self._id = connection_id

    def read(self) -> Mapping[str, Any]:
        with _borrowed_database():
            return _read_secrets(self._id)

    @contextlib.contextmanager
    def locked(self) -> Iterator[_Locked]:
        with _borrowed_database(), _row_lock(self._id):
            yield _Locked(self._id, _read_secrets(self._id))


def _read_secrets(connection_id: int) -> dict[str, Any]:
    return dict(_secrets_of(Connection.objects.only("secrets").get(pk=connection_id)))


@contextlib.contextmanager
def _borrowed_database() -> Iterator[None]:
    """A sending thread has no database connection of its own; one opened for it here is closed again."""
    was_open = database.connection is not None
    try:
        yield
    finally:
        if not was_open and threading.current_thread() is not threading.main_thread():
            database.close()


@contextlib.contextmanager
def _row_lock(connection_id: int) -> Iterator[None]:
    if database.vendor == "sqlite":
        # A transaction would lock the whole file while the vendor answers; SQLite means one machine, so a file lock will do.
        with _file_lock(settings.VAR_DIR / "locks" / f"connection-{connection_id}.lock"):
            yield
        return
    failure: BaseException | None = None
    with transaction.atomic():
        Connection.objects.select_for_update(no_key=True).only("pk").get(pk=connection_id)
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - raised again below, after a saved token was committed
            failure = error
    if failure is not None:
        raise failure


@contextlib.contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _secrets_of(connection: Connection) -> Mapping[str, Any]:
    """Raises ``ConfigError`` where no configured key opens them."""
    try:
        return connection.secrets or {}
    except SecretsError as error:
        raise ConfigError(str(error), field="secrets") from error


def unreadable(connection: Connection) -> str:
    """Why the stored secrets cannot be opened; empty where they can."""
    try:
        _secrets_of(connection)
    except ConfigError as error:
        return error.message
    return ""


def validate(connection: Connection) -> list[Issue]:
    """What is wrong with the settings, without connecting. Works on an unsaved form's instance."""
    is_source = connection.role == ConnectionRole.SOURCE
    try:
        module = sources.module(connection.kind) if is_source else destinations.module(connection.kind)
    except ConfigError as error:
        return [Issue(error.field or "kind", error.message)]
    except ImportError as error:
        return [Issue("kind", f"“{connection.kind}” needs a package that is not installed: {error.name or error}.")]
    issues: list[Issue] = module.validate(connection.config or {}, _secrets_of(connection))
    return issues


def open_source(connection: Connection, *, at_most_seconds: int | None = None) -> Source:
    """Raises ``ConfigError`` where the settings cannot work. The caller closes it.

    ``at_most_seconds``: while a person waits, neither connecting nor a statement may take longer, whatever the settings say.
    """
    _refuse_role(connection, ConnectionRole.SOURCE)
    config = dict(connection.config or {})
    if at_most_seconds is not None:
        config |= {field.name: min(number(config, field), at_most_seconds) for field in TIMEOUTS}
    try:
        return sources.build(connection.kind, config, _secrets_of(connection))
    except ImportError as error:
        raise _missing_package(connection, error) from error


def open_destination(connection: Connection, *, object_name: str, options: Mapping[str, Any]) -> Destination:
    """Built for one object, with the address ranges that the settings file allows, and under the connection's error rules as
    they are now. The caller closes it."""
    _refuse_role(connection, ConnectionRole.DESTINATION)
    try:
        built = destinations.build(
            connection.kind,
            config=connection.config or {},
            credentials=_store_of(connection),
            object_name=object_name,
            options=options,
            allowed_private_networks=tuple(settings.RETL["ALLOWED_PRIVATE_NETWORKS"]),
        )
    except ImportError as error:
        raise _missing_package(connection, error) from error
    return ruled(built, error_rules.load([connection])[connection.pk])


@dataclass
class InMemory:
    """Secrets of a connection that is not saved: settings that are looked at before they are taken. Nothing new is kept."""

    secrets: Mapping[str, Any]

    def read(self) -> Mapping[str, Any]:
        return self.secrets

    @contextlib.contextmanager
    def locked(self) -> Iterator[InMemory]:
        yield self

    def save(self, secrets: Mapping[str, Any]) -> None:
        self.secrets = dict(secrets)

    def revoke(self, reason: str) -> None:
        """There is nothing to mark."""


def _store_of(connection: Connection) -> ConnectionCredentials | InMemory:
    is_unsaved = connection._state.adding
    return InMemory(_secrets_of(connection)) if is_unsaved else ConnectionCredentials(connection.pk)


def objects(connection: Connection) -> list[str]:
    """Names of the objects a destination connection offers, as far as its settings tell. Raises ``ConfigError``."""
    names: list[str] = destinations.module(connection.kind).objects(connection.config or {})
    return names


def _refuse_role(connection: Connection, role: ConnectionRole) -> None:
    if connection.role != role:
        raise ConfigError(f"“{connection.name}” is a {connection.role}, not a {role}. Choose another connection.", field=role)


def _missing_package(connection: Connection, error: ImportError) -> ConfigError:
    return ConfigError(
        f"“{connection.name}” ({connection.kind}) needs a package that is not installed: {error.name or error}.", field="kind"
    )


def check(connection: Connection, *, by: User | None = None, door: str = "") -> CheckReport:
    """Test a saved connection without writing anything, and keep the result on it. Never raises for the other side's faults."""
    state = ConnectionState.FAILING
    try:
        with _opened(connection) as opened:
            report = opened.check()
        if report.is_ok:
            state = ConnectionState.OK
        elif (report.details or {}).get(REAUTHORIZE):
            state = ConnectionState.REAUTHORIZE
    except RedriveError as error:
        report = CheckReport(is_ok=False, message=error.message)
        if error.code == REAUTHORIZE:
            state = ConnectionState.REAUTHORIZE
    except Exception as error:  # noqa: BLE001 - reported below
        # Drivers raise what they like, and their texts may hold the address with its password: the log gets no text either.
        logger.error("Connection %s: the test failed with %s.", connection.pk, type(error).__name__)
        report = CheckReport(is_ok=False, message=f"The test itself failed ({type(error).__name__}). Check the settings.")
    connection_tests.keep(connection, report, state, by=by, door=door or ("admin" if by else "system"))
    logger.info("Connection %s tested by %s: %s", connection.pk, by.get_username() if by else "the system", state.value)
    return report


@contextlib.contextmanager
def _opened(connection: Connection) -> Iterator[Source | Destination]:
    opened: Source | Destination
    if connection.role == ConnectionRole.SOURCE:
        opened = open_source(connection)
    else:
        opened = open_destination(connection, object_name=next(iter(objects(connection)), ""), options={})
    try:
        yield opened
    finally:
        opened.close()
