"""Bulk operations: one act on many dead letters, frozen when it was confirmed, done in slices by whichever worker holds it."""

from dlq.services.operations.control import cancel, pause, resume
from dlq.services.operations.creation import create, undo
from dlq.services.operations.engine import advance, advance_due, advance_here, on_run_finished, work
from dlq.services.operations.reading import ItemPage, Progress, items, progress, undone_by
from dlq.services.operations.waves import Wave

__all__ = [
    "ItemPage",
    "Progress",
    "Wave",
    "advance",
    "advance_due",
    "advance_here",
    "cancel",
    "create",
    "items",
    "on_run_finished",
    "pause",
    "progress",
    "resume",
    "undo",
    "undone_by",
    "work",
]
