"""A limit on the time that the queries of a page may take, kept by the database itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection

from syncs.errors import RedriveError

_CANCELLED = "57014"  # PostgreSQL: query_canceled
# PostgreSQL's default (4) is for discs that turn: with it, two thousand of many rows are sought by reading the table from its
# beginning. The list is looked at all day; what it needs is in memory or on a solid-state disk. Compiling a query costs more
# than any of these takes.
_PLANNING = "SET random_page_cost TO 1.1; SET jit TO off"
_INSTRUCTIONS = 10_000  # of SQLite's virtual machine between two looks at the clock; about 0.1 ms


class TooSlowError(RedriveError):
    """The database did not answer within the budget; nothing was changed."""


@contextmanager
def budget(seconds: float) -> Iterator[None]:
    """Queries inside are stopped after ``seconds`` (each on PostgreSQL, together on SQLite). Raises ``TooSlowError``.

    Inside a transaction PostgreSQL gets no limit: a stopped statement would break what the caller is doing.
    """
    if connection.vendor == "postgresql":
        yield from _postgresql(seconds)
    else:
        yield from _sqlite(seconds)


def _postgresql(seconds: float) -> Iterator[None]:
    if connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout TO {round(seconds * 1000)}; {_PLANNING}")
    try:
        yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") == _CANCELLED:
            raise TooSlowError("The database took too long.") from None
        raise
    finally:
        if connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("RESET statement_timeout; RESET random_page_cost; RESET jit")


def _sqlite(seconds: float) -> Iterator[None]:
    connection.ensure_connection()
    until = time.monotonic() + seconds
    connection.connection.set_progress_handler(lambda: time.monotonic() > until, _INSTRUCTIONS)
    try:
        yield
    except OperationalError as error:
        if "interrupted" in str(error):
            raise TooSlowError("The database took too long.") from None
        raise
    finally:
        if connection.connection is not None:
            connection.connection.set_progress_handler(None, 0)
