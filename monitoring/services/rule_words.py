"""What each condition means to people, and which limits of it a rule may set: forms and lists follow from this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitoring.choices import PLATFORM, WINDOW_HOURS, Condition, Scope
from monitoring.models import AlertRule
from monitoring.services import policies
from syncs.choices import labelled

C = Condition


@dataclass(frozen=True, slots=True)
class Limit:
    """``names``: keys of ``AlertRule.limits`` that this one field sets. ``said``: for lists, with ``{}`` for the number."""

    names: tuple[str, ...]
    label: str
    said: str
    unit: str
    most: int
    is_whole: bool = True

    @property
    def field(self) -> str:
        return self.names[0]

    def of(self, limits: Mapping[str, Any]) -> float | None:
        return limits.get(self.field)


@dataclass(frozen=True, slots=True)
class About:
    """``text``: a sentence. ``limit``: None where there is nothing to set. ``window``: what its window means, if anything.
    ``has_past``: whether it can be tested against the past."""

    text: str
    limit: Limit | None = None
    window: str = ""
    has_past: bool = True


ABOUT: dict[Condition, About] = {
    C.RUN_FAILED: About(
        "The last runs of a sync failed.", Limit(("failures_to_fail",), "Failed runs in a row", "{} in a row", "runs", 100)
    ),
    C.ERROR_RATE: About(
        "Too large a share of the rows was dead-lettered.",
        Limit(("error_rate_warn_percent", "error_rate_fail_percent"), "Share of rows", "from {} %", "% of rows", 100, False),
        "Rows of the runs that ended within",
    ),
    C.ERROR_BUDGET: About(
        "More of the rows of 30 days failed than may.",
        Limit(("error_budget_percent",), "Share of the rows of 30 days", "more than {} %", "% of rows", 100, False),
    ),
    C.FRESHNESS: About(
        "No run ended well for too long.",
        Limit(("freshness_minutes",), "Minutes without a run that ended well", "after {} minutes", "minutes", 100_000),
    ),
    C.LATE: About(
        "A run that was due has not started.",
        Limit(("lateness_minutes",), "Minutes after its slot", "after {} minutes", "minutes", 100_000),
        has_past=False,
    ),
    C.ZERO_ROWS: About(
        "Runs read nothing where there used to be rows.",
        Limit(("zero_row_runs",), "Such runs in a row", "{} in a row", "runs", 100),
    ),
    C.VOLUME: About(
        "A run read far more or fewer rows than usual at this time of the week.",
        Limit(("volume_band_percent",), "Percent above or below the median", "by {} %", "%", 10_000),
    ),
    C.DURATION: About(
        "A run takes too long.",
        Limit(("duration_minutes",), "Minutes", "over {} minutes", "minutes", 100_000),
    ),
    C.DLQ_DEPTH: About(
        "Many dead letters of a sync are open.",
        Limit(("dlq_depth_warn",), "Open dead letters", "from {}", "dead letters", 1_000_000_000),
    ),
    C.DLQ_AGE: About(
        "The oldest open dead letter waits for too long.",
        Limit(("dlq_age_hours",), "Hours since its first failure", "after {} hours", "hours", 100_000),
    ),
    C.CREDENTIAL: About(
        "A login was refused or revoked; or, at most as a warning, it is about to expire.",
        Limit(("credential_days",), "Days before it expires", "{} days before", "days", 365),
        has_past=False,
    ),
    C.DRIFT: About("The destination's schema changed so that the mapping no longer fits.", has_past=False),
    C.SETUP: About("A sync cannot run as it is set up.", has_past=False),
    C.PERMISSION: About("The connection's user may not write a field.", has_past=False),
    C.NEW_GROUP: About("An error appears that this sync never had.", window="Errors that appeared within"),
    C.REGRESSED_GROUP: About("An error that was marked as resolved came back.", window="Errors that came back within"),
    C.RECOVERY: About("A sync that was degraded or failing is healthy again. It is told, and leaves nothing open."),
    C.ANOMALY: About(
        "Rows read, duration or error rate are unusual for this sync at this time of the week. No limit is set: "
        "its own history is; while there is too little of it, nothing is found."
    ),
    C.WORKER_SILENT: About("No worker, or no scheduler, gives a sign of life.", has_past=False),
    C.QUEUE_STUCK: About("A run waits in the queue though workers live.", has_past=False),
}


SCOPES: dict[Scope, str] = {
    Scope.ALL: "All syncs",
    Scope.TAG: "Syncs with a tag",
    Scope.CONNECTION: "Syncs of a connection",
    Scope.SYNC: "One sync",
}


def said(rule: AlertRule) -> str:
    """The condition of a rule with its limit: ``Error rate from 5 % within 24 hours``."""
    condition = Condition(rule.condition)
    about = ABOUT[condition]
    parts = [str(rule.get_condition_display())]
    if about.limit is not None:
        value = about.limit.of(rule.limits)
        own = "" if condition in (C.CREDENTIAL, *PLATFORM) else ", by each sync's own thresholds"
        parts[0] += own if value is None else f" {about.limit.said.format(f'{value:g}')}"
    if about.window:
        parts.append(f"within {dict(hours())[rule.window]}")
    return " ".join(parts)


def about(rule: AlertRule) -> str:
    """For which syncs: ``Tag crm``."""
    if rule.condition in PLATFORM:
        return "Redrive itself"
    target = rule.sync or rule.connection or rule.tag
    return SCOPES[Scope.ALL] if target is None else f"{rule.get_scope_display()} {target}"


def limit(rule: AlertRule) -> float | None:
    one = ABOUT[Condition(rule.condition)].limit
    return None if one is None else one.of(rule.limits)


def default(condition: Condition) -> str:
    """What an empty limit means, in a sentence; "" where there is no limit."""
    limit = ABOUT[condition].limit
    if limit is None:
        return ""
    value = getattr(policies.defaults(), limit.field)
    usual = "worked out from each sync's schedule or history" if value is None else f"{value:g}"
    if condition == C.CREDENTIAL:
        return f"Empty: {usual}, as the installation is set up."
    return f"Empty: the threshold of each sync; where nobody has set one, that is {usual}."


def hours() -> list[tuple[str, str]]:
    return [(window.value, "1 hour" if count == 1 else f"{count} hours") for window, count in WINDOW_HOURS.items()]


@dataclass(frozen=True, slots=True)
class Choosable:
    """A condition that a rule may have, and what can be set for it."""

    condition: Condition
    name: str
    text: str
    limit: Limit | None
    default_text: str
    window_text: str
    is_about_syncs: bool
    has_past: bool


def conditions() -> list[Choosable]:
    names = dict(labelled(Condition))
    return [
        Choosable(one, names[one], about.text, about.limit, default(one), about.window, one not in PLATFORM, about.has_past)
        for one, about in ABOUT.items()
    ]
