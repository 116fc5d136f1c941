"""From findings to the status that is shown: which reason wins, and that a status does not flap."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from monitoring.choices import Condition
from monitoring.judging.facts import ChangeFact, Facts, HourFact, OpenErrors
from monitoring.judging.limits import DEFAULTS
from monitoring.judging.verdict import Verdict, judge
from tests.monitoring.made_facts import DESTINATION, HOUR, NOW, SOURCE, facts, run, runs


def verdict(given: Facts, chosen: tuple[str, ...] = (), **limits: Any) -> Verdict:
    return judge(given, replace(DEFAULTS, **limits), chosen)


PARTIAL = run(3, "partial", 1, dead_lettered=12, accepted=988)
FAILED = run(4, "failed", 0.5, failure_message="The host could not be reached.", failure_type="unknown")
EXPIRING = replace(SOURCE, credential_expires_at=NOW + timedelta(days=3))


@pytest.mark.parametrize(
    ("values", "status", "reason"),
    [
        ({"runs": (FAILED, PARTIAL), "depth": 12}, "failing", "The host could not be reached."),
        ({"runs": (FAILED, PARTIAL), "source": EXPIRING}, "failing", "The host could not be reached."),
        ({"runs": (PARTIAL,), "depth": 12}, "degraded", "Last run dead-lettered 12 of 1,000 rows; 12 open."),
        (
            {"runs": runs("succeeded"), "next_run_at": NOW - HOUR, "source": EXPIRING},
            "degraded",
            (
                "The run that was due at 2026-03-04 11:00 UTC has not been started; later than 15 minutes counts as late. "
                "The credential of “Warehouse” expires on 7 Mar 2026. Renew it on the connection's page."
            ),
        ),
        (
            {"runs": (PARTIAL,), "depth": 12, "drift_since": NOW, "drift_reason": "“tier” is required"},
            "degraded",
            "Destination schema changed: “tier” is required.",
        ),
        (
            {"runs": (PARTIAL,), "depth": 3, "open_errors": (OpenErrors("field_permission", 3, "phone"),)},
            "degraded",
            "The user of “CRM” may not write “phone”: 3 dead letters of this kind.",
        ),
        ({"runs": (PARTIAL,), "is_paused": True, "next_run_at": None}, "paused", "Paused."),
        ({"runs": (), "setup_problem": "No fields are mapped."}, "unconfigured", "No fields are mapped."),
        ({"runs": runs("succeeded"), "setup_problem": "No fields are mapped."}, "failing", "No fields are mapped."),
        ({"runs": (), "next_run_at": NOW - HOUR}, "unconfigured", "Never ran."),
        (
            {"runs": runs("succeeded"), "destination": replace(DESTINATION, state="reauthorize")},
            "failing",
            "“CRM”: log in again at the destination.",
        ),
    ],
)
def test_gravest_finding_gives_status_and_reason(values: dict[str, Any], status: str, reason: str):
    made = verdict(facts(**values))
    assert (made.status, made.reason) == (status, reason)


def test_findings_stand_with_the_gravest_first():
    made = verdict(facts(runs=(FAILED, PARTIAL), depth=12, next_run_at=NOW - HOUR, source=EXPIRING))
    assert [one.condition for one in made.findings] == ["run_failed", "dlq_depth", "late", "credential"]
    assert verdict(facts(runs=(FAILED,), is_paused=True)).findings == ()


def test_dead_letters_that_are_allowed_leave_a_sync_healthy():
    given = facts(runs=(replace(PARTIAL, dead_lettered=9, accepted=991),), depth=9)
    assert verdict(given).status == "degraded"
    assert verdict(given, dlq_depth_warn=10).status == "healthy"
    assert verdict(given, dlq_depth_warn=0).status == "healthy"
    assert verdict(given, dlq_depth_warn=9).status == "degraded"
    assert verdict(given, dlq_depth_warn=10, error_rate_warn_percent=0.5).status == "degraded"


def test_failures_below_the_limit_degrade_only():
    made = verdict(facts(runs=(FAILED, run(3))), failures_to_fail=2)
    assert made.status == "degraded"
    assert made.reason == "The last run failed (2 in a row count as failing): The host could not be reached."
    assert verdict(facts(runs=(FAILED, replace(FAILED, id=3))), failures_to_fail=2).status == "failing"


def test_error_budget_counts_where_somebody_set_one():
    days = tuple(HourFact(NOW - timedelta(days=n), 24, 0, 1_000, 900, 100) for n in range(10, 0, -1))
    given = facts(runs=runs("succeeded"), days=days)
    assert verdict(given).status == "healthy"
    assert verdict(given, ("error_budget_percent",)).status == "degraded"
    assert verdict(given, ("error_budget_percent",)).findings[0].condition == Condition.ERROR_BUDGET


@pytest.mark.parametrize(
    ("shown", "statuses", "needed", "expected"),
    [
        ("failing", "gf", 1, "healthy"),
        ("failing", "gf", 2, "failing"),
        ("failing", "ggf", 2, "healthy"),
        ("failing", "gpf", 3, "failing"),
        ("degraded", "gpg", 2, "degraded"),
        ("degraded", "ggp", 2, "healthy"),
        ("healthy", "fgg", 3, "failing"),  # worse at once
        ("degraded", "fgg", 3, "failing"),
        ("paused", "gf", 3, "healthy"),
        ("unconfigured", "gf", 3, "healthy"),
    ],
)
def test_better_status_waits_for_good_runs_in_a_row(shown: str, statuses: str, needed: int, expected: str):
    words = {"g": "succeeded", "p": "partial", "f": "failed"}
    made = verdict(facts(status=shown, runs=runs(*(words[one] for one in statuses))), good_runs_to_recover=needed)
    assert made.status == expected
    if made.status == shown and shown != "healthy":
        assert f"of {needed} good runs in a row" in made.reason


def flips(count: int, *, hours_ago: float = 1) -> tuple[ChangeFact, ...]:
    changes = []
    for number in range(count):
        at = NOW - timedelta(hours=hours_ago + number)
        changes += [ChangeFact(at, "healthy", "failing"), ChangeFact(at - HOUR / 2, "failing", "healthy")]
    return tuple(changes)


@pytest.mark.parametrize(
    ("changes", "good", "expected"),
    [
        (flips(2), 1, "healthy"),
        (flips(3), 1, "failing"),
        (flips(3), 2, "failing"),
        (flips(3), 3, "healthy"),
        (flips(3, hours_ago=24), 1, "healthy"),
        (tuple(ChangeFact(NOW - HOUR, "paused", "failing") for _ in range(5)), 1, "healthy"),  # a person did that
    ],
)
def test_status_that_came_and_went_settles_before_it_is_believed(changes: tuple[ChangeFact, ...], good: int, expected: str):
    made = verdict(facts(status="failing", changes=changes, runs=runs(*["succeeded"] * good, "failed")))
    assert made.status == expected
    if expected == "failing":
        assert made.reason == f"Recovering: {good} of 3 good runs in a row. It got worse 3 times within a day."


def test_sync_that_fails_every_second_run_turns_three_times_and_stays():
    """Forty runs through the verdict, each change remembered as it would be."""
    given = facts(status="healthy")
    shown = []
    for number in range(40):
        now = NOW + number * timedelta(minutes=15)
        ended = replace(run(number, "failed" if number % 2 else "succeeded"), finished_at=now)
        given = replace(given, now=now, runs=(ended, *given.runs))
        made = judge(given, DEFAULTS)
        if made.status != given.status:
            given = replace(given, changes=(ChangeFact(now, given.status, made.status), *given.changes), status=made.status)
        shown.append(made.status)
    assert len(given.changes) == 5
    assert set(shown[6:]) == {"failing"}
