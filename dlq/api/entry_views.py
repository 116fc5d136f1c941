"""What the shapes of a dead letter are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlq.models import DLQEntry
from dlq.services import rule_advice
from dlq.services.attempts import Carried
from dlq.services.entry_detail import Detail

_CALL: Mapping[str, Any] = {
    "number": 0, "started_at": None, "milliseconds": None, "row_count": 0, "http_status": None, "request_id": "",
    "idempotency_key": "", "signal": "", "request": "", "excerpt": "", "message": "", "wait_seconds": None,
}  # fmt: skip


def shown(found: Detail) -> DLQEntry:
    """The masked copy, with what is said of it beside its columns."""
    edit = found.edit
    correction = None
    if edit is not None:
        about = {name: getattr(edit, name) for name in ("id", "created_at", "created_by", "reason")}
        correction = {**about, "is_current": found.is_edit_current, "changes": found.edit_diff}
    rule = rule_advice.of_entry(found.entry)
    vars(found.entry).update(
        error_rule_advice=rule.advice if rule else "",
        verdict=found.verdict,
        comparison=found.comparison,
        row_now=found.live,
        correction=correction,
        steps=found.steps,
        changed_parts=found.changed_parts,
        is_held=found.is_held,
        is_hiding=found.is_hiding,
    )
    return found.entry


def calls_of(step: Carried) -> dict[str, Any]:
    """A step keeps its calls as JSON; one of an earlier release may lack what was added since."""
    calls = [{name: attempt.get(name, default) for name, default in _CALL.items()} for attempt in step.attempts]
    return {"run_id": step.run_id, "number": step.number, "row_count": step.row_count, "calls": calls}
