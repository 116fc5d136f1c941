"""OpenTelemetry traces: one per run, written when it has ended, from what is recorded of it. Extra ``otel``; without it, or
without an address in ``OTEL_EXPORTER_OTLP_ENDPOINT``, nothing here does anything and no query is made.

From the record, not live: a run that several workers went on with is still one trace, the engine pays nothing, and ids are made
from the run, so that a trace sent twice is the same trace. No value of a row is in it, no path of a request, no message.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from syncs.models import Run, Step

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

logger = logging.getLogger(__name__)

MOST_STEPS = 1_000  # of one run; a trace of ten thousand batches helps nobody
CHUNK = 500  # spans per call
SECONDS = 3.0  # a call may take; OTEL_EXPORTER_OTLP_TIMEOUT says otherwise
PAUSE = 60.0  # after a call that failed, none for so long: the next runs must not wait for a dead collector
_ADDRESSES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_silent_until = 0.0


def is_on() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(os.environ.get(name) for name in _ADDRESSES):
        return False
    return _is_installed()


@lru_cache(maxsize=1)
def _is_installed() -> bool:
    try:
        found = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http.trace_exporter") is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        logger.warning('OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra is missing: pip install "redrive[otel]".')
    return found


def export(run_id: int) -> bool:
    """Send the trace of a run that has ended. False: tracing is off, the run never started, or the collector did not take it,
    which is logged. Waits for the collector for a few seconds at most."""
    global _silent_until
    if not is_on() or time.monotonic() < _silent_until:
        return False
    run = Run.objects.select_related("sync__source", "sync__destination").filter(pk=run_id, started_at__isnull=False).first()
    if run is None or run.finished_at is None:
        return False
    try:
        is_sent = _send(run)
    except Exception:
        logger.exception("The trace of run %s could not be sent.", run_id)
        is_sent = False
    if not is_sent:
        logger.warning("The collector did not take the trace of run %s; none is sent for %d seconds.", run_id, PAUSE)
        _silent_until = time.monotonic() + PAUSE
    return is_sent


def _send(run: Run) -> bool:
    from opentelemetry.sdk.trace.export import SpanExportResult

    from monitoring.services import trace_spans

    steps = Step.objects.filter(run=run).order_by("number").defer("sends", "message")
    spans = trace_spans.of_run(run, list(steps[:MOST_STEPS]), left_out=max(0, steps.count() - MOST_STEPS))
    exporter = _exporter(os.getpid())
    results = (exporter.export(spans[first : first + CHUNK]) for first in range(0, len(spans), CHUNK))
    return all(result is SpanExportResult.SUCCESS for result in results)


@lru_cache(maxsize=1)
def _exporter(process: int) -> OTLPSpanExporter:
    """One per process: a forked one must not share its connections."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    is_said = any(os.environ.get(name) for name in ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"))
    options: dict[str, Any] = {} if is_said else {"timeout": SECONDS}
    return OTLPSpanExporter(**options)
