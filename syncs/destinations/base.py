"""What a destination must do: check itself without writing, and account for every record of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from syncs.connectors import CheckReport
from syncs.errors import ErrorType
from syncs.records import Batch, BatchResult, Job, Operation, RecordOutcome, RecordState, RowError, Signal


class Discovery(StrEnum):
    """What a destination can tell of itself by reading."""

    FIELDS = "fields"
    OBJECTS = "objects"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Limits and promises of one destination object.

    ``idempotent``: operations that may be sent twice without harm (natural key or a key header that it honours).
    ``requests_per_window``: calls allowed in ``window_seconds``, shared by all syncs of the connection; 0 = no limit.
    ``keys``: destination fields that find a record (external ids), as far as the settings tell. ``has_jobs``: calls may answer
    with a job that is asked after later, and at most ``max_open_jobs`` of a run are open at once. ``idempotency_header``: the
    header that carries our key, where the destination takes one. ``rate_limit``: how it says that calls come too fast, in
    words. ``discovery``: what it can be asked for.
    """

    operations: frozenset[Operation]
    idempotent: frozenset[Operation]
    max_records: int = 100
    max_bytes: int = 1_000_000
    max_record_bytes: int = 1_000_000
    concurrency: int = 4
    requests_per_window: int = 0
    window_seconds: float = 1.0
    keys: tuple[str, ...] = ()
    has_jobs: bool = False
    max_open_jobs: int = 10
    idempotency_header: str = ""
    rate_limit: str = ""
    discovery: frozenset[Discovery] = frozenset()

    def described(self) -> list[tuple[str, str]]:
        """(what, in words) for people: limits, promises, conventions."""
        rate = f"{self.requests_per_window:,} per {self.window_seconds:g} s" if self.requests_per_window else "no limit set"
        again = ", ".join(sorted(self.idempotent)) or "none"
        header = f"; with the header {self.idempotency_header}" if self.idempotency_header else ""
        found = {
            "Operations": ", ".join(sorted(self.operations)),
            "Found by": ", ".join(self.keys),
            "Records per call": f"{self.max_records:,}",
            "Bytes per call": f"{self.max_bytes:,}, of one record at most {self.max_record_bytes:,}",
            "Calls at once": f"{self.concurrency:,}",
            "Calls": rate,
            "When calls come too fast": self.rate_limit,
            "Safe to send twice": again + header,
            "Answers": f"calls become jobs, at most {self.max_open_jobs:,} open at once" if self.has_jobs else "at once",
            "Can be asked for": ", ".join(sorted(self.discovery)) or "nothing; type the fields by hand",
        }
        return [(what, text) for what, text in found.items() if text]


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


ENDS_AT = "credential_expires_at"  # among the secrets: Unix time at which a person must act, where the destination tells it


class CredentialStore(Protocol):
    """The connection's secrets. ``locked()`` holds the row lock while one worker refreshes a rotating token."""

    def read(self) -> Mapping[str, Any]: ...

    def locked(self) -> AbstractContextManager[LockedCredentials]: ...


class LockedCredentials(Protocol):
    """``secrets``: read after the lock was taken, so another worker's refresh is seen."""

    secrets: Mapping[str, Any]

    def save(self, secrets: Mapping[str, Any]) -> None: ...

    def revoke(self, reason: str) -> None:
        """The other side no longer takes the login in ``secrets``: a person must log in again. ``reason``: safe to show."""
        ...


class Destination(Protocol):
    """Built for one object of one connection; ``write`` is called from several threads at once."""

    capabilities: Capabilities

    def check(self) -> CheckReport:
        """Read-only. Never raises for what the other side does; says it in the report."""
        ...

    def fields(self) -> list[Field] | None:
        """Fields of the object, or None where the destination cannot tell. Only reads. Raises ``CredentialsError``,
        ``TransientError`` or ``ConfigError`` where it should tell and does not."""
        ...

    def write(self, batch: Batch) -> BatchResult:
        """Send one batch once: no retries, no waiting. One outcome per record, in order.

        What the other side does is a value. Raises only ``FatalError`` kinds for faults of the set-up (a path that cannot be
        built, an address the guard refuses).
        """
        ...

    def confirm(self, batch: Batch, job: Job) -> BatchResult:
        """Ask once how a job of this batch ended: an outcome per record as ``write`` gives them, the signal ``confirming``
        again while it works, or ``unknown`` when the job is not there any more. Where only the question got no answer, say
        ``unavailable`` or ``rate_limited``: the job is asked after again. ``job`` may come from another process, and
        ``batch.records`` are then as they were sent, not as the warehouse has them now."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class ListsObjects(Protocol):
    """A destination that can say which objects it has, beyond those its settings name."""

    def objects(self) -> list[str] | None:
        """Names, in the order people should see; None where it cannot tell. Only reads; raises like ``fields``."""
        ...


class WithoutJobs:
    """Base of destinations that answer every call at once. A job from the time before they were set up so is lost: there is
    nobody to ask."""

    def confirm(self, batch: Batch, job: Job) -> BatchResult:
        text = f"Nobody can ask after the job {job.id} any more: as it is set up now, the destination answers at once."
        error = RowError(ErrorType.UNKNOWN_OUTCOME, text, code="job_gone")
        return BatchResult([RecordOutcome(RecordState.UNKNOWN, error)] * len(batch.records), Signal.UNKNOWN, error)
