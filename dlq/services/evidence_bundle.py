"""Evidence for whoever runs the destination: a ZIP with a page to read, steps, attempts and dead letters as JSON Lines, and a
manifest with the SHA-256 of each. Values of people are masked and secrets are redacted, always: it is made to leave the house.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import orjson
from django.template.loader import render_to_string
from django.utils import timezone

from dlq.choices import Door
from dlq.models import DLQEntry
from dlq.services import evidence, export, masking, moves
from dlq.services.evidence import Evidence, Scope
from dlq.services.masking import Masker, Pairs
from dlq.services.moves import Act
from syncs.http.redaction import MASK, Redactor
from syncs.models import Run, Step, Sync
from syncs.secrets import SecretsError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_MEMORY = 5_000_000
_SHOWN_ENTRIES = 100
_SHOWN_STEPS = 100
_TEXT = 20_000  # characters of any text in a bundle
_DOCUMENT = 200_000  # of a payload or row
_COMMON = 200  # hidden values that are looked for in the texts of every step, beside those of the step itself
_ENTRY_TEXTS = ("row_key", "error_code", "message", "request_id", "response_excerpt", "note", "close_reason")


@dataclass(frozen=True, slots=True)
class Bundle:
    file: IO[bytes]
    name: str
    size: int


def build(scope: Scope, *, by: User, reason: str, door: Door) -> Bundle:
    """The whole ZIP at its beginning; the caller closes it. Each dead letter's history says that it was taken out."""
    why = moves.checked_reason(reason, is_required=False)
    found = evidence.gather(scope)
    file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as book:
            _Writer(book, found, by=by, reason=why).write()
        size = file.tell()
        file.seek(0)
        act = Act(by=by, door=door, reason=why, detail={"format": "evidence", **scope.parameters()})
        for start in range(0, len(found.entry_ids), 500):
            export.note_exported(found.entry_ids[start : start + 500], act)
    except BaseException:
        file.close()
        raise
    return Bundle(file, f"evidence-{scope.slug}-{timezone.now():%Y%m%d-%H%M%S}.zip", size)


class _Writer:
    def __init__(self, book: zipfile.ZipFile, found: Evidence, *, by: User, reason: str) -> None:
        self._book = book
        self._found = found
        self._by = by
        self._reason = reason
        self._cleaner = _Cleaner(found)
        self._files: dict[str, dict[str, Any]] = {}
        self._shown_entries: list[dict[str, Any]] = []
        self._shown_steps: list[dict[str, Any]] = []
        self._at = timezone.now()

    def write(self) -> None:
        """Dead letters first: what they hide is hidden in the attempts as well."""
        self._lines("dead_letters.jsonl", self._entries())
        self._lines("steps.jsonl", self._steps())
        self._lines("attempts.jsonl", self._attempts())
        self._put("summary.html", render_to_string("dlq/evidence/summary.html", self._context()).encode())
        self._put("manifest.json", orjson.dumps(self._manifest(), option=orjson.OPT_INDENT_2) + b"\n")

    def _lines(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        found, count, size = hashlib.sha256(), 0, 0
        with self._book.open(name, "w") as part:
            for row in rows:
                line = orjson.dumps(row) + b"\n"
                found.update(line)
                part.write(line)
                count += 1
                size += len(line)
        self._files[name] = {"sha256": found.hexdigest(), "bytes": size, "lines": count}

    def _put(self, name: str, raw: bytes) -> None:
        self._book.writestr(name, raw)
        self._files[name] = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}

    def _entries(self) -> Iterator[dict[str, Any]]:
        for entry in self._found.entries():
            row = self._cleaner.entry(entry)
            if len(self._shown_entries) < _SHOWN_ENTRIES:
                self._shown_entries.append(row)
            yield {**row, "payload": _fragment(row["payload"]), "source_row": _fragment(row["source_row"])}

    def _steps(self) -> Iterator[dict[str, Any]]:
        for step in self._found.steps():
            row = self._cleaner.step(step)
            if len(self._shown_steps) < _SHOWN_STEPS:
                self._shown_steps.append(row | {"attempts": self._cleaner.attempts(step)})
            yield row

    def _attempts(self) -> Iterator[dict[str, Any]]:
        for step in self._found.steps():
            for attempt in self._cleaner.attempts(step):
                yield {"run": step.run_id, "step": step.number, **attempt}

    def _context(self) -> dict[str, Any]:
        found = self._found
        return {
            "title": found.scope.title,
            "at": self._at,
            "by": self._by.get_username(),
            "reason": self._reason,
            "sync": found.scope.sync,
            "runs": [self._cleaner.run(run) for run in found.runs],
            "errors": [(self._cleaner.text(title), count) for title, count in found.errors],
            "entries": self._shown_entries,
            "steps": self._shown_steps,
            "entry_total": found.entry_total,
            "entry_count": len(found.entry_ids),
            "step_total": found.step_total,
            "step_count": len(found.step_ids),
        }

    def _manifest(self) -> dict[str, Any]:
        found = self._found
        return {
            "of": found.scope.title,
            "scope": found.scope.parameters(),
            "made_at": _time(self._at),
            "made_by": self._by.get_username(),
            "reason": self._reason,
            "values": "masked",
            "dead_letters": {"included": len(found.entry_ids), "total": found.entry_total},
            "steps": {"included": len(found.step_ids), "total": found.step_total},
            "files": dict(self._files),
        }


class _Cleaner:
    """Takes out what must not leave: secrets of the connections, and values of people wherever they stand."""

    def __init__(self, found: Evidence) -> None:
        self._masker: Masker = masking.masker()
        self._secrets: Pairs = dict.fromkeys(_secrets_of(found.scope.sync), MASK)
        self._redactor = Redactor(self._secrets)
        self._hidden: dict[tuple[int, int | None], Pairs] = {}  # values that dead letters of a step hide
        self._common: Pairs = {}  # some of all of them, for steps that have none of their own

    def text(self, text: str, pairs: Pairs | None = None) -> str:
        cut = self._redactor.excerpt(text, limit=_TEXT)
        return self._masker.text(cut, {**self._secrets, **self._common, **(pairs or {})})

    def entry(self, entry: DLQEntry) -> dict[str, Any]:
        texts = {name: self._redactor.excerpt(getattr(entry, name), limit=_TEXT) for name in _ENTRY_TEXTS}
        for name in masking.DOCUMENTS:
            text = getattr(entry, name)
            texts[name] = text if len(text) <= _DOCUMENT else orjson.dumps(f"({len(text):,} characters, left out)").decode()
        pairs = dict(self._secrets)
        plain, documents = self._masker.parsed(texts, pairs=pairs)
        place = (entry.run_id, entry.step_number)
        known = self._hidden.setdefault(place, {})
        known.update({value: mask for value, mask in pairs.items() if value not in self._secrets})
        if len(self._common) < _COMMON:
            self._common.update(known)
        values = plain | {name: "" if one is None else one.text() for name, one in documents.items()}
        return {
            "id": entry.pk,
            "sync": entry.sync.name,
            "row_key": values["row_key"],
            "status": entry.status,
            "error_type": entry.error_type,
            "error_code": values["error_code"],
            "field": entry.field,
            "message": values["message"],
            "group": self.text(entry.group.title, pairs),
            "http_status": entry.http_status,
            "request_id": values["request_id"],
            "response_excerpt": values["response_excerpt"],
            "operation": entry.operation,
            "run": entry.run_id,
            "step": entry.step_number,
            "version": entry.version.number if entry.version else None,
            "attempt_count": entry.attempt_count,
            "failure_count": entry.failure_count,
            "first_failed_at": _time(entry.first_failed_at),
            "last_failed_at": _time(entry.last_failed_at),
            "payload": values["payload"],
            "source_row": values["source_row"],
        }

    def run(self, run: Run) -> dict[str, Any]:
        names = ("read", "accepted", "unchanged", "skipped", "dead_lettered", "pending", "request", "retry")
        return {
            "id": run.pk,
            "sync": run.sync.name,
            "version": run.version.number if run.version else None,
            "status": run.status,
            "trigger": run.trigger,
            "started_at": _time(run.started_at),
            "finished_at": _time(run.finished_at),
            "failure": self.text(run.failure_message),
            "reason": self.text(run.reason),
            **{f"{name}_count": getattr(run, f"{name}_count") for name in names},
        }

    def step(self, step: Step) -> dict[str, Any]:
        return {
            "run": step.run_id,
            "step": step.number,
            "kind": step.kind,
            "status": step.status,
            "started_at": _time(step.started_at),
            "finished_at": _time(step.finished_at),
            "row_count": step.row_count,
            "accepted_count": step.accepted_count,
            "dead_lettered_count": step.dead_lettered_count,
            "attempt_count": len(step.attempts),
            "message": self.text(step.message, self._hidden.get((step.run_id, step.number))),
        }

    def attempts(self, step: Step) -> list[dict[str, Any]]:
        pairs = self._hidden.get((step.run_id, step.number))
        return [
            {name: self.text(value, pairs) if isinstance(value, str) else value for name, value in attempt.items()}
            for attempt in step.attempts
        ]


def _secrets_of(sync: Sync) -> set[str]:
    """Of its connections, at any depth. Where they cannot be decrypted, what was stored was redacted when it was written."""
    found: set[str] = set()
    for connection in (sync.source, sync.destination):
        try:
            waiting: list[Any] = [connection.secrets]
        except SecretsError:
            continue
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value
            elif isinstance(value, str) and value:
                found.add(value)
    return found


def _fragment(text: str) -> orjson.Fragment | None:
    return orjson.Fragment(text) if text else None


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
