"""What an error means: the connection's ordered rules first, then what status and text usually mean.

The status alone is wrong too often to decide by itself: duplicates answered with 500, rate limits with 403, errors with 200.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncs.destinations.http_api import paths
from syncs.destinations.http_api.config import Rule, Wait, WaitKind
from syncs.destinations.http_api.patterns import MAX_TEXT, search
from syncs.errors import ErrorType
from syncs.http import Response, parse_retry_after
from syncs.records import Signal


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_TEXTS: tuple[tuple[ErrorType, re.Pattern[str]], ...] = (
    (
        ErrorType.SCHEMA_DRIFT,
        _any(
            r"(unknown|invalid|unrecogni[sz]ed|no such|undefined) (field|column|property|attribute|key)s?\b",
            r"\b(field|column|property|attribute)s? \S{0,100} ?(does not|doesn't) exist",
            r"has invalid columns|no property named|property_?doesnt_?exist|invalid_field\b",
        ),
    ),
    (
        ErrorType.REFERENCE_NOT_FOUND,
        _any(r"foreign key", r"\breferenc\w{1,9} .{0,80}(not found|not exist|unknown|missing)", r"no such (record|object)"),
    ),
    (
        ErrorType.DUPLICATE_KEY,
        _any(
            r"\bunique\b|duplicate|already (exists|been taken|taken|in use|registered)|has been taken|must be unique",
            r"with key .{0,100} exists",
        ),
    ),
    (
        ErrorType.MISSING_REQUIRED,
        _any(
            r"\brequired\b|not null|(must not|may not|cannot|can't) be (null|blank|empty|none)|is missing\b",
            r"missing (primary|required|value)|missing a value|not supplied|must be provided",
        ),
    ),
    (
        ErrorType.FIELD_PERMISSION,
        _any(r"permission|not (allowed|authori[sz]ed|permitted)|forbidden|read[- ]only|not writable|denied"),
    ),
    (ErrorType.REFERENCE_NOT_FOUND, _any(r"not found|does not exist|doesn't exist|no such")),
    (ErrorType.TOO_LARGE, _any(r"(payload|request|record|body|entity) (is )?too (large|big)|size limit")),
)
# Statuses that speak of the connection or of the moment, not of a record.
_SIGNALS: dict[int, Signal] = {
    401: Signal.AUTH,
    402: Signal.CONFIG,
    403: Signal.AUTH,
    404: Signal.CONFIG,
    405: Signal.CONFIG,
    406: Signal.CONFIG,
    407: Signal.CONFIG,
    408: Signal.UNAVAILABLE,
    410: Signal.CONFIG,
    411: Signal.CONFIG,
    414: Signal.CONFIG,
    415: Signal.CONFIG,
    421: Signal.CONFIG,
    423: Signal.UNAVAILABLE,
    425: Signal.UNAVAILABLE,
    426: Signal.CONFIG,
    429: Signal.RATE_LIMITED,
    431: Signal.CONFIG,
}
_TYPES: dict[int, ErrorType] = {
    409: ErrorType.DUPLICATE_KEY,
    413: ErrorType.TOO_LARGE,
}
SIGNAL_TYPES: dict[Signal, ErrorType] = {
    Signal.RATE_LIMITED: ErrorType.RATE_LIMITED,
    Signal.UNAVAILABLE: ErrorType.DESTINATION_UNAVAILABLE,
    Signal.AUTH: ErrorType.AUTH,
    Signal.CONFIG: ErrorType.UNKNOWN,
    Signal.UNKNOWN: ErrorType.UNKNOWN_OUTCOME,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """``signal`` None: the error is a record's. ``is_permanent`` None: as the type says. ``is_ruled``: a rule decided."""

    type: ErrorType
    signal: Signal | None = None
    is_permanent: bool | None = None
    field: str = ""
    is_ruled: bool = False


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules were asked, and which of them fitted (its place), if any."""

    status: int
    codes: tuple[str, ...]
    text: str
    rule: int | None


class Classifier:
    """``rulings``: a list to which each look at the rules is added, where somebody wants to know."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self.rulings: list[Ruling] | None = None

    def whole(
        self, status: int, codes: Iterable[str], text: str, *, field: str, has_named_field: bool, is_json: bool = True
    ) -> Verdict:
        """An answer that is an error as a whole. ``has_named_field``: it speaks of a field of the payload."""
        ruled = self._ruled(status, codes, text, is_json=is_json)
        if ruled is not None:
            return ruled
        if 300 <= status < 400:
            return Verdict(ErrorType.UNKNOWN, Signal.CONFIG)
        if status >= 500:
            return Verdict(ErrorType.DESTINATION_UNAVAILABLE, Signal.UNAVAILABLE)
        if status == 403 and has_named_field:
            return Verdict(ErrorType.FIELD_PERMISSION, field=field)
        signal = _SIGNALS.get(status)
        if signal is not None:
            return Verdict(SIGNAL_TYPES[signal], signal)
        return Verdict(_TYPES.get(status) or by_text(text), field=field)

    def record(self, status: int, codes: Iterable[str], text: str, *, field: str, item_status: int | None = None) -> Verdict:
        """One record's error inside an answer. Signals of rules become the record's fate: only its own error is known."""
        status = item_status or status
        ruled = self._ruled(status, codes, text)
        if ruled is not None:
            return ruled
        if item_status is not None and (item_status >= 500 or item_status in (408, 423, 425, 429)):
            limited = item_status == 429
            return Verdict(ErrorType.RATE_LIMITED if limited else ErrorType.DESTINATION_UNAVAILABLE, field=field)
        by_status = _TYPES.get(item_status) if item_status is not None else None
        return Verdict(by_status or by_text(text or " ".join(codes)), field=field)

    def _ruled(self, status: int, codes: Iterable[str], text: str, *, is_json: bool = True) -> Verdict | None:
        codes = list(codes)
        found, verdict = self._fitting(status, codes, text, is_json)
        if self.rulings is not None:
            self.rulings.append(Ruling(status, tuple(codes), text, found))
        return verdict

    def _fitting(self, status: int, codes: list[str], text: str, is_json: bool) -> tuple[int | None, Verdict | None]:
        for place, rule in enumerate(self._rules):
            if rule.status and status not in rule.status:
                continue
            if rule.code and not any(code in rule.code for code in codes):
                continue
            if rule.is_json is not None and rule.is_json is not is_json:
                continue
            match = search(rule.text, text) if rule.text else None
            if rule.text and match is None:
                continue
            error_type = rule.type or (SIGNAL_TYPES.get(rule.signal) if rule.signal else None) or by_text(text)
            named = match.groupdict().get("field") if match is not None else None
            signal = None if rule.signal in (Signal.OK, Signal.REFUSED) else rule.signal
            return place, Verdict(error_type, signal, rule.is_permanent, named or "", is_ruled=True)
        return None, None


def by_text(text: str) -> ErrorType:
    shown = text[:MAX_TEXT]
    for error_type, pattern in _TEXTS:
        if pattern.search(shown):
            return error_type
    return ErrorType.VALIDATION


def wait_seconds(wait: Wait, response: Response, data: Any, *, now: datetime) -> float | None:
    """How long the destination asks us to wait: the configured source first, then ``Retry-After``."""
    if wait.kind is WaitKind.NONE:
        return None
    header = response.headers.get(wait.header, "") if wait.header else ""
    seconds: float | None = None
    if wait.kind is WaitKind.RESET_EPOCH and (epoch := _number(header)) is not None:
        seconds = epoch / (1000 if epoch > 1e11 else 1) - now.timestamp()
    elif wait.kind is WaitKind.RESET_SECONDS:
        seconds = _number(header)
    elif wait.kind is WaitKind.BODY_SECONDS:
        found = paths.first(data, wait.path)
        seconds = _number("" if found is paths.MISSING else str(found))
    elif header:
        return parse_retry_after(header, now=now, max_seconds=wait.max_seconds)
    if seconds is None:
        return parse_retry_after(response.headers.get("Retry-After"), now=now, max_seconds=wait.max_seconds)
    return min(max(seconds, 0.0), wait.max_seconds)


def _number(text: str) -> float | None:
    match = re.match(r"\s*(\d{1,15}(?:\.\d{1,9})?)", text)
    return float(match[1]) if match else None
