"""What the contract suite needs to know of a kind: how to open it against a server that tells the truth about what it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from syncs.destinations import registry
from syncs.destinations.base import Destination
from syncs.errors import ErrorType
from syncs.records import Batch, BatchResult, Operation, Record, RecordOutcome, RecordState, Signal
from tests.contracts.http_tools import LOOPBACK, MemoryCredentials, record
from tests.contracts.servers.base import TOKEN, ContractServer
from tests.servers import Server

Change = Callable[[Any], Any]
FAULTS = {"bad": ErrorType.VALIDATION, "dup@x.test": ErrorType.DUPLICATE_KEY, None: ErrorType.MISSING_REQUIRED}


class World(ABC):
    """A destination opened against something that can be looked into."""

    destination: Destination
    operation: Operation

    @abstractmethod
    def stored(self) -> Mapping[str, Mapping[str, Any]]:
        """Key -> the record as it was taken in, flat, with ``email`` and ``note`` under these names."""

    @abstractmethod
    def payload(self, key: str, values: Mapping[str, Any]) -> dict[str, Any]: ...

    def record(self, key: str, email: str | None = "", **values: Any) -> Record:
        """``email`` empty: a good one made from the key."""
        given = {"email": f"{key}@ok.test" if email == "" else email, **values}
        return record(key, self.payload(key, given), self.operation)

    def good(self, count: int) -> list[Record]:
        return [self.record(f"k{number}") for number in range(count)]

    def send(self, *records: Record, operation: Operation | None = None) -> BatchResult:
        """One write, and where it became a job, asking until it ended. The completeness of every answer is checked."""
        batch = Batch(operation or self.operation, list(records), "a" * 32)
        result = self.destination.write(batch)
        for _ in range(20):
            if result.signal is not Signal.CONFIRMING:
                assert len(result.outcomes) == len(records), "one outcome per record"
                return result
            assert result.job is not None, "the signal confirming comes with a job"
            assert not result.outcomes, "a job says nothing of its records before it ends"
            result = self.destination.confirm(batch, result.job)
        raise AssertionError("the job did not end")

    def settle(self, *records: Record) -> list[RecordOutcome]:
        """As the engine does it: halve what was refused as a whole, send again what was not attempted."""
        final: dict[int, RecordOutcome] = {}
        parts = [list(enumerate(records))]
        for _ in range(10 * len(records) + 10):
            if not parts:
                return [final[position] for position in range(len(records))]
            part = parts.pop()
            result = self.send(*(item for _, item in part))
            if result.signal is Signal.REFUSED and len(part) > 1:
                parts += [part[: len(part) // 2], part[len(part) // 2 :]]
                continue
            again = []
            for place, outcome in zip(part, result.outcomes, strict=True):
                if outcome.state is RecordState.NOT_ATTEMPTED:
                    again.append(place)
                else:
                    final[place[0]] = outcome
            assert len(again) < len(part), "nothing came of the whole call"
            parts += [again] if again else []
        raise AssertionError("sending did not come to an end")


class Harness(ABC):
    """``kind``: its name in the registry. ``id``: in the tests' names. ``faults``: mail address of a bad record -> error type
    it must end with. ``speaks_http``: the tests of HTTP answers apply. ``drop``: changes a good answer to a write so that its
    last record is missing; None where an answer names no records."""

    kind: str
    id: str
    faults: Mapping[str | None, ErrorType]
    speaks_http: bool
    drop: Change | None

    @abstractmethod
    def opened(self, request: pytest.FixtureRequest) -> Any:
        """A context manager that gives a ``World``."""


@dataclass
class HttpWorld(World):
    harness: HttpHarness
    server: Server
    emulator: ContractServer
    destination: Destination
    operation: Operation

    def stored(self) -> Mapping[str, Mapping[str, Any]]:
        return self.emulator.stored

    def payload(self, key: str, values: Mapping[str, Any]) -> dict[str, Any]:
        return self.harness.payload(key, values)

    def warm(self) -> None:
        """With a token in hand, what a test scripts answers the call that it means."""
        if self.harness.token_path:
            assert self.destination.check().is_ok
            self.server.requests.clear()

    def hurry(self, seconds: float) -> None:
        """From now on a call must be answered within so many seconds."""
        self.destination.close()
        self.destination = self.harness.build(
            self.server.url, self.harness.hurried(self.harness.config(self.server.url), seconds)
        )
        self.warm()

    def elsewhere(self, url: str) -> None:
        self.destination.close()
        self.destination = self.harness.build(url, self.harness.config(url))


def _plain(key: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"external_id": key, **values}


def _with_deadline(config: dict[str, Any], seconds: float) -> dict[str, Any]:
    return {**config, "deadline_seconds": seconds}


@dataclass(frozen=True)
class HttpHarness(Harness):
    """A kind that speaks HTTP. ``server``: makes the contract server. ``config``: address -> the connection's settings.
    ``payload``: (key, values) -> what the mapping would make; the values hold ``email`` and sometimes ``note``."""

    kind: str
    server: Callable[[], ContractServer]
    config: Callable[[str], dict[str, Any]]
    object_name: str
    id: str = ""
    secrets: Mapping[str, str] = field(default_factory=lambda: {"token": TOKEN})
    payload: Callable[[str, Mapping[str, Any]], dict[str, Any]] = _plain
    operation: Operation = Operation.UPSERT
    options: Mapping[str, Any] = field(default_factory=dict)
    faults: Mapping[str | None, ErrorType] = field(default_factory=lambda: dict(FAULTS))
    drop: Change | None = None
    hurried: Callable[[dict[str, Any], float], dict[str, Any]] = _with_deadline
    token_path: str = ""  # where the destination gets its token; it is asked before a test begins
    speaks_http: bool = True

    @contextmanager
    def opened(self, request: pytest.FixtureRequest | None = None) -> Iterator[HttpWorld]:
        emulator = self.server()
        with Server(emulator) as server:
            destination = self.build(server.url, self.config(server.url))
            world = HttpWorld(self, server, emulator, destination, self.operation)
            try:
                world.warm()
                yield world
            finally:
                world.destination.close()

    def build(self, url: str, config: Mapping[str, Any]) -> Destination:
        issues = registry.module(self.kind).validate(self.config(url), self.secrets)
        assert issues == [], "the harness's own settings are valid"
        return registry.build(
            self.kind,
            config=config,
            credentials=MemoryCredentials(self.secrets),
            object_name=self.object_name,
            options=self.options,
            allowed_private_networks=LOOPBACK,
        )


class OpenWorld(World):
    """For a destination that is not an HTTP API: built by its harness, looked into by a function."""

    def __init__(self, destination: Destination, stored: Callable[[], Mapping[str, Mapping[str, Any]]], key_field: str) -> None:
        self.destination, self._stored, self._key_field = destination, stored, key_field
        self.operation = Operation.UPSERT

    def stored(self) -> Mapping[str, Mapping[str, Any]]:
        return self._stored()

    def payload(self, key: str, values: Mapping[str, Any]) -> dict[str, Any]:
        return {self._key_field: key, **values}


@contextmanager
def open_world(world: OpenWorld) -> Iterator[OpenWorld]:
    with closing(world.destination):
        yield world
