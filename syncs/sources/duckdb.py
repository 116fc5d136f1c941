"""DuckDB files.

The barrier against writes: the file is opened read-only, file system, network and extensions are off (which nobody can turn on
again in a running database), and DuckDB's own parser must find exactly one SELECT.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

from syncs.connectors import ConfigField, Issue
from syncs.errors import SourceError, UnsafeQueryError
from syncs.records import RowValues
from syncs.sources import settings
from syncs.sources.base import Column
from syncs.sources.faults import driver, first_line, query_refused
from syncs.sources.json_columns import with_json
from syncs.sources.lookups import Statement, Wrapper
from syncs.sources.settings import Timeouts, text
from syncs.sources.sql import Facts, SqlSource
from syncs.sources.statements import DUCKDB
from syncs.sources.watchdog import Watchdog

MEMORY = ConfigField(
    "memory_mb", "Memory (MB)", "integer", default=512, help="What DuckDB may use in a worker; larger sorts go to disk."
)
FIELDS: tuple[ConfigField, ...] = (
    ConfigField(
        "path", "File", is_required=True, help="Full path of the database file, as the web and worker processes see it."
    ),
    MEMORY,
    *settings.TIMEOUTS,
)


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
    return settings.issues(FIELDS, config, secrets) + settings.path_issues(config)


def build(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> DuckdbSource:
    settings.refuse(validate(config, secrets))
    return DuckdbSource(text(config, "path"), Timeouts.of(config), memory_mb=settings.number(config, MEMORY))


class DuckdbSource(SqlSource):
    label = "DuckDB"
    profile = DUCKDB

    def __init__(self, path: str, timeouts: Timeouts, *, memory_mb: int = 512) -> None:
        super().__init__(timeouts=timeouts)
        self.path = Path(path).expanduser()
        self.memory_mb = memory_mb
        self.wrapper = Wrapper(DefaultDialect(paramstyle="qmark"))

    def open(self, *, seconds: int) -> DuckdbSession:
        duckdb = driver("duckdb", extra="duckdb", needed_for="DuckDB")
        settings.check_file(self.path)
        connection = duckdb.connect(
            str(self.path),
            read_only=True,
            config={
                "enable_external_access": "false",
                "autoload_known_extensions": "false",
                "autoinstall_known_extensions": "false",
                "memory_limit": f"{self.memory_mb}MB",
                "threads": "1",  # a sort by several threads runs out of a small memory limit instead of going to disk
            },
        )
        try:
            connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            connection.execute("BEGIN TRANSACTION READ ONLY")
        except BaseException:
            connection.close()
            raise
        return DuckdbSession(connection, seconds)

    def facts(self, session: DuckdbSession) -> Facts:
        version = session.connection.execute("SELECT version()").fetchone()[0]
        size = self.path.stat().st_size
        return Facts(f"DuckDB {version}", details={"size": f"{size / 1_000_000:,.1f} MB", "rights": "opened read-only"})

    def driver_errors(self) -> tuple[type[Exception], ...]:
        duckdb = driver("duckdb", extra="duckdb", needed_for="DuckDB")
        return (duckdb.Error,)

    def connect_fault(self, error: Exception) -> SourceError:
        said = first_line(error)
        if "lock" in said.lower():
            return SourceError(
                f"The DuckDB file {self.path} is held by another process that writes to it. Let it finish, or read a copy. "
                f"DuckDB said: {said}",
                field="path",
            )
        return SourceError(
            f"The DuckDB file {self.path} cannot be read. Check the path and that it is a database. DuckDB said: {said}",
            field="path",
        )

    def query_fault(self, error: Exception, sql: str, *, session: Any, is_raw: bool) -> SourceError:
        kind = type(error).__name__
        if kind == "InterruptException" and isinstance(session, DuckdbSession) and session.watchdog.is_expired:
            return settings.ran_too_long(session.watchdog.seconds)
        said = first_line(error)
        if "read-only" in said or kind == "PermissionException":
            return UnsafeQueryError(f"The query does more than read ({said}) Redrive only reads the warehouse.", field="query")
        if kind == "OutOfMemoryException":
            return SourceError(
                f"DuckDB ran out of its {self.memory_mb} MB. Raise the connection's memory, or select fewer columns.",
                field="memory_mb",
            )
        return query_refused("DuckDB", error, secrets=(), where=_line(error, sql) if is_raw else "")


class DuckdbSession:
    def __init__(self, connection: Any, seconds: int) -> None:
        self.connection = connection
        self.watchdog = Watchdog(seconds, connection.interrupt)
        self._chunk_rows = 1000
        self._json: list[int] = []

    def describe(self, sql: str) -> list[Column]:
        kinds = [statement.type.name for statement in self.connection.extract_statements(sql)]
        if kinds != ["SELECT"]:
            found = ", ".join(kinds) or "nothing"
            raise UnsafeQueryError(f"The query must be exactly one SELECT; DuckDB reads it as: {found}.", field="query")
        with self.watchdog.step():
            rows = self.connection.execute(f"DESCRIBE\n{sql}").fetchall()
        return [Column(row[0], row[1]) for row in rows]

    def execute(self, statement: Statement, *, chunk_rows: int) -> list[Column]:
        self._chunk_rows = chunk_rows
        with self.watchdog.step():
            self.connection.execute(statement.sql, statement.parameters)
        columns = [Column(column[0], str(column[1])) for column in self.connection.description or ()]
        self._json = [at for at, column in enumerate(columns) if column.type == "JSON"]
        return columns

    def fetch(self) -> list[RowValues]:
        with self.watchdog.step():
            rows: list[RowValues] = self.connection.fetchmany(self._chunk_rows)
        return with_json(rows, self._json) if self._json else rows

    def close(self) -> None:
        self.watchdog.close()
        with suppress(Exception):
            self.connection.close()


def _line(error: Exception, sql: str) -> str:
    """DuckDB names the line; the first one is our DESCRIBE."""
    found = re.search(r"^LINE (\d+):", str(error), re.MULTILINE)
    line = int(found.group(1)) - 1 if found else 0
    return f"line {line}" if 1 <= line <= sql.count("\n") + 1 else ""
