"""The sink of refused rows, named by the settings so that nothing here imports the app that keeps dead letters."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from syncs.engine.ports import RejectedRowSink
from syncs.models import Run


def build(run: Run) -> RejectedRowSink:
    """The sink of this run. Raises ``ImportError`` when the settings name none; a system check says so earlier."""
    sink: Any = import_string(settings.RETL["REJECTED_ROW_SINK"])
    built: RejectedRowSink = sink(run)
    return built


def put_back_entries(run: Run) -> None:
    """The run ended without a worker: dead letters that wait for it go back to open. Call it in the ending transaction."""
    build(run).finish(is_complete=False)
