"""What a destination must do: check itself without writing, and account for every record of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from syncs.connectors import CheckReport
from syncs.errors import ConfigError
from syncs.records import Batch, BatchResult, Job, Operation


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Limits and promises of one destination object.

    ``idempotent``: operations that may be sent twice without harm (natural key or a key header that it honours).
    ``requests_per_window``: calls allowed in ``window_seconds``, shared by all syncs of the connection; 0 = no limit.
    """

    operations: frozenset[Operation]
    idempotent: frozenset[Operation]
    max_records: int = 100
    max_bytes: int = 1_000_000
    max_record_bytes: int = 1_000_000
    concurrency: int = 4
    requests_per_window: int = 0
    window_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a destination object, as far as the destination tells."""

    name: str
    label: str = ""
    type: str = ""
    is_required: bool = False
    is_key: bool = False
    max_length: int | None = None
    options: tuple[str, ...] = ()
    is_writable: bool = True


class CredentialStore(Protocol):
    """The connection's secrets. ``locked()`` holds the row lock while one worker refreshes a rotating token."""

    def read(self) -> Mapping[str, Any]: ...

    def locked(self) -> AbstractContextManager[LockedCredentials]: ...


class LockedCredentials(Protocol):
    """``secrets``: read after the lock was taken, so another worker's refresh is seen."""

    secrets: Mapping[str, Any]

    def save(self, secrets: Mapping[str, Any]) -> None: ...


class Destination(Protocol):
    """Built for one object of one connection; ``write`` is called from several threads at once."""

    capabilities: Capabilities

    def check(self) -> CheckReport:
        """Read-only. Never raises for what the other side does; says it in the report."""
        ...

    def fields(self) -> list[Field] | None:
        """Fields of the object, or None where the destination cannot tell."""
        ...

    def write(self, batch: Batch) -> BatchResult:
        """Send one batch once: no retries, no waiting. One outcome per record, in order.

        What the other side does is a value. Raises only ``FatalError`` kinds for faults of the set-up (a path that cannot be
        built, an address the guard refuses).
        """
        ...

    def confirm(self, batch: Batch, job: Job) -> BatchResult:
        """Ask once how a job of this batch ended: an outcome per record as ``write`` gives them, the signal ``confirming``
        again while it works, or ``unknown`` when the job is not there any more. Only called with a job that ``write`` gave."""
        ...

    def close(self) -> None: ...


class WithoutJobs:
    """Base of destinations that answer every call at once."""

    def confirm(self, batch: Batch, job: Job) -> BatchResult:
        raise ConfigError(f"The job {job.id} is none of this destination's: it answers at once.", field="destination")

    def revoke(self, reason: str) -> None:
        """The other side no longer takes the login in ``secrets``: a person must log in again. ``reason``: safe to show."""
        ...
