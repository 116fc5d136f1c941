"""Writing one batch: all rows at once, and where the database refuses, row by row behind savepoints in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from syncs.destinations.database_errors import Fault, Verdict, guess_field, is_suspect, judge
from syncs.destinations.database_table import TableInfo
from syncs.errors import ErrorType
from syncs.records import Operation, RecordOutcome, RecordState, RowError

SMALLEST_SPAN = 16  # a span this short is written row by row: dividing it further would cost more statements
PEELS = 6  # rows that are set aside because the error quotes them, before a span is divided blindly
PARTS = 8  # each level writes all rows once more, so few levels are cheaper than halving


@dataclass(slots=True)
class Prepared:
    """One record as column values, in the order of ``columns``. ``index``: its place in the batch."""

    index: int
    columns: tuple[str, ...]
    values: dict[str, Any]
    key: tuple[Any, ...]


class _NeedsSinglesError(Exception):
    """The statement worked, but did not say which row was missing: undo it and ask row by row."""


class _RowRefusedError(Exception):
    def __init__(self, error: RowError) -> None:
        super().__init__(error.message)
        self.error = error


class CommitFailedError(Exception):
    """The commit did not come back with a yes. ``is_lost``: nobody knows whether it happened."""

    def __init__(self, verdict: Verdict, *, is_lost: bool) -> None:
        super().__init__(verdict.error.message)
        self.verdict = verdict
        self.is_lost = is_lost


Outcomes = dict[int, RecordOutcome]


def written(detail: str = "") -> RecordOutcome:
    return RecordOutcome(RecordState.WRITTEN, detail=detail)


def rejected(error: RowError) -> RecordOutcome:
    return RecordOutcome(RecordState.REJECTED, error)


class TableWriter:
    """Statements for one table, one operation and one key. Raises SQLAlchemy's errors for what is no single row's fault, and
    ``CommitFailedError``; in both cases nothing is known to be written."""

    def __init__(self, engine: sa.Engine, table: TableInfo, operation: Operation, keys: tuple[str, ...]) -> None:
        self.engine = engine
        self.table = table
        self.operation = operation
        self.keys = keys
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._is_unique = table.is_unique(keys)
        self._execute: Callable[[sa.Connection, list[Prepared]], Outcomes] = {
            Operation.INSERT: self._insert,
            Operation.UPSERT: self._upsert,
            Operation.UPDATE: self._update,
            Operation.DELETE: self._delete,
        }[operation]

    def write(self, rows: list[Prepared]) -> Outcomes:
        try:
            return self._in_transaction(rows, self._fast)
        except (_NeedsSinglesError, _RowRefusedError):
            pass
        except CommitFailedError as problem:
            # A deferred constraint: the server said no, so nothing is written; row by row it names the guilty.
            if problem.is_lost or problem.verdict.fault is not Fault.ROW:
                raise
            return self._each_alone(rows)
        except sa.exc.DBAPIError as problem:
            if self._judge(problem).fault is not Fault.ROW:
                raise
        try:
            return self._in_transaction(rows, self._careful)
        except CommitFailedError as problem:
            if problem.is_lost or problem.verdict.fault is not Fault.ROW:
                raise
            return self._each_alone(rows)

    def _judge(self, problem: BaseException) -> Verdict:
        return judge(problem, table=self.table, operation=self.operation)

    def _in_transaction(self, rows: list[Prepared], write: Callable[[sa.Connection, list[Prepared]], Outcomes]) -> Outcomes:
        with self.engine.connect() as connection:
            transaction = connection.begin()
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # waits for the lock here, not half-way
            outcomes = write(connection, rows)
            try:
                transaction.commit()
            except sa.exc.DBAPIError as problem:
                verdict = self._judge(problem)
                connection.invalidate()  # SQLite leaves the transaction open after a refused commit
                is_known = verdict.error.code != "" and verdict.fault in (Fault.ROW, Fault.MOMENT)
                raise CommitFailedError(verdict, is_lost=not is_known) from problem
            return outcomes

    def _each_alone(self, rows: list[Prepared]) -> Outcomes:
        """A transaction per row: slow, and only where constraints are checked at the commit.

        What stops it half-way leaves rows written and others not, so the rows after it are sent again, not undone.
        """
        outcomes: Outcomes = {}
        for row in rows:
            try:
                outcomes |= self._in_transaction([row], self._careful)
            except CommitFailedError as problem:
                if problem.is_lost or problem.verdict.fault is not Fault.ROW:
                    state = RecordState.UNKNOWN if problem.is_lost else RecordState.RETRYABLE
                    outcomes[row.index] = RecordOutcome(state, problem.verdict.error)
                else:
                    outcomes[row.index] = rejected(problem.verdict.error)
            except sa.exc.SQLAlchemyError as problem:
                outcomes[row.index] = RecordOutcome(RecordState.RETRYABLE, self._judge(problem).error)
        return outcomes

    def _fast(self, connection: sa.Connection, rows: list[Prepared]) -> Outcomes:
        outcomes: Outcomes = {}
        for group in _by_columns(rows):
            outcomes |= self._execute(connection, group)
        return outcomes

    def _careful(self, connection: sa.Connection, rows: list[Prepared]) -> Outcomes:
        """All of them at once has failed already."""
        outcomes: Outcomes = {}
        if len(rows) == 1:
            self._span(connection, rows, outcomes)
        else:
            self._divide(connection, rows, outcomes)
        return outcomes

    def _span(self, connection: sa.Connection, rows: list[Prepared], outcomes: Outcomes, peels: int = PEELS) -> None:
        savepoint = connection.begin_nested()
        try:
            found = self._fast(connection, rows)
            savepoint.commit()
        except sa.exc.DBAPIError as problem:
            verdict = self._judge(problem)
            if verdict.fault is not Fault.ROW:
                raise
            savepoint.rollback()
            self._narrow(connection, rows, outcomes, verdict.error, peels)
        except _RowRefusedError as problem:
            savepoint.rollback()
            self._narrow(connection, rows, outcomes, problem.error)
        except _NeedsSinglesError:
            savepoint.rollback()
            self._each(connection, rows, outcomes)
        else:
            outcomes |= found

    def _narrow(
        self, connection: sa.Connection, rows: list[Prepared], outcomes: Outcomes, error: RowError, peels: int = 0
    ) -> None:
        if len(rows) == 1:
            outcomes[rows[0].index] = rejected(self._with_field(error, rows[0]))
            return
        fits = is_suspect(error, self.table) if peels else None
        suspects = [row for row in rows if fits(row.values)] if fits else []
        if not 0 < len(suspects) <= 2:
            self._divide(connection, rows, outcomes)
            return
        aside = {row.index for row in suspects}
        self._span(connection, [row for row in rows if row.index not in aside], outcomes, peels - 1)
        self._each(connection, suspects, outcomes)

    def _divide(self, connection: sa.Connection, rows: list[Prepared], outcomes: Outcomes) -> None:
        if len(rows) <= SMALLEST_SPAN:
            self._each(connection, rows, outcomes)
        else:
            size = max(SMALLEST_SPAN, -(-len(rows) // PARTS))
            for start in range(0, len(rows), size):
                self._span(connection, rows[start : start + size], outcomes)

    def _each(self, connection: sa.Connection, rows: list[Prepared], outcomes: Outcomes) -> None:
        for row in rows:
            self._span(connection, [row], outcomes)

    def _with_field(self, error: RowError, row: Prepared) -> RowError:
        if error.field or error.type is not ErrorType.VALIDATION:
            return error
        field = guess_field(error, self.table, row.values)
        return RowError(error.type, error.message, code=error.code, field=field) if field else error

    # Statements

    def _parameters(self, rows: Sequence[Prepared]) -> list[dict[str, Any]]:
        columns = self.table.columns
        keys = [(columns[name].key, name) for name in rows[0].columns]
        return [{key: row.values[name] for key, name in keys} for row in rows]

    def _column(self, name: str) -> sa.Column[Any]:
        return self.table.clause.c[self.table.columns[name].key]

    def _insert(self, connection: sa.Connection, rows: list[Prepared]) -> Outcomes:
        connection.execute(sa.insert(self.table.clause), self._parameters(rows))
        return {row.index: written("created") for row in rows}

    def _upsert(self, connection: sa.Connection, rows: list[Prepared]) -> Outcomes:
        insert = (sqlite if self.is_sqlite else postgresql).insert(self.table.clause)
        target = [self._column(name) for name in self.keys]
        changed = {self._column(n).key: insert.excluded[self._column(n).key] for n in rows[0].columns if n not in self.keys}
        statement = (
            insert.on_conflict_do_update(index_elements=target, set_=changed)
            if changed
            else insert.on_conflict_do_nothing(index_elements=target)
        )
        if not self.table.can_tell_created or not changed:
            connection.execute(statement, self._parameters(rows))
            return {row.index: written() for row in rows}
        returning = [sa.cast(column, sa.Text) for column in target]
        told = connection.execute(statement.returning(sa.literal_column("(xmax = 0)"), *returning), self._parameters(rows))
        created = {tuple(line[1:]): line[0] for line in told}
        return {row.index: written(_DETAIL[created.get(_key_text(row))]) for row in rows}

    def _update(self, connection: sa.Connection, rows: list[Prepared]) -> Outcomes:
        if len(rows) > 1 and not self._is_unique:
            raise _NeedsSinglesError
        changed = [name for name in rows[0].columns if name not in self.keys]
        if not changed:
            return self._touch(connection, rows)
        where = [self._column(name) == sa.bindparam(f"k{position}") for position, name in enumerate(self.keys)]
        values: dict[sa.Column[Any], Any] = {
            self._column(name): sa.bindparam(f"v{position}") for position, name in enumerate(changed)
        }
        statement = sa.update(self.table.clause).where(*where).values(values)
        parameters = [
            {f"k{i}": value for i, value in enumerate(row.key)} | {f"v{i}": row.values[n] for i, n in enumerate(changed)}
            for row in rows
        ]
        count = connection.execute(statement, parameters).rowcount
        if len(rows) == 1:
            self._demand_one(rows[0], count)
        elif count != len(rows):
            raise _NeedsSinglesError
        return {row.index: written("updated") for row in rows}

    def _touch(self, connection: sa.Connection, rows: list[Prepared]) -> Outcomes:
        """An update of nothing but the key: only that the row exists matters."""
        outcomes: Outcomes = {}
        for row in rows:
            where = [self._column(name) == value for name, value in zip(self.keys, row.key, strict=True)]
            count = connection.execute(sa.select(sa.func.count()).select_from(self.table.clause).where(*where)).scalar_one()
            if count == 1 or len(rows) == 1:
                self._demand_one(row, count)
                outcomes[row.index] = written("unchanged")
            else:
                raise _NeedsSinglesError
        return outcomes

    def _demand_one(self, row: Prepared, count: int) -> None:
        shown = ", ".join(f"{name} = {value}"[:80] for name, value in zip(self.keys, row.key, strict=True))
        field = ", ".join(self.keys)
        if count == 0:
            message = f"There is no row with {shown} in {self.table.label}."
            raise _RowRefusedError(RowError(ErrorType.REFERENCE_NOT_FOUND, message, code="not_found", field=field))
        if count > 1:
            message = f"{count} rows of {self.table.label} have {shown}; none was changed."
            raise _RowRefusedError(RowError(ErrorType.DUPLICATE_KEY, message, code="several_rows", field=field))

    def _delete(self, connection: sa.Connection, rows: list[Prepared]) -> Outcomes:
        columns = [self._column(name) for name in self.keys]
        if len(columns) == 1:
            where = columns[0].in_([row.key[0] for row in rows])
        else:
            where = sa.tuple_(*columns).in_([row.key for row in rows])
        returning = [sa.cast(column, sa.Text) for column in columns]
        gone = connection.execute(sa.delete(self.table.clause).where(where).returning(*returning)).all()
        if not self._is_unique and len(gone) > 1:
            if len(rows) > 1:
                raise _NeedsSinglesError
            self._demand_one(rows[0], len(gone))
        if len(gone) == len(rows):
            return {row.index: written("deleted") for row in rows}
        texts = {tuple(line) for line in gone}
        return {row.index: written(_deleted_detail(row, texts)) for row in rows}


_DETAIL = {True: "created", False: "updated", None: ""}


def _key_text(row: Prepared) -> tuple[str, ...]:
    return tuple(str(value) for value in row.key)


def _deleted_detail(row: Prepared, gone: set[tuple[Any, ...]]) -> str:
    """Text and whole numbers look the same here and there; of other keys it is not said whether the row existed."""
    if _key_text(row) in gone:
        return "deleted"
    return "unchanged" if not gone or all(isinstance(value, str | int) for value in row.key) else ""


def _by_columns(rows: list[Prepared]) -> Iterator[list[Prepared]]:
    """Rows of the same columns together, in the order of their keys: batches that meet lock rows in the same order."""
    groups: dict[tuple[str, ...], list[Prepared]] = {}
    for row in rows:
        groups.setdefault(row.columns, []).append(row)
    for group in groups.values():
        yield sorted(group, key=_key_text) if len(group) > 1 else group
