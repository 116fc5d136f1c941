"""Any warehouse that SQLAlchemy has a dialect for, by its URL.

URLs of the kinds that have a module of their own are read by that module, with its guards. For the others the session
statements below ask for a read-only transaction where the warehouse has one; a role that may only read is still what counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from syncs.connectors import ConfigField, Issue
from syncs.errors import ConfigError, SourceError, UnsafeQueryError
from syncs.records import RowValues
from syncs.sources import duckdb, postgresql, settings, snowflake, sqlite, statements
from syncs.sources.base import Column
from syncs.sources.faults import first_line, missing_driver, query_refused
from syncs.sources.lookups import Statement, Wrapper
from syncs.sources.settings import Timeouts, text
from syncs.sources.sql import Facts, SqlSource
from syncs.sources.statements import Profile, checked

FIELDS: tuple[ConfigField, ...] = (
    ConfigField("url", "URL", is_required=True, help="dialect://user@host:port/database, without the password."),
    ConfigField("password", "Password or token", "secret", help="Stored encrypted and put into the URL when connecting."),
    ConfigField("credentials_json", "Service account (JSON)", "secret", help="BigQuery only."),
    *settings.TIMEOUTS,
)
# dialect -> (what people call it, extra to install, driver when the URL names none)
DIALECTS: dict[str, tuple[str, str, str]] = {
    "bigquery": ("BigQuery", "bigquery", "bigquery"),
    "databricks": ("Databricks", "databricks", "databricks"),
    "redshift": ("Redshift", "redshift", "redshift+psycopg2"),
    "mysql": ("MySQL", "mysql", "mysql+pymysql"),
    "mariadb": ("MariaDB", "mysql", "mariadb+pymysql"),
}
PROFILES: dict[str, Profile] = {
    "bigquery": statements.BIGQUERY,
    "databricks": statements.DATABRICKS,
    "redshift": statements.REDSHIFT,
    "mysql": statements.MYSQL,
    "mariadb": statements.MYSQL,
    "postgresql": statements.POSTGRESQL,
}
_SECRET_NAMES = re.compile(r"(?i)passw|pwd|token|secret|credential|private_key|api_?key")


def _nothing(_seconds: int) -> list[str]:
    return []


def _mysql(seconds: int) -> list[str]:
    return [
        f"SET SESSION net_write_timeout = {seconds}, time_zone = '+00:00'",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ]


SESSION: dict[str, Callable[[int], list[str]]] = {
    "mysql": _mysql,
    "mariadb": _mysql,
    "redshift": lambda seconds: [f"SET statement_timeout TO {seconds * 1000}"],
    "postgresql": lambda seconds: ["SET TRANSACTION READ ONLY", f"SET LOCAL statement_timeout = {seconds * 1000}"],
}


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
    found = settings.issues(FIELDS, config, secrets)
    given = text(config, "url")
    if not given:
        return found
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        return [*found, Issue("url", "URL cannot be read. It has the form dialect://user@host:port/database.")]
    if url.password:
        found.append(Issue("url", "Take the password out of the URL and put it into the password field, which is encrypted."))
    found += [
        Issue("url", f"Take “{name}” out of the URL: secrets belong into the password field, which is encrypted.")
        for name in url.query
        if _SECRET_NAMES.search(name)
    ]
    if text(secrets, "credentials_json"):
        try:
            if not isinstance(json.loads(text(secrets, "credentials_json")), dict):
                raise ValueError
        except ValueError:
            found.append(Issue("credentials_json", "Service account must be the JSON text of its key file."))
    if not found:
        try:
            _source(config, secrets, url)
        except ConfigError as error:
            found.append(Issue("url", error.message))
    return found


def build(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> SqlSource:
    settings.refuse(validate(config, secrets))
    return _source(config, secrets, make_url(text(config, "url")))


def _source(config: Mapping[str, Any], secrets: Mapping[str, Any], url: URL) -> SqlSource:
    """The module that reads this dialect. Raises ``ConfigError`` where its own settings are refused."""
    backend, timeouts = url.get_backend_name(), Timeouts.of(config)
    password = str(secrets.get("password") or "")
    query = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    if backend in ("postgresql", "postgres", "cockroachdb"):
        arguments = PGDialect_psycopg().create_connect_args(url.set(drivername="postgresql+psycopg"))[1]  # type: ignore[no-untyped-call]
        return postgresql.PostgresqlSource(arguments, password, timeouts)
    if backend in ("sqlite", "duckdb"):
        module: Any = sqlite if backend == "sqlite" else duckdb
        source: SqlSource = module.build({**config, **query, "path": url.database or ""}, {})
        return source
    if backend == "snowflake":
        database, _, schema = (url.database or "").partition("/")
        parts = {"account": url.host or "", "user": url.username or "", "database": database, "schema": schema}
        snowflake_source: SqlSource = snowflake.build({**config, **query, **parts}, secrets)
        return snowflake_source
    if url.drivername in DIALECTS:
        url = url.set(drivername=DIALECTS[url.drivername][2])
    return UrlSource(url.set(password=password) if password else url, timeouts, secrets)


class UrlSource(SqlSource):
    is_describing_free = False

    def __init__(self, url: URL, timeouts: Timeouts, secrets: Mapping[str, Any]) -> None:
        super().__init__(timeouts=timeouts, secrets=[str(value) for value in secrets.values() if value])
        self.url = url
        self.backend = url.get_backend_name()
        self.label, self.extra, _ = DIALECTS.get(self.backend, (self.backend, "", ""))
        self.profile = PROFILES.get(self.backend, statements.STANDARD)
        self._credentials = text(secrets, "credentials_json")
        self._engine: Engine | None = None

    def checked(self, sql: str) -> str:
        if self.backend not in PROFILES:  # it may read backslashes either way: both readings must be harmless
            checked(sql, statements.STANDARD_BACKSLASHES)
        return checked(sql, self.profile)

    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = self._new_engine()
            self.wrapper = Wrapper(
                self._engine.dialect,
                has_tuple_in=self.backend not in ("mssql", "oracle"),
                order_as_bytes=self.backend in ("mysql", "mariadb"),
            )
        return self._engine

    def _new_engine(self) -> Engine:
        options: dict[str, Any] = {"poolclass": NullPool}
        if self.backend == "bigquery" and self._credentials:
            options["credentials_info"] = json.loads(self._credentials)
        if self.backend in ("mysql", "mariadb"):
            options["connect_args"] = {"connect_timeout": self.timeouts.connect}
        try:
            return sa.create_engine(self.url, **options)
        except NoSuchModuleError:
            if self.extra:
                raise missing_driver(self.extra, self.label, ImportError()) from None
            raise SourceError(
                f"There is no SQLAlchemy dialect “{self.url.drivername}” installed. Check the URL, or install the package that "
                "brings the dialect where the web and worker processes run, then restart them.",
                field="url",
            ) from None
        except ImportError as error:
            if self.extra:
                raise missing_driver(self.extra, self.label, error) from None
            raise SourceError(
                f"The driver of “{self.url.drivername}” is not installed (missing: {error.name}). Install it where the web and "
                "worker processes run, then restart them.",
                field="url",
            ) from None

    def open(self, *, seconds: int) -> UrlSession:
        connection = self.engine().connect()
        try:
            for line in SESSION.get(self.backend, _nothing)(seconds):
                connection.exec_driver_sql(line)
        except BaseException:
            connection.close()
            raise
        return UrlSession(connection, self.wrapper, self._canceller(connection))

    def _canceller(self, connection: Connection) -> Callable[[], None] | None:
        """MySQL's driver reads an open result to its end when it is closed, unless somebody stops the query."""
        if self.backend not in ("mysql", "mariadb"):
            return None
        number = int(connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar_one())

        def cancel() -> None:
            with self.engine().connect() as other:
                other.exec_driver_sql(f"KILL QUERY {number}")

        return cancel

    def facts(self, session: UrlSession) -> Facts:
        session.connection.execute(sa.select(sa.literal_column("1"))).scalar()
        version = ".".join(map(str, session.connection.dialect.server_version_info or ()))
        advice = "Use a role that may only read: Redrive cannot see what this one may do."
        return Facts(f"{self.label} {version}".strip(), advice, {"dialect": self.url.drivername})

    def driver_errors(self) -> tuple[type[Exception], ...]:
        return (Exception,)  # dialects wrap most of their drivers' errors, but not all

    def connect_fault(self, error: Exception) -> SourceError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        return SourceError(
            f"{self.label} cannot be reached or did not accept the login. Check URL, password and firewall. It said: "
            f"{first_line(cause, self.secrets)}",
            field="url",
        )

    def query_fault(self, error: Exception, sql: str, *, session: Any, is_raw: bool) -> SourceError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        if cause.args[:1] == (1792,):  # MySQL: not in a READ ONLY transaction
            return UnsafeQueryError(
                f"The query tried to write ({first_line(cause)}) Redrive only reads the warehouse.", field="query", code="1792"
            )
        return query_refused(self.label, cause, secrets=self.secrets)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


class UrlSession:
    def __init__(self, connection: Connection, wrapper: Wrapper, cancel: Callable[[], None] | None) -> None:
        self.connection = connection
        self._cancel = cancel
        self._is_open = False
        self._wrapper = wrapper
        self._result: sa.CursorResult[Any] | None = None
        self._chunk_rows = 1000

    def describe(self, sql: str) -> list[Column]:
        return self._run(self._wrapper.empty(sql), {})

    def execute(self, statement: Statement, *, chunk_rows: int) -> list[Column]:
        self._chunk_rows = chunk_rows
        self._is_open = True
        return self._run(statement, {"stream_results": True, "max_row_buffer": chunk_rows})

    def _run(self, statement: Statement, options: dict[str, Any]) -> list[Column]:
        if statement.parameters is None:
            options["no_parameters"] = True
        self._result = self.connection.exec_driver_sql(statement.sql, statement.parameters, execution_options=options)
        described = self._result.cursor.description if self._result.cursor is not None else None
        return [Column(str(column[0]), column[1] if isinstance(column[1], str) else "") for column in described or ()]

    def fetch(self) -> list[RowValues]:
        if self._result is None:
            return []
        rows = [tuple(row) for row in self._result.fetchmany(self._chunk_rows)]
        self._is_open = bool(rows)
        return rows

    def close(self) -> None:
        with suppress(Exception):
            if self._is_open and self._cancel is not None:
                self._cancel()
                if self._result is not None and self._result.cursor is not None:
                    self._result.cursor.close()  # meets the cancelled query's error here, where it is expected
        with suppress(Exception):
            if self._result is not None:
                self._result.close()
        with suppress(Exception):
            self.connection.close()
