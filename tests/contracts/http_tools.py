"""Records, credentials and destinations for tests of the ``http`` kind."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from syncs.destinations.http_api import build, validate
from syncs.destinations.http_api.encoding import encode
from syncs.records import Batch, BatchResult, Operation, Record

TOKEN = "bearer-token-of-the-test"
LOOPBACK = ("127.0.0.0/8",)


class MemoryCredentials:
    """A ``CredentialStore`` with a real lock: what the row lock does in the product."""

    def __init__(self, secrets: Mapping[str, Any]) -> None:
        self.secrets = dict(secrets)
        self.saves = 0
        self.revoked = ""
        self._lock = threading.Lock()

    def read(self) -> Mapping[str, Any]:
        return dict(self.secrets)

    @contextmanager
    def locked(self) -> Iterator[_Locked]:
        with self._lock:
            yield _Locked(self)


class _Locked:
    def __init__(self, store: MemoryCredentials) -> None:
        self._store = store
        self.secrets: Mapping[str, Any] = dict(store.secrets)

    def save(self, secrets: Mapping[str, Any]) -> None:
        self._store.secrets = dict(secrets)
        self._store.saves += 1

    def revoke(self, reason: str) -> None:
        self._store.revoked = reason


def record(key: str, payload: Mapping[str, Any], operation: Operation = Operation.UPSERT) -> Record:
    body = encode(dict(sorted(payload.items())))
    return Record(key=key, operation=operation, payload=dict(payload), body=body, payload_hash=hash(body))


def contact(key: str, email: str | None = "", **values: Any) -> Record:
    """``email`` empty: a good one made from the key."""
    return record(key, {"id": key, "email": f"{key}@ok.test" if email == "" else email, **values})


def batch(*records: Record, operation: Operation = Operation.UPSERT, key: str = "a" * 32) -> Batch:
    return Batch(operation, list(records), key)


def destination(
    config: Mapping[str, Any], credentials: Any = None, *, object_name: str = "contacts", options: Any = None
) -> Any:
    credentials = credentials or MemoryCredentials({"token": TOKEN})
    assert validate(config, credentials.read()) == []
    return build(
        config=config,
        credentials=credentials,
        object_name=object_name,
        options=options or {},
        allowed_private_networks=LOOPBACK,
    )


def states(result: BatchResult) -> list[str]:
    return [outcome.state.value for outcome in result.outcomes]
