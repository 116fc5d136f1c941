"""States, kinds and modes. Plain Python: the database constraints, the engine and the pages all read these."""

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

E = TypeVar("E", bound=StrEnum)


def labelled(enum: type[E]) -> list[tuple[str, str]]:
    """Django ``choices`` of an enum: the value and a label made from its name (``PARTIAL`` -> ``Partial``)."""
    return [(member.value, label_of(member)) for member in enum]


def label_of(member: StrEnum) -> str:
    return LABELS.get((type(member), member.value), member.name.replace("_", " ").capitalize())


def by_kind(labels: Iterable[tuple[StrEnum, str]]) -> dict[tuple[type[StrEnum], str], str]:
    """Members of two enums are equal where their values are, so a label is kept by enum and value."""
    return {(type(member), member.value): label for member, label in labels}


class ConnectionRole(StrEnum):
    SOURCE = "source"
    DESTINATION = "destination"


class ConnectionState(StrEnum):
    """What the last connection test said. ``reauthorize``: the credential was revoked, a person must log in again."""

    UNCHECKED = "unchecked"
    OK = "ok"
    FAILING = "failing"
    REAUTHORIZE = "reauthorize"


class SyncStatus(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILING = "failing"
    PAUSED = "paused"
    UNCONFIGURED = "unconfigured"


class SyncMode(StrEnum):
    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"
    MIRROR = "mirror"


class Detection(StrEnum):
    CHANGED_ROWS = "changed_rows"
    WATERMARK = "watermark"
    ALL_ROWS = "all_rows"


class ScheduleKind(StrEnum):
    MANUAL = "manual"
    INTERVAL = "interval"
    CRON = "cron"


class OverlapPolicy(StrEnum):
    """A slot comes due while a run of the sync is live: record a skipped run, queue one behind it, or fold into it."""

    SKIP = "skip"
    QUEUE = "queue"
    COALESCE = "coalesce"


class MappingKind(StrEnum):
    COLUMN = "column"
    CONSTANT = "constant"
    TEMPLATE = "template"


class FieldType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    ENUM = "enum"
    ARRAY = "array"
    JSON = "json"


class OnNull(StrEnum):
    """What a NULL becomes in the payload: JSON null, no key at all, the default, or a dead letter."""

    NULL = "null"
    OMIT = "omit"
    DEFAULT = "default"
    REJECT = "reject"


class OnMappingError(StrEnum):
    DEAD_LETTER = "dead_letter"
    FAIL = "fail"


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


RUN_ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING)
RUN_TERMINAL = (RunStatus.SUCCEEDED, RunStatus.PARTIAL, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.SKIPPED)


class Trigger(StrEnum):
    SCHEDULE = "schedule"
    MANUAL = "manual"
    API = "api"
    WEBHOOK = "webhook"
    CHAIN = "chain"
    REPROCESS = "reprocess"
    BACKFILL = "backfill"


class Scope(StrEnum):
    """What an API key may be used for, beside what its owner may do. None of them includes another."""

    READ = "read"
    RUN = "run"
    DLQ_ACT = "dlq:act"
    DLQ_RAW = "dlq:raw"
    WRITE = "write"
    ADMIN = "admin"


class AuditDoor(StrEnum):
    """Through which door a change of the set-up came."""

    ADMIN = "admin"
    API = "api"
    CLI = "cli"
    RUN = "run"
    SYSTEM = "system"


class KeyState(StrEnum):
    """Of an API key. ``ending``: good for two more weeks at most."""

    GOOD = "good"
    ENDING = "ending"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ChainWhen(StrEnum):
    """Which end of the run before starts the next: without refused rows, with or without them, or any end at all."""

    SUCCEEDED = "succeeded"
    DELIVERED = "delivered"
    ENDED = "ended"


class StepKind(StrEnum):
    QUERY = "query"
    UPLOAD = "upload"
    WAIT = "wait"
    FINISH = "finish"


class StepStatus(StrEnum):
    """``inflight``: intent is recorded, the answer is not. ``confirming``: the destination took the batch in as a job, and is
    still to be asked how that ended. ``interrupted``: its worker died before the answer was recorded."""

    INFLIGHT = "inflight"
    CONFIRMING = "confirming"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


STEP_OPEN = (StepStatus.INFLIGHT, StepStatus.CONFIRMING)  # how these ended is not recorded yet


class SchemaOrigin(StrEnum):
    """Who said which fields the object has: the destination, or a person."""

    DISCOVERED = "discovered"
    TYPED = "typed"


class SchemaChangeKind(StrEnum):
    FIELD_ADDED = "field_added"
    REQUIRED_ADDED = "required_added"  # a new field that is required
    FIELD_REMOVED = "field_removed"
    BECAME_REQUIRED = "became_required"
    BECAME_OPTIONAL = "became_optional"
    TYPE_CHANGED = "type_changed"
    LENGTH_CHANGED = "length_changed"
    OPTIONS_CHANGED = "options_changed"
    BECAME_READ_ONLY = "became_read_only"
    BECAME_WRITABLE = "became_writable"
    KEY_CHANGED = "key_changed"


LABELS = by_kind(
    [
        (ConnectionState.OK, "Connected"),
        (ConnectionState.REAUTHORIZE, "Log in again"),
        (SyncMode.MIRROR, "Mirror (upsert, and delete what vanished)"),
        (Detection.CHANGED_ROWS, "Changed rows (compare with what was accepted last)"),
        (Detection.WATERMARK, "Watermark (rows past a cursor column)"),
        (Detection.ALL_ROWS, "All rows, every run"),
        (ScheduleKind.INTERVAL, "Every N minutes"),
        (ScheduleKind.CRON, "Cron expression"),
        (KeyState.ENDING, "Ends soon"),
        (Scope.READ, "Read"),
        (Scope.RUN, "Run, pause and resume syncs, cancel runs"),
        (Scope.DLQ_ACT, "Act on dead letters"),
        (Scope.DLQ_RAW, "See and send stored values unmasked"),
        (Scope.WRITE, "Set up syncs, rules and views"),
        (Scope.ADMIN, "Set up connections, channels, keys and retention"),
        (ChainWhen.SUCCEEDED, "Succeeded: no row was refused"),
        (ChainWhen.DELIVERED, "Succeeded or partial: rows may have been refused"),
        (ChainWhen.ENDED, "Ended, however"),
        (OverlapPolicy.SKIP, "Skip the new run"),
        (OverlapPolicy.QUEUE, "Queue the new run behind it"),
        (OverlapPolicy.COALESCE, "Fold into the live run"),
        (FieldType.JSON, "JSON"),
        (OnNull.NULL, "Send null"),
        (OnNull.OMIT, "Leave the field out"),
        (OnNull.DEFAULT, "Use the default"),
        (OnNull.REJECT, "Dead-letter the row"),
        (OnMappingError.DEAD_LETTER, "Dead-letter the row"),
        (OnMappingError.FAIL, "Fail the run"),
        (Trigger.API, "API"),
        (StepStatus.INFLIGHT, "In flight"),
        (SchemaOrigin.TYPED, "Typed by hand"),
        (SchemaChangeKind.REQUIRED_ADDED, "New required field"),
        (SchemaChangeKind.FIELD_ADDED, "New field"),
        (SchemaChangeKind.FIELD_REMOVED, "Removed field"),
        (SchemaChangeKind.OPTIONS_CHANGED, "Allowed values changed"),
        (SchemaChangeKind.BECAME_READ_ONLY, "May not be written any more"),
        (SchemaChangeKind.BECAME_WRITABLE, "May be written now"),
    ]
)
