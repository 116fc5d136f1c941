"""Pages of the console for status, alerts and what is kept."""

from monitoring.admin import retention, status, subscriptions

__all__ = ["retention", "status", "subscriptions"]
