"""States, kinds and modes. Plain Python: the database constraints, the engine and the pages all read these."""

from enum import StrEnum
from typing import TypeVar

E = TypeVar("E", bound=StrEnum)


def labelled(enum: type[E]) -> list[tuple[str, str]]:
    """Django ``choices`` of an enum: the value and a label made from its name (``PARTIAL`` -> ``Partial``)."""
    return [(member.value, LABELS.get(member, member.name.replace("_", " ").capitalize())) for member in enum]


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


class StepKind(StrEnum):
    QUERY = "query"
    UPLOAD = "upload"
    WAIT = "wait"
    FINISH = "finish"


class StepStatus(StrEnum):
    """``inflight``: intent is recorded, the answer is not. ``interrupted``: its worker died before the answer was recorded."""

    INFLIGHT = "inflight"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


LABELS: dict[StrEnum, str] = {
    ConnectionState.OK: "Connected",
    ConnectionState.REAUTHORIZE: "Log in again",
    SyncMode.MIRROR: "Mirror (upsert, and delete what vanished)",
    Detection.CHANGED_ROWS: "Changed rows (compare with what was accepted last)",
    Detection.WATERMARK: "Watermark (rows past a cursor column)",
    Detection.ALL_ROWS: "All rows, every run",
    ScheduleKind.INTERVAL: "Every N minutes",
    ScheduleKind.CRON: "Cron expression",
    OverlapPolicy.SKIP: "Skip the new run",
    OverlapPolicy.QUEUE: "Queue the new run behind it",
    OverlapPolicy.COALESCE: "Fold into the live run",
    FieldType.JSON: "JSON",
    OnNull.NULL: "Send null",
    OnNull.OMIT: "Leave the field out",
    OnNull.DEFAULT: "Use the default",
    OnNull.REJECT: "Dead-letter the row",
    OnMappingError.DEAD_LETTER: "Dead-letter the row",
    OnMappingError.FAIL: "Fail the run",
    Trigger.API: "API",
    StepStatus.INFLIGHT: "In flight",
}
