"""What a run came to is added to its hour and its day in the transaction that ends it, and its sync is noted as touched."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import connection, transaction

from syncs.models import Connection, Run, RunPeriod, Sync, SyncDay, SyncHour, SyncTouch
from syncs.services import credentials, periods, runs, schedules, touches
from syncs.services import syncs as sync_service
from tests import seeds
from tests.factories import World

pytestmark = pytest.mark.django_db
END = datetime(2026, 3, 4, 9, 59, 30, tzinfo=UTC)


@pytest.fixture
def sync() -> Sync:
    return seeds.sync(*seeds.connections())


def ended(sync: Sync, status: str, at: datetime, *, seconds: int = 90, refused: int = 0) -> int:
    values = {"finished_at": at, "started_at": at - timedelta(seconds=seconds)}
    return seeds.run(sync, status, refused=refused, **values).pk


def test_runs_add_up_by_hour_and_day(sync: Sync):
    for status, at, seconds, refused in (
        ("succeeded", END, 90, 0),
        ("partial", END + timedelta(seconds=10), 30, 12),
        ("failed", END + timedelta(minutes=1), 5, 0),
        ("cancelled", END + timedelta(hours=20), 1, 0),
    ):
        assert periods.add(ended(sync, status, at, seconds=seconds, refused=refused)) == sync.pk
    hours = list(SyncHour.objects.filter(sync=sync))
    assert [hour.starts_at.hour for hour in hours] == [9, 10, 5]
    first = hours[0]
    assert (first.run_count, first.succeeded_count, first.partial_count, first.failed_count) == (2, 1, 1, 0)
    assert (first.read_count, first.dead_lettered_count) == (2000, 12)
    assert (first.milliseconds, first.slowest_ms) == (120_000, 90_000)
    days = {day.starts_at: day for day in SyncDay.objects.filter(sync=sync)}
    assert {at.day: day.run_count for at, day in days.items()} == {4: 3, 5: 1}
    assert days[datetime(2026, 3, 4, tzinfo=UTC)].pending_count == 100
    assert days[datetime(2026, 3, 5, tzinfo=UTC)].cancelled_count == 1


def test_skipped_run_is_counted_and_nothing_else(sync: Sync):
    run = seeds.run(sync, "skipped", finished_at=END)
    periods.add(run.pk)
    hour = SyncHour.objects.get(sync=sync)
    assert (hour.skipped_run_count, hour.run_count, hour.read_count, hour.milliseconds) == (1, 0, 0, 0)


def test_run_that_goes_on_cannot_be_counted(sync: Sync):
    with pytest.raises(AssertionError, match="has not ended"):
        periods.add(seeds.run(sync, "running").pk)


def figures(model: type[RunPeriod], sync: Sync) -> list[int]:
    period = model._default_manager.get(sync=sync)
    return [period.run_count, period.succeeded_count, period.failed_count, period.cancelled_count, period.read_count]


@pytest.mark.django_db(transaction=True)
def test_every_end_of_a_run_is_counted_once(tmp_path: Path):
    world = World(tmp_path, [(1, "Ann", 30), (2, "Bo", 31)])
    world.run()
    assert figures(SyncHour, world.sync) == figures(SyncDay, world.sync) == [1, 1, 0, 0, 2]
    waiting = runs.request(sync=world.sync, trigger="manual")
    assert runs.end_queued(waiting, "Cancelled.")
    assert not runs.end_queued(waiting, "Cancelled.")
    claim = runs.claim(run_id=runs.request(sync=world.sync, trigger="manual").pk, worker="test")
    assert claim is not None
    assert runs.abandon(claim, "It broke.")
    assert not runs.abandon(claim, "It broke again.")
    assert figures(SyncDay, world.sync) == [3, 1, 1, 1, 2]


def test_end_that_is_rolled_back_leaves_no_trace(sync: Sync):
    run = runs.request(sync=sync, trigger="manual")
    with transaction.atomic():
        runs.end_queued(run, "Cancelled.")
        assert SyncTouch.objects.filter(sync=sync).exists()
        transaction.set_rollback(True)
    assert not SyncTouch.objects.filter(sync=sync).exists()
    assert not SyncHour.objects.filter(sync=sync).exists()


def elsewhere(sync: Sync) -> Connection:
    return Connection.objects.create(name="Elsewhere", role="destination", kind=sync.destination.kind)


def test_pause_schedule_and_credential_touch_their_syncs(sync: Sync):
    other = seeds.sync(sync.source, elsewhere(sync), "Other")
    sync_service.pause(sync, by=None)
    sync_service.pause(sync, by=None)  # was paused already
    sync_service.resume(sync, by=None)
    assert SyncTouch.objects.filter(sync=sync).count() == 3  # paused, resumed, rescheduled
    schedules.reschedule(sync)
    credentials.lost(sync.destination_id, "The destination has ended the login.")
    assert SyncTouch.objects.filter(sync=sync).count() == 5
    assert not SyncTouch.objects.filter(sync=other).exists()
    Sync.objects.filter(pk=other.pk).update(is_archived=True)
    touches.touch_connection(sync.source_id)
    assert SyncTouch.objects.filter(sync=sync).count() == 6
    assert not SyncTouch.objects.filter(sync=other).exists()


@pytest.mark.django_db(transaction=True)
def test_failure_of_the_sync_itself_blames_no_connection(tmp_path: Path):
    world = World(tmp_path, [(1, "Ann", 30)])
    world.sync.mappings.filter(destination_field="age").update(column="shoe_size")
    run = world.run()
    assert (run.status, run.failure_code, run.failure_role) == ("failed", "config", "")
    world.sql("DROP TABLE people")
    run = world.run()
    assert (run.status, run.failure_role) == ("failed", "")


@pytest.mark.django_db(transaction=True)
def test_warehouse_that_is_gone_is_blamed(tmp_path: Path):
    world = World(tmp_path, [(1, "Ann", 30)])
    world.warehouse.unlink()
    run: Run = world.run()
    assert (run.status, run.failure_role) == ("failed", "source")


def test_runs_of_before_are_counted_alike_by_the_migration(sync: Sync):
    for status, at, seconds, refused in (
        ("succeeded", END, 90, 0),
        ("partial", END + timedelta(seconds=10, microseconds=250_000), 30, 12),
        ("failed", END + timedelta(hours=20), 5, 0),
        ("skipped", END, 0, 0),
    ):
        periods.add(ended(sync, status, at, seconds=seconds, refused=refused))
    ended(sync, "cancelled", END + timedelta(days=2))  # in an hour that nobody has counted
    seeds.run(sync, "running")
    kept = everything()
    SyncHour.objects.all().delete()
    SyncDay.objects.all().delete()
    fill = importlib.import_module("syncs.migrations.0012_fill_periods").fill
    with connection.cursor() as cursor:
        fill(None, SimpleNamespace(connection=connection, execute=cursor.execute))
        filled = everything()
        fill(None, SimpleNamespace(connection=connection, execute=cursor.execute))
    assert everything() == filled
    assert [line for line in filled if line["cancelled_count"] == 0] == kept
    assert len(filled) == len(kept) + 2


def everything() -> list[dict[str, object]]:
    names = [field.name for field in RunPeriod._meta.fields]
    return [line for model in (SyncHour, SyncDay) for line in model.objects.order_by("starts_at").values("sync", *names)]
