"""Pages of the console for syncs, runs and connections."""

from syncs.admin import api_keys, connections, error_rules, runs, service_accounts, syncs, tags, teams

__all__ = ["api_keys", "connections", "error_rules", "runs", "service_accounts", "syncs", "tags", "teams"]
