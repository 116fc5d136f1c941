from monitoring.models.alerting import AlertRule, Incident, IncidentEvent, IncidentSync
from monitoring.models.delivering import Channel, Delivery, Notice, Subscription, WatchedSync
from monitoring.models.retaining import Purge, RetentionRule
from monitoring.models.status import DepthHour, StatusChange, SyncPolicy, SyncWatch

__all__ = [
    "AlertRule",
    "Channel",
    "Delivery",
    "DepthHour",
    "Incident",
    "IncidentEvent",
    "IncidentSync",
    "Notice",
    "Purge",
    "RetentionRule",
    "StatusChange",
    "Subscription",
    "SyncPolicy",
    "SyncWatch",
    "WatchedSync",
]
