"""Incidents and alert rules through the browser's door: what they show, to whom, and what they refuse."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from monitoring.choices import Condition, Scope, Severity
from monitoring.judging.facts import ConnectionFact, Facts, Finding, Level, RunFact
from monitoring.judging.limits import DEFAULTS
from monitoring.models import AlertRule, Incident, IncidentEvent, IncidentSync
from monitoring.services import alert_rules, rule_past, rule_templates
from syncs.choices import RunStatus, Trigger
from syncs.models import AuditEvent, Run, Sync, SyncTouch, Team
from tests.monitoring.incident_world import connections, rule, sync

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
HOSTILE = "</bdi><script>alert(1)</script>\u202e"
SEES = ("view_incident", "view_alertrule", "view_sync")
ACTS = (*SEES, "change_incident", "add_alertrule", "change_alertrule", "delete_alertrule")
LIST = "/admin/monitoring/incident/"
RULES = "/admin/monitoring/alertrule/"


def person(*permissions: str, name: str = "ana") -> User:
    made = User.objects.create_user(name, password="secret", is_staff=True)
    apps = ("monitoring", "syncs")
    made.user_permissions.set(Permission.objects.filter(content_type__app_label__in=apps, codename__in=permissions))
    return made


def client(user: User) -> Client:
    made = Client()
    made.force_login(user)
    return made


def incident(*syncs: Sync, title: str = "It broke", **values: Any) -> Incident:
    one = syncs[0] if len(syncs) == 1 else None
    made: dict[str, Any] = {
        "cause": f"test:{title}",
        "condition": "run_failed",
        "severity": "page",
        "title": title,
        "sync": one,
    }
    opened = Incident.objects.create(**(made | values))
    for each in syncs:
        IncidentSync.objects.create(incident=opened, sync=each, text=f"found at {each.name}")
        IncidentEvent.objects.create(incident=opened, kind="joined", sync=each, text=f"joined {each.name}")
    return opened


@pytest.fixture
def mine() -> Sync:
    return sync(*connections(), name="mine-sync")


@pytest.fixture
def theirs(mine: Sync) -> Sync:
    return sync(mine.source, mine.destination, name="secret-sync", team=Team.objects.create(name="others"))


def page(at: Client, one: Incident) -> str:
    return at.get(reverse("admin:monitoring_incident_change", args=(one.pk,))).content.decode()


def act(at: Client, one: Incident | AlertRule, name: str, **values: str) -> Any:
    kind = type(one)._meta.model_name
    return at.post(reverse(f"admin:monitoring_{kind}_act", args=(one.pk,)), {"act": name, **values}, follow=True)


# --- incidents


def test_incident_names_only_the_syncs_that_its_reader_sees(mine: Sync, theirs: Sync) -> None:
    shared, hidden = incident(mine, theirs), incident(theirs, title="hidden-incident")
    at = client(person(*SEES))
    listed, shown = at.get(LIST).content.decode(), page(at, shared)
    assert "mine-sync" in listed
    assert "mine-sync" in shown
    assert "secret-sync" not in listed + shown
    assert "hidden-incident" not in listed + at.get(f"{LIST}?show=all&sync={theirs.pk}").content.decode()
    assert at.get(reverse("admin:monitoring_incident_change", args=(hidden.pk,))).status_code == 404
    assert "secret-sync" in page(client(User.objects.create_superuser("root")), shared)


def test_list_refuses_what_it_cannot_read_and_pages_by_id(mine: Sync) -> None:
    at = client(person(*SEES))
    for query in ("show=nonsense", "severity=high", "owner=x", "before=-1", "other=1", "sync=1&sync=2", "q=" + "x" * 101):
        refused = at.get(f"{LIST}?{query}")
        assert (refused.status_code, "cannot be read" in refused.content.decode()) == (400, True)
    made = [Incident(cause=f"c{n}", condition="late", severity="info", title=f"late-{n:02}.") for n in range(52)]
    Incident.objects.bulk_create(made)
    IncidentSync.objects.bulk_create([IncidentSync(incident=one, sync=mine) for one in Incident.objects.all()])
    first = at.get(LIST).content.decode()
    assert "late-51." in first
    assert "late-01." not in first
    ids = sorted(Incident.objects.values_list("pk", flat=True))
    assert "late-01." in at.get(f"{LIST}?before={ids[2]}").content.decode()


def test_pages_cost_few_queries_whatever_there_is(mine: Sync, django_assert_max_num_queries: Any) -> None:
    root = incident(mine)
    for number in range(8):
        incident(mine, title=f"follower {number}", follows=root)
    rule(Condition.RUN_FAILED, name="a rule").incidents.add(root)
    at = client(person(*ACTS))
    for url in (f"{LIST}?show=all", reverse("admin:monitoring_incident_change", args=(root.pk,)), RULES):
        at.get(url)
        with django_assert_max_num_queries(12):
            assert at.get(url).status_code == 200


def test_hostile_texts_are_harmless_on_every_page(mine: Sync) -> None:
    one = incident(mine, title=HOSTILE, text=HOSTILE, drivers=[[HOSTILE, HOSTILE]])
    IncidentEvent.objects.create(incident=one, kind="noted", text=HOSTILE)
    mean = rule(Condition.RUN_FAILED, name=HOSTILE, muted_until=timezone.now() + HOUR, mute_reason=HOSTILE)
    mean.incidents.add(one)
    at = client(person(*ACTS))
    at_rule = reverse("admin:monitoring_alertrule_change", args=(mean.pk,))
    for text in (
        page(at, one),
        at.get(LIST).content.decode(),
        at.get(RULES).content.decode(),
        at.get(at_rule).content.decode(),
    ):
        assert "<script>alert" not in text
        assert "\u202e" not in text.replace(f'value="{escape(HOSTILE)}"', "")  # a field holds what is stored


def test_acts_are_done_once_and_stand_in_timeline_and_audit_log(mine: Sync) -> None:
    one, user = incident(mine), person(*ACTS)
    at = client(user)
    assert "is acknowledged" in act(at, one, "acknowledge").content.decode()
    assert "somebody else has acted" in act(at, one, "acknowledge").content.decode()
    assert "Write the note first" in act(at, one, "note", note=" ").content.decode()
    assert "At most 30 days" in act(at, one, "mute", until_at="2099-01-01T00:00", reason="x").content.decode()
    act(at, one, "note", note="Called the vendor"), act(at, one, "mute", until="4h", reason="Known")
    shown = act(at, one, "resolve", reason="Restarted").content.decode()
    assert all(text in shown for text in ("Called the vendor", "Known", "Restarted", "by <bdi>ana"))
    assert "There is nobody like that" in act(at, one, "assign", owner="999").content.decode()
    acts = AuditEvent.objects.filter(target_type="incident").order_by("pk").values_list("act", flat=True)
    assert list(acts) == ["acknowledged", "noted", "muted", "resolved"]
    assert act(client(person(*SEES, name="reader")), one, "note", note="x").status_code == 403


def test_sync_and_connection_pages_show_their_open_incidents(mine: Sync) -> None:
    incident(mine, title="one-open.", connection=mine.destination)
    Incident.objects.filter(pk=incident(mine, title="one-over.").pk).update(state="resolved", resolved_at=timezone.now())
    at = client(person(*SEES, "view_connection"))
    for url in (
        reverse("admin:syncs_sync_page", args=(mine.pk,)),
        reverse("admin:syncs_connection_page", args=(mine.destination_id,)),
    ):
        text = at.get(url).content.decode()
        assert "one-open." in text
        assert "one-over." not in text


def test_sync_page_counts_what_follows_and_names_what_leads(mine: Sync) -> None:
    lead = incident(mine, title="one-lead.")
    for number in range(3):
        incident(mine, title=f"follower-{number}.", follows=lead)
    over = incident(mine, title="one-over.")
    Incident.objects.filter(pk=over.pk).update(state="resolved", resolved_at=timezone.now())
    incident(mine, title="echo of what is over.", follows=over)
    text = client(person(*SEES)).get(reverse("admin:syncs_sync_page", args=(mine.pk,))).content.decode()
    assert [words in text for words in ("one-lead.", "3 follow from it", "echo of what is over.")] == [True] * 3
    assert "follower-" not in text


# --- rules


def form(**values: str) -> dict[str, str]:
    return {"name": "R", "condition": "run_failed", "scope": "all", "severity": "warning", "is_active": "on", **values}


def history(of: Sync, *statuses: RunStatus, every: timedelta = HOUR) -> None:
    """Runs of the last days, the newest last."""
    begin = timezone.now() - every * len(statuses)
    for number, status in enumerate(statuses, 1):
        at = begin + every * number
        Run.objects.create(
            sync=of, status=status, trigger=Trigger.SCHEDULE, queued_at=at, started_at=at, finished_at=at, read_count=5,
            accepted_count=0 if status == RunStatus.FAILED else 5, pending_count=5 if status == RunStatus.FAILED else 0,
        )  # fmt: skip


GOOD, BAD = RunStatus.SUCCEEDED, RunStatus.FAILED


def test_rule_is_held_against_last_week_before_it_is_saved(mine: Sync, theirs: Sync) -> None:
    history(mine, GOOD, BAD, GOOD, GOOD, BAD, BAD, GOOD)
    history(theirs, GOOD, BAD, GOOD, GOOD)
    at = client(person(*ACTS))
    tested = at.post(f"{RULES}add/", form(test="1")).content.decode()
    assert "would have fired 3 times" in tested
    assert "mine-sync" in tested
    assert "secret-sync" not in tested
    assert not AlertRule.objects.exists()
    saved = at.post(f"{RULES}add/", form(limit="2"), follow=True).content.decode()
    assert "would have fired once" in saved
    made = AlertRule.objects.get()
    assert (made.limits, AuditEvent.objects.filter(target_type="alertrule").count()) == ({"failures_to_fail": 2}, 1)
    assert set(SyncTouch.objects.values_list("sync_id", flat=True)) == {mine.pk, theirs.pk}


def test_rule_that_fires_always_or_never_is_saved_on_demand_only(mine: Sync) -> None:
    history(mine, BAD, BAD, BAD, BAD)
    at = client(person(*ACTS))
    always = at.post(f"{RULES}add/", form())
    assert "nearly always" in always.content.decode()
    manual = at.post(f"{RULES}add/", form(condition="freshness"))
    assert "it can never fire" in manual.content.decode()
    assert not AlertRule.objects.exists()
    assert "is saved" in at.post(f"{RULES}add/", form(confirm="1"), follow=True).content.decode()


REFUSED = [
    ({"scope": "sync"}, "Choose the sync"),
    ({"scope": "tag"}, "Choose the tag"),
    ({"limit": "0"}, "From 1 to 100"),
    ({"limit": "1.5"}, "whole number"),
    ({"limit": "many"}, "Enter a number"),
    ({"runbook_url": "ftp://example.org"}, "http"),
    ({"severity": "loud"}, "valid choice"),
    ({"name": ""}, "required"),
]


@pytest.mark.parametrize(("given", "problem"), REFUSED, ids=[next(iter(one)) for one, _ in REFUSED])
def test_rule_with_bad_input_is_refused_with_its_reason(given: dict[str, str], problem: str) -> None:
    refused = client(person(*ACTS)).post(f"{RULES}add/", form(**given))
    assert refused.status_code == 400
    assert problem in refused.content.decode()


def test_rule_about_an_unseen_sync_is_not_there(theirs: Sync) -> None:
    hidden = rule(Condition.LATE, scope=Scope.SYNC, sync=theirs, name="hidden-rule")
    at = client(person(*ACTS))
    assert "hidden-rule" not in at.get(RULES).content.decode()
    assert at.get(reverse("admin:monitoring_alertrule_change", args=(hidden.pk,))).status_code == 404
    assert "secret-sync" not in at.get(f"{RULES}add/?condition=late").content.decode()
    refused = at.post(f"{RULES}add/", form(condition="late", scope="sync", sync=str(theirs.pk)))
    assert refused.status_code == 400


def test_rule_edited_by_two_people_keeps_the_first(mine: Sync) -> None:
    one = rule(Condition.DRIFT, name="Drift")
    at = client(person(*ACTS))
    url = reverse("admin:monitoring_alertrule_change", args=(one.pk,))
    seen = at.get(url).context["form"].initial["seen_at"]
    assert at.post(url, form(name="First", seen_at=seen), follow=True).status_code == 200
    late = at.post(url, form(name="Second", seen_at=seen))
    assert (late.status_code, "somebody else" in late.content.decode()) == (400, True)
    assert AlertRule.objects.get().name == "First"


def test_muted_rule_says_until_when_and_why_and_unmutes_what_it_kept_quiet(mine: Sync) -> None:
    one = rule(Condition.RUN_FAILED, name="Fails")
    at = client(person(*ACTS))
    assert "Why is it muted" in act(at, one, "mute", until="1h", reason="").content.decode()
    assert "Maintenance" in act(at, one, "mute", until="1h", reason="Maintenance").content.decode()
    one.refresh_from_db()
    quiet = incident(mine, muted_until=one.muted_until)
    quiet.rules.add(one)
    act(at, one, "unmute")
    quiet.refresh_from_db()
    assert quiet.muted_until is not None
    assert quiet.muted_until <= timezone.now()
    for name in ("off", "on", "delete"):
        act(at, one, name)
    assert not AlertRule.objects.exists()
    acts = AuditEvent.objects.filter(target_type="alertrule").order_by("pk").values_list("act", flat=True)
    assert list(acts) == ["muted", "unmuted", "switched_off", "switched_on", "deleted"]


def test_every_template_opens_a_form_and_fresh_installations_have_the_starters() -> None:
    from importlib import import_module

    from django.apps import apps
    from django.db import connection

    at = client(person(*ACTS))
    assert all(one.name in at.get(f"{RULES}add/").content.decode() for one in rule_templates.TEMPLATES)
    assert at.get(f"{RULES}add/?template=worker_silent").status_code == 200
    migration = import_module("monitoring.migrations.0004_starter_rules")
    editor = type("Editor", (), {"connection": connection})()
    migration.write(apps, editor), migration.write(apps, editor)
    columns = ("template", "name", "condition", "severity", "window")
    starters = [one for one in rule_templates.TEMPLATES if one.is_starter]
    wanted = {one.key: tuple(rule_templates.values(one)[name] for name in columns) for one in starters}
    assert {row[0]: row for row in AlertRule.objects.values_list(*columns)} == wanted
    assert all(one.limits == rule_templates.BY_KEY[one.template].limits for one in AlertRule.objects.all())


def test_past_of_many_syncs_stops_in_time_and_says_so(mine: Sync, theirs: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_past, "BUDGET_SECONDS", 0.0)
    past = rule_past.test(AlertRule(condition="run_failed"), user=person(*ACTS), now=timezone.now())
    assert (past.looked_count, past.scope_count) == (1, 2)
    assert "Looked at 1 of 2 syncs" in past.sentence


def test_past_of_a_busy_sync_misses_no_failure_but_thins_out_baselines() -> None:
    now = timezone.now()
    begin, quarter = now - timedelta(days=7), timedelta(minutes=15)
    here = ConnectionFact(1, "c", "destination", "ok", "", None)
    bad = {3, 77, 300, 671}
    runs = [
        RunFact(n, "failed" if n in bad else "succeeded", True, begin, begin, begin + n * quarter, read=9)
        for n in range(1, 672)
    ]
    busy = Facts(1, "busy", now, begin, here, here, runs=tuple(reversed(runs)))
    found = rule_past.judged(Condition.RUN_FAILED, busy, DEFAULTS, begin)
    assert ([one.began_at for one in found[0]], found[2]) == ([begin + n * quarter for n in sorted(bad)], 671)
    assert rule_past.judged(Condition.VOLUME, busy, DEFAULTS, begin)[2] <= rule_past.MOMENTS_OF_BASELINES


def test_severity_of_an_expiring_login_is_no_page(mine: Sync) -> None:
    loud = AlertRule(condition="credential", severity="page")
    assert alert_rules.severity_of(loud, Finding(Condition.CREDENTIAL, Level.WARN, "c", "t", "x")) == Severity.WARNING
    assert alert_rules.severity_of(loud, Finding(Condition.CREDENTIAL, Level.FAIL, "c", "t", "x")) == Severity.PAGE
