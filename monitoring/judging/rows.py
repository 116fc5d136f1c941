"""Conditions about rows that are refused: error rate, error budget, open dead letters, new and returning errors. Plain Python.

A share is of the rows that were to be written: accepted and dead-lettered. Rows that had not changed would only thin it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from monitoring.choices import Condition
from monitoring.judging.causes import of_condition
from monitoring.judging.facts import Facts, Finding, GroupFact, Level, RunFact
from monitoring.judging.limits import Limits

LEAST_ROWS = 20  # a share of fewer says nothing
BUDGET_LEAST_ROWS = 1_000
BUDGET_DAYS = 30


def error_rate(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Over the window, and over the newest run at least. It is over when so many runs as the limits ask for were clean: what
    older runs of the window refused then no longer says how the sync is."""
    runs = in_window(facts, limits)
    rows, refused = written(runs), sum(run.dead_lettered for run in runs)
    if rows < LEAST_ROWS or not any(run.dead_lettered for run in runs[: max(1, limits.good_runs_to_recover)]):
        return
    percent = 100 * refused / rows
    level, limit = _level(percent, limits.error_rate_warn_percent, limits.error_rate_fail_percent)
    if level is None:
        return
    worst = sorted((run for run in runs if run.dead_lettered), key=lambda run: -run.dead_lettered)[:3]
    yield Finding(
        condition=Condition.ERROR_RATE,
        level=level,
        cause=of_condition(facts, Condition.ERROR_RATE),
        title=f"“{facts.name}” refuses more rows than it may",
        text=(
            f"{percent_text(percent)} of the rows were dead-lettered {_span(runs, limits)} ({refused:,} of {rows:,}); "
            f"the limit is {percent_text(limit)}."
        ),
        advice="Open the errors of this sync: the one with the most dead letters first.",
        value=round(percent, 3),
        limit=limit,
        run_id=next(run.id for run in runs if run.dead_lettered),
        drivers=(
            *((f"Run {run.id}", f"{run.dead_lettered:,} of {written([run]):,} rows") for run in worst),
            *((_error_name(error), f"{error[4]:,} rows") for error in worst[0].errors[:3]),
        ),
    )


def in_window(facts: Facts, limits: Limits) -> list[RunFact]:
    since = facts.now - timedelta(hours=limits.window_hours)
    return [run for run in facts.regular_runs if run.finished_at > since] or list(facts.regular_runs[:1])


def written(runs: Sequence[RunFact]) -> int:
    return sum(run.accepted + run.dead_lettered for run in runs)


def _level(value: float, warn: float, fail: float) -> tuple[Level | None, float]:
    """``0`` switches a level off."""
    if fail and value >= fail:
        return Level.FAIL, fail
    return (Level.WARN, warn) if warn and value >= warn else (None, 0.0)


def _span(runs: Sequence[RunFact], limits: Limits) -> str:
    if len(runs) == 1:
        return "in the last run"
    hours = limits.window_hours
    return f"in the last {hours // 24} days" if hours > 24 and hours % 24 == 0 else f"in the last {hours} hours"


def _error_name(error: tuple[str, str, str, str, int]) -> str:
    kind, code, field, _message, _count = error
    return " ".join(filter(None, (kind.replace("_", " ").capitalize(), code, f"in “{field}”" if field else "")))


def percent_text(value: float) -> str:
    return f"{value:.1f} %" if value >= 0.1 or value == 0 else f"{value:.3f} %"


def error_budget(facts: Facts, limits: Limits) -> Iterator[Finding]:
    used = budget_used(facts, limits)
    if used is None or used < 100:
        return
    rows, refused = _of_budget(facts)
    yield Finding(
        condition=Condition.ERROR_BUDGET,
        level=Level.WARN,
        cause=of_condition(facts, Condition.ERROR_BUDGET),
        title=f"“{facts.name}” has used up its error budget",
        text=(
            f"{refused:,} of {rows:,} rows of the last {BUDGET_DAYS} days were dead-lettered "
            f"({percent_text(100 * refused / rows)}); {percent_text(limits.error_budget_percent)} may be: "
            f"{used:,.0f} % of the budget is used."
        ),
        advice="Mend the errors that come back most before anything else is changed about this sync.",
        value=round(used, 1),
        limit=100.0,
    )


def budget_used(facts: Facts, limits: Limits) -> float | None:
    """Percent of the error budget; None without a budget, or where too few rows were written to tell."""
    rows, refused = _of_budget(facts)
    if not limits.error_budget_percent or rows < BUDGET_LEAST_ROWS:
        return None
    return 100 * refused / (rows * limits.error_budget_percent / 100)


def _of_budget(facts: Facts) -> tuple[int, int]:
    """(rows, dead-lettered) of 30 days: whole days, and the hours of today."""
    midnight = facts.now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [day for day in facts.days if day.starts_at > facts.now - timedelta(days=BUDGET_DAYS + 1)]
    periods = [*days, *(hour for hour in facts.hours if hour.starts_at >= midnight)]
    refused = sum(one.dead_lettered for one in periods)
    return sum(one.accepted for one in periods) + refused, refused


def dlq_depth(facts: Facts, limits: Limits) -> Iterator[Finding]:
    level, limit = _level(facts.depth, limits.dlq_depth_warn, limits.dlq_depth_fail)
    if level is None:
        return
    verb = "is" if facts.depth == 1 else "are"
    yield Finding(
        condition=Condition.DLQ_DEPTH,
        level=level,
        cause=of_condition(facts, Condition.DLQ_DEPTH),
        title=f"“{facts.name}” has open dead letters",
        text=f"{letters(facts.depth)} {verb} open; {'one is' if limit == 1 else f'{limit:,.0f} are'} enough for this warning.",
        advice="Work off the largest error group: correct the cause, then reprocess.",
        value=facts.depth,
        limit=limit,
        run_id=facts.runs[0].id if facts.runs else None,
        drivers=tuple((_type_name(one.error_type, one.field), letters(one.count)) for one in facts.open_errors[:5]),
    )


def letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _type_name(error_type: str, field: str) -> str:
    name = error_type.replace("_", " ").capitalize()
    return f"{name} in “{field}”" if field else name


def dlq_age(facts: Facts, limits: Limits) -> Iterator[Finding]:
    if not limits.dlq_age_hours or facts.oldest_failed_at is None or not facts.depth:
        return
    hours = (facts.now - facts.oldest_failed_at) / timedelta(hours=1)
    if hours < limits.dlq_age_hours:
        return
    yield Finding(
        condition=Condition.DLQ_AGE,
        level=Level.WARN,
        cause=of_condition(facts, Condition.DLQ_AGE),
        title=f"Dead letters of “{facts.name}” wait too long",
        text=(
            f"The oldest open dead letter has waited {hours_text(hours)}, since {facts.oldest_failed_at:%Y-%m-%d %H:%M} UTC; "
            f"the limit is {hours_text(limits.dlq_age_hours)}."
        ),
        advice="Reprocess it, or discard it with a reason: somebody waits for this row.",
        value=round(hours, 1),
        limit=limits.dlq_age_hours,
    )


def hours_text(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:.0f} days"
    return f"{hours:.0f} hours" if round(hours) != 1 else "1 hour"


def new_group(facts: Facts, limits: Limits) -> Iterator[Finding]:
    for group in _groups(facts, limits, "new"):
        where = f" in run {group.run_id}" if group.run_id else ""
        yield _of_group(facts, group, Condition.NEW_GROUP, "New error", f"never seen before, first{where}")


def regressed_group(facts: Facts, limits: Limits) -> Iterator[Finding]:
    for group in _groups(facts, limits, "regressed"):
        where = f" in run {group.run_id}" if group.run_id else ""
        yield _of_group(facts, group, Condition.REGRESSED_GROUP, "Error came back", f"it was resolved and came back{where}")


def _groups(facts: Facts, limits: Limits, kind: str) -> Iterator[GroupFact]:
    since = facts.now - timedelta(hours=limits.window_hours)
    return (group for group in facts.groups if group.kind == kind and group.at > since)


def _of_group(facts: Facts, group: GroupFact, condition: Condition, word: str, how: str) -> Finding:
    return Finding(
        condition=condition,
        level=Level.WARN,
        cause=f"group:{group.group_id}",
        title=f"{word} in “{facts.name}”: {group.headline}",
        text=f"{group.headline}: {how}, {group.at:%Y-%m-%d %H:%M} UTC.",
        advice="Open the error group: it shows the rows, the message and what changed before.",
        run_id=group.run_id,
        group_id=group.group_id,
        data={"error_type": group.error_type},
    )
