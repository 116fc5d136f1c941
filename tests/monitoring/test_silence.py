"""Redrive notices when it stands still: workers that are silent, runs that nobody takes."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.core import checks
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client, override_settings
from django.utils import timezone

from monitoring.choices import IncidentState
from monitoring.models import AlertRule, Incident
from monitoring.services import silence, silence_watch
from syncs.models import Heartbeat, Run, Sync
from syncs.services import heartbeats
from tests import seeds

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock() -> Any:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def sync() -> Sync:
    return seeds.sync(*seeds.connections())


def beat(name: str = heartbeats.TICK, seconds_ago: float = 0) -> None:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    Heartbeat.objects.update_or_create(name=name, defaults={"at": at, "note": "host:7"})


def found() -> list[tuple[str, str]]:
    return [(finding.cause, finding.text) for finding in silence.find(timezone.now())]


# -- workers


def test_fresh_installation_is_not_silent(sync: Sync):
    assert found() == []


def test_work_that_no_worker_ever_took_is_found(sync: Sync):
    Sync.objects.filter(pk=sync.pk).update(schedule_kind="interval", interval_minutes=5, next_run_at=NOW - timedelta(minutes=7))
    assert found() == [("platform:worker_silent", "Work has been waiting for 7 min, and no worker has ever ticked.")]


@pytest.mark.parametrize(("ago", "is_silent"), [(0, False), (119, False), (121, True), (3 * 86_400, True)])
def test_worker_is_silent_after_the_limit(ago: float, is_silent: bool):
    beat(seconds_ago=ago)
    assert [cause for cause, _ in found()] == (["platform:worker_silent"] if is_silent else [])


def test_clock_behind_the_database_is_no_silence():
    beat(seconds_ago=-500)
    assert found() == []


# -- queues


def waits(sync: Sync, minutes: float, **values: Any) -> Run:
    at = timezone.now() - timedelta(minutes=minutes)
    return Run.objects.create(sync=sync, status="queued", queued_at=at, **values)


def after(clock: Any, minutes: float) -> list[str]:
    """A tick beats and looks once a minute."""
    causes: list[str] = []
    for _ in range(round(minutes)):
        clock.shift(timedelta(minutes=1))
        beat()
        causes = [cause for cause, _ in found()]
    return causes


def test_run_that_nobody_takes_is_found_once_it_could_have_been_taken_for_long(sync: Sync, clock: Any):
    """It waited for hours behind another run: only from then on does its wait count."""
    waits(sync, 300)
    assert after(clock, 10) == []
    assert after(clock, 1) == []
    assert after(clock, 1) == ["platform:queue_stuck"]
    Run.objects.filter(sync=sync).update(status="cancelled", finished_at=NOW)
    assert after(clock, 1) == []


def test_queue_that_moves_is_not_stuck(sync: Sync, clock: Any):
    for number in range(4):
        waits(seeds.sync(sync.source, sync.destination, f"s{number}"), 60 - number)
    for _ in range(3):
        assert after(clock, 8) == []
        oldest = Run.objects.filter(status="queued").order_by("queued_at")[0]
        Run.objects.filter(pk=oldest.pk).update(status="cancelled", finished_at=timezone.now())


@pytest.mark.parametrize(("is_short", "expected"), [(False, []), (True, ["platform:queue_stuck"])])
def test_queue_behind_a_busy_worker_of_its_kind_is_not_stuck(sync: Sync, clock: Any, is_short: bool, expected: list[str]):
    other = seeds.sync(sync.source, sync.destination, "Long")
    seeds.run(other, "running", lease_until=NOW + timedelta(hours=1))
    waits(sync, 60, is_short=is_short)
    assert after(clock, 15) == expected


@pytest.mark.parametrize("held", [{"is_paused": True}, {"is_archived": True}])
def test_run_that_may_not_start_does_not_wait_for_a_worker(sync: Sync, clock: Any, held: dict[str, bool]):
    waits(sync, 60)
    Sync.objects.filter(pk=sync.pk).update(**held)
    assert after(clock, 15) == []


def test_a_look_costs_three_queries_and_writes_nothing_twice(sync: Sync, django_assert_num_queries: Any):
    beat()
    waits(sync, 1)
    found()
    with django_assert_num_queries(3):
        found()


# -- told


@pytest.fixture
def rule() -> AlertRule:
    rule, _ = AlertRule.objects.get_or_create(condition="worker_silent", defaults={"name": "Silent", "severity": "page"})
    return rule


def incident() -> Incident:
    return Incident.objects.get(condition="worker_silent")


def test_watch_opens_one_incident_and_the_next_tick_ends_it(sync: Sync, rule: AlertRule, clock: Any):
    beat(seconds_ago=300)
    for _ in range(3):
        assert silence_watch.watch(timezone.now()).took_over
        clock.shift(timedelta(minutes=1))
    assert incident().state == IncidentState.OPEN
    assert "The last tick was" in incident().text
    beat()
    silence_watch.tick(timezone.now())
    assert incident().state == IncidentState.RESOLVED
    assert not silence_watch.watch(timezone.now()).took_over


def test_watch_judges_the_syncs_while_no_worker_does(sync: Sync, rule: AlertRule):
    beat(seconds_ago=300)
    seeds.run(sync, "failed", failure_message="No host.")
    assert silence_watch.watch(timezone.now()).judged == 1
    sync.refresh_from_db()
    assert sync.status == "failing"


def test_silence_is_told_once_and_not_by_every_sync_that_becomes_late(sync: Sync, rule: AlertRule, clock: Any):
    AlertRule.objects.get_or_create(condition="late", defaults={"name": "Late", "severity": "page"})
    for number in range(3):
        one = seeds.sync(sync.source, sync.destination, f"s{number}")
        seeds.run(one, minutes_ago=70)
        Sync.objects.filter(pk=one.pk).update(
            schedule_kind="interval", interval_minutes=5, next_run_at=NOW - timedelta(minutes=60)
        )
    beat(seconds_ago=3600)
    assert silence_watch.watch(timezone.now()).judged == 4
    late = Incident.objects.filter(condition="late")
    assert [one.follows_id for one in late] == [incident().pk] * 3


def test_watch_goes_on_when_one_part_fails(sync: Sync, rule: AlertRule, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(silence_watch.alerts, "apply_platform", broken)
    beat(seconds_ago=300)
    seeds.run(sync, "failed", failure_message="No host.")
    seen = silence_watch.watch(timezone.now())
    assert (len(seen.findings), seen.judged) == (1, 1)


def watch() -> tuple[int, str]:
    said, wrong = io.StringIO(), io.StringIO()
    try:
        call_command("watch", stdout=said, stderr=wrong)
    except SystemExit as end:
        return int(str(end.code)), said.getvalue() + wrong.getvalue()
    return 0, said.getvalue()


def test_watch_says_by_its_exit_code_what_it_saw(rule: AlertRule, monkeypatch: pytest.MonkeyPatch):
    beat()
    assert watch() == (0, "watch: all is well\n")
    beat(seconds_ago=600)
    code, said = watch()
    assert code == 1
    assert said.startswith("watch: No worker gives a sign of life. The last tick was 10 min ago, the limit is 2 min.")
    assert "python manage.py retl_worker" in said

    def gone(now: datetime) -> None:
        raise OperationalError("password=hunter2")

    monkeypatch.setattr(silence, "find", gone)
    assert watch() == (2, "watch: the database does not answer (OperationalError); nothing was looked at\n")


# -- shown


@pytest.mark.parametrize(("ago", "words"), [(5, ""), (900, "No worker has given a sign of life for 15 min")])
def test_people_who_wait_are_told_that_no_worker_lives(sync: Sync, admin_client: Client, ago: float, words: str):
    run = waits(sync, 1)
    assert "No worker has run yet" in admin_client.get("/admin/").content.decode()
    beat(seconds_ago=ago)
    for address in ("/admin/", f"/admin/syncs/run/{run.pk}/change/"):
        page = admin_client.get(address).content.decode()
        assert ("No worker has" in page) == bool(words)
        assert words in page


def test_wrong_knobs_are_named_at_the_start():
    knobs = {**settings.RETL, "METRICS_TOKENS": ("short",), "METRICS_NETWORKS": ("intranet",), "WORKER_SILENCE_SECONDS": 5}
    with override_settings(RETL=knobs):
        said = sorted(str(one.msg) for one in checks.run_checks() if str(one.id).startswith("monitoring."))
    assert [text.split(" must")[0].split(". ")[0] for text in said] == [
        "RETL_WORKER_SILENCE_SECONDS is 5: less than 30 seconds would cry wolf.",
        "Token 1 of RETL_METRICS_TOKENS",
        "“intranet” is not a network",
    ]
