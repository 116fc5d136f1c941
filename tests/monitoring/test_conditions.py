"""Each condition: when it holds, of what cause it is, what it says, and when it stops. Tables over plain facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from monitoring.choices import PLATFORM, Condition
from monitoring.judging.conditions import due_at, find
from monitoring.judging.facts import ChangeFact, Facts, Finding, GroupFact, HourFact, Level, OpenErrors
from monitoring.judging.limits import DEFAULTS
from tests.monitoring.made_facts import DESTINATION, HOUR, NOW, SOURCE, facts, run, runs

C = Condition


def one(condition: Condition, given: Facts, **limits: Any) -> Finding | None:
    found = find(condition, given, replace(DEFAULTS, **limits))
    assert len(found) <= 1
    return found[0] if found else None


def failed(**values: Any) -> Facts:
    return facts(runs=(run(2, "failed", 1, **values), run(1, "succeeded", 2)))


@pytest.mark.parametrize(
    ("values", "cause", "connection"),
    [
        ({"failure_type": "destination_unavailable", "failure_role": "destination"}, "connection:2:destination_unavailable", 2),
        ({"failure_type": "timeout", "failure_role": "destination"}, "connection:2:destination_unavailable", 2),
        ({"failure_type": "rate_limited", "failure_role": "destination"}, "connection:2:rate_limited", 2),
        ({"failure_type": "auth", "failure_role": "destination"}, "connection:2:auth", 2),
        ({"failure_type": "auth", "failure_role": "source"}, "connection:1:auth", 1),
        ({"failure_type": "auth", "failure_code": "reauthorize", "failure_role": "destination"}, "connection:2:auth", 2),
        ({"failure_type": "unknown", "failure_role": "source"}, "connection:1:unavailable", 1),
        ({"failure_type": "schema_drift"}, "sync:12:drift", None),
        ({"failure_type": "field_permission"}, "sync:12:permission", None),
        ({"failure_type": "unknown", "failure_code": "config"}, "sync:12:setup", None),
        ({"failure_type": "unknown", "failure_code": "delete_guard"}, "sync:12:run_failed", None),
        ({"failure_type": "worker_crash"}, "sync:12:run_failed", None),
        ({"failure_type": "of a version to come"}, "sync:12:run_failed", None),
    ],
)
def test_cause_of_a_failed_run_is_what_is_to_be_mended(values: dict[str, Any], cause: str, connection: int | None):
    found = one(C.RUN_FAILED, failed(failure_message="It did not work.", **values))
    assert found is not None
    assert (found.cause, found.connection_id, found.level) == (cause, connection, Level.FAIL)
    assert found.advice


@pytest.mark.parametrize(
    ("statuses", "limit", "count"),
    [
        (("failed", "succeeded"), 1, 1),
        (("failed", "failed", "partial"), 2, 2),
        (("failed", "succeeded", "failed"), 2, None),
        (("succeeded", "failed", "failed"), 1, None),
        ((), 1, None),
    ],
)
def test_runs_fail_once_so_many_in_a_row_did(statuses: tuple[str, ...], limit: int, count: int | None):
    found = one(C.RUN_FAILED, facts(runs=runs(*statuses)), failures_to_fail=limit)
    assert (found and found.value) == count


def test_run_of_chosen_rows_tells_of_failures_only():
    rescued = run(3, "succeeded", 0.5, is_regular=False)
    assert one(C.RUN_FAILED, facts(runs=(rescued, run(2, "failed")))) is not None
    assert one(C.RUN_FAILED, facts(runs=(run(3, "failed", 0.5, is_regular=False), run(2)))) is not None


def test_failure_by_a_row_does_not_tell_its_value():
    found = one(C.RUN_FAILED, failed(failure_type="mapping", failure_message="“secret@example.com” is no number."))
    assert found is not None
    assert "secret" not in f"{found.text}{found.title}{found.drivers}"
    assert found.text.startswith("The last run failed: Mapping:")


def test_ended_login_is_one_cause_however_it_shows():
    ended = facts(destination=replace(DESTINATION, state="reauthorize"), runs=runs("succeeded"))
    refused = failed(failure_type="auth", failure_role="destination", failure_message="401")
    texts = {one(C.CREDENTIAL, given).cause for given in (ended, refused)} | {one(C.RUN_FAILED, refused).cause}
    assert texts == {"connection:2:auth"}


@pytest.mark.parametrize(("days", "title"), [(15, None), (13, "expires"), (-1, "expired")])
def test_end_of_a_credential_is_told_ahead(days: int, title: str | None):
    given = facts(source=replace(SOURCE, credential_expires_at=NOW + timedelta(days=days)), runs=runs("succeeded"))
    found = one(C.CREDENTIAL, given)
    assert (found and found.cause) == (title and "connection:1:expiry")
    assert title is None or (found is not None and title in found.text)


def test_set_up_that_cannot_run_is_found_with_and_without_a_run():
    assert one(C.SETUP, facts(setup_problem="No fields are mapped.")).text == "No fields are mapped."
    assert one(C.SETUP, failed(failure_code="config", failure_message="No column “id”.")).text == "No column “id”."
    assert one(C.SETUP, failed(failure_code="breaker")) is None


def test_drift_and_permission_are_found_in_open_dead_letters():
    given = facts(runs=runs("succeeded"), depth=7, open_errors=(OpenErrors("field_permission", 7, "phone", 3),))
    assert "“phone”: 7 dead letters" in one(C.PERMISSION, given).text
    assert one(C.DRIFT, given) is None
    gone = replace(given, open_errors=(OpenErrors("schema_drift", 1, "tier", 3),))
    assert "“tier”" in one(C.DRIFT, gone).text
    assert one(C.DRIFT, facts(drift_since=NOW, drift_reason="“tier” is required")).cause == "sync:12:drift"


def test_run_that_meets_the_change_first_is_found_as_drift():
    found = one(C.DRIFT, failed(failure_type="schema_drift"))
    assert (found.cause, found.level, found.run_id) == ("sync:12:drift", Level.WARN, 2)
    assert found.text.startswith("Schema drift: ")
    assert one(C.DRIFT, failed(failure_type="timeout")) is None


@pytest.mark.parametrize(
    ("refused", "accepted", "level"),
    [
        (5, 995, None),
        (10, 990, Level.WARN),
        (199, 801, Level.WARN),
        (200, 800, Level.FAIL),
        (9, 10, None),
        (10, 10, Level.FAIL),
    ],
)
def test_error_rate_is_of_rows_to_write_and_of_enough_of_them(refused: int, accepted: int, level: Level | None):
    given = facts(runs=(run(1, "partial", 1, dead_lettered=refused, accepted=accepted, read=500_000),))
    found = one(C.ERROR_RATE, given)
    assert (found and found.level) == level


def test_error_rate_adds_up_over_its_window_and_ends_with_clean_runs():
    bad = tuple(run(9 - n, "partial", n + 1, dead_lettered=20, accepted=980) for n in range(3))
    found = one(C.ERROR_RATE, facts(runs=bad))
    assert found is not None
    assert "(60 of 3,000); the limit is 1.0 %" in found.text
    clean = (run(20, "succeeded", 0.5), *bad)
    assert one(C.ERROR_RATE, facts(runs=clean)) is None
    assert one(C.ERROR_RATE, facts(runs=clean), good_runs_to_recover=2) is not None
    old = facts(runs=(run(1, "partial", 40, dead_lettered=20, accepted=80),))
    assert one(C.ERROR_RATE, old) is not None  # the newest run counts until the next one
    assert one(C.ERROR_RATE, facts(runs=bad), error_rate_warn_percent=0, error_rate_fail_percent=0) is None


def test_error_budget_adds_thirty_days_and_today():
    def day(ago: int, refused: int) -> HourFact:
        return HourFact(NOW.replace(hour=0) - timedelta(days=ago), 24, 0, 10_000, 10_000 - refused, refused)

    days = (day(40, 9_000), *(day(ago, 40) for ago in range(29, 0, -1)))
    today = HourFact(NOW - HOUR, 1, 0, 10_000, 9_690, 310)
    assert one(C.ERROR_BUDGET, facts(days=days)) is None
    found = one(C.ERROR_BUDGET, facts(days=days, hours=(today,)), error_budget_percent=0.5)
    assert found is None  # 1,470 of 300,000 is 0.49 %
    found = one(C.ERROR_BUDGET, facts(days=days, hours=(replace(today, dead_lettered=400),)))
    assert found is not None
    assert found.value == pytest.approx(104, abs=1)


def test_dead_letters_by_number_and_age():
    given = facts(runs=runs("succeeded"), depth=120, oldest_failed_at=NOW - timedelta(days=8))
    assert one(C.DLQ_DEPTH, given, dlq_depth_warn=100).level == Level.WARN
    assert one(C.DLQ_DEPTH, given, dlq_depth_fail=100).level == Level.FAIL
    assert one(C.DLQ_DEPTH, given, dlq_depth_warn=121) is None
    assert one(C.DLQ_DEPTH, given, dlq_depth_warn=0) is None
    assert "8 days" in one(C.DLQ_AGE, given).text
    assert one(C.DLQ_AGE, given, dlq_age_hours=0) is None
    assert one(C.DLQ_AGE, given, dlq_age_hours=200) is None


def test_groups_are_news_for_the_window():
    groups = tuple(
        GroupFact(n, kind, NOW - timedelta(hours=age), "email is missing", "validation", 5)
        for n, (kind, age) in enumerate((("new", 2), ("new", 30), ("regressed", 3)))
    )
    assert [found.cause for found in find(C.NEW_GROUP, facts(groups=groups), DEFAULTS)] == ["group:0"]
    assert [found.group_id for found in find(C.REGRESSED_GROUP, facts(groups=groups), DEFAULTS)] == [2]
    assert len(find(C.NEW_GROUP, facts(groups=groups), replace(DEFAULTS, window_hours=168))) == 2


@pytest.mark.parametrize(
    ("values", "limits", "is_late"),
    [
        ({"next_run_at": NOW - timedelta(minutes=14)}, {}, False),
        ({"next_run_at": NOW - timedelta(minutes=15)}, {}, True),
        ({"next_run_at": NOW - timedelta(minutes=15), "period_seconds": 86_400.0}, {}, False),
        ({"next_run_at": NOW - timedelta(minutes=145), "period_seconds": 86_400.0}, {}, True),
        ({"next_run_at": NOW + HOUR, "waiting_since": NOW - timedelta(minutes=20)}, {}, True),
        ({"waiting_since": NOW - HOUR, "is_running_since": NOW - HOUR}, {}, False),
        ({"next_run_at": NOW - HOUR, "is_paused": True}, {}, False),
        ({"next_run_at": NOW - HOUR}, {"lateness_minutes": 0}, False),
        ({"next_run_at": NOW - HOUR}, {"lateness_minutes": 61}, False),
    ],
)
def test_late_is_a_slot_that_no_run_has_taken(values: dict[str, Any], limits: dict[str, Any], is_late: bool):
    assert (one(C.LATE, facts(**values), **limits) is not None) == is_late


@pytest.mark.parametrize(
    ("values", "limits", "is_stale"),
    [
        ({"third_slot_at": NOW - timedelta(minutes=16)}, {}, True),
        ({"third_slot_at": NOW - timedelta(minutes=14)}, {}, False),
        ({"period_seconds": 3_600.0}, {}, True),
        ({}, {}, False),  # by hand: nobody said how fresh
        ({}, {"freshness_minutes": 300}, True),
        ({}, {"freshness_minutes": 301}, False),
        ({"third_slot_at": NOW - HOUR}, {"freshness_minutes": 0}, False),
        ({"third_slot_at": NOW - HOUR, "is_paused": True}, {}, False),
        ({"changes": (ChangeFact(NOW - HOUR, "paused", "healthy"),)}, {"freshness_minutes": 61}, False),
        ({"status": "paused"}, {"freshness_minutes": 10}, False),  # resumed this moment
    ],
)
def test_stale_is_what_no_good_run_has_refreshed(values: dict[str, Any], limits: dict[str, Any], is_stale: bool):
    given = facts(runs=(run(3, "failed", 1), run(2, "partial", 2, is_regular=False), run(1, "partial", 5)), **values)
    assert (one(C.FRESHNESS, given, **limits) is not None) == is_stale


def test_slow_run_against_its_own_history_and_a_limit():
    past = tuple(run(n, "succeeded", 20 - n, minutes=6) for n in range(10, 0, -1))
    slow = facts(runs=(run(11, "succeeded", 1, minutes=25), *past))
    assert "usual are 6 minutes" in one(C.DURATION, slow).text
    assert one(C.DURATION, facts(runs=(run(11, "succeeded", 1, minutes=23), *past))) is None
    assert one(C.DURATION, slow, duration_minutes=0) is None
    assert one(C.DURATION, slow, duration_minutes=26) is None
    live = facts(runs=past, is_running_since=NOW - timedelta(minutes=25))
    assert "going on for 25 minutes" in one(C.DURATION, live).text
    assert one(C.DURATION, facts(runs=past[:4], is_running_since=NOW - 9 * HOUR)) is None  # nobody knows yet


@pytest.mark.parametrize(
    ("read", "is_found"),
    [
        ([0, 0, 900], True),
        ([0, 900], False),
        ([0, 0], False),  # there never was a row
        ([900, 0, 0, 900], False),
        ([0, 0, 900, 0, 0, 0, 900], True),  # once before is no habit
        ([0, 0, 900, 0, 0, 900, 0, 0, 0, 900], False),
    ],
)
def test_zero_rows_where_there_used_to_be_rows(read: list[int], is_found: bool):
    given = facts(runs=tuple(run(99 - n, "succeeded", n + 1, read=rows) for n, rows in enumerate(read)))
    assert (one(C.ZERO_ROWS, given) is not None) == is_found
    assert one(C.ZERO_ROWS, given, zero_row_runs=0) is None


def test_volume_outside_the_band_of_the_season():
    past = tuple(run(n, "succeeded", 24 * (40 - n) + 1, read=1_000 + n) for n in range(39, 0, -1))

    def newest(read: int) -> Facts:
        return facts(runs=(run(50, "succeeded", 1, read=read), *past))

    assert "fewer than usual" in one(C.VOLUME, newest(300)).text
    assert "more than usual" in one(C.VOLUME, newest(1_900)).text
    assert one(C.VOLUME, newest(500)) is None
    assert one(C.VOLUME, newest(0)) is None  # that is zero_rows
    assert one(C.VOLUME, newest(0), zero_row_runs=0) is not None
    assert one(C.VOLUME, newest(300), volume_band_percent=0) is None
    assert one(C.VOLUME, facts(runs=(run(50, read=1), *past[:2]))) is None  # in training


def test_recovery_is_news_for_an_hour():
    back = facts(changes=(ChangeFact(NOW - HOUR / 2, "failing", "healthy"),), runs=runs("succeeded"))
    assert one(C.RECOVERY, back) is not None
    assert one(C.RECOVERY, replace(back, now=NOW + HOUR)) is None
    assert one(C.RECOVERY, facts(changes=(ChangeFact(NOW, "paused", "healthy"),))) is None


@pytest.mark.parametrize("condition", list(Condition))
def test_new_sync_has_nothing_wrong(condition: Condition):
    assert find(condition, facts(status="unconfigured", has_worked=False), DEFAULTS) == []
    assert condition not in PLATFORM or find(condition, failed(), DEFAULTS) == []


@pytest.mark.parametrize(
    ("values", "minutes"),
    [
        ({}, None),
        ({"next_run_at": NOW + HOUR}, 75),
        ({"next_run_at": NOW - HOUR}, 2),  # late already: a start leaves no touch
        ({"third_slot_at": NOW + HOUR, "next_run_at": NOW + 2 * HOUR, "runs": runs("succeeded")}, 75),
        ({"oldest_failed_at": NOW - timedelta(hours=167)}, 60),
        ({"destination": replace(DESTINATION, credential_expires_at=NOW + timedelta(days=14, hours=3))}, 180),
        ({"destination": replace(DESTINATION, credential_expires_at=NOW + timedelta(hours=3))}, 180),
        ({"is_running_since": NOW, "runs": runs(*["succeeded"] * 10, minutes=6)}, 24),
        ({"is_paused": True, "next_run_at": None}, None),
    ],
)
def test_judgement_is_due_when_time_alone_may_change_it(values: dict[str, Any], minutes: int | None):
    found = due_at(facts(**values), DEFAULTS)
    assert (found and round((found - NOW) / timedelta(minutes=1))) == minutes
