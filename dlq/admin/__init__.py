"""Pages of the console for dead letters, their groups, bulk operations and exports."""

from dlq.admin import entries, exports, groups, operations

__all__ = ["entries", "exports", "groups", "operations"]
