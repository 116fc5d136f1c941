"""Pages of the console for syncs, runs and connections."""

from syncs.admin import connections, error_rules, runs, syncs, tags, teams

__all__ = ["connections", "error_rules", "runs", "syncs", "tags", "teams"]
