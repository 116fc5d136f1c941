"""Pages of the console for dead letters, their groups, bulk operations and exports."""

from dlq.admin import entries, exports, groups, operations, reclassifications

__all__ = ["entries", "exports", "groups", "operations", "reclassifications"]
