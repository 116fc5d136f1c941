"""The spans of one run: the run, its steps, and the calls of each step. Needs the extra ``otel``.

Names of attributes: OpenTelemetry's where there is one (HTTP semantic conventions), ``redrive.*`` otherwise; all of them are
listed in docs/observability.md.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from monitoring.services.metrics.of_platform import version
from syncs.choices import RunStatus, StepStatus
from syncs.models import Run, Step

_COUNTS = ("read", "accepted", "unchanged", "skipped", "dead_lettered", "pending", "request", "retry")
Attributes = dict[str, str | int | float | bool]


def of_run(run: Run, steps: Sequence[Step], *, left_out: int = 0) -> list[ReadableSpan]:
    """The run's span first. ``left_out``: steps beside these."""
    root = _context(run, "run")
    assert run.started_at is not None
    assert run.finished_at is not None
    failed = Status(StatusCode.ERROR, run.failure_type or run.status) if run.status == RunStatus.FAILED else None
    spans = [
        _span(
            f"run {run.sync.name}", root, None, run.started_at, run.finished_at, _run_attributes(run, left_out), status=failed
        )
    ]
    for step in steps:
        spans += _of_step(run, step, root)
    return spans


def _of_step(run: Run, step: Step, root: SpanContext) -> Iterator[ReadableSpan]:
    mine = _context(run, f"step {step.number}")
    attributes: Attributes = {
        "redrive.step.number": step.number,
        "redrive.step.kind": step.kind,
        "redrive.step.status": step.status,
        "redrive.step.rows": step.row_count,
        "redrive.step.accepted": step.accepted_count,
        "redrive.step.dead_lettered": step.dead_lettered_count,
    }
    is_bad = step.status in (StepStatus.FAILED, StepStatus.INTERRUPTED)
    status = Status(StatusCode.ERROR, step.status) if is_bad else None
    yield _span(step.kind, mine, root, step.started_at, step.finished_at or run.finished_at, attributes, status=status)
    for position, attempt in enumerate(step.attempts):
        yield _of_attempt(run, step, position, attempt, mine)


def _of_attempt(run: Run, step: Step, position: int, attempt: Mapping[str, Any], parent: SpanContext) -> ReadableSpan:
    method, _, url = str(attempt.get("request") or "").partition(" ")
    host = urlsplit(url).hostname or ""
    http_status, signal = attempt.get("http_status"), str(attempt.get("signal") or "")
    attributes: Attributes = {
        "redrive.attempt.number": int(attempt.get("number") or 0),
        "redrive.attempt.rows": int(attempt.get("row_count") or 0),
        "redrive.attempt.signal": signal,
        "redrive.attempt.request_id": str(attempt.get("request_id") or ""),
    }
    attributes |= {"http.request.method": method, "server.address": host} if host else {}
    attributes |= {"http.response.status_code": int(http_status)} if http_status else {}
    began = datetime.fromisoformat(attempt["started_at"])
    ended = began + timedelta(milliseconds=float(attempt.get("milliseconds") or 0))
    is_bad = (http_status or 0) >= 400 or signal not in ("", "ok")
    return _span(
        f"{method} {host}" if host else "call",
        _context(run, f"step {step.number} call {position}"),
        parent,
        began,
        ended,
        attributes,
        kind=SpanKind.CLIENT,
        status=Status(StatusCode.ERROR, signal or str(http_status)) if is_bad else None,
    )


def _run_attributes(run: Run, left_out: int) -> Attributes:
    sync = run.sync
    assert run.started_at is not None
    found: Attributes = {
        "redrive.run.id": run.pk,
        "redrive.run.status": run.status,
        "redrive.run.trigger": run.trigger,
        "redrive.run.waited_seconds": max(0.0, (run.started_at - run.queued_at).total_seconds()),
        "redrive.run.crashes": run.total_crash_count,
        "redrive.sync.id": sync.pk,
        "redrive.sync.name": sync.name,
        "redrive.sync.source": sync.source.name,
        "redrive.sync.destination": sync.destination.name,
        "redrive.sync.object": sync.destination_object,
    }
    found |= {f"redrive.rows.{name}": getattr(run, f"{name}_count") for name in _COUNTS[:6]}
    found |= {"redrive.calls": run.request_count, "redrive.calls.repeated": run.retry_count}
    if run.failure_type:
        found |= {"error.type": run.failure_type, "redrive.failure.code": run.failure_code}
    if left_out:
        found["redrive.steps.left_out"] = left_out
    return found


def trace_id(run_id: int) -> int:
    """The same for a run whoever asks, and unlike that of any other installation."""
    return int.from_bytes(_digest(f"run {run_id}")[:16], "big")


def _context(run: Run, part: str) -> SpanContext:
    span_id = int.from_bytes(_digest(f"run {run.pk} {part}")[:8], "big")
    return SpanContext(trace_id(run.pk), span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _digest(text: str) -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), f"trace of {text}".encode(), hashlib.sha256)


@lru_cache(maxsize=1)
def _resource() -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win."""
    return Resource({"service.name": "redrive", "service.version": version()}).merge(Resource.create())


def _span(
    name: str,
    context: SpanContext,
    parent: SpanContext | None,
    began: datetime,
    ended: datetime | None,
    attributes: Attributes,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    status: Status | None = None,
) -> ReadableSpan:
    start = int(began.timestamp() * 1_000_000_000)
    return ReadableSpan(
        name=name,
        context=context,
        parent=parent,
        resource=_resource(),
        attributes=attributes,
        kind=kind,
        instrumentation_scope=InstrumentationScope("redrive", version()),
        status=status or Status(StatusCode.UNSET),
        start_time=start,
        end_time=max(start, int((ended or began).timestamp() * 1_000_000_000)),
    )
