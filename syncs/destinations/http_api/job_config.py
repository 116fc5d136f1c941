"""How a destination takes a batch in as a job, and how one learns what became of it. Explained in docs/http-destination.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from syncs.destinations.http_api.parts import Body, BodyKind, ErrorPaths, between


@dataclass(frozen=True, slots=True)
class JobStep:
    """A call between the first one and the job's work: an upload, the word to begin."""

    path: str
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=lambda: Body(BodyKind.NONE))


@dataclass(frozen=True, slots=True)
class Poll:
    path: str
    method: str = "GET"
    every_seconds: float | None = between(None, 0.01, 86_400)  # None: ever more rarely, from 2 seconds to a minute
    at_most_seconds: float = between(3600.0, 1, 604_800)


class ListKind(StrEnum):
    JSON = "json"
    CSV = "csv"  # read as a list of objects whose values are texts


@dataclass(frozen=True, slots=True)
class JobRead:
    """A read once the job is done: a list of results or errors, put beside the last answer under ``name``."""

    name: str
    path: str
    answers: ListKind = ListKind.JSON
    items: str = ""  # path to the list in the answer
    next: str = ""  # path to the address of the next page
    unless_zero: str = ""  # path to a number in the job's last answer; where it is 0, nothing is read


@dataclass(frozen=True, slots=True)
class NotAttempted:
    """A list of records that the job left alone: they are sent again."""

    results: str
    key: str


class FailedMeans(StrEnum):
    UNKNOWN = "unknown"
    REFUSED = "refused"  # nothing was written


@dataclass(frozen=True, slots=True)
class JobConfig:
    poll: Poll
    state: str  # path in the answer to the poll
    done: tuple[str, ...]
    failed: tuple[str, ...] = ()
    working: tuple[str, ...] = ()  # empty: any other state
    id: str = "id"  # path in the first answer, or header:NAME
    status: tuple[int, ...] = ()  # of first answers that are a job; empty: any that is a yes
    take: dict[str, str] = field(default_factory=dict)  # more for later paths: name -> path in the first answer, or header:NAME
    steps: tuple[JobStep, ...] = ()
    gone_status: tuple[int, ...] = (404, 410)
    failed_means: FailedMeans = FailedMeans.UNKNOWN
    error: ErrorPaths = field(default_factory=ErrorPaths)  # in the answer to the poll, of a job that failed
    reads: tuple[JobRead, ...] = ()
    not_attempted: NotAttempted | None = None
    max_open: int = between(10, 1, 1000)
