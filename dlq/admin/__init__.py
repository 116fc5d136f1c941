"""Pages of the console for dead letters, their groups and bulk operations."""

from dlq.admin import entries, groups, operations

__all__ = ["entries", "groups", "operations"]
