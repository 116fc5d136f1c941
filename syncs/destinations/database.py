"""Destination kind ``database``: a table of PostgreSQL or SQLite, with the database's own constraints as row errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from syncs.connectors import ConfigField, Issue
from syncs.destinations.base import Capabilities, CredentialStore, Discovery
from syncs.destinations.database_destination import DatabaseDestination
from syncs.errors import ConfigError
from syncs.records import Operation

FIELDS: tuple[ConfigField, ...] = (
    ConfigField(
        "url",
        "Database URL",
        is_required=True,
        help="postgresql://user@host:5432/database or sqlite:////folder/file.db; the password has its own field.",
    ),
    ConfigField("password", "Password", "secret", help="Stored encrypted."),
    ConfigField("batch_records", "Rows per batch", "integer", help="1 to 5,000.", default=500),
    ConfigField("concurrency", "Batches at once", "integer", help="1 to 32; SQLite writes one at a time.", default=4),
    ConfigField("statement_timeout_seconds", "Statement timeout, seconds", "integer", help="PostgreSQL only.", default=60),
    ConfigField("lock_timeout_seconds", "Lock timeout, seconds", "integer", help="Longest wait for a lock.", default=10),
)

_LIMITS = {
    "batch_records": (1, 5_000, 500),
    "concurrency": (1, 32, 4),
    "statement_timeout_seconds": (1, 3_600, 60),
    "lock_timeout_seconds": (1, 600, 10),
}
_DRIVERS = ("postgresql", "postgresql+psycopg", "sqlite", "sqlite+pysqlite")
_CONNECT_SECONDS = 10
_MAX_BYTES = 8_000_000


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
    issues = list(_url_issues(str(config.get("url") or "")))
    for name, (least, most, _) in _LIMITS.items():
        value = config.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            issues.append(Issue(name, f"Write a whole number from {least} to {most:,}."))
    return issues


def _url_issues(text: str) -> list[Issue]:
    if not text.strip():
        return [Issue("url", "Write the database's URL, for example postgresql://user@host:5432/database.")]
    try:
        url = sa.make_url(text.strip())
    except (sa.exc.ArgumentError, ValueError):
        return [Issue("url", "This is not a database URL; write it like postgresql://user@host:5432/database.")]
    if url.drivername not in _DRIVERS:
        return [Issue("url", f"“{url.drivername}” is not supported as a destination; use postgresql:// or sqlite://.")]
    if url.password:
        return [Issue("url", "Take the password out of the URL and put it into the field Password, where it is encrypted.")]
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:" or url.query:
            return [Issue("url", "Name the file, without options: sqlite:////folder/file.db (four slashes: absolute).")]
    elif not url.host or not url.database:
        missing = "host" if not url.host else "database"
        return [Issue("url", f"The URL names no {missing}; write it like postgresql://user@host:5432/database.")]
    return []


def objects(config: Mapping[str, Any]) -> list[str]:
    """Tables are not listed without a connection; any name may be typed."""
    return []


def build(
    *,
    config: Mapping[str, Any],
    credentials: CredentialStore,
    object_name: str,
    options: Mapping[str, Any],
    allowed_private_networks: tuple[str, ...] = (),
) -> DatabaseDestination:
    """``options["key_fields"]``: destination fields that find the row; without them the table's primary key.

    The operator names the host; there is no address guard here. Raises ``ConfigError``.
    """
    secrets = credentials.read()
    for issue in validate(config, secrets):
        raise ConfigError(issue.message, field=issue.field)
    password = str(secrets.get("password") or "")
    url = sa.make_url(str(config["url"]).strip())
    is_sqlite = url.get_backend_name() == "sqlite"
    concurrency = 1 if is_sqlite else _limit(config, "concurrency")
    return DatabaseDestination(
        _sqlite_engine(url, config) if is_sqlite else _postgresql_engine(url, config, password, concurrency),
        object_name=object_name.strip(),
        keys=_key_option(options),
        password=password,
        capabilities=Capabilities(
            operations=frozenset(Operation),
            idempotent=frozenset({Operation.UPSERT, Operation.UPDATE, Operation.DELETE}),
            max_records=_limit(config, "batch_records"),
            max_bytes=_MAX_BYTES,
            max_record_bytes=_MAX_BYTES,
            concurrency=concurrency,
            keys=_key_option(options),
            discovery=frozenset(Discovery),
        ),
    )


def _key_option(options: Mapping[str, Any]) -> tuple[str, ...]:
    given = options.get("key_fields") or ()
    if isinstance(given, str):
        given = [name.strip() for name in given.split(",") if name.strip()]
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise ConfigError("The option key_fields must be a list of column names.", field="key_fields")
    return tuple(given)


def _limit(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    return int(value) if value not in (None, "") else _LIMITS[name][2]


def _postgresql_engine(url: sa.URL, config: Mapping[str, Any], password: str, concurrency: int) -> sa.Engine:
    statement = _limit(config, "statement_timeout_seconds") * 1000
    lock = _limit(config, "lock_timeout_seconds") * 1000
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg", password=password or None),
        pool_size=concurrency,
        max_overflow=2,
        pool_timeout=_CONNECT_SECONDS * 3,
        pool_pre_ping=True,
        pool_recycle=600,
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            "application_name": "redrive",
            "options": f"-c statement_timeout={statement} -c lock_timeout={lock} -c timezone=UTC",
            "prepare_threshold": None,  # a pooler in between may hand out another server connection
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        },
    )


def _sqlite_engine(url: sa.URL, config: Mapping[str, Any]) -> sa.Engine:
    path = Path(url.database or "").absolute()
    address = f"file:{quote(str(path))}?mode=rw"  # rw: a file that is not there is an error, not a new database
    seconds = _limit(config, "lock_timeout_seconds")

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=seconds, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    return sa.create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=1, max_overflow=2)
