"""Endpoints of statuses, incidents, alert rules, channels and subscriptions."""
