"""What the tests of single vendors share: a destination against its contract server, exact requests, scripted refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from syncs.records import BatchResult, Operation, RowError
from tests.contracts import http_tools
from tests.contracts.harness import HttpHarness, HttpWorld
from tests.servers import Answer, Request


@contextmanager
def opened(harness: HttpHarness, **changes: Any) -> Iterator[HttpWorld]:
    """``changes``: fields of the harness; ``settings``: more settings of the connection."""
    settings = changes.pop("settings", {})
    base = harness.config
    with replace(harness, config=lambda url: {**base(url), **settings}, **changes).opened() as world:
        yield world


def write(world: HttpWorld, rows: Mapping[str, Mapping[str, Any]], operation: Operation | None = None) -> BatchResult:
    """Row key -> payload, sent as one batch."""
    operation = operation or world.operation
    records = [http_tools.record(key, payload, operation) for key, payload in rows.items()]
    result = world.destination.write(http_tools.batch(*records, operation=operation))
    assert len(result.outcomes) == len(records)
    return result


def line(request: Request) -> str:
    query = "&".join(f"{name}={value}" for name, values in request.query.items() for value in values)
    return f"{request.method} {request.path}{'?' + query if query else ''}"


def lines(world: HttpWorld) -> list[str]:
    return [line(request) for request in world.server.requests]


def told(error: RowError | None) -> tuple[str, str, str]:
    """(error type, code, field)."""
    assert error is not None
    assert error.message
    return (error.type.value, error.code, error.field)


def refused(world: HttpWorld, answer: Answer, rows: Mapping[str, Mapping[str, Any]], *before: Answer) -> BatchResult:
    """What a scripted answer makes of the rows. ``before``: answers of look-ups that come first."""
    seen = len(world.server.requests)
    world.server.script(*before, answer)
    result = write(world, rows)
    assert len(world.server.requests) == seen + len(before) + 1, "no scripted answer is left, and none was lacking"
    return result
