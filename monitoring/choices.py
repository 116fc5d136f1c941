"""Conditions, severities and states of monitoring. Plain Python."""

from __future__ import annotations

from enum import StrEnum

from syncs.choices import LABELS, by_kind


class Condition(StrEnum):
    """What can be wrong with a sync, or with Redrive itself. Statuses, rules and incidents all speak in these."""

    RUN_FAILED = "run_failed"  # so many runs in a row failed
    ERROR_RATE = "error_rate"  # share of rows dead-lettered within the window
    ERROR_BUDGET = "error_budget"  # of the rows of 30 days that may fail, so much is used up
    FRESHNESS = "freshness"  # no run ended well for so long
    LATE = "late"  # a scheduled run has not started
    ZERO_ROWS = "zero_rows"  # runs read nothing where there used to be rows
    VOLUME = "volume"  # rows read are outside a band around its own history
    DURATION = "duration"  # a run takes longer than a limit, or than its own history
    DLQ_DEPTH = "dlq_depth"  # open dead letters
    DLQ_AGE = "dlq_age"  # age of the oldest open dead letter
    CREDENTIAL = "credential"  # expired, revoked, or about to expire
    DRIFT = "drift"  # the destination's schema changed
    SETUP = "setup"  # the sync or its mapping cannot run as it is
    PERMISSION = "permission"  # the connection's user may not write a field
    NEW_GROUP = "new_group"  # an error never seen before
    REGRESSED_GROUP = "regressed_group"  # an error that was resolved came back
    RECOVERY = "recovery"  # the sync is well again
    WORKER_SILENT = "worker_silent"  # no worker gives a sign of life
    QUEUE_STUCK = "queue_stuck"  # a run waits though workers live
    ANOMALY = "anomaly"  # volume, duration or error rate against its seasonal baseline


# Of Redrive itself: no sync is to blame.
PLATFORM = (Condition.WORKER_SILENT, Condition.QUEUE_STUCK)
# What follows from something else: while the same sync has an open incident of another condition, these raise no alarm.
SYMPTOMS = (
    Condition.FRESHNESS,
    Condition.LATE,
    Condition.ZERO_ROWS,
    Condition.VOLUME,
    Condition.DURATION,
    Condition.ERROR_RATE,
    Condition.ERROR_BUDGET,
    Condition.DLQ_DEPTH,
    Condition.DLQ_AGE,
    Condition.ANOMALY,
)


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    PAGE = "page"


SEVERITIES = (Severity.INFO, Severity.WARNING, Severity.PAGE)  # from mild to grave


class Scope(StrEnum):
    ALL = "all"
    TAG = "tag"
    CONNECTION = "connection"
    SYNC = "sync"


class Window(StrEnum):
    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"


WINDOW_HOURS = {Window.HOUR: 1, Window.DAY: 24, Window.WEEK: 168}


class IncidentState(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class IncidentEventKind(StrEnum):
    OPENED = "opened"
    JOINED = "joined"  # another sync is affected by the same cause
    LEFT = "left"  # a sync is well again, others are not yet
    CHANGED = "changed"  # got worse: severity or figures
    SUPPRESSED = "suppressed"  # it follows from another incident; nobody is told
    RELEASED = "released"  # the other incident is over and this one is not
    NOTIFIED = "notified"
    ACKNOWLEDGED = "acknowledged"
    NOTED = "noted"
    MUTED = "muted"
    RECOVERED = "recovered"  # resolved by itself
    RESOLVED = "resolved"  # resolved by a person
    REOPENED = "reopened"


class Event(StrEnum):
    """What channels can be told; webhooks choose among them by these names."""

    INCIDENT_OPENED = "incident.opened"
    INCIDENT_CHANGED = "incident.changed"
    INCIDENT_ACKNOWLEDGED = "incident.acknowledged"
    INCIDENT_RESOLVED = "incident.resolved"
    STATUS_CHANGED = "sync.status_changed"
    RUN_FINISHED = "run.finished"
    GROUP_NEW = "group.new"
    GROUP_REGRESSED = "group.regressed"
    DLQ_GREW = "dlq.grew"
    OPERATION_FINISHED = "operation.finished"
    CHANNEL_DISABLED = "channel.disabled"
    DIGEST = "digest"
    TEST = "test"


class DeliveryState(StrEnum):
    PENDING = "pending"
    HELD = "held"  # quiet hours: goes out at ``not_before``
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"  # given up; a person may send it again
    FOLDED = "folded"  # its content went out in a digest


class Follows(StrEnum):
    """Which syncs a subscription is about."""

    OWNED = "owned"
    WATCHED = "watched"
    ALL = "all"


class Digest(StrEnum):
    NONE = "none"
    DAILY = "daily"
    WEEKLY = "weekly"


class PurgeState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    HELD = "held"  # waits: something of the sync goes on
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Retained(StrEnum):
    """What is deleted once it is old. Live dead letters never are."""

    STEPS = "steps"
    RUNS = "runs"
    RESOLVED_ENTRIES = "resolved_entries"
    DISCARDED_ENTRIES = "discarded_entries"
    LEDGER_OF_ARCHIVED = "ledger_of_archived"
    DELIVERIES = "deliveries"
    INCIDENTS = "incidents"
    EXPORTS = "exports"
    OPERATIONS = "operations"
    HOURS = "hours"
    AUDIT = "audit"


LABELS.update(
    by_kind(
        [
            (Condition.RUN_FAILED, "Runs fail"),
            (Condition.LATE, "Late against the schedule"),
            (Condition.ZERO_ROWS, "Zero rows"),
            (Condition.DLQ_DEPTH, "Open dead letters"),
            (Condition.DLQ_AGE, "Oldest dead letter"),
            (Condition.DRIFT, "Destination schema changed"),
            (Condition.SETUP, "Set-up"),
            (Condition.PERMISSION, "Missing permission"),
            (Condition.NEW_GROUP, "New error"),
            (Condition.REGRESSED_GROUP, "Regressed error"),
            (Condition.WORKER_SILENT, "Worker or scheduler silent"),
            (Condition.QUEUE_STUCK, "Runs wait though workers live"),
            (Severity.PAGE, "Page"),
            (Window.HOUR, "1 hour"),
            (Window.DAY, "24 hours"),
            (Window.WEEK, "7 days"),
            (Scope.ALL, "All syncs"),
            (Follows.OWNED, "Syncs I own"),
            (Follows.WATCHED, "Syncs I watch"),
            (Follows.ALL, "All syncs I may see"),
            (Digest.NONE, "At once"),
            (Digest.DAILY, "Once a day"),
            (Digest.WEEKLY, "Once a week"),
            (Retained.STEPS, "Steps and attempts of runs"),
            (Retained.RESOLVED_ENTRIES, "Resolved and superseded dead letters"),
            (Retained.DISCARDED_ENTRIES, "Discarded dead letters"),
            (Retained.LEDGER_OF_ARCHIVED, "Ledger of archived syncs"),
            (Retained.DELIVERIES, "Deliveries to channels"),
            (Retained.OPERATIONS, "Members of bulk operations"),
            (Retained.HOURS, "Hourly figures (days are kept)"),
            (Retained.AUDIT, "Audit log"),
        ]
    )
)
