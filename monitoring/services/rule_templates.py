"""Rules to begin with. Those of ``starter`` are there on a fresh installation; all of them fill in the form of a new rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from monitoring.choices import Condition, Severity, Window

C, S = Condition, Severity


@dataclass(frozen=True, slots=True)
class Template:
    key: str
    name: str
    condition: Condition
    severity: Severity
    limits: Mapping[str, float] = field(default_factory=dict)
    window: Window = Window.DAY
    is_starter: bool = True


TEMPLATES: tuple[Template, ...] = (
    Template("runs_fail", "Runs fail", C.RUN_FAILED, S.WARNING),
    Template("runs_keep_failing", "Runs keep failing", C.RUN_FAILED, S.PAGE, {"failures_to_fail": 3}),
    Template("login", "Login refused, or about to expire", C.CREDENTIAL, S.PAGE),
    Template("late", "Late against the schedule", C.LATE, S.WARNING),
    Template("stale", "Nothing arrived for too long", C.FRESHNESS, S.WARNING),
    Template("rows_fail", "Rows fail", C.ERROR_RATE, S.WARNING),
    Template(
        "many_rows_fail",
        "Every fifth row fails",
        C.ERROR_RATE,
        S.PAGE,
        {"error_rate_warn_percent": 20, "error_rate_fail_percent": 20},
    ),
    Template("budget", "Error budget used up", C.ERROR_BUDGET, S.WARNING, is_starter=False),
    Template("zero_rows", "Runs read nothing", C.ZERO_ROWS, S.WARNING),
    Template("volume", "Far more or fewer rows than usual", C.VOLUME, S.WARNING),
    Template("slow", "Runs are slow", C.DURATION, S.WARNING),
    Template("backlog", "A thousand dead letters are open", C.DLQ_DEPTH, S.WARNING, {"dlq_depth_warn": 1000}),
    Template("old_backlog", "Dead letters wait for too long", C.DLQ_AGE, S.WARNING),
    Template("drift", "Destination schema changed", C.DRIFT, S.WARNING),
    Template("setup", "A sync cannot run as it is set up", C.SETUP, S.WARNING),
    Template("permission", "Missing permission", C.PERMISSION, S.WARNING),
    Template("new_error", "New error", C.NEW_GROUP, S.WARNING),
    Template("regressed_error", "Error came back", C.REGRESSED_GROUP, S.WARNING),
    Template("recovery", "Healthy again", C.RECOVERY, S.INFO, is_starter=False),
    Template("anomaly", "Unusual for this time of the week", C.ANOMALY, S.INFO, is_starter=False),
    Template("worker_silent", "No worker gives a sign of life", C.WORKER_SILENT, S.PAGE),
    Template("queue_stuck", "Runs wait though workers live", C.QUEUE_STUCK, S.PAGE),
)
BY_KEY = {one.key: one for one in TEMPLATES}


def values(template: Template) -> dict[str, Any]:
    """Columns of an ``AlertRule``."""
    return {
        "name": template.name,
        "template": template.key,
        "condition": template.condition.value,
        "severity": template.severity.value,
        "limits": dict(template.limits),
        "window": template.window.value,
    }
