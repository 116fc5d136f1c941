"""SQLite files, by the standard library.

The barrier against writes: the file is opened read-only, ``query_only`` is on, and an authorizer allows reading and nothing
else, so ATTACH, PRAGMA, COMMIT and loading of extensions are refused while the statement is compiled.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from syncs.connectors import ConfigField, Issue
from syncs.errors import SourceError, UnsafeQueryError
from syncs.records import RowValues
from syncs.sources import settings
from syncs.sources.base import Column
from syncs.sources.faults import first_line, query_refused
from syncs.sources.lookups import Statement, Wrapper, sqlite_spellings
from syncs.sources.settings import Timeouts, text
from syncs.sources.sql import Facts, SqlSource
from syncs.sources.statements import SQLITE
from syncs.sources.watchdog import Watchdog

FIELDS: tuple[ConfigField, ...] = (
    ConfigField(
        "path", "File", is_required=True, help="Full path of the database file, as the web and worker processes see it."
    ),
    *settings.TIMEOUTS,
)
_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_REFUSED_FUNCTIONS = frozenset({"load_extension", "writefile", "readfile", "edit", "fts3_tokenizer"})


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
    return settings.issues(FIELDS, config, secrets) + settings.path_issues(config)


def build(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> SqliteSource:
    settings.refuse(validate(config, secrets))
    return SqliteSource(text(config, "path"), Timeouts.of(config))


class SqliteSource(SqlSource):
    label = "SQLite"
    profile = SQLITE

    def __init__(self, path: str, timeouts: Timeouts) -> None:
        super().__init__(timeouts=timeouts)
        self.path = Path(path).expanduser()
        # Exact order and comparison also for columns declared COLLATE NOCASE: equal keys must be neighbours.
        dialect = SQLiteDialect_pysqlite()
        self.wrapper = Wrapper(dialect, spellings=sqlite_spellings, collation="BINARY")

    def open(self, *, seconds: int) -> SqliteSession:
        settings.check_file(self.path)
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=self.timeouts.connect,
            isolation_level=None,
            check_same_thread=False,  # the watchdog interrupts from its own thread
        )
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # fails here when this is no database
            journal = connection.execute("PRAGMA journal_mode").fetchone()[0]
            connection.set_authorizer(_authorized)
            connection.text_factory = _text
        except BaseException:
            connection.close()
            raise
        return SqliteSession(connection, self.wrapper, seconds, journal)

    def facts(self, session: SqliteSession) -> Facts:
        size = self.path.stat().st_size
        details = {"journal": session.journal, "size": f"{size / 1_000_000:,.1f} MB", "rights": "opened read-only"}
        advice = ""
        if session.journal != "wal":
            advice = "While a run reads, writers to this file wait; PRAGMA journal_mode=WAL on the file avoids that."
        return Facts(f"SQLite {sqlite3.sqlite_version}", advice, details)

    def driver_errors(self) -> tuple[type[Exception], ...]:
        return (sqlite3.Error, sqlite3.Warning, OverflowError)

    def connect_fault(self, error: Exception) -> SourceError:
        return SourceError(
            f"The SQLite file {self.path} cannot be read. Check the path and that it is a database. It said: "
            f"{first_line(error)}",
            field="path",
        )

    def query_fault(self, error: Exception, sql: str, *, session: Any, is_raw: bool) -> SourceError:
        said = str(error)
        if isinstance(session, SqliteSession) and session.watchdog.is_expired and "interrupted" in said:
            return settings.ran_too_long(session.watchdog.seconds)
        if "one statement at a time" in said:
            return UnsafeQueryError("The query holds more than one statement. Keep the one SELECT.", field="query")
        if "not authorized" in said or "prohibited" in said or "readonly" in said:
            return UnsafeQueryError(f"The query does more than read ({said}). Redrive only reads the warehouse.", field="query")
        return query_refused("SQLite", error, secrets=())


class SqliteSession:
    def __init__(self, connection: sqlite3.Connection, wrapper: Wrapper, seconds: int, journal: str) -> None:
        self.connection = connection
        self._wrapper = wrapper
        self.journal = journal
        self.watchdog = Watchdog(seconds, connection.interrupt)
        self._cursor = connection.cursor()
        self._chunk_rows = 1000

    def describe(self, sql: str) -> list[Column]:
        with self.watchdog.step():
            names = self._names(self._wrapper.empty(sql).sql)
            if any(re.search(r":\d+$", name) for name in names):
                # Inside a subquery SQLite renames a second “a” to “a:1”; only the query itself tells its real names.
                names = self._names(sql)
        return [Column(name) for name in names]

    def _names(self, sql: str) -> list[str]:
        cursor = self.connection.execute(sql)
        try:
            return [column[0] for column in cursor.description or ()]
        finally:
            cursor.close()

    def execute(self, statement: Statement, *, chunk_rows: int) -> list[Column]:
        self._chunk_rows = chunk_rows
        with self.watchdog.step():
            self._cursor.execute(statement.sql, statement.parameters or ())
        return [Column(column[0]) for column in self._cursor.description or ()]

    def fetch(self) -> list[RowValues]:
        with self.watchdog.step():
            return self._cursor.fetchmany(self._chunk_rows)

    def close(self) -> None:
        self.watchdog.close()
        with suppress(sqlite3.Error):
            self._cursor.close()
        with suppress(sqlite3.Error):
            self.connection.close()


def _authorized(action: int, _first: str | None, second: str | None, _database: str | None, _inner: str | None) -> int:
    if action not in _READING:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _REFUSED_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _text(data: bytes) -> Any:
    """Text that is not UTF-8 comes through as bytes instead of ending the run."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
