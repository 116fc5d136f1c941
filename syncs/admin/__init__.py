"""Pages of the console for syncs, runs and connections."""

from syncs.admin import connections, runs, syncs, teams

__all__ = ["connections", "runs", "syncs", "teams"]
