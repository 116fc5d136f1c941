"""States of dead letters and their groups. Plain Python."""

from __future__ import annotations

from enum import StrEnum

from syncs.choices import LABELS, by_kind


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
    REVEALED = "revealed"  # somebody looked at values that are masked by default
    CHECKED = "checked"  # the warehouse row was read again and compared
    RECLASSIFIED = "reclassified"  # error rules of today were applied to it


class ReprocessMode(StrEnum):
    """What a reprocess sends."""

    CURRENT = "current"  # the warehouse row as it is now, mapped with today's mapping
    STORED = "stored"  # the row as it was stored, mapped with today's mapping
    PAYLOAD = "payload"  # the payload exactly as it was sent
    EDITED = "edited"  # the payload as somebody corrected it


# What a reprocess run does for rows that have left the warehouse; beside the modes, because it sends nothing of the entry.
DELETE_BY_KEY = "delete"


class Door(StrEnum):
    """Where an act came from."""

    ADMIN = "admin"
    API = "api"
    CLI = "cli"
    RUN = "run"


class RowState(StrEnum):
    """What the last look into the warehouse found, compared with the row that was refused."""

    UNKNOWN = ""
    SAME = "same"
    CHANGED = "changed"
    GONE = "gone"


class EditState(StrEnum):
    READY = "ready"  # waits to be sent
    USED = "used"  # a reprocess run took it
    DROPPED = "dropped"  # withdrawn, or replaced by a newer edit


class OperationKind(StrEnum):
    REPROCESS = "reprocess"
    DISCARD = "discard"
    REOPEN = "reopen"
    ASSIGN = "assign"
    CHECK = "check"  # read the warehouse rows again and note which changed


class OperationStatus(StrEnum):
    QUEUED = "queued"  # confirmed; its members are being inserted
    RUNNING = "running"
    PAUSED = "paused"  # by a person
    HALTED = "halted"  # by itself: the same error came back
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"  # it cannot go on; what it did stands


OPERATION_ACTIVE = (OperationStatus.QUEUED, OperationStatus.RUNNING, OperationStatus.PAUSED, OperationStatus.HALTED)
OPERATION_OVER = (OperationStatus.FINISHED, OperationStatus.CANCELLED, OperationStatus.FAILED)


class ItemOutcome(StrEnum):
    """What became of one entry in a bulk operation."""

    PENDING = "pending"
    SENT = "sent"  # in a wave whose run has not ended yet
    DONE = "done"  # discarded, reopened, assigned, checked; for a reprocess: resolved
    REFUSED = "refused"  # the destination refused it again
    GONE = "gone"  # the warehouse has no such row any more
    LEFT_OUT = "left_out"  # somebody or something else acted on it after the confirmation; ``note`` says what
    NOT_REACHED = "not_reached"  # the operation ended before


class ExportStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class GroupEventKind(StrEnum):
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    REGRESSED = "regressed"
    ASSIGNED = "assigned"
    NOTED = "noted"
    MERGED = "merged"
    SPLIT = "split"
    RETYPED = "retyped"  # dead letters came or went, because error rules gave them another type


class RuleKind(StrEnum):
    MERGE = "merge"  # everything that matches is one group
    SPLIT = "split"  # what matches is one group per text that {value} stands for


LABELS.update(by_kind([(EntryStatus.INFLIGHT, "In flight"), (Door.API, "API")]))
