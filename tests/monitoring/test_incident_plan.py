"""What becomes of incidents: tables over plain Python."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitoring.choices import SYMPTOMS, Condition, IncidentEventKind, Severity
from monitoring.judging.causality import LEADS, ORDER, RANK, Lead, Situation
from monitoring.judging.facts import Finding, Level
from monitoring.judging.plan import Known, Plan, Seen, merged, plan

C, Kind, S = Condition, IncidentEventKind, Severity
NOW = datetime(2026, 11, 9, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def finding(condition: Condition, cause: str = "", **values: object) -> Finding:
    made = Finding(condition, Level.FAIL, cause or f"sync:1:{condition}", str(condition), f"{condition} was found.")
    return replace(made, **values)  # type: ignore[arg-type]


def seen(*findings: Finding | tuple[Finding, Severity]) -> dict[str, Seen]:
    pairs = [one if isinstance(one, tuple) else (one, S.WARNING) for one in findings]
    return merged((number, severity, None, one) for number, (one, severity) in enumerate(pairs, 1))


def known(condition: Condition, cause: str = "", **values: object) -> Known:
    return replace(Known(7, cause or f"sync:1:{condition}", condition, S.WARNING), **values)  # type: ignore[arg-type]


def judged(found: dict[str, Seen], *there: Known, former: tuple[Lead, ...] = (), **at: object) -> Plan:
    situation = replace(Situation(NOW, last_ended_at=NOW), **at)  # type: ignore[arg-type]
    return plan(situation, found, there, former)


def said(made: Plan) -> list[tuple[str, str]]:
    return [(step.kind.value, step.cause.split(":")[-1]) for step in made.steps]


AUTH, G4 = "connection:3:auth", "group:4"
FAILED, RATE, VOLUME = C.RUN_FAILED, C.ERROR_RATE, C.VOLUME
OVER = {"is_over": True, "is_member": False, "ended_at": NOW - 2 * HOUR}
DAY_AGO = {"ended_at": NOW - 24 * HOUR}
BY_HAND = {"is_over": True, "is_by_hand": True, "ended_at": NOW - HOUR, "run_id": 5}

CASES: list[tuple[str, dict[str, Seen], list[Known], list[tuple[str, str]]]] = [
    ("first", seen(finding(FAILED)), [], [("opened", "run_failed")]),
    ("again", seen(finding(FAILED)), [known(FAILED)], []),
    ("over", {}, [known(FAILED)], [("recovered", "run_failed")]),
    ("graver", seen((finding(FAILED), S.PAGE)), [known(FAILED)], [("changed", "run_failed")]),
    ("milder", seen((finding(FAILED), S.INFO)), [known(FAILED)], []),
    ("back-soon", seen(finding(FAILED)), [known(FAILED, **(OVER | {"ended_at": NOW - HOUR}))], [("reopened", "run_failed")]),
    ("back-late", seen(finding(FAILED)), [known(FAILED, **OVER)], [("opened", "run_failed")]),
    ("joins", seen(finding(FAILED, AUTH)), [known(FAILED, AUTH, is_member=False)], [("joined", "auth")]),
    ("leaves", {}, [known(FAILED, AUTH, other_count=2)], [("left", "auth")]),
    ("last-leaves", {}, [known(FAILED, AUTH)], [("recovered", "auth")]),
    ("not-in-it", {}, [known(FAILED, AUTH, is_member=False)], []),
    # A person said it is over.
    ("believed", seen(finding(FAILED, run_id=5)), [known(FAILED, **BY_HAND)], []),
    ("newer-run", seen(finding(FAILED, run_id=6)), [known(FAILED, **BY_HAND)], [("reopened", "run_failed")]),
    ("a-day-later", seen(finding(FAILED)), [known(FAILED, **(BY_HAND | DAY_AGO))], [("reopened", "run_failed")]),
    ("half-a-day-later", seen(finding(FAILED)), [known(FAILED, **(BY_HAND | {"ended_at": NOW - 12 * HOUR}))], []),
    # What comes and goes.
    ("restless", {}, [known(FAILED, reopened_count=2, last_seen_at=NOW - HOUR / 2)], []),
    ("calm", {}, [known(FAILED, reopened_count=2, last_seen_at=NOW - HOUR)], [("recovered", "run_failed")]),
    # Seen once, and open until somebody has dealt with it.
    ("group-stays", {}, [known(C.NEW_GROUP, G4)], []),
    ("group-known", seen(finding(C.NEW_GROUP, G4, run_id=5)), [known(C.NEW_GROUP, G4, run_id=5, **OVER)], []),
    (
        "group-back",
        seen(finding(C.REGRESSED_GROUP, G4, run_id=9)),
        [known(C.NEW_GROUP, G4, run_id=5, **OVER)],
        [("opened", "4")],
    ),
    ("groups-at-once", seen(finding(C.NEW_GROUP, G4), finding(C.NEW_GROUP, "group:5")), [], [("opened", "4"), ("opened", "5")]),
    # Symptoms.
    ("both-new", seen(finding(RATE), finding(C.NEW_GROUP, G4)), [], [("opened", "4"), ("opened", "error_rate")]),
    (
        "root-later",
        seen(finding(RATE), finding(C.NEW_GROUP, G4)),
        [known(RATE)],
        [("opened", "4"), ("suppressed", "error_rate")],
    ),
    ("released", seen(finding(RATE)), [known(RATE, follows_id=3)], [("released", "error_rate")]),
    ("well-again", seen(finding(C.RECOVERY, run_id=8)), [], [("recovered", "recovery")]),
    ("well-as-told", seen(finding(C.RECOVERY, run_id=8)), [known(C.RECOVERY, **(OVER | {"ended_at": NOW - HOUR}))], []),
]


@pytest.mark.parametrize(("found", "there", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_step_follows_from_finding_and_incident(
    found: dict[str, Seen], there: list[Known], expected: list[tuple[str, str]]
) -> None:
    assert said(judged(found, *there)) == expected


def test_symptom_follows_root_of_same_judgement() -> None:
    _, symptom = judged(seen(finding(RATE), finding(C.NEW_GROUP, G4))).steps
    assert symptom.lead is not None
    assert symptom.lead.cause == G4


def test_new_errors_of_one_judgement_are_told_once() -> None:
    first, second = judged(seen(finding(C.NEW_GROUP, G4), finding(C.NEW_GROUP, "group:5"))).steps
    assert (first.lead, second.lead and second.lead.cause) == (None, G4)
    assert said(judged(seen(finding(C.NEW_GROUP, G4)), known(C.NEW_GROUP, G4, follows_id=3))) == []


def test_graver_symptom_makes_root_graver_instead_of_alarming_itself() -> None:
    root = known(C.NEW_GROUP, G4, severity=S.INFO)
    made = judged(seen((finding(RATE), S.PAGE)), root)
    opened, changed = made.steps
    assert (opened.kind, opened.lead and opened.lead.incident_id) == (Kind.OPENED, 7)
    assert (changed.kind, changed.incident_id, changed.severity) == (Kind.CHANGED, 7, S.PAGE)


def test_graver_symptom_opens_new_root_at_its_severity() -> None:
    root, symptom = judged(seen((finding(RATE), S.PAGE), (finding(C.NEW_GROUP, G4), S.INFO))).steps
    assert root.seen is not None
    assert root.seen.severity == S.PAGE
    assert symptom.lead is not None


@pytest.mark.parametrize(
    ("over_for", "newer_run", "condition", "severity", "is_quiet"),
    [
        (HOUR / 2, True, VOLUME, S.WARNING, True),
        (HOUR, True, VOLUME, S.WARNING, False),  # a newer run shows it as well
        (20 * HOUR, False, VOLUME, S.WARNING, True),  # the run that catches up is the last one still
        (36 * HOUR, False, VOLUME, S.WARNING, False),
        (HOUR / 2, True, VOLUME, S.PAGE, False),  # graver than what it would follow from
        (20 * HOUR, True, RATE, S.WARNING, True),  # its window looks back a day
        (24 * HOUR, True, RATE, S.WARNING, False),
        (HOUR / 2, True, C.DRIFT, S.WARNING, False),  # no symptom of a failed run
    ],
)
def test_echo_of_what_is_over_stays_quiet_for_a_while(
    over_for: timedelta, newer_run: bool, condition: Condition, severity: Severity, is_quiet: bool
) -> None:
    ended = NOW - over_for
    lead = Lead("sync:1:run_failed", FAILED, S.WARNING, 3, ended)
    last = NOW if newer_run else ended - timedelta(seconds=1)
    (step,) = judged(seen((finding(condition), severity)), former=(lead,), last_ended_at=last).steps
    assert (step.lead is not None) is is_quiet


def test_root_that_ends_in_the_same_judgement_still_explains() -> None:
    made = judged(seen(finding(VOLUME)), known(FAILED), last_ended_at=NOW - timedelta(seconds=1))
    assert said(made) == [("opened", "volume"), ("recovered", "run_failed")]
    assert made.steps[0].lead is not None


def test_paused_sync_opens_and_ends_nothing_but_leaves_shared_incidents() -> None:
    shared = known(FAILED, AUTH, other_count=1)
    assert said(judged(seen(finding(RATE)), known(FAILED, id=1), shared, is_paused=True)) == [("left", "auth")]


def test_incident_ended_by_hand_is_gone_once_nothing_is_found() -> None:
    assert judged({}, known(FAILED, **BY_HAND)).gone == (7,)  # type: ignore[arg-type]


def test_shared_cause_follows_nothing_of_one_sync() -> None:
    (step, _) = judged(seen(finding(FAILED, "connection:3:timeout"), finding(C.DRIFT))).steps
    assert (step.cause, step.lead) == ("sync:1:drift", None)
    (_, shared) = judged(seen(finding(FAILED, "connection:3:timeout"), finding(C.DRIFT))).steps
    assert shared.lead is None


def test_findings_of_one_cause_are_one_named_by_what_is_to_be_mended() -> None:
    later, sooner = NOW + 2 * HOUR, NOW + HOUR
    cause = AUTH
    (one,) = merged([(1, S.WARNING, later, finding(FAILED, cause)), (2, S.PAGE, sooner, finding(C.CREDENTIAL, cause))]).values()
    assert (one.condition, one.severity, one.rule_ids) == (C.CREDENTIAL, S.PAGE, {1, 2})
    assert one.muted_until == sooner
    (heard,) = merged([(1, S.WARNING, later, finding(FAILED, cause)), (2, S.PAGE, None, finding(FAILED, cause))]).values()
    assert heard.muted_until is None


def test_order_of_causes_is_complete_and_without_circles() -> None:
    assert sorted(ORDER) == sorted(Condition)
    assert all(RANK[lead] < RANK[one] for one, leads in LEADS.items() for lead in leads)
    assert set(SYMPTOMS) <= set(LEADS)
