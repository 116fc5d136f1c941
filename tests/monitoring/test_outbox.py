"""What is put into the outbox, once; and who is told of runs, statuses and groups."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from dlq.models import ErrorGroup
from monitoring.channels.base import Message
from monitoring.choices import DeliveryState, Event, Severity
from monitoring.models import Channel, Delivery, StatusChange
from monitoring.services import events, messages, outbox
from syncs.models import Sync
from tests import seeds

pytestmark = pytest.mark.django_db


@pytest.fixture
def sync() -> Sync:
    return seeds.sync(*seeds.connections())


def channel(kind: str = "webhook", **values: Any) -> Channel:
    return Channel.objects.create(**{"name": f"{kind} {Channel.objects.count()}", "kind": kind, **values})


def message(event: Event = Event.INCIDENT_OPENED, **values: Any) -> Message:
    return messages.make(event, **{"severity": Severity.WARNING, "subject": "incident:1", "title": "Runs fail", **values})


def put(**values: Any) -> Delivery | None:
    shared = {"event": Event.INCIDENT_OPENED, "subject": "incident:1:0:", "severity": Severity.WARNING, "message": message()}
    return outbox.put(**{**shared, **values})


def test_a_place_is_told_once_and_a_worker_is_rung():
    slack, mail = channel("slack"), channel("email")
    first = put(channel=slack)
    assert first is not None
    assert put(channel=slack) is None
    assert put(channel=mail) is not None
    assert put(channel=slack, subject="incident:1:1:") is not None
    ana = seeds.user("ana")
    assert put(user=ana) is not None
    assert put(user=ana) is None
    assert put(user=ana, channel=slack) is not None
    assert Delivery.objects.count() == OrmQ.objects.count() == 5
    assert Message.from_json(first.message).id == str(first.key)


def test_what_is_held_rings_nobody():
    made = put(channel=channel("slack"), state=DeliveryState.HELD, not_before=timezone.now() + timezone.timedelta(hours=8))
    assert made is not None
    assert made.state == DeliveryState.HELD
    assert not OrmQ.objects.exists()


def test_kinds_get_what_they_take_and_channels_that_are_off_get_nothing():
    assert put(channel=channel("pagerduty"), event=Event.RUN_FINISHED) is None
    off = put(channel=channel("slack", is_enabled=False))
    assert off is not None
    assert (off.state, off.last_error) == (DeliveryState.DEAD, outbox.SWITCHED_OFF)


def test_events_go_to_webhooks_that_chose_them_once(sync: Sync):
    chosen = channel(events=["run.finished", "dlq.grew", "sync.status_changed"])
    channel(events=["operation.finished"])
    channel(events=["run.finished"], is_enabled=False)
    run = seeds.run(sync, "partial", read=1000, refused=12)
    assert events.run_finished(run.pk) == 2
    assert events.run_finished(run.pk) == 0
    change = StatusChange.objects.create(sync=sync, before="healthy", after="failing", reason="Three runs failed.", run=run)
    assert events.status_changed(change) == 1
    told = list(Delivery.objects.order_by("pk").values_list("channel", "event", "run"))
    assert told == [
        (chosen.pk, "run.finished", run.pk),
        (chosen.pk, "dlq.grew", run.pk),
        (chosen.pk, "sync.status_changed", run.pk),
    ]
    said = Delivery.objects.get(event="run.finished").message["data"]
    assert said["run"]["dead_lettered_count"] == 12
    assert said["sync"]["name"] == sync.name
    assert said["run"]["url"].startswith("http://127.0.0.1:8000/admin/")


def test_a_tick_tells_of_a_run_whose_signal_was_lost(sync: Sync, django_assert_num_queries: Any):
    run = seeds.run(sync, "succeeded")
    with django_assert_num_queries(1):
        assert events.catch_up(timezone.now()) == 0
    channel(events=["run.finished"])
    assert events.catch_up(run.finished_at) == 1
    assert events.catch_up(run.finished_at) == 0


def test_a_tick_tells_who_hears_of_error_groups_alone(sync: Sync):
    run = seeds.run(sync, "partial", read=10, refused=2)
    seeds.entries(run, 2)
    ErrorGroup.objects.update(first_run=run)
    channel(events=["group.new"])
    assert events.catch_up(run.finished_at) == 1
    assert events.catch_up(run.finished_at) == 0
