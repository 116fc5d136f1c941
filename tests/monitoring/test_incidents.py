"""Incidents in the database: one per cause, over many runs, syncs and rules."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.contrib.auth import get_user_model

from dlq.choices import GroupState
from dlq.models import ErrorGroup
from dlq.services.moves import ActRefusedError
from monitoring.choices import Condition, IncidentState, Severity
from monitoring.judging.causality import Situation
from monitoring.judging.conditions import find
from monitoring.judging.facts import Finding, GroupFact, Level
from monitoring.judging.limits import DEFAULTS
from monitoring.judging.plan import merged, plan
from monitoring.models import AlertRule, Incident, IncidentEvent, IncidentSync
from monitoring.services import alert_rules, alerts, incident_acts, incident_desk, routing
from syncs.models import Sync, SyncTouch
from tests.monitoring.incident_world import HOUR, MINUTE, NOW, Heard, connections, facts, failed, rule, run, sync, well

pytestmark = pytest.mark.django_db
C = Condition


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    one = Heard()
    monkeypatch.setattr(routing, "announce", one.announce)
    return one


@pytest.fixture(autouse=True)
def _no_rules(db: None) -> None:
    AlertRule.objects.all().delete()


@pytest.fixture
def one(db: None) -> Sync:
    return sync(*connections(), name="People")


def kinds(incident: Incident) -> list[str]:
    return list(IncidentEvent.objects.filter(incident=incident).order_by("pk").values_list("kind", flat=True))


def test_cause_is_one_incident_over_runs_and_rules_and_its_end_is_told(one: Sync, heard: Heard) -> None:
    rule(C.RUN_FAILED), rule(C.RUN_FAILED, Severity.PAGE, limits={"failures_to_fail": 2})
    first, second = run(one), run(one)
    alerts.apply(facts(one, failed(first)))
    incident = Incident.objects.get()
    assert (incident.cause, incident.severity, incident.run_id) == (f"sync:{one.pk}:run_failed", "warning", first.pk)
    alerts.apply(facts(one, failed(second), failed(first), now=NOW + HOUR))
    incident.refresh_from_db()
    assert (incident.severity, incident.seen_count, incident.rules.count()) == ("page", 2, 2)
    assert "2 runs failed" in incident.text
    alerts.apply(facts(one, well(run(one)), failed(second), now=NOW + 2 * HOUR))
    incident.refresh_from_db()
    assert (incident.state, incident.resolved_at) == (IncidentState.RESOLVED, NOW + 2 * HOUR)
    assert IncidentSync.objects.get().recovered_at == NOW + 2 * HOUR
    assert [event for _, event in heard.take()] == ["opened", "changed", "resolved"]
    assert kinds(incident) == ["opened", "changed", "recovered"]


def test_outage_of_one_connection_is_one_incident_of_all_its_syncs(heard: Heard) -> None:
    rule(C.RUN_FAILED, Severity.PAGE)
    source, target = connections()
    syncs = [sync(source, target) for _ in range(3)]
    for each in syncs:
        alerts.apply(facts(each, failed(run(each), kind="destination_unavailable")))
    incident = Incident.objects.get()
    assert incident.cause == f"connection:{target.pk}:destination_unavailable"
    assert (incident.sync_id, incident.connection_id, incident.affected.count()) == (None, target.pk, 3)
    assert not any(each.name in incident.title + incident.text for each in syncs)
    for number, each in enumerate(syncs):
        assert incident.is_over is False
        alerts.apply(facts(each, well(run(each)), now=NOW + (number + 1) * MINUTE))
        incident.refresh_from_db()
    assert incident.state == IncidentState.RESOLVED
    assert kinds(incident) == ["opened", "joined", "joined", "left", "left", "recovered"]
    assert heard.take() == [(incident.pk, event) for event in ("opened", "opened", "opened", "resolved")]


def test_cause_that_another_judgement_opens_at_the_same_moment_is_joined(heard: Heard) -> None:
    loud = rule(C.RUN_FAILED)
    source, target = connections()
    first, second = sync(source, target), sync(source, target)
    down = facts(second, failed(run(second), kind="timeout"))
    made = plan(
        Situation.of(down), merged(alert_rules.found([loud], down, DEFAULTS, find)), []
    )  # made before the first is there
    alerts.apply(facts(first, failed(run(first), kind="timeout")))
    incident_desk.perform(made, {}, now=NOW, sync_id=second.pk)
    incident = Incident.objects.get()
    assert (kinds(incident), incident.affected.count()) == (["opened", "joined"], 2)


def test_symptom_is_written_down_silently_and_told_when_it_outlasts_its_cause(one: Sync, heard: Heard) -> None:
    rule(C.RUN_FAILED), rule(C.DLQ_DEPTH, limits={"dlq_depth_warn": 10})
    broken, good = run(one), run(one)
    alerts.apply(facts(one, failed(broken), depth=50))
    root, symptom = Incident.objects.order_by("pk")
    assert (symptom.condition, symptom.follows_id) == ("dlq_depth", root.pk)
    alerts.apply(facts(one, well(good), now=NOW + MINUTE, depth=50))
    assert heard.take() == [(root.pk, "opened"), (root.pk, "resolved")]
    alerts.apply(facts(one, well(run(one), at=NOW + 2 * HOUR), now=NOW + 2 * HOUR, depth=50))
    symptom.refresh_from_db()
    assert symptom.follows_id is None
    alerts.apply(facts(one, well(good), now=NOW + 3 * HOUR))
    assert heard.take() == [(symptom.pk, "opened"), (symptom.pk, "resolved")]
    assert kinds(symptom) == ["opened", "suppressed", "released", "recovered"]


def test_late_sync_is_no_news_while_no_worker_lives(one: Sync, heard: Heard) -> None:
    rule(C.LATE), rule(C.WORKER_SILENT, Severity.PAGE)
    silent = Finding(C.WORKER_SILENT, Level.FAIL, "platform:worker_silent", "No worker lives", "For 5 minutes.")
    alerts.apply_platform([silent], NOW)
    alerts.apply_platform([silent], NOW + MINUTE)
    alerts.apply(facts(one, next_run_at=NOW - HOUR, period_seconds=900.0))
    platform, late = Incident.objects.order_by("pk")
    assert (late.condition, late.follows_id) == ("late", platform.pk)
    alerts.apply_platform([], NOW + HOUR)
    assert heard.take() == [(platform.pk, "opened"), (platform.pk, "resolved")]
    assert Incident.objects.get(pk=platform.pk).seen_count == 2


def test_new_error_lasts_until_somebody_has_dealt_with_its_group(one: Sync, heard: Heard) -> None:
    rule(C.NEW_GROUP)
    last = run(one)
    group = ErrorGroup.objects.create(
        sync=one,
        fingerprint="f" * 16,
        error_type="validation",
        open_count=3,
        total_count=3,
        first_seen_at=NOW,
        last_seen_at=NOW,
    )
    fact = GroupFact(group.pk, "new", NOW, "Validation", "validation", last.pk)
    alerts.apply(facts(one, well(last), groups=(fact,)))
    alerts.apply(facts(one, well(last), now=NOW + 48 * HOUR, groups=(fact,)))
    alerts.tend(NOW + 48 * HOUR)
    incident = Incident.objects.get()
    assert (incident.is_over, incident.group_id) == (False, group.pk)
    ErrorGroup.objects.filter(pk=group.pk).update(state=GroupState.ACKNOWLEDGED)
    alerts.tend(NOW + 49 * HOUR)
    alerts.apply(facts(one, well(last), now=NOW + 12 * HOUR, groups=(fact,)))
    assert Incident.objects.get().is_over
    assert [event for _, event in heard.take()] == ["opened", "resolved"]


def test_muted_rule_is_heard_when_its_mute_ends(one: Sync, heard: Heard) -> None:
    rule(C.RUN_FAILED, muted_until=NOW + HOUR, mute_reason="Maintenance")
    alerts.apply(facts(one, failed(run(one))))
    incident = Incident.objects.get()
    assert (incident.muted_until, heard.take()) == (NOW + HOUR, [])
    alerts.tend(NOW + 30 * MINUTE)
    assert heard.take() == []
    AlertRule.objects.update(muted_until=NOW + 2 * HOUR)
    alerts.tend(NOW + HOUR)
    assert (Incident.objects.get().muted_until, heard.take()) == (NOW + 2 * HOUR, [])
    alerts.tend(NOW + 2 * HOUR)
    alerts.tend(NOW + 2 * HOUR)
    assert heard.take() == [(incident.pk, "opened")]


def test_recovery_is_said_once_and_leaves_nothing_open(one: Sync, heard: Heard) -> None:
    from monitoring.judging.facts import ChangeFact

    rule(C.RECOVERY, Severity.INFO)
    change = ChangeFact(NOW - MINUTE, "failing", "healthy")
    for later in (0, 10):
        alerts.apply(facts(one, well(run(one)), now=NOW + later * MINUTE, changes=(change,), status="healthy"))
    incident = Incident.objects.get()
    assert incident.is_over
    assert heard.take() == [(incident.pk, "resolved")]


def test_rule_asks_only_about_syncs_in_its_scope(heard: Heard) -> None:
    from monitoring.choices import Scope
    from syncs.models import Tag

    source, target = connections()
    mine, other = sync(source, target), sync(*connections())
    tag = Tag.objects.create(name="crm")
    rule(C.RUN_FAILED, scope=Scope.SYNC, sync=mine)
    rule(C.DLQ_DEPTH, scope=Scope.CONNECTION, connection=target)
    rule(C.ZERO_ROWS, scope=Scope.TAG, tag=tag)
    rule(C.DLQ_AGE, is_active=False)
    bad = {"depth": 5, "oldest_failed_at": NOW - 999 * HOUR, "tags": frozenset({"crm"})}
    alerts.apply(facts(mine, failed(run(mine)), **(bad | {"tags": frozenset()})))
    alerts.apply(facts(other, failed(run(other)), **bad))
    assert sorted(Incident.objects.values_list("condition", "sync_id")) == [("dlq_depth", mine.pk), ("run_failed", mine.pk)]


def test_healthy_sync_costs_two_queries(one: Sync, django_assert_num_queries: object) -> None:
    rule(C.RUN_FAILED), rule(C.ZERO_ROWS), rule(C.DLQ_DEPTH)
    fine = facts(one, well(run(one)))
    with django_assert_num_queries(2):  # type: ignore[operator]
        alerts.apply(fine)


def test_broken_announcement_leaves_the_incident(one: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        Incident.objects.create(cause="x", condition="late", severity="nonsense", title="x")

    rule(C.RUN_FAILED)
    monkeypatch.setattr(routing, "announce", explode)
    alerts.apply(facts(one, failed(run(one))))
    assert Incident.objects.get().state == IncidentState.OPEN


# --- what people do


@pytest.fixture
def incident(one: Sync, heard: Heard) -> Incident:
    rule(C.RUN_FAILED)
    alerts.apply(facts(one, failed(run(one))))
    heard.take()
    return Incident.objects.get()


def judged_again(one: Sync, at: datetime, *runs: object) -> None:
    alerts.apply(facts(one, *runs, now=at))  # type: ignore[arg-type]


def test_acknowledged_incident_has_an_owner_and_is_so_once(incident: Incident, heard: Heard) -> None:
    ana = get_user_model().objects.create_user("ana")
    bo = get_user_model().objects.create_user("bo")
    incident_acts.acknowledge(incident, by=ana, at=NOW, door="admin")
    with pytest.raises(ActRefusedError, match="somebody else"):
        incident_acts.acknowledge(incident, by=bo, at=NOW, door="admin")
    incident.refresh_from_db()
    assert (incident.state, incident.owner, incident.acknowledged_by) == ("acknowledged", ana, ana)
    assert heard.take() == [(incident.pk, "acknowledged")]


def test_incident_resolved_by_hand_comes_back_with_a_newer_failure_only(one: Sync, incident: Incident, heard: Heard) -> None:
    ana = get_user_model().objects.create_user("ana")
    last = incident.run
    assert last is not None
    with pytest.raises(ActRefusedError, match="What was done"):
        incident_acts.resolve(incident, by=ana, at=NOW, reason=" ", door="admin")
    incident_acts.resolve(incident, by=ana, at=NOW, reason="Restarted it", door="admin")
    judged_again(one, NOW + MINUTE, failed(last))
    assert Incident.objects.get().is_over
    judged_again(one, NOW + 2 * MINUTE, failed(run(one)), failed(last))
    incident.refresh_from_db()
    assert (incident.state, incident.reopened_count, incident.resolved_by) == ("open", 1, None)
    assert [event for _, event in heard.take()] == ["resolved", "opened"]


def test_incident_resolved_by_hand_is_doubted_after_a_day(one: Sync, incident: Incident, heard: Heard) -> None:
    ana = get_user_model().objects.create_user("ana")
    incident_acts.resolve(incident, by=ana, at=NOW, reason="Restarted it", door="admin")
    SyncTouch.objects.all().delete()
    alerts.tend(NOW + 23 * HOUR)
    assert not SyncTouch.objects.exists()
    alerts.tend(NOW + 24 * HOUR)
    assert SyncTouch.objects.get().sync_id == one.pk
    judged_again(one, NOW + 24 * HOUR)
    alerts.tend(NOW + 25 * HOUR)
    assert SyncTouch.objects.count() == 1


def test_muted_incident_gets_worse_silently_and_its_end_is_told(one: Sync, incident: Incident, heard: Heard) -> None:
    ana = get_user_model().objects.create_user("ana")
    for until, problem in (("yesterday", "Until when"), ("2020-01-01T00:00", "over already"), ("2099-01-01T00:00", "30 days")):
        with pytest.raises(ActRefusedError, match=problem):
            incident_acts.mute(incident, by=ana, at=NOW, until=until, reason="Known", door="admin")
    incident_acts.mute(incident, by=ana, at=NOW, until="4h", reason="Known", door="admin")
    rule(C.RUN_FAILED, Severity.PAGE)
    judged_again(one, NOW + HOUR, failed(run(one)))
    assert (Incident.objects.get().severity, heard.take()) == ("page", [])
    judged_again(one, NOW + 2 * HOUR, well(run(one)))
    assert heard.take() == [(incident.pk, "resolved")]


def test_incident_of_archived_sync_is_over(one: Sync, incident: Incident, heard: Heard) -> None:
    Sync.objects.filter(pk=one.pk).update(is_archived=True)
    alerts.tend(NOW + HOUR)
    assert Incident.objects.get().resolution == "Every sync it affected is archived."
    assert heard.take() == [(incident.pk, "resolved")]


def test_restless_incident_is_judged_again_once_it_was_calm(one: Sync, incident: Incident) -> None:
    Incident.objects.update(reopened_count=2)
    judged_again(one, NOW + 10 * MINUTE, well(run(one)))
    assert not Incident.objects.get().is_over
    SyncTouch.objects.all().delete()
    alerts.tend(NOW + 59 * MINUTE)
    assert not SyncTouch.objects.exists()
    alerts.tend(NOW + 60 * MINUTE)
    assert SyncTouch.objects.get().sync_id == one.pk
    judged_again(one, NOW + 60 * MINUTE, well(run(one)))
    assert Incident.objects.get().is_over
