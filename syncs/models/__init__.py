from syncs.models.api import ApiKey, ApiWindow, IdempotentRequest, ServiceAccount
from syncs.models.audit import AuditEvent
from syncs.models.connection import Connection, RateWindow
from syncs.models.error_rule import ErrorRule
from syncs.models.job import JobBatch
from syncs.models.ledger import DeliveredRow
from syncs.models.periods import Heartbeat, RunPeriod, SyncDay, SyncHour, SyncTouch
from syncs.models.run import Run, Step
from syncs.models.schema import SchemaChange, SchemaSnapshot
from syncs.models.spent import SpentToken
from syncs.models.sync import FieldMapping, Sync, SyncVersion
from syncs.models.tag import Tag
from syncs.models.team import Team
from syncs.models.triggering import ChainFiring, SyncChain, SyncTrigger, TriggerCall

__all__ = [
    "ApiKey",
    "ApiWindow",
    "AuditEvent",
    "ChainFiring",
    "Connection",
    "DeliveredRow",
    "ErrorRule",
    "FieldMapping",
    "Heartbeat",
    "IdempotentRequest",
    "JobBatch",
    "RateWindow",
    "Run",
    "RunPeriod",
    "SchemaChange",
    "SchemaSnapshot",
    "ServiceAccount",
    "SpentToken",
    "Step",
    "Sync",
    "SyncChain",
    "SyncDay",
    "SyncHour",
    "SyncTouch",
    "SyncTrigger",
    "SyncVersion",
    "Tag",
    "Team",
    "TriggerCall",
]
