"""The metrics of /metrics: name, type, meaning, labels. Documentation, dashboard and rules are checked against this list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """``name``: as Prometheus knows it; a counter's ends in ``_total``. ``labels``: in the order of the values given to it."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ()


_SYNC = ("sync_id", "sync")


def _gauge(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"redrive_{name}", "gauge", help, labels)


def _counter(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"redrive_{name}", "counter", help, labels)


BUILD = _gauge("build_info", "Always 1; versions as labels.", "version", "django", "python", "database")

# -- syncs (archived ones are left out)
SYNC_INFO = _gauge(
    "sync_info", "Always 1; what a sync is, to join with.", *_SYNC, "source", "destination", "object", "team", "owner"
)
SYNC_STATUS = _gauge("sync_status", "1 for the status that the sync has, 0 for the others.", *_SYNC, "status")
SYNC_SINCE = _gauge("sync_status_since_timestamp_seconds", "Since when it has that status.", *_SYNC)
SYNC_OPEN = _gauge("sync_dead_letters_open", "Live dead letters.", *_SYNC)
SYNC_OLDEST = _gauge(
    "sync_oldest_dead_letter_timestamp_seconds", "First failure of the oldest live dead letter; absent without one.", *_SYNC
)
SYNC_LAST = _gauge("sync_last_run_timestamp_seconds", "End of the last run that was not skipped.", *_SYNC, "status")
SYNC_LAST_SECONDS = _gauge("sync_last_run_duration_seconds", "How long that run took.", *_SYNC)
SYNC_WELL = _gauge("sync_last_good_run_timestamp_seconds", "End of the last run that succeeded or was partial.", *_SYNC)
SYNC_NEXT = _gauge("sync_next_run_timestamp_seconds", "Next slot of the schedule; in the past: it is overdue.", *_SYNC)
SYNC_RUNS = _counter("sync_runs_total", "Runs that ended, by how.", *_SYNC, "status")
SYNC_READ = _counter("sync_rows_read_total", "Rows read from the warehouse.", *_SYNC)
SYNC_ROWS = _counter("sync_rows_total", "Rows by their outcome in runs that ended.", *_SYNC, "outcome")
SYNC_REQUESTS = _counter("sync_requests_total", "Calls to the destination.", *_SYNC)
SYNC_RETRIES = _counter("sync_retries_total", "Calls among them that were repeated.", *_SYNC)
SYNC_BYTES = _counter("sync_sent_bytes_total", "Bytes sent to the destination.", *_SYNC)
SYNC_SECONDS = _counter("sync_run_seconds_total", "Time that runs took, added up.", *_SYNC)

# -- dead letters, runs, incidents
DEAD_LETTERS = _gauge("dead_letters_open", "Live dead letters of all syncs, by error type.", "error_type")
GROUPS = _gauge("error_groups_open", "Error groups that have live dead letters, by state.", "state")
OPERATIONS = _gauge("bulk_operations", "Bulk operations that are not over, by status.", "status")
RUNS = _gauge("runs", "Runs that are not over.", "status")
QUEUE = _gauge("queue_waiting_seconds", "How long the same run has stood at the head of a queue; 0: empty.", "queue")
INCIDENTS = _gauge("incidents_open", "Incidents that are not resolved.", "condition", "severity", "state")

# -- connections and channels
CONNECTION = _gauge(
    "connection_state",
    "1 for the state of the last test, 0 for the others.",
    "connection_id",
    "connection",
    "role",
    "kind",
    "state",
)
CREDENTIAL = _gauge(
    "connection_credential_expiry_timestamp_seconds", "Known end of its credential.", "connection_id", "connection"
)
CHANNEL = _gauge(
    "channel_enabled", "1: messages go out; 0: switched off, by a person or by itself.", "channel_id", "channel", "kind"
)
CHANNEL_FAILED = _gauge("channel_failed_calls", "Calls in a row that failed.", "channel_id", "channel", "kind")
DELIVERIES = _gauge("deliveries_waiting", "Messages that are still to go out, by state.", "state")

# -- Redrive itself
WORKERS = _gauge("workers", "Workers that gave a sign of life within the last minute.")
HEARTBEAT = _gauge("heartbeat_timestamp_seconds", "Last sign of life of a part; tick: of any worker.", "part")

METRICS = tuple(value for value in dict(vars()).values() if isinstance(value, Metric))
BY_NAME = {metric.name: metric for metric in METRICS}
