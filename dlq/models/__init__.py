from dlq.models.entry import DLQEntry
from dlq.models.event import DLQEvent
from dlq.models.group import ErrorGroup

__all__ = ["DLQEntry", "DLQEvent", "ErrorGroup"]
