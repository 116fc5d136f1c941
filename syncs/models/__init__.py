from syncs.models.connection import Connection, RateWindow
from syncs.models.ledger import DeliveredRow
from syncs.models.run import Run, Step
from syncs.models.sync import FieldMapping, Sync, SyncVersion
from syncs.models.team import Team

__all__ = ["Connection", "DeliveredRow", "FieldMapping", "RateWindow", "Run", "Step", "Sync", "SyncVersion", "Team"]
