"""What an error of the database means for the batch: one row's fault, a moment's fault, or the set-up's.

Judged by SQLSTATE (PostgreSQL) or the extended error name (SQLite); the text only tells refused logins apart: they have no
code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from syncs.destinations.database_table import TableInfo
from syncs.errors import ErrorType
from syncs.records import Operation, RowError

MAX_MESSAGE = 500


class Fault(StrEnum):
    """``row``: refuse this row, write its batch-mates. ``moment``: send again (deadlock, lock). ``timeout``, ``unavailable``:
    wait.

    ``auth``, ``config``: a person must act; nothing of the batch was written.
    """

    ROW = "row"
    MOMENT = "moment"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    AUTH = "auth"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Verdict:
    fault: Fault
    error: RowError


_UNAVAILABLE = ErrorType.DESTINATION_UNAVAILABLE

# SQLSTATE, longest prefix first.
_STATES: dict[str, tuple[Fault, ErrorType]] = {
    "23502": (Fault.ROW, ErrorType.MISSING_REQUIRED),
    "23505": (Fault.ROW, ErrorType.DUPLICATE_KEY),
    "23P01": (Fault.ROW, ErrorType.DUPLICATE_KEY),
    "23503": (Fault.ROW, ErrorType.REFERENCE_NOT_FOUND),
    "21000": (Fault.ROW, ErrorType.DUPLICATE_KEY),  # two rows of one statement with the same key
    "23": (Fault.ROW, ErrorType.VALIDATION),
    "22": (Fault.ROW, ErrorType.VALIDATION),
    "44": (Fault.ROW, ErrorType.VALIDATION),  # WITH CHECK OPTION of a view
    "P0": (Fault.ROW, ErrorType.VALIDATION),  # raised by a trigger
    "54": (Fault.ROW, ErrorType.TOO_LARGE),
    "40": (Fault.MOMENT, _UNAVAILABLE),
    "55P03": (Fault.MOMENT, ErrorType.TIMEOUT),
    "55006": (Fault.MOMENT, _UNAVAILABLE),
    "57014": (Fault.TIMEOUT, ErrorType.TIMEOUT),
    "25P03": (Fault.TIMEOUT, ErrorType.TIMEOUT),
    "25006": (Fault.UNAVAILABLE, _UNAVAILABLE),  # a standby, for as long as a failover takes
    "08": (Fault.UNAVAILABLE, _UNAVAILABLE),
    "53": (Fault.UNAVAILABLE, _UNAVAILABLE),
    "57": (Fault.UNAVAILABLE, _UNAVAILABLE),
    "58": (Fault.UNAVAILABLE, _UNAVAILABLE),
    "XX": (Fault.UNAVAILABLE, _UNAVAILABLE),
    "28": (Fault.AUTH, ErrorType.AUTH),
    "42501": (Fault.CONFIG, ErrorType.FIELD_PERMISSION),
    "42": (Fault.CONFIG, ErrorType.SCHEMA_DRIFT),
    "3D": (Fault.CONFIG, ErrorType.SCHEMA_DRIFT),
    "3F": (Fault.CONFIG, ErrorType.SCHEMA_DRIFT),
}

_SQLITE: dict[str, tuple[Fault, ErrorType]] = {
    "SQLITE_CONSTRAINT_NOTNULL": (Fault.ROW, ErrorType.MISSING_REQUIRED),
    "SQLITE_CONSTRAINT_UNIQUE": (Fault.ROW, ErrorType.DUPLICATE_KEY),
    "SQLITE_CONSTRAINT_PRIMARYKEY": (Fault.ROW, ErrorType.DUPLICATE_KEY),
    "SQLITE_CONSTRAINT_ROWID": (Fault.ROW, ErrorType.DUPLICATE_KEY),
    "SQLITE_CONSTRAINT_FOREIGNKEY": (Fault.ROW, ErrorType.REFERENCE_NOT_FOUND),
    "SQLITE_CONSTRAINT": (Fault.ROW, ErrorType.VALIDATION),
    "SQLITE_MISMATCH": (Fault.ROW, ErrorType.VALIDATION),
    "SQLITE_TOOBIG": (Fault.ROW, ErrorType.TOO_LARGE),
    "SQLITE_BUSY": (Fault.MOMENT, ErrorType.TIMEOUT),
    "SQLITE_LOCKED": (Fault.MOMENT, ErrorType.TIMEOUT),
    "SQLITE_FULL": (Fault.UNAVAILABLE, _UNAVAILABLE),
    "SQLITE_IOERR": (Fault.UNAVAILABLE, _UNAVAILABLE),
    "SQLITE_NOMEM": (Fault.UNAVAILABLE, _UNAVAILABLE),
    "SQLITE_ERROR": (Fault.CONFIG, ErrorType.SCHEMA_DRIFT),
}

_LOGIN = re.compile(
    r"authentication failed|no password supplied|role \".*?\" does not exist|no pg_hba\.conf entry", re.IGNORECASE
)
_NO_DATABASE = re.compile(r"database \".*?\" does not exist", re.IGNORECASE)
_REFERENCED = re.compile(r"still referenced", re.IGNORECASE)
_ROW_SECURITY = re.compile(r"row-level security", re.IGNORECASE)
_LENGTH = re.compile(r"too long for type .*?\((\d+)\)")
_QUOTED_END = re.compile(r':\s"(.*)"$', re.DOTALL)
_SQLITE_COLUMNS = re.compile(r"constraint failed: (.+)$")


def judge(problem: BaseException, *, table: TableInfo | None = None, operation: Operation | None = None) -> Verdict:
    """``problem``: what SQLAlchemy or the driver raised."""
    origin = problem.orig if isinstance(problem, sa.exc.DBAPIError) and problem.orig is not None else problem
    state = getattr(origin, "sqlstate", None)
    name = getattr(origin, "sqlite_errorname", None)
    message = clean(_text(origin))
    if state:
        return _postgresql(origin, state, message, table, operation)
    if name:
        return _sqlite(name, message, table, operation)
    return _without_code(problem, origin, message)


def clean(text: str) -> str:
    """One line, printable, capped."""
    line = " ".join(text.encode("utf-8", "replace").decode().replace("\x00", "").split())
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 1] + "…"


def _text(origin: BaseException) -> str:
    diagnosis = getattr(origin, "diag", None)
    primary = getattr(diagnosis, "message_primary", None)
    if not primary:
        return str(origin) or type(origin).__name__
    detail = getattr(diagnosis, "message_detail", None)
    return f"{primary}. {detail}" if detail else str(primary)


def _looked_up(table: dict[str, tuple[Fault, ErrorType]], code: str) -> tuple[Fault, ErrorType] | None:
    for length in range(len(code), 1, -1):
        if found := table.get(code[:length]):
            return found
    return None


def _postgresql(origin: Any, state: str, message: str, table: TableInfo | None, operation: Operation | None) -> Verdict:
    fault, error_type = _looked_up(_STATES, state) or (Fault.CONFIG, ErrorType.UNKNOWN)
    if state == "42501" and _ROW_SECURITY.search(message):
        fault = Fault.ROW
    if state == "23503" and (operation is Operation.DELETE or _REFERENCED.search(message)):
        error_type = ErrorType.VALIDATION  # other rows point at this one
    field = _postgresql_field(origin, table) if fault is Fault.ROW else ""
    return Verdict(fault, RowError(error_type, message, code=state, field=field))


def _postgresql_field(origin: Any, table: TableInfo | None) -> str:
    diagnosis = origin.diag
    if diagnosis.column_name:
        return str(diagnosis.column_name)
    if table is not None and diagnosis.constraint_name:
        return ", ".join(table.constraints.get(diagnosis.constraint_name, ()))
    return ""


def _sqlite(name: str, message: str, table: TableInfo | None, operation: Operation | None) -> Verdict:
    parts = name.split("_")
    found = None
    while parts and found is None:
        found = _SQLITE.get("_".join(parts))
        parts.pop()
    fault, error_type = found or (Fault.CONFIG, ErrorType.UNKNOWN)
    if name == "SQLITE_CONSTRAINT_FOREIGNKEY" and operation is Operation.DELETE:
        error_type = ErrorType.VALIDATION
    field = _sqlite_field(message, table) if fault is Fault.ROW else ""
    return Verdict(fault, RowError(error_type, message, code=name, field=field))


def _sqlite_field(message: str, table: TableInfo | None) -> str:
    """SQLite writes ``UNIQUE constraint failed: contacts.email, contacts.tenant`` or the name of a CHECK."""
    found = _SQLITE_COLUMNS.search(message)
    if found is None or table is None:
        return ""
    if found[1] in table.constraints:
        return ", ".join(table.constraints[found[1]])
    names = [part.strip().removeprefix(f"{table.name}.") for part in found[1].split(",")]
    return ", ".join(names) if all(name in table.columns for name in names) else ""


def _without_code(problem: BaseException, origin: BaseException, message: str) -> Verdict:
    if isinstance(problem, sa.exc.DataError) or isinstance(origin, OverflowError | UnicodeError):
        return Verdict(Fault.ROW, RowError(ErrorType.VALIDATION, message, code=type(origin).__name__))
    if _LOGIN.search(message):
        return Verdict(Fault.AUTH, RowError(ErrorType.AUTH, message))
    if _NO_DATABASE.search(message):
        return Verdict(Fault.CONFIG, RowError(ErrorType.SCHEMA_DRIFT, message))
    if isinstance(problem, sa.exc.ProgrammingError | sa.exc.NotSupportedError | sa.exc.CompileError):
        return Verdict(Fault.CONFIG, RowError(ErrorType.UNKNOWN, message))
    return Verdict(Fault.UNAVAILABLE, RowError(_UNAVAILABLE, message))


def guess_field(error: RowError, table: TableInfo, values: dict[str, Any]) -> str:
    """PostgreSQL names no column for a value that is too long or unreadable: the only one it can be, or "".

    ``values``: column -> value as sent.
    """
    if found := _LENGTH.search(error.message):
        longest = int(found[1])
        fits = [
            name
            for name, value in values.items()
            if table.columns[name].max_length == longest and isinstance(value, str) and len(value) > longest
        ]
    elif found := _QUOTED_END.search(error.message):
        fits = [name for name, value in values.items() if isinstance(value, str) and value == found[1]]
    else:
        return ""
    return fits[0] if len(fits) == 1 else ""


_KEY = re.compile(r"Key \((.+?)\)=\((.*?)\) (?:already|is )")
_FAILING_ROW = re.compile(r"Failing row contains \((.*)")


def is_suspect(error: RowError, table: TableInfo) -> Callable[[dict[str, Any]], bool] | None:
    """PostgreSQL quotes the row it refused: a test whether these column values are that row's. None where it quotes nothing.

    Only a hint where to look first: whether a row is bad is decided by writing it alone.
    """
    if found := _KEY.search(error.message):
        quoted = dict(zip(found[1].split(", "), found[2].split(", "), strict=False))
        return lambda values: all(name in values and _quoted(values[name]) == text for name, text in quoted.items())
    if found := _FAILING_ROW.search(error.message):
        start = found[1]
        return lambda values: start.startswith(_row_start(table, values))
    return None


def _row_start(table: TableInfo, values: dict[str, Any]) -> str:
    """The row's first values as PostgreSQL quotes them, as far as they are known and sure to be quoted whole."""
    parts = []
    for name in table.columns:
        value = values.get(name, ...)
        if not (value is None or isinstance(value, int) or (isinstance(value, str) and len(value) < 60)):
            break
        parts.append(_quoted(value))
        if len(parts) == 3:
            break
    return ", ".join(parts) or "\x00"


def _quoted(value: Any) -> str:
    if value is None:
        return "null"
    return "ft"[value] if isinstance(value, bool) else str(value)
