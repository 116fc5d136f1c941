from dlq.models.desk import EntryTally, Export, SavedView
from dlq.models.edit import PayloadEdit
from dlq.models.entry import DLQEntry
from dlq.models.event import DLQEvent
from dlq.models.group import ErrorGroup, FingerprintRule, GroupDay, GroupEvent, GroupHour, Regrouping
from dlq.models.operation import BulkItem, BulkOperation
from dlq.models.reclassification import Reclassification

__all__ = [
    "BulkItem",
    "BulkOperation",
    "DLQEntry",
    "DLQEvent",
    "EntryTally",
    "ErrorGroup",
    "Export",
    "FingerprintRule",
    "GroupDay",
    "GroupEvent",
    "GroupHour",
    "PayloadEdit",
    "Reclassification",
    "Regrouping",
    "SavedView",
]
