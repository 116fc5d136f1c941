"""What is shown of a run's texts: what destinations said of its rows, with values of people masked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from syncs.errors import ErrorType
from syncs.models import Run
from syncs.services import masks


class RunSight:
    """Make one for an answer or a page; equal values get equal masks."""

    def __init__(self) -> None:
        self._mask = masks.build()

    def text(self, text: str) -> str:
        return self._mask.row([], [text])[1][0] if text else ""

    def attempt(self, attempt: Mapping[str, Any]) -> dict[str, Any]:
        """As stored (``engine.ports.Attempt``). What was answered about several rows and was cut off is hidden as a whole:
        nothing says whose values it holds."""
        shown = dict(attempt)
        for name in ("request", "message"):
            shown[name] = self.text(str(attempt.get(name) or ""))
        excerpt = str(attempt.get("excerpt") or "")
        is_document = excerpt.lstrip()[:1] in ("{", "[") and (_is_json(excerpt) or attempt.get("row_count") != 1)
        shown["excerpt"] = self._mask.row([excerpt], [])[0][0] if is_document else self.text(excerpt)
        return shown

    def errors(self, run: Run) -> list[dict[str, Any]]:
        """What it dead-lettered, by cause, most first; each with its type in words and what to do."""
        return [self._error(line) for line in run.error_summary]

    def _error(self, line: Mapping[str, Any]) -> dict[str, Any]:
        kind = ErrorType(line["type"]) if line.get("type") in set(ErrorType) else ErrorType.UNKNOWN
        return {
            "error_type": kind.value,
            "title": kind.info.label,
            "remedy": kind.info.remedy,
            "error_code": self.text(str(line.get("code") or "")),
            "field": str(line.get("field") or ""),
            "message": self._mask.sentence(str(line.get("message") or "")),
            "count": int(line.get("count") or 0),
        }

    def failure(self, run: Run) -> dict[str, Any] | None:
        """Why it could not go on; None for one that could."""
        if not run.failure_message:
            return None
        kind = ErrorType(run.failure_type) if run.failure_type in set(ErrorType) else None
        return {
            "error_type": kind.value if kind else "",
            "title": kind.info.label if kind else "",
            "remedy": kind.info.remedy if kind else "",
            "code": run.failure_code,
            "message": self.text(run.failure_message),
            "of_connection": run.failure_role,
        }


def last_status(attempts: Sequence[Mapping[str, Any]]) -> int | None:
    """The HTTP status of the last call that was answered."""
    return next((one["http_status"] for one in reversed(attempts) if one.get("http_status")), None)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
