"""Pages of the console for status, alerts and what is kept."""

from monitoring.admin import alert_rules, incidents, retention, status, subscriptions

__all__ = ["alert_rules", "incidents", "retention", "status", "subscriptions"]
