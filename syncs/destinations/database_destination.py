"""The destination itself: looks at the table, prepares the rows of a batch, and gives every record its outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa

from syncs.connectors import CheckReport
from syncs.destinations.base import Capabilities, Field, WithoutJobs
from syncs.destinations.database_errors import Fault, Verdict, clean, judge
from syncs.destinations.database_table import TableInfo, TableMissingError, forbidden_columns, read_table
from syncs.destinations.database_values import ValueMisfitError
from syncs.destinations.database_watching import watched
from syncs.destinations.database_write import CommitFailedError, Outcomes, Prepared, TableWriter, rejected
from syncs.destinations.trials import Watch
from syncs.errors import ConfigError, ErrorType
from syncs.http import Redactor
from syncs.records import (
    NOT_ATTEMPTED,
    Batch,
    BatchResult,
    Exchange,
    Operation,
    Record,
    RecordOutcome,
    RecordState,
    RowError,
    Signal,
)


class _StopError(Exception):
    """The batch as a whole cannot be written."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.error.message)
        self.verdict = verdict


def _stop(error_type: ErrorType, message: str, *, field: str = "", code: str = "") -> _StopError:
    return _StopError(Verdict(Fault.CONFIG, RowError(error_type, message, code=code, field=field)))


class DatabaseDestination(WithoutJobs):
    """Safe for several threads: they share a pool of connections and one description of the table."""

    def __init__(
        self, engine: sa.Engine, *, object_name: str, keys: tuple[str, ...], password: str, capabilities: Capabilities
    ) -> None:
        """``password`` is only looked for, to keep it out of messages."""
        self.capabilities = capabilities
        self._engine = engine
        self._object_name = object_name
        self._keys = keys
        self._password = password
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._lock = threading.Lock()
        self._table: TableInfo | None = None

    def close(self) -> None:
        self._engine.dispose()

    def watched(self, *, may_write: bool) -> AbstractContextManager[Watch]:
        """See ``destinations.trials``."""
        return watched(self._engine, Redactor([self._password] if self._password else []), may_write=may_write)

    # Looking

    def check(self) -> CheckReport:
        started = time.perf_counter()
        details: dict[str, str] = {}
        try:
            with self._engine.connect() as connection:
                details["server"] = _server(connection)
                if self._object_name:
                    details |= self._describe(read_table(connection, self._object_name))
        except TableMissingError as problem:
            return CheckReport(False, str(problem), _milliseconds(started), details)
        except sa.exc.SQLAlchemyError as problem:
            error = self._judged(problem).error
            return CheckReport(False, f"The database could not be used: {error.message}", _milliseconds(started), details)
        return CheckReport(True, f"Connected to {details['server']}.", _milliseconds(started), details)

    def _describe(self, table: TableInfo) -> dict[str, str]:
        keys = self._keys or table.primary_key
        unique = "unique" if table.is_unique(keys) else "not unique: upserts will be refused"
        return {
            "table": table.label,
            "columns": str(len(table.columns)),
            "key": f"{', '.join(keys)} ({unique})" if keys else "none",
        }

    def fields(self) -> list[Field] | None:
        """Raises ``ConfigError`` with a sentence where the table cannot be read."""
        if not self._object_name:
            return None
        try:
            table = self._read_table(again=True)
            with self._engine.connect() as connection:
                return table.fields(forbidden_columns(connection, table))
        except (TableMissingError, sa.exc.SQLAlchemyError) as problem:
            message = str(problem) if isinstance(problem, TableMissingError) else self._judged(problem).error.message
            raise ConfigError(message, field="destination_object") from None

    def objects(self) -> list[str] | None:
        """Tables of the default schema. Raises ``ConfigError`` where the database cannot be asked."""
        try:
            with self._engine.connect() as connection:
                return sorted(sa.inspect(connection).get_table_names())
        except sa.exc.SQLAlchemyError as problem:
            raise ConfigError(self._judged(problem).error.message, field="url") from None

    def _read_table(self, *, again: bool = False) -> TableInfo:
        with self._lock:
            if self._table is None or again:
                with self._engine.connect() as connection:
                    self._table = read_table(connection, self._object_name)
            return self._table

    def _judged(self, problem: BaseException, table: TableInfo | None = None, operation: Operation | None = None) -> Verdict:
        verdict = judge(problem, table=table, operation=operation)
        error = verdict.error
        if self._password and self._password in error.message:
            error = RowError(error.type, error.message.replace(self._password, "***"), code=error.code, field=error.field)
        return Verdict(verdict.fault, error)

    # Writing

    def write(self, batch: Batch) -> BatchResult:
        started = time.perf_counter()
        records = batch.records
        try:
            outcomes = self._write(batch)
        except _StopError as problem:
            return self._whole(batch, problem.verdict, started)
        except CommitFailedError as problem:
            if problem.is_lost:
                message = f"The connection was lost while the database committed: {problem.verdict.error.message}"
                error = RowError(ErrorType.UNKNOWN_OUTCOME, clean(message), code=problem.verdict.error.code)
                outcome = RecordOutcome(RecordState.UNKNOWN, error)
                return self._result(batch, [outcome] * len(records), started, Signal.UNKNOWN, error)
            return self._whole(batch, problem.verdict, started)
        except sa.exc.SQLAlchemyError as problem:
            verdict = self._judged(problem, self._table, batch.operation)
            if verdict.fault is Fault.CONFIG:
                self._table = None  # it may have been changed under us
                verdict = self._explained(verdict, batch)
            return self._whole(batch, verdict, started)
        return self._result(batch, [outcomes[index] for index in range(len(records))], started)

    def _write(self, batch: Batch) -> Outcomes:
        table = self._table_for(batch)
        keys = self._checked_keys(table, batch.operation)
        outcomes: Outcomes = {}
        rows: list[Prepared] = []
        for index, record in enumerate(batch.records):
            prepared = _prepare(table, keys, batch.operation, index, record)
            if isinstance(prepared, RowError):
                outcomes[index] = rejected(prepared)
            else:
                rows.append(prepared)
        if rows:
            outcomes |= TableWriter(self._engine, table, batch.operation, keys).write(rows)
        return outcomes

    def _table_for(self, batch: Batch) -> TableInfo:
        """The table, read again once where the batch names a column that it did not have."""
        if not self._object_name:
            raise _stop(ErrorType.SCHEMA_DRIFT, "The sync names no table; write it as table or schema.table.")
        try:
            table = self._read_table()
            if batch.operation is Operation.DELETE:
                return table
            unknown = _unknown_columns(table, batch.records)
            if unknown:
                table = self._read_table(again=True)
                unknown = _unknown_columns(table, batch.records)
        except TableMissingError as problem:
            raise _stop(ErrorType.SCHEMA_DRIFT, str(problem), code="no_table") from None
        if unknown:
            known = ", ".join(table.columns)[:300]
            message = f"The table {table.label} has no column “{unknown[0]}”. It has: {known}. Correct the mapping."
            raise _stop(ErrorType.SCHEMA_DRIFT, message, field=unknown[0], code="no_column")
        return table

    def _checked_keys(self, table: TableInfo, operation: Operation) -> tuple[str, ...]:
        if operation is Operation.INSERT:
            return ()
        keys = self._keys or table.primary_key
        if not keys:
            message = f"The table {table.label} has no primary key; mark the key fields in the mapping."
            raise _stop(ErrorType.SCHEMA_DRIFT, message, code="no_key")
        for name in keys:
            if name not in table.columns:
                message = f"The key field “{name}” is not a column of the table {table.label}. Correct the mapping."
                raise _stop(ErrorType.SCHEMA_DRIFT, message, field=name, code="no_column")
        if operation is Operation.UPSERT and not table.is_unique(keys):
            message = (
                f"An upsert into {table.label} needs a unique constraint on exactly {', '.join(keys)}. "
                "Add it to the table, or mark other key fields in the mapping."
            )
            raise _stop(ErrorType.SCHEMA_DRIFT, message, field=", ".join(keys), code="key_not_unique")
        return keys

    def _explained(self, verdict: Verdict, batch: Batch) -> Verdict:
        """PostgreSQL names the table even where only columns are closed to the user: ask which."""
        if verdict.error.code != "42501" or self._is_sqlite or batch.operation is Operation.DELETE:
            return verdict
        try:
            table = self._read_table()
            wanted = sorted({name for record in batch.records for name in record.payload})
            right = "INSERT" if batch.operation in (Operation.INSERT, Operation.UPSERT) else "UPDATE"
            query = sa.text("SELECT has_column_privilege(to_regclass(:t), :c, :r)")
            quoted = self._engine.dialect.identifier_preparer.format_table(table.clause)
            with self._engine.connect() as connection:
                closed = [n for n in wanted if not connection.scalar(query, {"t": quoted, "c": n, "r": right})]
        except (sa.exc.SQLAlchemyError, TableMissingError):
            return verdict
        if not closed or len(closed) == len(wanted):
            return verdict
        message = f"{verdict.error.message}: the user may not {right.lower()} {', '.join(closed)[:200]}"
        return Verdict(Fault.CONFIG, RowError(ErrorType.FIELD_PERMISSION, message, code="42501", field=closed[0]))

    def _whole(self, batch: Batch, verdict: Verdict, started: float) -> BatchResult:
        """Nothing was written: every record has the same outcome."""
        signal = _SIGNALS[verdict.fault]
        error = verdict.error
        if signal in (Signal.AUTH, Signal.CONFIG):
            outcome = NOT_ATTEMPTED
        else:
            outcome = RecordOutcome(RecordState.RETRYABLE, error)
        return self._result(batch, [outcome] * len(batch.records), started, signal, error)

    def _result(
        self,
        batch: Batch,
        outcomes: Sequence[RecordOutcome],
        started: float,
        signal: Signal = Signal.OK,
        error: RowError | None = None,
    ) -> BatchResult:
        exchange = Exchange(
            milliseconds=_milliseconds(started),
            request=f"{batch.operation.value.upper()} {self._object_name} ({len(batch.records)} rows)",
            excerpt=error.message if error else "",
            bytes_sent=sum(len(record.body) for record in batch.records),
        )
        return BatchResult(outcomes, signal, error, exchange=exchange)


_SIGNALS = {
    Fault.MOMENT: Signal.OK,
    Fault.TIMEOUT: Signal.UNAVAILABLE,
    Fault.UNAVAILABLE: Signal.UNAVAILABLE,
    Fault.AUTH: Signal.AUTH,
    Fault.CONFIG: Signal.CONFIG,
    Fault.ROW: Signal.REFUSED,
}


def _milliseconds(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _server(connection: sa.Connection) -> str:
    if connection.dialect.name == "sqlite":
        return f"SQLite {connection.exec_driver_sql('SELECT sqlite_version()').scalar_one()}"
    return f"PostgreSQL {connection.exec_driver_sql('SHOW server_version').scalar_one()}"


def _unknown_columns(table: TableInfo, records: Sequence[Record]) -> list[str]:
    known = table.columns.keys()
    for record in records:
        if not record.payload.keys() <= known:
            return [name for name in record.payload if name not in known]
    return []


def _prepare(table: TableInfo, keys: tuple[str, ...], operation: Operation, index: int, record: Record) -> Prepared | RowError:
    payload = record.payload
    # A delete needs the key alone; where the payload does not carry it, the row key is it.
    if operation is Operation.DELETE:
        payload = {n: payload[n] for n in keys if n in payload} or ({keys[0]: record.key} if len(keys) == 1 else {})
    values: dict[str, Any] = {}
    for name, value in payload.items():
        try:
            values[name] = None if value is None else table.columns[name].convert(value)
        except ValueMisfitError as problem:
            return RowError(ErrorType.VALIDATION, f"Column {name}: {problem}", code="invalid_value", field=name)
    for name in keys:
        if values.get(name) is None:
            message = f"The key field “{name}” is empty, so nobody can say which row of {table.label} is meant."
            return RowError(ErrorType.MISSING_REQUIRED, message, code="null_value", field=name)
    return Prepared(index, tuple(values), values, tuple(values[name] for name in keys))
