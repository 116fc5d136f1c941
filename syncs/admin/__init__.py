"""Pages of the console for syncs, runs and connections."""

from syncs.admin import connections, runs, syncs

__all__ = ["connections", "runs", "syncs"]
