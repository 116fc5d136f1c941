"""Pages of the console for dead letters and their groups."""

from dlq.admin import entries, groups

__all__ = ["entries", "groups"]
