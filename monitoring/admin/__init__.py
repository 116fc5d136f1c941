"""Pages of the console for status, alerts and what is kept."""

from monitoring.admin import alert_rules, channels, deliveries, incidents, retention, status, subscriptions

__all__ = ["alert_rules", "channels", "deliveries", "incidents", "retention", "status", "subscriptions"]
