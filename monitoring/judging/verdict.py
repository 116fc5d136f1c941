"""From findings to the one status that is shown, with its reason: worse at once, better only when it lasts. Plain Python."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import takewhile

from monitoring.choices import Condition
from monitoring.judging import failures, rows
from monitoring.judging.causes import REAUTHORIZE, SETUP_CODES, failure_text, of_condition
from monitoring.judging.conditions import find
from monitoring.judging.facts import Facts, Finding, Level
from monitoring.judging.limits import Limits
from syncs.choices import RunStatus, SyncStatus

C, S = Condition, SyncStatus
# What a status rests on, the first of those that are equally grave gives the reason.
CONDITIONS = (
    *(C.SETUP, C.RUN_FAILED, C.DRIFT, C.PERMISSION, C.ERROR_RATE, C.DLQ_DEPTH, C.LATE, C.FRESHNESS, C.ZERO_ROWS),
    *(C.VOLUME, C.DURATION, C.DLQ_AGE, C.ERROR_BUDGET, C.CREDENTIAL),
)
# Days of good runs do not give a used-up budget back: it counts where somebody has set one.
ONLY_IF_SET = {C.ERROR_BUDGET: "error_budget_percent"}
_RANK = {S.HEALTHY: 0, S.DEGRADED: 1, S.FAILING: 2}
FLAPS = 3  # so many turns to the worse within a day, and it takes so many good runs to believe that all is well
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``findings``: gravest first. ``good_count``: good runs in a row, where ``needed_count`` of them are asked for before a
    better status is shown; both 0 where nothing is held back."""

    status: SyncStatus
    reason: str
    findings: tuple[Finding, ...] = ()
    good_count: int = 0
    needed_count: int = 0


def findings_of(facts: Facts, limits: Limits, chosen: Collection[str] = ()) -> tuple[Finding, ...]:
    """What speaks against the sync, gravest first. ``chosen``: names of limits that somebody set for this sync."""
    if facts.is_paused:
        return ()
    asked = [one for one in CONDITIONS if one not in ONLY_IF_SET or ONLY_IF_SET[one] in chosen]
    found = [finding for condition in asked for finding in find(condition, facts, limits)]
    own = [_failed_lately(facts, limits)]
    if not any(one.condition == C.ERROR_RATE for one in found):
        own.append(_partial(facts, limits))
    found += [one for one in own if one is not None]
    return tuple(sorted(found, key=lambda one: (-one.level, CONDITIONS.index(one.condition))))


def _partial(facts: Facts, limits: Limits) -> Finding | None:
    """The last run left rows behind. Whoever allows open dead letters (``dlq_depth_warn``) also allows that, below the rate."""
    last = next(iter(facts.regular_runs), None)
    if last is None or last.status != RunStatus.PARTIAL:
        return None
    allowed = limits.dlq_depth_warn != 1 and (facts.depth < limits.dlq_depth_warn or not limits.dlq_depth_warn)
    written = rows.written([last])
    if allowed and written and 100 * last.dead_lettered / written < limits.error_rate_warn_percent:
        return None
    return Finding(
        condition=C.ERROR_RATE,
        level=Level.WARN,
        cause=of_condition(facts, C.ERROR_RATE),
        title=f"The last run of “{facts.name}” dead-lettered rows",
        text=f"Last run dead-lettered {last.dead_lettered:,} of {last.read + last.vanished:,} rows; {facts.depth:,} open.",
        advice="Open the errors of this sync: correct the cause, then reprocess.",
        value=last.dead_lettered,
        run_id=last.id,
    )


def _failed_lately(facts: Facts, limits: Limits) -> Finding | None:
    """Runs failed, but not yet so many in a row that the sync counts as failing."""
    failed = failures.failed_in_a_row(facts)
    if not failed or len(failed) >= limits.failures_to_fail:
        return None
    count = "The last run" if len(failed) == 1 else f"The last {len(failed)} runs"
    return Finding(
        condition=C.RUN_FAILED,
        level=Level.WARN,
        cause=of_condition(facts, C.RUN_FAILED),
        title=f"A run of “{facts.name}” failed",
        text=f"{count} failed ({limits.failures_to_fail} in a row count as failing): {failure_text(failed[0])}",
        advice="Open the run: its steps and attempts say where it stopped.",
        value=len(failed),
        limit=limits.failures_to_fail,
        run_id=failed[0].id,
    )


def judge(facts: Facts, limits: Limits, chosen: Collection[str] = ()) -> Verdict:
    """The status to show at ``facts.now``, given the one that is shown (``facts.status``)."""
    found = findings_of(facts, limits, chosen)
    without_runs = _without_runs(facts)
    if without_runs is not None:
        return replace(without_runs, findings=found)
    if not found:
        return _held(facts, limits, Verdict(S.HEALTHY, ""))
    status = S.FAILING if found[0].level == Level.FAIL else S.DEGRADED
    return _held(facts, limits, Verdict(status, _reason(facts, limits, found), found))


def _without_runs(facts: Facts) -> Verdict | None:
    """Statuses that no good run could give or take."""
    if facts.is_paused:
        return Verdict(S.PAUSED, facts.pause_reason or "Paused.")
    last = next(iter(failures.telling_runs(facts)), None)
    for connection in (facts.destination, facts.source):
        if connection.state == REAUTHORIZE:
            return Verdict(S.FAILING if last else S.UNCONFIGURED, failures.login_text(connection))
    if last is None:
        return Verdict(S.UNCONFIGURED, facts.setup_problem or "Never ran.")
    if last.status == RunStatus.FAILED and last.failure_code in SETUP_CODES and not facts.has_worked:
        return Verdict(S.UNCONFIGURED, failure_text(last))
    return None


def _reason(facts: Facts, limits: Limits, found: Sequence[Finding]) -> str:
    """The gravest thing, in one sentence or two; a credential that ends stands behind what is milder than a failure."""
    lead = found[0]
    if lead.level == Level.FAIL:
        is_run = lead.condition == C.RUN_FAILED
        return failure_text(failures.failed_in_a_row(facts)[0]) if is_run else lead.text
    texts = [] if lead.condition == C.CREDENTIAL else [_rows_text(facts, limits, found) or lead.text]
    return " ".join([*texts, *(one.text for one in found if one.condition == C.CREDENTIAL)])


def _rows_text(facts: Facts, limits: Limits, found: Sequence[Finding]) -> str:
    """Of several findings about refused rows, the sentence that says most."""
    if found[0].condition not in (C.ERROR_RATE, C.DLQ_DEPTH):
        return ""
    partial = _partial(facts, limits)
    if partial is not None:
        return partial.text
    last = next(iter(facts.regular_runs), None)
    if found[0].condition == C.ERROR_RATE or last is None or last.status != RunStatus.SUCCEEDED:
        return ""
    verb = "is" if facts.depth == 1 else "are"
    return f"Last run succeeded, but {rows.letters(facts.depth)} of earlier runs {verb} open."


def _held(facts: Facts, limits: Limits, wanted: Verdict) -> Verdict:
    """A better status waits until it has lasted for the good runs that are asked for, and longer where it came and went."""
    shown = S(facts.status) if facts.status in _RANK else None
    if shown is None or _RANK[wanted.status] >= _RANK[shown]:
        return wanted
    turns = turns_of(facts)
    needed = max(limits.good_runs_to_recover, FLAPS if turns >= FLAPS else 0)
    good = good_in_a_row(facts, shown)
    if needed <= 1 or good >= needed:
        return replace(wanted, good_count=good, needed_count=needed) if needed > 1 else wanted
    why = f" It got worse {turns} times within a day." if turns >= FLAPS else ""
    text = f"Recovering: {good} of {needed} good runs in a row.{why}"
    return Verdict(shown, " ".join(filter(None, (text, wanted.reason))), wanted.findings, good, needed)


def turns_of(facts: Facts) -> int:
    """How often the status turned to the worse within a day."""
    lately = [(S(one.before), S(one.after)) for one in facts.changes if one.at > facts.now - DAY]
    return sum(before in _RANK and after in _RANK and _RANK[before] < _RANK[after] for before, after in lately)


def good_in_a_row(facts: Facts, shown: SyncStatus) -> int:
    """For a failing sync, runs that completed; for a degraded one, runs that left nothing behind."""
    good = (RunStatus.SUCCEEDED, RunStatus.PARTIAL) if shown == S.FAILING else (RunStatus.SUCCEEDED,)
    return len(list(takewhile(lambda run: run.status in good, failures.telling_runs(facts))))
