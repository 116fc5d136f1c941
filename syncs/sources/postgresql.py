"""PostgreSQL, by psycopg.

The barrier against writes: a READ ONLY, REPEATABLE READ transaction that is never committed; the extended protocol (Parse, and
DECLARE of a server-side cursor), which takes one statement only; the wrapping, inside which only a SELECT parses; the rights of
the role.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import abc, generators, pq
from psycopg.adapt import Transformer
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from syncs.connectors import ConfigField, Issue
from syncs.errors import ErrorType, SourceError, UnsafeQueryError
from syncs.records import RowValues
from syncs.sources import settings
from syncs.sources.base import Column
from syncs.sources.faults import first_line, place, query_refused
from syncs.sources.lookups import Statement, Wrapper
from syncs.sources.settings import Timeouts, number, text
from syncs.sources.sql import Facts, SqlSource
from syncs.sources.statements import POSTGRESQL

CURSOR = "redrive"
PORT = ConfigField("port", "Port", "integer", default=5432)
IDLE_TIMEOUT = ConfigField(
    "idle_timeout_seconds",
    "Idle timeout (s)",
    "integer",
    default=3600,
    help="How long the reading transaction may wait for the destination before the server ends it.",
)
SSL_MODES = tuple((mode, mode) for mode in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"))
FIELDS: tuple[ConfigField, ...] = (
    ConfigField("host", "Host", is_required=True, help="Host name, address, or the folder of a socket."),
    PORT,
    ConfigField("database", "Database", is_required=True),
    ConfigField("user", "User", is_required=True, help="A role that may only read."),
    ConfigField("password", "Password", "secret"),
    ConfigField("sslmode", "TLS", "choice", default="prefer", choices=SSL_MODES),
    *settings.TIMEOUTS,
    IDLE_TIMEOUT,
)

_SETTINGS = """
SELECT set_config(s.name, v.value, true), current_setting('transaction_read_only')
FROM unnest(%s::text[], %s::text[]) AS v(name, value) JOIN pg_catalog.pg_settings s ON s.name = v.name
"""
_TYPES = (
    "SELECT format_type(oid, modifier) FROM unnest(%s::oid[], %s::int[]) WITH ORDINALITY AS t(oid, modifier, at) ORDER BY at"
)
_FACTS = """
SELECT current_setting('server_version'), current_user, r.rolsuper, pg_is_in_recovery(),
       (SELECT string_agg(format('%I.%I', nspname, relname), ', ') FROM (
            SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
              AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
            ORDER BY 1, 2 LIMIT 3) AS writable)
FROM pg_roles r WHERE r.rolname = current_user
"""
_AUTH_STATES = ("28P01", "28000")


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
    return settings.issues(FIELDS, config, secrets)


def build(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> PostgresqlSource:
    settings.refuse(validate(config, secrets))
    options = {
        "host": text(config, "host"),
        "port": number(config, PORT),
        "dbname": text(config, "database"),
        "user": text(config, "user"),
        "sslmode": text(config, "sslmode") or "prefer",
    }
    password = str(secrets.get("password") or "")
    return PostgresqlSource(options, password, Timeouts.of(config), idle_seconds=number(config, IDLE_TIMEOUT))


class PostgresqlSource(SqlSource):
    label = "PostgreSQL"
    profile = POSTGRESQL

    def __init__(self, options: Mapping[str, Any], password: str, timeouts: Timeouts, *, idle_seconds: int = 3600) -> None:
        super().__init__(timeouts=timeouts, secrets=[password])
        self.options = dict(options)
        self.idle_seconds = idle_seconds
        self.wrapper = Wrapper(PGDialect_psycopg())  # type: ignore[no-untyped-call]
        self._password = password

    def open(self, *, seconds: int) -> PostgresqlSession:
        connection = psycopg.connect(
            **{
                "application_name": "redrive",
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
                **self.options,
                "password": self._password or None,
                "passfile": "/dev/null/none",  # no file: never the password of somebody else
                "client_encoding": "utf8",
                "connect_timeout": self.timeouts.connect,
            },
            prepare_threshold=None,
        )
        try:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            self._set_up(connection, seconds)
        except BaseException:
            connection.close()
            raise
        return PostgresqlSession(connection)

    def _set_up(self, connection: psycopg.Connection[Any], seconds: int) -> None:
        wanted = {
            "statement_timeout": f"{seconds}s",
            "lock_timeout": f"{min(seconds, 60)}s",
            "idle_in_transaction_session_timeout": f"{self.idle_seconds}s",
            "cursor_tuple_fraction": "1",  # the whole result is read: plan for that, not for a fast first row
            "TimeZone": "UTC",  # else a change of the server's zone would look like a change of every row
            "DateStyle": "ISO, YMD",
            "IntervalStyle": "postgres",
            "standard_conforming_strings": "on",
        }
        answer = connection.execute(_SETTINGS, (list(wanted), list(wanted.values()))).fetchone()
        if answer is None or answer[1] != "on":
            raise SourceError("PostgreSQL did not grant a read-only transaction, so nothing is read.")

    def facts(self, session: PostgresqlSession) -> Facts:
        row = session.connection.execute(_FACTS).fetchone()
        version, user, is_super, is_replica, writable = row or ("", "", False, False, None)
        facts = Facts(f"PostgreSQL {version.split()[0] if version else ''}".strip(), details={"user": user})
        if is_replica:
            facts.details["replica"] = "yes"
        if is_super:
            facts.details["rights"] = "superuser"
            facts.advice = f"“{user}” is a superuser. Use a role that may only read (GRANT pg_read_all_data)."
        elif writable:
            facts.details["rights"] = f"may write, for example to {writable}"
            facts.advice = f"“{user}” may write to {writable}. Redrive never does; a role that may only read is safer."
        else:
            facts.details["rights"] = "may not write to any table"
        return facts

    def driver_errors(self) -> tuple[type[Exception], ...]:
        return (psycopg.Error,)

    def connect_fault(self, error: Exception) -> SourceError:
        state = getattr(error, "sqlstate", None) or ""
        said = first_line(error, self.secrets)
        where = f"{self.options.get('host', '')}:{self.options.get('port', 5432)}"
        if state in _AUTH_STATES or "authentication failed" in said or "no password supplied" in said:
            user = self.options.get("user", "")
            return SourceError(
                f"PostgreSQL at {where} did not accept the login of “{user}”. Check user and password. It said: {said}",
                field="password",
                code=state,
                error_type=ErrorType.AUTH,
            )
        if state == "3D000" or "does not exist" in said:
            name = self.options.get("dbname", "")
            return SourceError(
                f"PostgreSQL at {where} has no such database or role. Check “{name}”. It said: {said}",
                field="database",
                code=state,
            )
        return SourceError(
            f"PostgreSQL at {where} cannot be reached. Check host, port, TLS and firewall. It said: {said}",
            field="host",
            code=state,
        )

    def query_fault(self, error: Exception, sql: str, *, session: Any, is_raw: bool) -> SourceError:
        assert isinstance(error, psycopg.Error)
        state = error.sqlstate or ""
        if _is_lost(error, state):
            return self.connect_fault(error)
        said = error.diag.message_primary or first_line(error, self.secrets)
        if state == "57014" and "statement timeout" in said:
            return SourceError(
                "The query ran into the statement timeout. Make it faster, or raise the timeout of the connection.",
                field="query",
                code=state,
            )
        if "multiple commands" in said:
            return UnsafeQueryError("The query holds more than one statement. Keep the one SELECT.", field="query", code=state)
        if state == "25006":
            return UnsafeQueryError(
                f"The query tried to write ({said}). Redrive only reads the warehouse.", field="query", code=state
            )
        position = error.diag.statement_position if is_raw else None
        where = place(sql, int(position)) if position else ""
        return query_refused("PostgreSQL", said, secrets=self.secrets, where=where, code=state)


class PostgresqlSession:
    """A transaction with one server-side cursor. While a chunk is worked on, the server already prepares the next one."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self._declared: psycopg.ServerCursor[Any] | None = None
        self._fetch = b""
        self._is_asked = False

    def describe(self, sql: str) -> list[Column]:
        # Parse and Describe of the extended protocol: one statement only, and nothing is executed.
        server = self.connection.pgconn
        for result in (server.prepare(b"", sql.encode()), server.describe_prepared(b"")):
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result)
        if result.nparams:
            raise SourceError("The query holds a placeholder ($1). Write the value itself.", field="query")
        oids = [result.ftype(at) for at in range(result.nfields)]
        modifiers = [result.fmod(at) for at in range(result.nfields)]
        words = self.connection.execute(_TYPES, (oids, modifiers)).fetchall()
        names = [(result.fname(at) or b"").decode() for at in range(result.nfields)]
        return [Column(name, word[0] or "") for name, word in zip(names, words, strict=True)]

    def execute(self, statement: Statement, *, chunk_rows: int) -> list[Column]:
        self._declared = cursor = self.connection.cursor(CURSOR)
        cursor.execute(statement.sql, statement.parameters)
        self._fetch = f'FETCH FORWARD {int(chunk_rows)} FROM "{CURSOR}"'.encode()
        self._ask()
        return [Column(column.name) for column in cursor.description or ()]

    def _ask(self) -> None:
        self.connection.pgconn.send_query_params(self._fetch, None)
        self.connection.pgconn.flush()
        self._is_asked = True

    def fetch(self) -> list[RowValues]:
        if not self._is_asked:
            return []
        result = self.connection.wait(generators.execute(self.connection.pgconn))[-1]
        self._is_asked = False
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise psycopg.errors.error_from_result(result)
        if not result.ntuples:
            return []
        self._ask()
        transformer = Transformer(self.connection)
        transformer.set_pgresult(result)
        try:
            return transformer.load_rows(0, result.ntuples, tuple)
        except (psycopg.DataError, ValueError):
            return _tolerant(transformer, result)

    def close(self) -> None:
        with suppress(psycopg.Error):
            if self._is_asked and not self.connection.broken:
                self.connection.cancel_safe(timeout=5)
        with suppress(psycopg.Error):
            self.connection.close()
        if self._declared is not None:
            psycopg.Cursor.close(self._declared)  # the cursor ended with its connection; this only marks it closed


def _tolerant(transformer: abc.Transformer, result: pq.abc.PGresult) -> list[RowValues]:
    """The chunk again, value by value: what Python cannot hold (the date “infinity”, 44 BC) comes through as its text."""
    loaders = [transformer.get_loader(result.ftype(at), pq.Format.TEXT).load for at in range(result.nfields)]

    def value(row: int, at: int) -> Any:
        data = result.get_value(row, at)
        if data is None:
            return None
        try:
            return loaders[at](data)
        except (psycopg.DataError, ValueError):
            with suppress(UnicodeDecodeError):
                return data.decode()
            return data

    return [tuple(value(row, at) for at in range(result.nfields)) for row in range(result.ntuples)]


def _is_lost(error: psycopg.Error, state: str) -> bool:
    """The server went away while it answered (classes 08 and 57P of SQLSTATE, or no answer at all): not the query's fault."""
    return state.startswith(("08", "57P")) or (not state and isinstance(error, psycopg.OperationalError))
