"""Telling people that Redrive itself stands still; and doing what must not wait while no worker lives."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from monitoring.choices import Condition
from monitoring.judging.facts import Finding
from monitoring.services import alerts, deliveries, evaluation, silence

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """``took_over``: no worker lives, so syncs were judged and messages sent here."""

    findings: list[Finding]
    took_over: bool = False
    judged: int = 0
    sent: int = 0


def tick(now: datetime) -> None:
    """From a tick: runs that nobody takes; and that a silence is over."""
    alerts.apply_platform(silence.find(now), now)


def watch(now: datetime) -> Seen:
    """From outside. Raises the database's error when it does not answer; what else fails is logged, and the rest is done."""
    findings = silence.find(now)
    _try("incidents", lambda: alerts.apply_platform(findings, now))
    if not any(finding.condition == Condition.WORKER_SILENT for finding in findings):
        return Seen(findings)
    judged = _try("judging", lambda: evaluation.judge_due(now))
    _try("tending", lambda: alerts.tend(now))
    sent = _try("sending", lambda: deliveries.send_due(now))
    return Seen(findings, took_over=True, judged=judged or 0, sent=sent or 0)


def _try(what: str, act: Callable[[], int | None]) -> int | None:
    try:
        return act()
    except Exception:
        logger.exception("watch: %s failed; the rest goes on.", what)
        return None
