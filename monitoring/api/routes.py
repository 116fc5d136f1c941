"""Addresses below /api/v1/ and what answers there."""

from __future__ import annotations

from monitoring.api.alert_rules import AlertRules
from monitoring.api.channels import ChannelKinds, Channels
from monitoring.api.deliveries import Deliveries
from monitoring.api.incidents import Incidents
from monitoring.api.notices import Notices
from monitoring.api.people import People
from monitoring.api.purges import Purges
from monitoring.api.retention import RetentionRules
from monitoring.api.stats import Stats
from monitoring.api.statuses import StatusChanges, Statuses
from monitoring.api.subscriptions import Subscriptions, Watching
from monitoring.api.sync_status import SyncStatuses
from syncs.rest.resources import ID, Resource

RESOURCES: list[tuple[str, type[Resource]]] = [
    ("stats", Stats),
    ("people", People),
    ("incidents", Incidents),
    ("alert-rules", AlertRules),
    ("channels", Channels),
    ("channel-kinds", ChannelKinds),
    ("deliveries", Deliveries),
    ("statuses", Statuses),
    ("status-changes", StatusChanges),
    (f"syncs/(?P<sync_id>{ID})", SyncStatuses),
    (f"syncs/(?P<sync_id>{ID})/audience", Watching),
    ("subscriptions", Subscriptions),
    ("notices", Notices),
    ("retention-rules", RetentionRules),
    ("purges", Purges),
]
