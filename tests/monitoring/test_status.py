from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from dlq.models import ErrorGroup
from monitoring.models import StatusChange
from monitoring.services import evaluation, facts
from syncs.models import Run, Sync
from syncs.services import syncs as sync_service
from syncs.services import worker
from tests import seeds
from tests.factories import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def sync() -> Sync:
    return seeds.sync(*seeds.connections())


def status(sync: Sync) -> tuple[str, str]:
    sync.refresh_from_db()
    return sync.status, sync.status_reason


def test_sync_without_runs_is_unconfigured(sync: Sync):
    assert evaluation.judge(sync.pk)
    assert status(sync) == ("unconfigured", "Never ran.")
    assert not StatusChange.objects.exists()


@pytest.mark.parametrize(
    ("run", "expected", "words"),
    [
        ({"status": "succeeded"}, "healthy", ""),
        ({"status": "partial", "refused": 12}, "degraded", "Last run dead-lettered 12 of 1,000 rows; 0 open."),
        (
            {"status": "failed", "failure_message": "The host could not be reached."},
            "failing",
            "The host could not be reached.",
        ),
        ({"status": "failed", "reason": "The run ended with unsettled rows."}, "failing", "The run ended with unsettled rows."),
    ],
)
def test_last_ended_run_decides(sync: Sync, run: dict[str, Any], expected: str, words: str):
    seeds.run(sync, "failed", failure_message="earlier")
    seeds.run(sync, **run)
    for silent in ("cancelled", "skipped", "queued", "running"):
        seeds.run(sync, silent)
    assert evaluation.judge(sync.pk)
    assert status(sync) == (expected, words)


def test_open_dead_letters_keep_a_sync_degraded_until_they_are_closed(sync: Sync):
    run = seeds.run(sync, "partial", read=28_298, refused=714)
    seeds.entries(run, 714)
    evaluation.judge(sync.pk)
    assert status(sync) == ("degraded", "Last run dead-lettered 714 of 28,298 rows; 714 open.")
    seeds.run(sync)
    evaluation.judge(sync.pk)
    assert status(sync) == ("degraded", "Last run succeeded, but 714 dead letters of earlier runs are open.")
    ErrorGroup.objects.filter(sync=sync).update(open_count=1)
    evaluation.judge(sync.pk)
    assert status(sync)[1] == "Last run succeeded, but 1 dead letter of earlier runs is open."
    ErrorGroup.objects.filter(sync=sync).update(open_count=0)
    evaluation.judge(sync.pk)
    assert status(sync) == ("healthy", "")


def test_reprocess_does_not_make_a_degraded_sync_healthy(sync: Sync):
    seeds.run(sync, "partial", refused=5)
    seeds.run(sync, "succeeded", trigger="reprocess")
    evaluation.judge(sync.pk)
    assert status(sync)[0] == "degraded"


def test_failed_reprocess_makes_a_sync_failing(sync: Sync):
    seeds.run(sync)
    seeds.run(sync, "failed", trigger="reprocess", failure_message="The token was refused.")
    evaluation.judge(sync.pk)
    assert status(sync) == ("failing", "The token was refused.")


@pytest.mark.parametrize("code", ["config", "address_refused"])
def test_sync_that_its_set_up_never_let_run_is_unconfigured(sync: Sync, code: str):
    seeds.run(sync, "failed", failure_code=code, failure_message="The query has no column “id”.")
    evaluation.judge(sync.pk)
    assert status(sync) == ("unconfigured", "The query has no column “id”.")


def test_sync_that_has_worked_and_lost_its_set_up_is_failing(sync: Sync):
    seeds.run(sync)
    seeds.run(sync, "failed", failure_code="config", failure_message="The query has no column “id”.")
    evaluation.judge(sync.pk)
    assert status(sync) == ("failing", "The query has no column “id”.")


def test_since_moves_with_the_status_only(sync: Sync):
    seeds.run(sync, "failed", failure_message="first")
    evaluation.judge(sync.pk)
    status(sync)
    since = sync.status_since
    seeds.run(sync, "failed", failure_message="second")
    assert evaluation.judge(sync.pk)
    assert status(sync) == ("failing", "second")
    assert sync.status_since == since
    assert [change.after for change in StatusChange.objects.all()] == ["failing"]
    seeds.run(sync)
    assert evaluation.judge(sync.pk)
    status(sync)
    assert sync.status_since > since


def test_archived_and_unknown_syncs_are_left_alone(sync: Sync):
    seeds.run(sync)
    Sync.objects.filter(pk=sync.pk).update(is_archived=True)
    assert not evaluation.judge(sync.pk)
    assert not evaluation.judge(10**9)
    assert evaluation.judge_due() == 0
    assert status(sync)[0] == "unconfigured"


def test_verdict_on_older_facts_never_replaces_a_newer_one(sync: Sync, monkeypatch: pytest.MonkeyPatch):
    """Between reading and writing, somebody pauses the sync."""
    seeds.run(sync, "failed", failure_message="old")
    read = [facts.load(sync.pk, timezone.now())]
    Sync.objects.filter(pk=sync.pk).update(is_paused=True, pause_reason="rotation")
    load = facts.load
    monkeypatch.setattr(facts, "load", lambda *given: read.pop() if read else load(*given))
    assert evaluation.judge(sync.pk)
    assert status(sync) == ("paused", "rotation")
    assert not read
    assert [change.after for change in StatusChange.objects.all()] == ["paused"]


@pytest.mark.django_db(transaction=True)
def test_pause_and_resume_show_at_once(sync: Sync):
    seeds.run(sync)
    evaluation.judge(sync.pk)
    sync_service.pause(sync, by=None, reason="rotation")
    assert status(sync) == ("paused", "rotation")
    sync_service.resume(sync, by=None)
    assert status(sync) == ("healthy", "")


@pytest.mark.django_db(transaction=True)
def test_end_of_a_run_moves_the_status(tmp_path: Path):
    world = World(tmp_path, [(1, "Ann", 30), (2, "Bo", "old")])
    world.run()
    assert status(world.sync) == ("degraded", "Last run dead-lettered 1 of 2 rows; 1 open.")
    world.sql("UPDATE people SET age = 40 WHERE id = 2")
    world.run()
    assert status(world.sync) == ("healthy", "")


@pytest.mark.django_db(transaction=True)
def test_run_that_cannot_start_leaves_the_sync_unconfigured(tmp_path: Path):
    world = World(tmp_path, [(1, "Ann", 30)])
    world.sync.mappings.filter(destination_field="age").update(column="shoe_size")
    run = world.run()
    assert (run.status, run.failure_code) == ("failed", "config")
    assert status(world.sync)[0] == "unconfigured"
    assert "shoe_size" in status(world.sync)[1]


@pytest.mark.django_db(transaction=True)
def test_tick_heals_a_status_whose_signal_was_lost(sync: Sync):
    seeds.run(sync)
    assert status(sync)[0] == "unconfigured"
    worker.tick()
    assert status(sync)[0] == "healthy"


@pytest.mark.django_db(transaction=True)
def test_tick_goes_on_when_the_roll_up_breaks(sync: Sync, monkeypatch: pytest.MonkeyPatch):
    def broken() -> int:
        raise RuntimeError("broken")

    monkeypatch.setattr(evaluation, "judge_due", broken)
    Sync.objects.filter(pk=sync.pk).update(schedule_kind="interval", interval_minutes=5, next_run_at=timezone.now())
    assert worker.tick().started == 1
    assert Run.objects.filter(sync=sync).exists()


def test_drift_degrades_a_sync_until_it_is_settled_and_failing_wins(sync: Sync):
    seeds.run(sync)
    Sync.objects.filter(pk=sync.pk).update(drift_since=timezone.now(), drift_reason="the new field “tier” is required")
    assert evaluation.judge(sync.pk)
    assert status(sync) == ("degraded", "Destination schema changed: the new field “tier” is required.")
    seeds.run(sync, "failed", failure_message="The host could not be reached.")
    evaluation.judge(sync.pk)
    assert status(sync) == ("failing", "The host could not be reached.")
    seeds.run(sync)
    Sync.objects.filter(pk=sync.pk).update(drift_since=None, drift_reason="")
    evaluation.judge(sync.pk)
    assert status(sync) == ("healthy", "")
