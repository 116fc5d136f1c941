"""Who is judged, when, and at what cost; and what a judgement reads."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dlq.models import DLQEntry, ErrorGroup
from monitoring.models import DepthHour, StatusChange, SyncPolicy, SyncWatch
from monitoring.services import depth_hours, evaluation, facts
from syncs.models import Run, Sync, SyncTouch
from syncs.services import archives, periods, touches
from tests import seeds

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)  # a Wednesday


@pytest.fixture
def sync() -> Sync:
    return seeds.sync(*seeds.connections())


def several(first: Sync, count: int) -> list[Sync]:
    made = [first, *(seeds.sync(first.source, first.destination, f"{first.name} {number}") for number in range(1, count))]
    for one in made:
        seeds.run(one)
    return made


def cost(expected: int, now: datetime | None = None) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert evaluation.judge_due(now) == expected
    return len(queries)


def test_cost_follows_what_changed(sync: Sync):
    syncs = several(sync, 6)
    assert evaluation.judge_due() == 6
    nothing = cost(0)
    assert nothing == 5
    touches.touch(syncs[0].pk)
    one = cost(1) - nothing
    touches.touch_many(one.pk for one in syncs[:3])
    assert cost(3) - nothing == 3 * one
    several(seeds.sync(sync.source, sync.destination, "More"), 12)
    evaluation.judge_due()
    assert cost(0) == nothing
    touches.touch(syncs[0].pk)
    assert cost(1) - nothing == one
    assert one <= 24


def test_touch_that_comes_while_a_sync_is_judged_stays(sync: Sync, monkeypatch: pytest.MonkeyPatch):
    seeds.run(sync)
    touches.touch(sync.pk)
    load = facts.load

    def meanwhile(*given: Any) -> Any:
        found = load(*given)
        touches.touch(sync.pk)
        return found

    monkeypatch.setattr(facts, "load", meanwhile)
    assert evaluation.judge(sync.pk)
    assert SyncTouch.objects.filter(sync=sync).count() == 1
    monkeypatch.undo()
    assert evaluation.judge_due() == 1
    assert not SyncTouch.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_sync_that_somebody_else_judges_is_left_to_them(sync: Sync):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time: the second judgement waits")
    seeds.run(sync)
    evaluation.judge(sync.pk)
    touches.touch(sync.pk)
    done: list[bool] = []

    def elsewhere() -> None:
        try:
            done.append(evaluation.judge(sync.pk))
        finally:
            connections["default"].close()

    with transaction.atomic():
        assert SyncWatch.objects.select_for_update().get(sync=sync)
        other = threading.Thread(target=elsewhere)
        other.start()
        other.join(timeout=20)
    assert done == [False]
    assert SyncTouch.objects.filter(sync=sync).exists()
    assert evaluation.judge_due() == 1


def test_dead_letters_that_come_or_go_without_a_run_are_noticed(sync: Sync):
    group = seeds.entries(seeds.run(sync, "partial", refused=3), 3)
    evaluation.judge_due()
    seeds.run(sync)
    ErrorGroup.objects.filter(pk=group.pk).update(open_count=0)
    assert evaluation.judge_due() == 1
    sync.refresh_from_db()
    assert (sync.status, SyncWatch.objects.get(sync=sync).depth) == ("healthy", 0)
    ErrorGroup.objects.filter(pk=group.pk).update(open_count=2)
    assert evaluation.judge_due() == 1
    assert evaluation.judge_due() == 0


def test_time_alone_makes_a_sync_late(sync: Sync):
    slot = NOW + timedelta(hours=1)
    Sync.objects.filter(pk=sync.pk).update(schedule_kind="interval", interval_minutes=60, next_run_at=slot)
    seeds.run(sync, started_at=NOW - timedelta(minutes=5), finished_at=NOW)
    assert evaluation.judge_due(NOW) == 1
    assert SyncWatch.objects.get(sync=sync).due_at == slot + timedelta(minutes=15)
    assert evaluation.judge_due(slot) == 0
    assert evaluation.judge_due(slot + timedelta(minutes=15)) == 1
    sync.refresh_from_db()
    assert sync.status == "degraded"
    assert sync.status_reason.startswith("The run that was due at 2026-03-04 13:30 UTC")
    change = StatusChange.objects.filter(sync=sync).first()
    assert change is not None
    assert (change.before, change.after, change.conditions) == ("healthy", "degraded", ["late"])
    assert SyncWatch.objects.get(sync=sync).findings[0]["condition"] == "late"


def test_one_sync_that_cannot_be_judged_keeps_no_other_from_it(sync: Sync, monkeypatch: pytest.MonkeyPatch):
    syncs = several(sync, 3)
    load = facts.load

    def broken(sync_id: int, now: datetime) -> Any:
        if sync_id == syncs[1].pk:
            raise RuntimeError("broken")
        return load(sync_id, now)

    monkeypatch.setattr(facts, "load", broken)
    assert evaluation.judge_due() == 2
    monkeypatch.undo()
    assert evaluation.judge_due() == 1
    assert {one.status for one in Sync.objects.all()} == {"healthy"}


def test_archived_sync_leaves_nothing_to_judge(sync: Sync):
    seeds.run(sync)
    evaluation.judge_due()
    archives.archive(sync, by=None, door="cli")
    assert SyncTouch.objects.filter(sync=sync).exists()
    assert evaluation.judge_due() == 0
    assert not SyncTouch.objects.exists()
    assert not SyncWatch.objects.exists()
    archives.unarchive(sync, by=None, door="cli")
    assert evaluation.judge_due() == 1


def test_thresholds_of_a_sync_decide(sync: Sync):
    seeds.run(sync, "failed", failure_message="gone")
    SyncPolicy.objects.create(sync=sync, failures_to_fail=2)
    evaluation.judge(sync.pk)
    sync.refresh_from_db()
    assert sync.status == "degraded"
    SyncPolicy.objects.update(failures_to_fail=None)
    evaluation.judge(sync.pk)
    sync.refresh_from_db()
    assert (sync.status, sync.status_reason) == ("failing", "gone")


# --- facts


def test_facts_hold_what_the_database_says(sync: Sync):
    Sync.objects.filter(pk=sync.pk).update(
        schedule_kind="cron", cron="15 6 * * 1-5", timezone="Europe/Berlin", next_run_at=NOW + timedelta(hours=16)
    )
    sync.tags.create(name="crm")
    end = datetime(2026, 2, 27, 5, 20, tzinfo=UTC)  # a Friday
    good = seeds.run(sync, "partial", refused=10, started_at=end, finished_at=end + timedelta(minutes=1), queued_at=end)
    Run.objects.filter(pk=good.pk).update(error_summary=seeds._summary(), vanished_count=0)
    seeds.run(sync, "succeeded", trigger="reprocess", started_at=NOW, finished_at=NOW)
    seeds.run(sync, "succeeded", options={"keys": ["1"]}, started_at=NOW, finished_at=NOW)
    seeds.run(sync, "cancelled", finished_at=NOW)
    seeds.run(sync, "queued", queued_at=NOW - timedelta(minutes=4), not_before=NOW - timedelta(minutes=2))
    periods.add(good.pk)
    group = seeds.entries(good, 4)
    DLQEntry.objects.filter(group=group).update(first_failed_at=end)
    ErrorGroup.objects.filter(pk=group.pk).update(first_seen_at=NOW - timedelta(days=6), first_run=good)
    found = facts.load(sync.pk, NOW)
    assert found is not None
    assert [run.is_regular for run in found.runs] == [False, False, True]
    assert found.regular_runs[0].errors[0][0] == "validation"
    assert found.period_seconds == 3 * 86_400
    assert found.third_slot_at == datetime(2026, 3, 4, 5, 15, tzinfo=UTC)  # Monday, Tuesday, Wednesday
    assert found.waiting_since == NOW - timedelta(minutes=2)
    assert (found.depth, found.oldest_failed_at, found.tags) == (4, end, frozenset({"crm"}))
    assert [(one.error_type, one.count, one.field) for one in found.open_errors] == [("validation", 4, "phone")]
    assert [(one.kind, one.run_id) for one in found.groups] == [("new", good.pk)]
    assert [(day.runs, day.dead_lettered) for day in found.days] == [(1, 10)]
    ErrorGroup.objects.filter(pk=group.pk).update(state="regressed", state_changed_at=NOW)
    assert [one.kind for one in facts.load(sync.pk, NOW).groups] == ["regressed"]
    ErrorGroup.objects.filter(pk=group.pk).update(state="acknowledged")
    assert facts.load(sync.pk, NOW).groups == ()


def test_facts_of_the_past_are_those_of_then(sync: Sync):
    for ago in (60, 30, 2):
        at = NOW - timedelta(hours=ago)
        seeds.run(sync, "partial" if ago == 30 else "succeeded", refused=ago == 30, started_at=at, finished_at=at)
    DepthHour.objects.create(sync=sync, hour=NOW - timedelta(hours=29), open_count=7)
    DepthHour.objects.create(sync=sync, hour=NOW - timedelta(hours=3), open_count=0)
    found = facts.load(sync.pk, NOW, past=timedelta(days=7))
    assert found is not None
    then = found.as_of(NOW - timedelta(hours=20))
    assert (len(found.runs), len(then.runs), then.runs[0].status, then.depth) == (3, 2, "partial", 7)
    assert found.as_of(NOW).depth == 0


def test_scheduled_sync_without_a_slot_says_so(sync: Sync):
    Sync.objects.filter(pk=sync.pk).update(schedule_kind="interval", interval_minutes=60)
    seeds.run(sync)
    evaluation.judge(sync.pk)
    sync.refresh_from_db()
    assert (sync.status, sync.status_reason.startswith("The schedule has no next slot")) == ("failing", True)


# --- depth by the hour


def test_depth_is_kept_once_an_hour_and_comes_down_to_zero(sync: Sync, django_assert_num_queries: Any):
    group = seeds.entries(seeds.run(sync, "partial", refused=3), 3)
    oldest = DLQEntry.objects.filter(group=group).values_list("first_failed_at", flat=True)[0]
    assert depth_hours.keep(NOW) == 1
    with django_assert_num_queries(1):
        assert depth_hours.keep(NOW + timedelta(minutes=20)) == 0
    ErrorGroup.objects.update(open_count=0)
    assert depth_hours.keep(NOW + timedelta(hours=3)) == 1
    assert depth_hours.keep(NOW + timedelta(hours=4)) == 0
    kept = DepthHour.objects.values_list("hour", "open_count", "oldest_failed_at")
    hour = NOW.replace(minute=0)
    assert list(kept) == [(hour, 3, oldest), (hour + timedelta(hours=3), 0, None)]


def test_depth_that_two_ticks_keep_at_once_is_kept_once(sync: Sync, monkeypatch: pytest.MonkeyPatch):
    seeds.entries(seeds.run(sync, "partial", refused=3), 3)
    depths = depth_hours.depths

    def overtaken() -> dict[int, int]:
        monkeypatch.setattr(depth_hours, "depths", depths)
        depth_hours.keep(NOW)
        return depths()

    monkeypatch.setattr(depth_hours, "depths", overtaken)
    depth_hours.keep(NOW)
    assert DepthHour.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_tick_keeps_the_depth(sync: Sync):
    from syncs.services import worker

    seeds.entries(seeds.run(sync, "partial", refused=3), 3)
    worker.tick()
    assert [one.open_count for one in DepthHour.objects.filter(hour__lte=timezone.now())] == [3]
