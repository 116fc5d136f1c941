from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.utils import timezone

from syncs.choices import OverlapPolicy, RunStatus, ScheduleKind, Trigger
from syncs.engine.ports import Counts
from syncs.errors import ConfigError
from syncs.models import Run, Sync
from syncs.services import runs, schedules
from tests.syncs.objects import claimed, make_connection, make_sync, queued

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cron_sync(cron: str, zone: str = "UTC") -> Sync:
    return Sync(schedule_kind=ScheduleKind.CRON, cron=cron, timezone=zone)


def shown(sync: Sync, after: str, count: int = 3) -> list[str]:
    return [f"{moment:%d %H:%M}" for moment in schedules.firings(sync, after=at(after), count=count)]


# -- firings


@pytest.mark.parametrize(
    "cron, zone, after, expected",
    [
        ("15 6 * * 1-5", "UTC", "2026-11-20T06:15", ["23 06:15", "24 06:15", "25 06:15"]),  # Friday; the slot itself is past
        ("@hourly", "UTC", "2026-11-20T06:15", ["20 07:00", "20 08:00", "20 09:00"]),
        ("@daily", "Europe/Berlin", "2026-11-20T06:15", ["20 23:00", "21 23:00", "22 23:00"]),
        ("@weekly", "UTC", "2026-11-20T06:15", ["22 00:00", "29 00:00", "06 00:00"]),
        ("@monthly", "UTC", "2026-11-20T06:15", ["01 00:00", "01 00:00", "01 00:00"]),
        # Spring: 02:30 does not exist on 29 March 2026 in Berlin; it fires once, right after the gap (03:00 = 01:00 UTC).
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00", ["28 01:30", "29 01:00", "30 00:30"]),
        # Autumn: 02:30 comes twice on 25 October 2026; it fires at the first one.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00", ["24 00:30", "25 00:30", "26 01:30"]),
        # Asked in the second 02:15: the first 02:45 is past and must not come again.
        ("45 2 * * *", "Europe/Berlin", "2026-10-25T01:15", ["26 01:45", "27 01:45", "28 01:45"]),
        # Every half hour goes on through both doubled hours.
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15", ["25 00:30", "25 01:00", "25 01:30"]),
    ],
)
def test_cron_fires(cron: str, zone: str, after: str, expected: list[str]):
    assert shown(cron_sync(cron, zone), after) == expected


def test_interval_fires_on_from_the_slot_that_is_set():
    sync = Sync(schedule_kind=ScheduleKind.INTERVAL, interval_minutes=90, next_run_at=at("2026-11-20T07:00"))
    assert shown(sync, "2026-11-20T06:15") == ["20 07:00", "20 08:30", "20 10:00"]
    sync.next_run_at = None
    assert shown(sync, "2026-11-20T06:15") == ["20 07:45", "20 09:15", "20 10:45"]


def test_manual_never_fires():
    assert schedules.firings(Sync()) == []


# -- validation


@pytest.mark.parametrize(
    "values, field, words",
    [
        (("cron", None, "0 0 6 * * 1", "UTC"), "cron", "five fields, this one has 6"),
        (("cron", None, "", "UTC"), "cron", "this one has 0"),
        (("cron", None, "@reboot", "UTC"), "cron", "this one has 1"),
        (("cron", None, "61 * * * *", "UTC"), "cron", "Bad minute"),
        (("cron", None, "0 0 31 2 *", "UTC"), "cron", "Bad day-of-month"),
        (("cron", None, "0 0 * * 5L/2", "UTC"), "cron", "cannot be read"),
        (("cron", None, "*/0 * * * *", "UTC"), "cron", "cannot be read"),
        (("interval", None, "", "UTC"), "interval_minutes", "from 1 to"),
        (("interval", 0, "", "UTC"), "interval_minutes", "from 1 to"),
        (("interval", 10**9, "", "UTC"), "interval_minutes", "from 1 to"),
        (("manual", None, "", "Mars/Olympus"), "timezone", "IANA"),
        (("manual", None, "", "../etc/passwd"), "timezone", "IANA"),
        (("manual", None, "", "Europe"), "timezone", "IANA"),
        (("manual", None, "", ""), "timezone", "IANA"),
        (("weekly", None, "", "UTC"), "schedule_kind", "weekly"),
    ],
)
def test_bad_schedule_is_named_with_field_and_remedy(values: tuple[Any, ...], field: str, words: str):
    issues = schedules.validate_schedule(*values)
    assert [issue.field for issue in issues] == [field]
    assert words in issues[0].message


@pytest.mark.parametrize(
    "values", [("cron", None, "0 0 29 2 *", "Asia/Kolkata"), ("cron", None, "@Daily", "UTC"), ("interval", 5, "", "UTC")]
)
def test_good_schedule_has_no_issues(values: tuple[Any, ...]):
    assert schedules.validate_schedule(*values) == []


# -- reschedule


@pytest.mark.django_db
def test_reschedule_counts_from_now():
    sync = make_sync(schedule_kind=ScheduleKind.INTERVAL, interval_minutes=15)
    assert schedules.reschedule(sync, now=at("2026-11-20T06:15")) == at("2026-11-20T06:30")
    assert Sync.objects.get(pk=sync.pk).next_run_at == at("2026-11-20T06:30")


@pytest.mark.django_db
@pytest.mark.parametrize("held", [{"is_paused": True}, {"is_archived": True}, {"schedule_kind": ScheduleKind.MANUAL}])
def test_reschedule_gives_no_slot_where_nothing_may_run(held: dict[str, Any]):
    values = {"schedule_kind": ScheduleKind.INTERVAL, "interval_minutes": 15, "next_run_at": at("2026-11-20T06:00"), **held}
    sync = make_sync(**values)
    assert schedules.reschedule(sync) is None
    assert Sync.objects.get(pk=sync.pk).next_run_at is None


@pytest.mark.django_db
def test_reschedule_of_a_bad_cron_names_the_field():
    with pytest.raises(ConfigError) as caught:
        schedules.reschedule(make_sync(schedule_kind=ScheduleKind.CRON, cron="nonsense"))
    assert caught.value.field == "cron"


# -- start_due

NOW = at("2026-11-20T10:00:30")
SLOT = at("2026-11-20T10:00")


def due_sync(**values: Any) -> Sync:
    defaults = {"schedule_kind": ScheduleKind.CRON, "cron": "*/10 * * * *", "next_run_at": SLOT}
    return make_sync(**{**defaults, **values})


@pytest.mark.django_db
def test_due_sync_is_started_once_and_moves_to_its_next_slot():
    sync = due_sync()
    (run,) = schedules.start_due(now=NOW)
    assert (run.status, run.trigger, run.scheduled_for, run.missed_count) == (RunStatus.QUEUED, Trigger.SCHEDULE, SLOT, 0)
    assert Sync.objects.get(pk=sync.pk).next_run_at == at("2026-11-20T10:10")
    assert schedules.start_due(now=NOW) == []


@pytest.mark.django_db
@pytest.mark.parametrize("values", [{}, {"schedule_kind": ScheduleKind.INTERVAL, "interval_minutes": 10, "cron": ""}])
def test_missed_slots_are_folded_into_one_run(values: dict[str, Any]):
    sync = due_sync(**values)
    (run,) = schedules.start_due(now=SLOT + timedelta(minutes=35))
    assert run.missed_count == 3
    assert Sync.objects.get(pk=sync.pk).next_run_at == at("2026-11-20T10:40")


@pytest.mark.django_db
def test_a_year_of_missed_minutes_is_caught_up_in_one_step():
    sync = due_sync(cron="* * * * *")
    (run,) = schedules.start_due(now=SLOT + timedelta(days=365, seconds=5))
    assert run.missed_count == 1000
    assert Sync.objects.get(pk=sync.pk).next_run_at == SLOT + timedelta(days=365, minutes=1)


@pytest.mark.django_db
@pytest.mark.parametrize("held", [{"is_paused": True}, {"is_archived": True}, {"next_run_at": NOW + timedelta(seconds=1)}])
def test_what_is_not_due_is_left_alone(held: dict[str, Any]):
    due_sync(**held)
    assert schedules.start_due(now=NOW) == []


@pytest.mark.django_db
def test_overlap_skip_records_a_skipped_run_with_its_reason():
    sync = due_sync(overlap_policy=OverlapPolicy.SKIP)
    live, _ = claimed(sync)
    (run,) = schedules.start_due(now=NOW)
    assert (run.status, run.scheduled_for) == (RunStatus.SKIPPED, SLOT)
    assert run.reason == f"Run {live.pk} was still running when this slot came."
    assert run.finished_at == NOW
    assert Sync.objects.get(pk=sync.pk).next_run_at == at("2026-11-20T10:10")


@pytest.mark.django_db
def test_overlap_queue_lets_one_run_wait_and_folds_further_slots():
    sync = due_sync(overlap_policy=OverlapPolicy.QUEUE)
    claimed(sync)
    (waiting,) = schedules.start_due(now=NOW)
    assert waiting.status == RunStatus.QUEUED
    assert schedules.start_due(now=NOW + timedelta(minutes=10)) == []
    waiting.refresh_from_db()
    assert waiting.missed_count == 1
    assert Run.objects.filter(sync=sync).count() == 2


@pytest.mark.django_db
def test_overlap_coalesce_folds_into_the_live_run():
    sync = due_sync(overlap_policy=OverlapPolicy.COALESCE)
    live, claim = claimed(sync)
    assert schedules.start_due(now=NOW) == []
    live.refresh_from_db()
    assert live.missed_count == 1
    runs.finish(claim, status=RunStatus.SUCCEEDED, counts=Counts())
    assert len(schedules.start_due(now=NOW + timedelta(minutes=10))) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("narrow", [{"trigger": Trigger.REPROCESS, "options": {"selection": "1"}}, {"options": {"limit": 5}}])
def test_run_of_a_few_rows_never_swallows_a_slot(narrow: dict[str, Any]):
    sync = due_sync(overlap_policy=OverlapPolicy.SKIP)
    queued(sync, **narrow)
    (run,) = schedules.start_due(now=NOW)
    assert run.status == RunStatus.QUEUED


@pytest.mark.django_db
def test_one_broken_schedule_does_not_stop_the_others(caplog: pytest.LogCaptureFixture):
    broken = due_sync(cron="every day", next_run_at=SLOT - timedelta(hours=1))
    lost_zone = due_sync(timezone="Nowhere/Land", next_run_at=SLOT - timedelta(hours=1))
    good = due_sync()
    assert [run.sync_id for run in schedules.start_due(now=NOW)] == [good.pk]
    assert set(Sync.objects.filter(next_run_at=None)) == {broken, lost_zone}
    assert f"“{broken.name}”" in caplog.text


@pytest.mark.django_db
def test_slot_that_was_set_again_by_hand_does_not_run_twice():
    sync = due_sync()
    schedules.start_due(now=NOW)
    Run.objects.update(status=RunStatus.SKIPPED, finished_at=NOW)
    Sync.objects.filter(pk=sync.pk).update(next_run_at=SLOT)
    assert schedules.start_due(now=NOW) == []
    assert Sync.objects.get(pk=sync.pk).next_run_at == at("2026-11-20T10:10")
    assert Run.objects.filter(sync=sync).count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.once("postgresql")
def test_forty_due_syncs_and_two_schedulers_start_each_slot_once():
    rounds, count = 20, 40
    source, destination = make_connection(), make_connection("destination")
    start = timezone.now().replace(microsecond=0) - timedelta(hours=12)
    syncs = [
        make_sync(
            source=source,
            destination=destination,
            schedule_kind=ScheduleKind.INTERVAL,
            interval_minutes=1,
            next_run_at=start,
            overlap_policy=OverlapPolicy.SKIP,
        )
        for _ in range(count)
    ]
    began: list[int] = []
    meet = threading.Barrier(2)

    def schedule() -> None:
        try:
            for number in range(rounds):
                meet.wait(timeout=60)
                began.extend(run.pk for run in schedules.start_due(now=start + timedelta(minutes=number, seconds=5)))
        finally:
            connection.close()

    schedulers = [threading.Thread(target=schedule) for _ in range(2)]
    for thread in schedulers:
        thread.start()
    for thread in schedulers:
        thread.join()
    slots = list(Run.objects.values_list("sync_id", "scheduled_for"))
    wanted = {(sync.pk, start + timedelta(minutes=number)) for sync in syncs for number in range(rounds)}
    assert len(slots) == count * rounds
    assert set(slots) == wanted
    assert sorted(began) == sorted(Run.objects.values_list("pk", flat=True))
