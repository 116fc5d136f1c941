"""Trying one record by hand: first the request as it would go out, then, once confirmed, the answer and how it was read.

It is what runs do with a batch of one, and leaves no trace but a line in the connection's history: no run, nothing in the
ledger.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from syncs.connectors import Issue
from syncs.destinations.base import Destination
from syncs.destinations.trials import Finding, Trial, Watch, WithheldError
from syncs.engine.hashing import canonical_body, hash64, key_problem
from syncs.engine.strict_json import strict_loads
from syncs.errors import ConfigError
from syncs.models import Connection, ErrorRule
from syncs.records import Batch, BatchResult, Operation, Record, Signal
from syncs.services import audit, connections, credentials, once
from syncs.services.budget import SharedBudget

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MINUTES = 15
MOST_BYTES = 100_000  # of a payload
_JOB_SECONDS = 10.0  # a person waits no longer for a job to end
_SALT = "syncs.trial"


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person wants to send. ``options``: as a sync would have them, with ``key_fields``."""

    object_name: str
    operation: Operation
    key: str
    payload: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str = ""

    def batch(self) -> Batch:
        body = canonical_body(self.payload)
        record = Record(self.key, self.operation, self.payload, body, hash64(body))
        return Batch(self.operation, [record], self.idempotency_key)


class DraftRefusedError(ConfigError):
    """``issues``: what to correct, by the fields of the form."""

    def __init__(self, issues: list[Issue]) -> None:
        super().__init__(issues[0].message, field=issues[0].field)
        self.issues = issues


def draft(connection: Connection, form: Mapping[str, str]) -> Draft:
    """From what was typed: ``object``, ``operation``, ``key``, ``payload``, ``key_fields``. Raises ``DraftRefusedError``."""
    issues: list[Issue] = []
    try:
        operation = Operation(form.get("operation", ""))
    except ValueError:
        operation = Operation.UPSERT
        issues.append(Issue("operation", "Choose an operation."))
    payload = _payload(form.get("payload", ""), issues)
    fields = [name for name in form.get("key_fields", "").replace(",", " ").split() if name]
    return _draft(connection, form.get("object", ""), operation, form.get("key", ""), payload, fields, issues)


def written(
    connection: Connection, object_name: str, operation: Operation, key: str, payload: Mapping[str, Any], fields: list[str]
) -> Draft:
    """From what a program gives. Raises ``DraftRefusedError``."""
    issues: list[Issue] = []
    exact = _payload(json.dumps(payload, ensure_ascii=False), issues)
    return _draft(connection, object_name, operation, key, exact, fields, issues)


def _draft(
    connection: Connection,
    name: str,
    operation: Operation,
    key: str,
    payload: dict[str, Any],
    fields: list[str],
    issues: list[Issue],
) -> Draft:
    object_name, known = name.strip(), connections.objects(connection)
    if not object_name or (known and object_name not in known):
        words = "Choose an object of this connection." if known else "Name the object, here a table."
        issues.insert(0, Issue("object", words))
    key = key.strip() or str(next(iter(payload.values()), ""))
    if not issues and (not key or key_problem(key)):
        issues.append(Issue("key", "Give a row key of at most 255 characters; it stands for the row in addresses."))
    if issues:
        raise DraftRefusedError(issues)
    return Draft(object_name, operation, key, payload, {"key_fields": fields} if fields else {}, uuid4().hex)


def _payload(text: str, issues: list[Issue]) -> dict[str, Any]:
    if len(text.encode()) > MOST_BYTES:
        issues.append(Issue("payload", f"Is longer than {MOST_BYTES:,} bytes."))
        return {}
    try:
        payload = strict_loads(text)
    except ValueError as error:
        issues.append(Issue("payload", f"Is not valid JSON: {error}"))
        return {}
    if not isinstance(payload, dict) or not payload:
        issues.append(Issue("payload", 'Write an object with at least one field, for example {"email": "ada@example.com"}.'))
        return {}
    return payload


def rehearse(connection: Connection, wanted: Draft, *, by: User) -> tuple[Trial, str]:
    """(the calls up to the first that would write, a token that sends exactly this). Raises ``RedriveError`` kinds.

    What only reads is done: a look-up before the write, or a token that has to be fetched.
    """
    trial = _carried_out(connection, wanted, may_write=False)
    values = {
        "c": connection.pk,
        "u": by.pk,
        "object": wanted.object_name,
        "operation": wanted.operation.value,
        "key": wanted.key,
        "payload": canonical_body(wanted.payload).decode(),
        "options": wanted.options,
        "i": wanted.idempotency_key,
    }
    return trial, once.issue(values, salt=_SALT)


def confirmed(connection: Connection, token: str, *, by: User) -> Draft:
    """What the token stands for. Raises ``ConfigError`` where it is not this person's for this connection, or too old."""
    try:
        values = once.opened(token, salt=_SALT, max_age=MINUTES * 60)
    except once.TokenError as error:
        raise ConfigError(_UNUSABLE[error.reason], field="token") from None
    if (values["c"], values["u"]) != (connection.pk, by.pk):
        raise ConfigError(_UNUSABLE["forged"], field="token")
    return Draft(
        values["object"],
        Operation(values["operation"]),
        values["key"],
        strict_loads(values["payload"]),
        values["options"],
        values["i"],
    )


_UNUSABLE = {
    "forged": "This is not a request that was shown to you. Look at it first, then send it.",
    "expired": f"The request was shown more than {MINUTES} minutes ago. Look at it again, then send it.",
    "spent": "This request was sent already. Look at it again to send it once more.",
}


def perform(connection: Connection, token: str, *, by: User, door: str = "admin") -> tuple[Draft, Trial]:
    """Send it, once. Raises ``RedriveError`` kinds; then nothing was sent."""
    wanted = confirmed(connection, token, by=by)
    credentials.refuse_ended(connection)
    try:
        once.spend(token)
    except once.TokenError as error:
        raise ConfigError(_UNUSABLE[error.reason], field="token") from None
    trial = _carried_out(connection, wanted, may_write=True)
    assert trial.result is not None
    audit.record("tried", connection, by=by, door=door, detail=_audited(wanted, trial.result))
    return wanted, trial


def _carried_out(connection: Connection, wanted: Draft, *, may_write: bool) -> Trial:
    opened = connections.open_destination(connection, object_name=wanted.object_name, options=wanted.options)
    with closing(opened) as destination:
        if wanted.operation not in destination.capabilities.operations:
            known = ", ".join(sorted(destination.capabilities.operations))
            raise ConfigError(
                f"“{wanted.object_name}” has no operation {wanted.operation}. It has: {known}.", field="operation"
            )
        if may_write:
            _take_budget(connection, destination)
        watched: Callable[..., Any] | None = getattr(destination, "watched", None)
        with watched(may_write=may_write) if watched else nullcontext(Watch()) as watch:
            result = None
            if may_write or watched:
                try:
                    result = _written(destination, wanted.batch())
                except WithheldError:
                    result = None
            findings: list[Finding] = watch.read() if result else []
            return Trial(watch.calls, findings, result, has_calls=watched is not None)


def _take_budget(connection: Connection, destination: Destination) -> None:
    limits = destination.capabilities
    if not limits.requests_per_window:
        return
    budget = SharedBudget(connection_id=connection.pk, limit=limits.requests_per_window, window_seconds=limits.window_seconds)
    granted, seconds = budget.take(1)
    if not granted:
        raise ConfigError(f"Runs have used up the request budget. Try again in {seconds:,.0f} s.", field="budget")


def _written(destination: Destination, batch: Batch) -> BatchResult:
    """Where the destination makes a job of it, its end is waited for, for as long as a person waits."""
    result = destination.write(batch)
    ends = time.monotonic() + _JOB_SECONDS
    while result.signal is Signal.CONFIRMING and result.job is not None:
        wait = min(max(result.retry_after or 1.0, 0.1), 3.0)
        if time.monotonic() + wait > ends:
            break
        time.sleep(wait)
        again = destination.confirm(batch, result.job)
        result = replace(again, job=again.job or result.job)
    return result


def _audited(wanted: Draft, result: BatchResult) -> dict[str, Any]:
    outcome = result.outcomes[0].state.value if result.outcomes else result.signal.value
    return {
        "object": wanted.object_name,
        "operation": wanted.operation.value,
        "outcome": outcome,
        "http_status": result.exchange.http_status,
    }


def rule_of(trial: Trial) -> ErrorRule | None:
    """The connection's own error rule that decided, beyond those of its settings."""
    outcome = trial.result.outcomes[0] if trial.result and trial.result.outcomes else None
    ruled = outcome.error.ruled if outcome and outcome.error else None
    return ErrorRule.objects.filter(pk=ruled.rule_id).first() if ruled else None
