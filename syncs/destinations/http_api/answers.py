"""From an answer to exactly one outcome per record. What the answer leaves out is unknown, never written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson

from syncs.destinations.http_api import hints, paths
from syncs.destinations.http_api.config import (
    AcceptedAs,
    Answers,
    KeyList,
    LocatorKind,
    OperationConfig,
    PerCall,
    Success,
    Wait,
)
from syncs.destinations.http_api.locating import Finder, Found, holds
from syncs.destinations.http_api.rules import Classifier, Verdict, wait_seconds
from syncs.errors import ErrorType
from syncs.http import Redactor, Response
from syncs.records import (
    NOT_ATTEMPTED,
    WRITTEN,
    BatchResult,
    Operation,
    Record,
    RecordOutcome,
    RecordState,
    RowError,
    Signal,
)

_ROW_EXCERPT = 1000
_DETAILS = {Operation.INSERT: "created", Operation.DELETE: "deleted"}
_UNREADABLE: Any = object()
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its body read once. ``data`` is ``None`` for an empty body, ``_UNREADABLE`` for one that is no JSON."""

    response: Response
    data: Any

    @property
    def is_readable(self) -> bool:
        return self.data is not _UNREADABLE


def read_reply(response: Response, answers: Answers = Answers.JSON) -> Reply:
    body = response.body.strip()
    if not body:
        return Reply(response, None)
    if answers is Answers.TEXT:
        is_page = body[:1] == b"<"
        return Reply(response, _UNREADABLE if is_page else {"text": body.decode("utf-8", "replace")})
    try:
        return Reply(response, orjson.loads(response.body))
    except orjson.JSONDecodeError:
        return Reply(response, _UNREADABLE)


class Interpreter:
    """For one operation of one object. ``now`` is injected: reset times are absolute."""

    def __init__(
        self,
        operation: Operation,
        config: OperationConfig,
        *,
        classifier: Classifier,
        wait: Wait,
        redactor: Redactor,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._operation = operation
        self._config = config
        self._classifier = classifier
        self._wait = wait
        self._redactor = redactor
        self._now = now
        self._needs_body = _needs_body(config)
        self.seen: list[tuple[OperationConfig, Reply, Sequence[Record]]] | None = None  # what was read, where somebody watches

    def result(self, reply: Reply, records: Sequence[Record]) -> BatchResult:
        if self.seen is not None:
            self.seen.append((self._config, reply, records))
        if self._is_accepted_only(reply.response.status):
            return self._queued(reply, records)
        if self._is_success_status(reply.response.status):
            if not self._config.success.ignores_body and (not reply.is_readable or (self._needs_body and reply.data is None)):
                return self._unknown(reply, records, "The answer says yes, but its body cannot be read.", "unreadable")
            if self._says_yes(reply.data if reply.is_readable else None, self._config.success):
                return self.accepted(reply, records)
        return self.refused(reply, records)

    # -- yes

    def _is_success_status(self, status: int) -> bool:
        wanted = self._config.success.status
        return status in wanted if wanted else 200 <= status < 300

    def _is_accepted_only(self, status: int) -> bool:
        accepted = self._config.accepted_only
        return accepted is not None and accepted.outcome is AcceptedAs.UNKNOWN and status in accepted.status

    def _says_yes(self, data: Any, success: Success) -> bool:
        if success.flag is not None and not holds(success.flag, data):
            return False
        return all(is_there(data, path) for path in success.present) and not any(
            is_there(data, path) for path in success.absent
        )

    def _queued(self, reply: Reply, records: Sequence[Record]) -> BatchResult:
        return self._unknown(
            reply, records, "The destination queued the record and does not say what became of it.", "accepted_only"
        )

    def accepted(self, reply: Reply, records: Sequence[Record]) -> BatchResult:
        """The answer as a whole is a yes: what it says of each record."""
        count, config = len(records), self._config
        if config.success.count and not _is_count(reply.data, config.success.count, count):
            text = f"The answer does not account for all {count} records."
            return self._unknown(reply, records, text, "unaccounted")
        if config.per_call is PerCall.RECORD:
            return BatchResult([self._written(reply.data, reply.response.status)])
        if config.locator.kind is LocatorKind.NONE:
            return BatchResult([self._written({}, reply.response.status)] * count)
        found = Finder(config.locator, config.key_field, records).find(reply.data)
        if not found.failed and found.is_sure and not (found.has_results and len(found.written) < count):
            return BatchResult(self._all_written(found, count, reply.response.status))
        if config.atomic and found.failed:
            return self._located(reply, records, found)
        return self._partial(reply, records, found)

    def _all_written(self, found: Found, count: int, status: int) -> list[RecordOutcome]:
        config = self._config
        if not found.written or not (config.id or config.detail.path):
            return [self._written({}, status)] * count
        return [self._written(found.written[position], status) for position in range(count)]

    def _written(self, item: Any, status: int) -> RecordOutcome:
        config = self._config
        detail = config.detail.status.get(str(status), "")
        if config.detail.path and (value := paths.first(item, config.detail.path)) is not paths.MISSING:
            detail = config.detail.values.get(paths.as_text(value), detail)
        detail = detail or _DETAILS.get(self._operation, "")
        identity = self._redactor.message(paths.text(item, config.id), limit=200) if config.id else ""
        if not detail and not identity:
            return WRITTEN
        return RecordOutcome(RecordState.WRITTEN, detail=detail[:20], destination_id=identity)

    def _partial(self, reply: Reply, records: Sequence[Record], found: Found) -> BatchResult:
        """Some failed, or something is missing: each record by what the answer says of it."""
        status = reply.response.status
        silent = RowError(
            ErrorType.UNKNOWN_OUTCOME,
            "The answer does not account for this record.",
            code="unaccounted",
            http_status=status,
            excerpt=self._redactor.excerpt(reply.response.body, limit=_ROW_EXCERPT),
        )
        unknown = RecordOutcome(RecordState.UNKNOWN, silent)
        outcomes = []
        for position, record in enumerate(records):
            if position in found.failed:
                outcomes.append(self._failed(reply, record, *found.failed[position]))
            elif not found.is_sure or (found.has_results and position not in found.written):
                outcomes.append(unknown)
            else:
                outcomes.append(self._written(found.written.get(position, {}), status))
        has_unknown = any(outcome is unknown for outcome in outcomes)
        has_retryable = any(outcome.state is RecordState.RETRYABLE for outcome in outcomes)
        wait = self._seconds_to_wait(reply) if has_retryable else None
        return BatchResult(outcomes, error=silent if has_unknown else None, retry_after=wait)

    # -- no

    def refused(self, reply: Reply, records: Sequence[Record]) -> BatchResult:
        """The answer as a whole is an error: the connection's, the moment's, one record's, or nobody knows whose."""
        config, status = self._config, reply.response.status
        data = reply.data if reply.is_readable else None
        codes = _first(config.error.code, lambda path: [paths.as_text(code) for code in paths.every(data, path)]) or []
        text = self._text(reply, data)
        told = _first(config.error.field, lambda path: paths.text(data, path)) or ""
        by_value = hints.field_of_value(text, records[0]) if len(records) == 1 else ""
        field = told or hints.field_in(text, records) or by_value
        is_named = bool(told) or (bool(field) and hints.is_plainly_named(text, field))
        is_json = reply.is_readable and data is not None
        verdict = self._classifier.whole(status, codes, text, field=field, has_named_field=is_named, is_json=is_json)
        verdict = self._of_record(verdict, status)
        if verdict.signal is not None:
            return self._signalled(reply, records, verdict, text, codes)
        error = self._error(verdict, text, codes, verdict.field or field, reply)
        located = self._locate(data, records)
        if located is not None:
            return self._located(reply, records, located)
        if 200 <= status < 300 and self._says_nothing(data, codes):
            return self._unknown(reply, records, "The answer says yes, but lacks what a success must hold.", "unaccounted")
        if len(records) == 1:
            return BatchResult([_fate(error)], error=error)
        if 200 <= status < 300 and not config.atomic:
            return self._unknown(
                reply, records, f"The answer reports an error and does not say whose: {error.message}", "unlocated"
            )
        suspects = hints.suspects(text, error, records)
        return BatchResult([NOT_ATTEMPTED] * len(records), Signal.REFUSED, error, suspects=suspects)

    def _says_nothing(self, data: Any, codes: list[str]) -> bool:
        """The settings say where an error stands, and none stands there."""
        where = self._config.error.message
        return bool(where) and not codes and _first(where, lambda path: paths.text(data, path)) is None

    def _of_record(self, verdict: Verdict, status: int) -> Verdict:
        """404 for an address that names the record speaks of the record; a gateway's silence does not prove an insert lost."""
        is_default = not verdict.is_ruled
        if is_default and status in (404, 410) and self._config.per_call is PerCall.RECORD and "{" in self._config.path:
            return replace(verdict, type=ErrorType.REFERENCE_NOT_FOUND, signal=None)
        if is_default and status in (502, 504) and self._operation is Operation.INSERT:
            return replace(verdict, type=ErrorType.UNKNOWN_OUTCOME, signal=Signal.UNKNOWN)
        return verdict

    def _locate(self, data: Any, records: Sequence[Record]) -> Found | None:
        if self._config.locator.kind is LocatorKind.NONE or data is None:
            return None
        found = Finder(self._config.locator, self._config.key_field, records).find(data)
        return found if found.failed else None

    def _located(self, reply: Reply, records: Sequence[Record], found: Found) -> BatchResult:
        """Nothing was written; the located ones are to blame, their batch-mates go again."""
        outcomes = [
            self._failed(reply, record, *found.failed[position]) if position in found.failed else NOT_ATTEMPTED
            for position, record in enumerate(records)
        ]
        return BatchResult(outcomes)

    def _signalled(self, reply: Reply, records: Sequence[Record], verdict: Verdict, text: str, codes: list[str]) -> BatchResult:
        assert verdict.signal is not None
        status = reply.response.status
        if 300 <= status < 400:
            host = reply.response.headers.get("Location", "")[:200]
            text = f"The destination redirects to {host or 'elsewhere'}, and redirects are not followed. Correct base_url."
        error = self._error(verdict, text or f"The destination answered {status}.", codes, "", reply)
        state = {
            Signal.RATE_LIMITED: RecordState.RETRYABLE,
            Signal.UNAVAILABLE: RecordState.RETRYABLE,
            Signal.UNKNOWN: RecordState.UNKNOWN,
        }.get(verdict.signal, RecordState.NOT_ATTEMPTED)
        outcome = NOT_ATTEMPTED if state is RecordState.NOT_ATTEMPTED else RecordOutcome(state, error)
        is_for_later = verdict.signal in (Signal.RATE_LIMITED, Signal.UNAVAILABLE)
        wait = self._seconds_to_wait(reply) if is_for_later else None
        return BatchResult([outcome] * len(records), verdict.signal, error, retry_after=wait)

    def _seconds_to_wait(self, reply: Reply) -> float | None:
        return wait_seconds(self._wait, reply.response, reply.data, now=self._now())

    def _failed(self, reply: Reply, record: Record, item: Any, kind: KeyList | None) -> RecordOutcome:
        locator, status = self._config.locator, reply.response.status
        if kind is not None:
            message = kind.message or f"The destination lists this record as {kind.type.info.label.lower()}."
            codes = [kind.code] if kind.code else []
            return _fate(self._error(Verdict(kind.type), message, codes, kind.field, reply, item=_compact(item)))
        codes = _first(locator.code, lambda path: [paths.as_text(code) for code in paths.every(item, path)]) or []
        text = _first(locator.message, lambda path: paths.text(item, path)) or paths.as_text(item) or ", ".join(codes)
        told = _first(locator.field, lambda path: paths.text(item, path))
        field = told or hints.field_in(text, [record]) or hints.field_of_value(text, record)
        item_status = paths.text(item, locator.status)
        verdict = self._classifier.record(
            status, codes, text, field=field, item_status=int(item_status) if item_status.isdecimal() else None
        )
        error = self._error(verdict, text, codes, verdict.field or field, reply, item=_compact(item))
        return _fate(error, is_unknown=verdict.signal is Signal.UNKNOWN)

    def _unknown(self, reply: Reply, records: Sequence[Record], text: str, code: str) -> BatchResult:
        verdict = Verdict(ErrorType.UNKNOWN_OUTCOME, Signal.UNKNOWN)
        error = self._error(verdict, text, [code], "", reply)
        outcome = RecordOutcome(RecordState.UNKNOWN, error)
        return BatchResult([outcome] * len(records), Signal.UNKNOWN, error)

    def _text(self, reply: Reply, data: Any) -> str:
        text = _first(self._config.error.message, lambda path: paths.text(data, path))
        if text:
            return text
        if data is not None:
            return paths.as_text(data)[:4000] or f"The destination answered {reply.response.status}."
        body = reply.response.body[:4000].decode("utf-8", "replace")
        is_page = body.lstrip()[:1] == "<"
        return body if body.strip() and not is_page else f"The destination answered {reply.response.status}."

    def _error(
        self, verdict: Verdict, text: str, codes: list[str], field: str, reply: Reply, *, item: bytes | str | None = None
    ) -> RowError:
        """``item``: the part of the answer that speaks of one record; None: the whole answer is the evidence."""
        redactor = self._redactor
        excerpt = redactor.excerpt(reply.response.body) if item is None else redactor.excerpt(item, limit=_ROW_EXCERPT)
        return RowError(
            verdict.type,
            self._redactor.message(text) or f"The destination answered {reply.response.status}.",
            code=self._redactor.message(", ".join(dict.fromkeys(codes)), limit=120),
            field=self._redactor.message(field, limit=120),
            http_status=reply.response.status,
            excerpt=excerpt,
            is_permanent=verdict.is_permanent,
        )


def _fate(error: RowError, *, is_unknown: bool = False) -> RecordOutcome:
    if is_unknown:
        return RecordOutcome(RecordState.UNKNOWN, error)
    return RecordOutcome(RecordState.REJECTED if error.permanent else RecordState.RETRYABLE, error)


def _first(candidates: Sequence[str], value_at: Callable[[str], _Value]) -> _Value | None:
    """What stands at the first path that leads to something."""
    return next((value for path in candidates if (value := value_at(path))), None)


def _needs_body(config: OperationConfig) -> bool:
    success = config.success
    is_located = config.per_call is PerCall.BATCH and config.locator.kind is not LocatorKind.NONE
    return bool(success.flag or success.present or success.count or is_located)


def is_there(data: Any, path: str) -> bool:
    return paths.first(data, path) not in (paths.MISSING, None, "", False, [], {})


def _is_count(data: Any, path: str, count: int) -> bool:
    value = paths.first(data, path)
    number = len(value) if isinstance(value, list) else value
    return not isinstance(number, bool) and bool(number == count)


def _compact(item: Any) -> bytes | str:
    try:
        return item if isinstance(item, str) else orjson.dumps(item)
    except TypeError:  # nested too deep to be written back
        return paths.as_text(item)
