"""The statements of the kind ``database`` as a person may see them, before they are made and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import sqlalchemy as sa

from syncs.destinations.trials import SHOWN_BYTES, Call, Watch, WithheldError
from syncs.http import Redactor

_WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH")


@contextmanager
def watched(engine: sa.Engine, redactor: Redactor, *, may_write: bool) -> Iterator[Watch]:
    """Every statement of the engine that writes. What looks at the table before is not shown, and done in any case."""
    watch = Watch()
    begun: dict[int, float] = {}

    def before(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if not statement.lstrip().upper().startswith(_WRITES):
            return
        text = redactor.excerpt(_readable(parameters), limit=SHOWN_BYTES)
        call = Call(redactor.excerpt(statement, limit=4000), body=text, body_bytes=len(text.encode()))
        watch.calls.append(call)
        if not may_write:
            call.is_withheld = True
            raise WithheldError
        begun[id(context)] = perf_counter()

    def after(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        started = begun.pop(id(context), None)
        if started is not None:
            watch.calls[-1].milliseconds = (perf_counter() - started) * 1000
            watch.calls[-1].answer_body = f"{cursor.rowcount} rows" if cursor.rowcount != 1 else "1 row"

    def refused(context: sa.ExceptionContext) -> None:
        if watch.calls and context.original_exception is not None and not isinstance(context.original_exception, WithheldError):
            watch.calls[-1].failure = redactor.message(str(context.original_exception))

    listeners = (("before_cursor_execute", before), ("after_cursor_execute", after), ("handle_error", refused))
    for name, listener in listeners:
        sa.event.listen(engine, name, listener)
    try:
        yield watch
    finally:
        for name, listener in listeners:
            sa.event.remove(engine, name, listener)


def _readable(parameters: Any) -> str:
    """One line per value, in the order of the statement."""
    if isinstance(parameters, list) and len(parameters) == 1:
        parameters = parameters[0]
    if isinstance(parameters, Mapping):
        return "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    return "\n".join(f"{place} = {value!r}" for place, value in enumerate(parameters or (), 1))
