"""What all SQL sources do alike: check and wrap the query, stream it in chunks, turn the driver's errors into sentences."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from syncs.connectors import CheckReport
from syncs.errors import FatalError, SourceError
from syncs.records import RowValues
from syncs.sources.base import Column, RowStream, SourceQuery
from syncs.sources.faults import redacted
from syncs.sources.lookups import Statement, Wrapper
from syncs.sources.settings import Timeouts
from syncs.sources.statements import Profile, checked

MAX_PREVIEW_ROWS = 1000


class Session(Protocol):
    """One guarded connection, opened for one piece of work and closed with it. Raises the driver's own errors."""

    def describe(self, sql: str) -> list[Column]:
        """Columns of the raw query, doubled names included, without running it."""
        ...

    def execute(self, statement: Statement, *, chunk_rows: int) -> list[Column]:
        """Start the wrapped query. Its columns; a driver may have renamed doubled ones."""
        ...

    def fetch(self) -> list[RowValues]:
        """The next chunk; empty at the end."""
        ...

    def close(self) -> None:
        """Release the connection at once, also in the middle of a result. Never raises."""
        ...


@dataclass(slots=True)
class Facts:
    """What a check found out. ``advice``: a sentence for who set the connection up; "" when all is well."""

    server: str
    advice: str = ""
    details: dict[str, str] = field(default_factory=dict)


class SqlSource(ABC):
    """Implements ``base.Source``; a kind adds how to open a session and how to read its driver's errors."""

    label: str
    profile: Profile
    wrapper: Wrapper
    is_describing_free: ClassVar[bool] = True  # False: a describe may cost a warehouse query, so streams go without

    def __init__(self, *, timeouts: Timeouts, secrets: Sequence[str] = ()) -> None:
        self.timeouts = timeouts
        self.secrets = tuple(secret for secret in secrets if secret)

    @abstractmethod
    def open(self, *, seconds: int) -> Session:
        """A fresh, guarded session whose single steps may take ``seconds``. Raises driver errors or ``SourceError``."""

    @abstractmethod
    def facts(self, session: Any) -> Facts:
        """Look around, read-only. ``session`` is what ``open`` returned."""

    @abstractmethod
    def driver_errors(self) -> tuple[type[Exception], ...]: ...

    @abstractmethod
    def connect_fault(self, error: Exception) -> SourceError:
        """Why there is no connection, with the way out."""

    @abstractmethod
    def query_fault(self, error: Exception, sql: str, *, session: Any, is_raw: bool) -> SourceError:
        """Why the query failed. ``is_raw``: positions in the error count from the start of ``sql``."""

    # base.Source

    def check(self) -> CheckReport:
        started = time.perf_counter()
        try:
            with closing(self._opened(self.timeouts.preview)) as session, self._connecting():
                facts = self.facts(session)
        except FatalError as error:
            return CheckReport(False, redacted(error.message, self.secrets), _milliseconds(started))
        except Exception as error:  # noqa: BLE001 - a test reports; its words may hold anything, so only the type is told
            return CheckReport(False, f"The test of {self.label} failed ({type(error).__name__}).", _milliseconds(started))
        spent = _milliseconds(started)
        message = f"Connected to {facts.server} in {spent:.0f} ms."
        details = {"server": facts.server, **facts.details}
        if facts.advice:
            details["advice"] = facts.advice
            message += f" {facts.advice}"
        return CheckReport(True, message, spent, details)

    def columns(self, sql: str) -> list[Column]:
        sql = self.checked(sql)
        with closing(self._opened(self.timeouts.preview)) as session:
            return self._described(session, sql)

    def preview(self, query: SourceQuery, *, limit: int = 20) -> tuple[list[Column], list[RowValues]]:
        limit = max(0, min(limit, MAX_PREVIEW_ROWS, MAX_PREVIEW_ROWS if query.limit is None else query.limit))
        sql = self.checked(query.sql)
        with closing(self._opened(self.timeouts.preview)) as session:
            columns = self._started(session, query, sql, limit=limit, chunk_rows=max(limit, 1))
            with self._querying(session, sql):
                rows = session.fetch() if limit else []
        return columns, rows[:limit]

    @contextmanager
    def stream(self, query: SourceQuery, *, chunk_rows: int = 1000) -> Iterator[RowStream]:
        sql = self.checked(query.sql)
        with closing(self._opened(self.timeouts.statement)) as session:
            columns = self._started(session, query, sql, limit=query.limit, chunk_rows=chunk_rows)
            yield Rows(self, session, sql, tuple(column.name for column in columns))

    def close(self) -> None:  # noqa: B027 - most kinds keep nothing between sessions
        """Let go of what outlives a session."""

    # shared steps

    def checked(self, sql: str) -> str:
        return checked(sql, self.profile)

    def _opened(self, seconds: int) -> Session:
        with self._connecting():
            return self.open(seconds=seconds)

    def _started(self, session: Session, query: SourceQuery, sql: str, *, limit: int | None, chunk_rows: int) -> list[Column]:
        described = self._described(session, sql) if self.is_describing_free else []
        if described:
            _check_columns(query, described)
        types = {column.name: column.type for column in described}
        try:
            statement = self.wrapper.wrap(sql, query, types, limit=limit)
        except ValueError as error:
            raise SourceError(str(error), field="cursor_column") from None
        with self._querying(session, sql):
            found = session.execute(statement, chunk_rows=chunk_rows)
        return described if len(described) == len(found) else found

    def _described(self, session: Session, sql: str) -> list[Column]:
        with self._querying(session, sql, is_raw=True):
            columns = session.describe(sql)
        if not columns:
            raise SourceError("The query returns no columns. Name at least one in the SELECT.", field="query")
        return columns

    @contextmanager
    def _connecting(self) -> Iterator[None]:
        try:
            yield
        except FatalError:
            raise
        except self.driver_errors() as error:
            raise self.connect_fault(error) from None

    def _querying(self, session: Session, sql: str, *, is_raw: bool = False) -> AbstractContextManager[None]:
        return _Querying(self, session, sql, is_raw=is_raw)


class _Querying:
    """``except`` as an object: entered once per chunk, so it is kept light."""

    __slots__ = ("is_raw", "session", "source", "sql")

    def __init__(self, source: SqlSource, session: Session, sql: str, *, is_raw: bool) -> None:
        self.source, self.session, self.sql, self.is_raw = source, session, sql, is_raw

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, _trace: Any) -> None:
        if error is not None and not isinstance(error, FatalError) and isinstance(error, self.source.driver_errors()):
            raise self.source.query_fault(error, self.sql, session=self.session, is_raw=self.is_raw) from None


class Rows:
    """Chunks of plain tuples. Goes through the result once; a second loop goes on where the first one stopped."""

    def __init__(self, source: SqlSource, session: Session, sql: str, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self._session = session
        self._guard = _Querying(source, session, sql, is_raw=False)

    def __iter__(self) -> Iterator[list[RowValues]]:
        while True:
            with self._guard:
                chunk = self._session.fetch()
            if not chunk:
                return
            yield chunk


def _check_columns(query: SourceQuery, columns: Sequence[Column]) -> None:
    counts = Counter(column.name for column in columns)
    for name, setting in [*((name, "key_columns") for name in query.key_columns), (query.cursor_column, "cursor_column")]:
        if name and counts[name] != 1:
            known = ", ".join(counts)
            raise SourceError(
                f"The query returns the column “{name}” {counts[name]} times; it must be there once. Name it with AS."
                if counts[name]
                else f"The query returns no column “{name}”. It returns: {known}.",
                field=setting,
            )


def _milliseconds(started: float) -> float:
    return (time.perf_counter() - started) * 1000
