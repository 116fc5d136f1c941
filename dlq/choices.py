"""States of dead letters and their groups. Plain Python."""

from __future__ import annotations

from enum import StrEnum


class EntryStatus(StrEnum):
    OPEN = "open"
    QUEUED = "queued"
    INFLIGHT = "inflight"
    RESOLVED = "resolved"
    DISCARDED = "discarded"
    SUPERSEDED = "superseded"


LIVE = (EntryStatus.OPEN, EntryStatus.QUEUED, EntryStatus.INFLIGHT)
CLOSED = (EntryStatus.RESOLVED, EntryStatus.DISCARDED, EntryStatus.SUPERSEDED)


class GroupState(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    REGRESSED = "regressed"


class EventKind(StrEnum):
    FAILED = "failed"  # a run refused the row; the first one, or again
    QUEUED = "queued"
    RESOLVED = "resolved"
    DISCARDED = "discarded"
    REOPENED = "reopened"
    SUPERSEDED = "superseded"
    GONE = "gone"
    NOTED = "noted"
    ASSIGNED = "assigned"
    EDITED = "edited"
    EXPORTED = "exported"


class ReprocessMode(StrEnum):
    """What a reprocess sends: the warehouse row as it is now, or the row as it was stored, mapped with today's mapping."""

    CURRENT = "current"
    STORED = "stored"


class Door(StrEnum):
    """Where an act came from."""

    ADMIN = "admin"
    API = "api"
    CLI = "cli"
    RUN = "run"
