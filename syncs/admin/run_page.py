"""What the run page shows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from syncs.admin import acts
from syncs.admin.address import sync_url
from syncs.choices import StepKind, StepStatus
from syncs.console import charts, links, words
from syncs.models import Run, Step
from syncs.services import overview, run_requests
from syncs.services.run_sight import RunSight, last_status

AXIS = 240.0  # width of a step's bar in SVG units
# The parts of the equation, in the colours of the bar.
_PARTS = (
    ("accepted_count", "accepted", "good"),
    ("unchanged_count", "unchanged", "accent"),
    ("skipped_count", "skipped", "mute"),
    ("dead_lettered_count", "dead-lettered", "bad"),
)


def context(request: HttpRequest, run: Run) -> dict[str, Any]:
    steps, sight = overview.step_page(run, _start(request)), RunSight()
    return {
        **live(request, run),
        "title": f"Run {run.pk}",
        "steps": steps,
        "head": _rows(run, steps.head, sight),
        "tail": _rows(run, steps.tail, sight),
        "axis": run.duration(),
        "next_start": steps.head[-1].number + 1 if steps.start is not None and steps.head else None,
        "errors": _errors(run, sight),
    }


def live(request: HttpRequest, run: Run) -> dict[str, Any]:
    """The part that changes while the run lives."""
    return {
        "run": run,
        "may_run": acts.may_run(request),
        "sync_url": sync_url(run.sync_id),
        "runs_url": links.page("admin:syncs_run_changelist"),
        "started_by": words.started_by(run),
        "duration": run.duration(),
        "progress": overview.progress(run),
        "total": run.read_count + run.vanished_count,
        "parts": parts(run),
        "entries_url": links.entries(run=str(run.pk)),
        "evidence_url": links.page("admin:dlq_dlqentry_evidence", run=str(run.pk)),
        "failure": RunSight().failure(run),
        "version_url": _version_url(run),
        "cancel_url": reverse("admin:syncs_run_act", args=(run.pk, "cancel")),
        "again_url": reverse("admin:syncs_run_act", args=(run.pk, "again")),
        "can_run_again": run_requests.can_be_repeated(run),
        "progress_url": reverse("admin:syncs_run_progress", args=(run.pk,)),
    }


def parts(run: Run) -> list[dict[str, Any]]:
    """Accepted + unchanged + skipped + dead-lettered + pending = read (and vanished). Each with its place in a bar 600 wide."""
    total, pending = run.read_count + run.vanished_count, overview.pending(run)
    numbers = [(label, getattr(run, name), fill) for name, label, fill in _PARTS] + [("pending", pending, "track")]
    found, x = [], 0.0
    for label, count, fill in numbers:
        width = round(count / total * 600, 2) if total else 0.0
        found.append({"label": label, "count": count, "fill": fill, "x": round(x, 2), "width": width})
        x += width
    return found


def _start(request: HttpRequest) -> int | None:
    text = request.GET.get("from", "")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 9:
        raise Http404(f"“{text[:20]}” is no step number.")
    return int(text)


def _version_url(run: Run) -> str:
    return reverse("admin:syncs_sync_version", args=(run.sync_id, run.version.number)) if run.version else ""


def _errors(run: Run, sight: RunSight) -> list[dict[str, Any]]:
    return [{**line, "url": links.entries(run=str(run.pk), error_type=line["error_type"])} for line in sight.errors(run)]


def _rows(run: Run, steps: Iterable[Step], sight: RunSight) -> list[dict[str, Any]]:
    total = (run.duration() or timedelta()).total_seconds()
    return [_row(run, step, total, sight) for step in steps]


def _row(run: Run, step: Step, total: float, sight: RunSight) -> dict[str, Any]:
    begin = run.started_at or step.started_at
    end = step.finished_at or run.finished_at or timezone.now()
    attempts = [_attempt(sight.attempt(attempt)) for attempt in step.attempts]
    return {
        "step": step,
        "name": _name(step),
        "message": sight.text(step.message),
        "attempts": attempts,
        "code": last_status(step.attempts),
        "seconds": (end - step.started_at).total_seconds(),
        "box": charts.bar((step.started_at - begin).total_seconds(), (end - begin).total_seconds(), total, width=AXIS),
        "fill": "mute" if step.kind == StepKind.WAIT else charts.fill(step.status),
        "is_open": step.status in (StepStatus.FAILED, StepStatus.INTERRUPTED),
    }


def _name(step: Step) -> str:
    return {
        StepKind.QUERY: "Read the warehouse",
        StepKind.UPLOAD: "Send a batch",
        StepKind.WAIT: "Wait",
        StepKind.FINISH: "Finish",
    }[StepKind(step.kind)]


def _attempt(attempt: dict[str, Any]) -> dict[str, Any]:
    """With its time as a time, and its signal in words."""
    moment = attempt.get("started_at")
    signal = str(attempt.get("signal") or "").replace("_", " ")
    return {**attempt, "signal": signal, "started_at": parse_datetime(moment) if isinstance(moment, str) else moment}
