"""Snowflake, by its own connector.

Snowflake has no read-only transactions. What stops a write: the server takes one statement per call, the wrapping lets only a
SELECT parse, and the role, which should have no other right than to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cryptography.hazmat.primitives import serialization
from sqlalchemy.engine.default import DefaultDialect

from syncs.connectors import ConfigField, Issue
from syncs.errors import ConfigError, ErrorType, SourceError
from syncs.records import RowValues
from syncs.sources import settings
from syncs.sources.base import Column
from syncs.sources.faults import driver, first_line, query_refused
from syncs.sources.json_columns import with_json
from syncs.sources.lookups import Statement, Wrapper
from syncs.sources.settings import Timeouts, text
from syncs.sources.sql import Facts, SqlSource
from syncs.sources.statements import SNOWFLAKE

FIELDS: tuple[ConfigField, ...] = (
    ConfigField("account", "Account", is_required=True, help="As in <account>.snowflakecomputing.com."),
    ConfigField("user", "User", is_required=True),
    ConfigField("password", "Password", "secret", help="Or a private key."),
    ConfigField("private_key", "Private key", "secret", help="PEM text of the user's RSA key."),
    ConfigField("private_key_passphrase", "Passphrase of the key", "secret"),
    ConfigField("warehouse", "Warehouse", is_required=True),
    ConfigField("database", "Database", is_required=True),
    ConfigField("schema", "Schema"),
    ConfigField("role", "Role", help="A role that may only read."),
    *settings.TIMEOUTS,
)
_JSON_TYPES = frozenset({"VARIANT", "OBJECT", "ARRAY"})
_AUTH_CODES = ("390100", "390101", "390144", "394300", "394304")


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
    found = settings.issues(FIELDS, config, secrets)
    if not text(secrets, "password") and not text(secrets, "private_key"):
        found.append(Issue("password", "Give a password or a private key."))
    try:
        _private_key(secrets)
    except ConfigError as error:
        found.append(Issue(error.field, error.message))
    return found


def build(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> SnowflakeSource:
    settings.refuse(validate(config, secrets))
    options = {name: text(config, name) for name in ("account", "user", "warehouse", "database", "schema", "role")}
    return SnowflakeSource(options, secrets, Timeouts.of(config))


class SnowflakeSource(SqlSource):
    label = "Snowflake"
    profile = SNOWFLAKE

    def __init__(self, options: Mapping[str, Any], secrets: Mapping[str, Any], timeouts: Timeouts) -> None:
        names = ("password", "private_key", "private_key_passphrase")
        super().__init__(timeouts=timeouts, secrets=[text(secrets, name) for name in names])
        self.options = {name: value for name, value in options.items() if value != ""}
        self.wrapper = Wrapper(DefaultDialect(paramstyle="pyformat"))
        self._login: dict[str, Any] = {}
        if text(secrets, "private_key"):
            self._login["private_key"] = _private_key(secrets)
        else:
            self._login["password"] = str(secrets.get("password") or "")

    def open(self, *, seconds: int) -> SnowflakeSession:
        connector = driver("snowflake.connector", extra="snowflake", needed_for="Snowflake")
        parameters = {"TIMEZONE": "UTC", "QUERY_TAG": "redrive", "STATEMENT_TIMEOUT_IN_SECONDS": seconds}
        given = self.options.get("session_parameters") or {}
        connection = connector.connect(
            **{
                "application": "Redrive",
                "login_timeout": self.timeouts.connect,
                "autocommit": True,
                **self.options,
                **self._login,
                "session_parameters": {**given, **parameters},
            }
        )
        return SnowflakeSession(connection)

    def facts(self, session: SnowflakeSession) -> Facts:
        cursor = session.connection.cursor()
        version, role, user = cursor.execute("SELECT current_version(), current_role(), current_user()").fetchone()
        facts = Facts(f"Snowflake {version}", details={"user": str(user), "role": str(role)})
        if str(role).upper() in {"ACCOUNTADMIN", "SYSADMIN", "SECURITYADMIN", "ORGADMIN"}:
            facts.advice = f"The role {role} may change everything. Use one that may only read."
        return facts

    def driver_errors(self) -> tuple[type[Exception], ...]:
        errors = driver("snowflake.connector.errors", extra="snowflake", needed_for="Snowflake")
        return (errors.Error, OSError)

    def connect_fault(self, error: Exception) -> SourceError:
        said = first_line(error, self.secrets)
        account, user = self.options.get("account", ""), self.options.get("user", "")
        if "ncorrect username or password" in said or "JWT token" in said or any(code in said for code in _AUTH_CODES):
            return SourceError(
                f"Snowflake did not accept the login of “{user}”. Check user and password or key. It said: {said}",
                field="password",
                error_type=ErrorType.AUTH,
            )
        return SourceError(
            f"Snowflake account “{account}” cannot be reached. Check account and firewall. It said: {said}", field="account"
        )

    def query_fault(self, error: Exception, sql: str, *, session: Any, is_raw: bool) -> SourceError:
        code = str(getattr(error, "errno", "") or "")
        if code in ("604", "630"):
            return SourceError(
                "The query ran into the statement timeout. Make it faster, or raise the timeout of the connection.",
                field="query",
                code=code,
            )
        return query_refused("Snowflake", getattr(error, "raw_msg", None) or error, secrets=self.secrets, code=code)


class SnowflakeSession:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._cursor = connection.cursor()
        self._chunk_rows = 1000
        self._json: list[int] = []

    def describe(self, sql: str) -> list[Column]:
        cursor = self.connection.cursor()
        try:
            return [_column(column) for column in cursor.describe(sql) or ()]
        finally:
            cursor.close()

    def execute(self, statement: Statement, *, chunk_rows: int) -> list[Column]:
        self._chunk_rows = chunk_rows
        if statement.parameters is None:
            self._cursor.execute(statement.sql)
        else:
            self._cursor.execute(statement.sql, statement.parameters)
        columns = [_column(column) for column in self._cursor.description or ()]
        self._json = [at for at, column in enumerate(columns) if column.type in _JSON_TYPES]
        return columns

    def fetch(self) -> list[RowValues]:
        rows: list[RowValues] = self._cursor.fetchmany(self._chunk_rows)
        return with_json(rows, self._json) if self._json else rows

    def close(self) -> None:
        with suppress(Exception):
            self._cursor.close()
        with suppress(Exception):
            self.connection.close()


def _column(described: Any) -> Column:
    names = driver("snowflake.connector.constants", extra="snowflake", needed_for="Snowflake").FIELD_ID_TO_NAME
    word = str(names.get(described.type_code, ""))
    if word == "FIXED":
        word = f"NUMBER({described.precision},{described.scale})"
    return Column(described.name, word)


def _private_key(secrets: Mapping[str, Any]) -> bytes | None:
    """DER bytes, as the connector wants them. Raises ``ConfigError`` for a key or passphrase that cannot be used."""
    pem = text(secrets, "private_key")
    if not pem:
        return None
    passphrase = text(secrets, "private_key_passphrase")
    try:
        key = serialization.load_pem_private_key(pem.encode(), passphrase.encode() or None)
    except (ValueError, TypeError):
        raise ConfigError("Private key must be PEM text, with its passphrase if it has one.", field="private_key") from None
    return key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
