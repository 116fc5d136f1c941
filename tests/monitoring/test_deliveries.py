"""From the outbox to real servers: attempts, waits, leases, order, and channels that do not work."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from monitoring.channels import slack, webhook
from monitoring.channels.base import Sent
from monitoring.choices import Condition, DeliveryState, Event, Severity
from monitoring.models import Channel, Delivery, Incident, IncidentSync, Notice
from monitoring.services import channel_health, deliveries, delivery_notes, messages, outbox, places
from syncs.models import AuditEvent, Team
from tests import seeds
from tests.servers import Answer, Request, Server

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]
NOW = timezone.now()
ADMIN = ("monitoring.change_channel", "monitoring.view_subscription", "syncs.view_sync", "syncs.allteams_sync")


def channel(server: Server, kind: str = "webhook", **values: Any) -> Channel:
    url = f"{server.url}/{kind}/{Channel.objects.count()}"
    where: dict[str, Any] = {"config": {"url": url}, "secrets": {"secret": webhook.new_secret()}}
    if kind == "slack":
        where = {"secrets": {"webhook_url": url}}
    return Channel.objects.create(**{"name": f"{kind} {Channel.objects.count()}", "kind": kind, **where, **values})


def put(where: Channel | None, **values: Any) -> Delivery:
    event = values.pop("event", Event.INCIDENT_OPENED)
    message = messages.make(event, severity=Severity.WARNING, subject="incident:1", title="Runs fail", at=NOW)
    shared = {"subject": f"s{Delivery.objects.count()}", "severity": Severity.WARNING, "not_before": NOW}
    made = outbox.put(event=event, message=message, channel=where, **{**shared, **values})
    assert made is not None
    return made


def incident(**values: Any) -> Incident:
    shared = {"cause": "sync:1:run_failed", "condition": Condition.RUN_FAILED, "severity": "page", "title": "Runs fail"}
    return Incident.objects.create(**{**shared, **values})


def now_is(delivery: Delivery) -> tuple[str, int]:
    delivery.refresh_from_db()
    return delivery.state, delivery.attempt_count


def test_a_failed_call_is_repeated_under_the_same_id(server: Server):
    where = channel(server)
    made = put(where)
    server.script(Answer(500, body=b"down"), Answer(200))
    assert deliveries.send_due(NOW) == 1
    assert now_is(made) == (DeliveryState.PENDING, 1)
    assert timedelta(seconds=5) <= made.not_before - NOW <= timedelta(seconds=5.5)
    where.refresh_from_db()
    assert (where.failed_count, where.failing_since) == (1, NOW)
    assert deliveries.send_due(NOW + timedelta(seconds=4)) == 0
    assert deliveries.send_due(NOW + timedelta(seconds=6)) == 1
    assert now_is(made) == (DeliveryState.DELIVERED, 2)
    where.refresh_from_db()
    assert (where.failed_count, where.failing_since) == (0, None)
    assert [one["http_status"] for one in made.attempts] == [500, 200]
    assert made.attempts[0]["excerpt"] == "down"
    assert {request.headers["webhook-id"] for request in server.requests} == {str(made.key)}


def test_retry_after_is_obeyed_and_the_backlog_of_a_place_waits_with_it(server: Server):
    where = channel(server, "slack")
    first, second = put(where), put(where)
    server.script(Answer(429, {"Retry-After": "600"}))
    assert deliveries.send_due(NOW) == 1
    assert now_is(first)[0] == now_is(second)[0] == DeliveryState.PENDING
    assert first.not_before >= NOW + timedelta(seconds=600)
    assert second.not_before == NOW + timedelta(seconds=600)
    assert len(server.requests) == 1


def test_the_last_attempt_gives_up_and_admins_are_told_once(server: Server):
    admin = seeds.user("root", *ADMIN)
    where = channel(server)
    last, other = put(where), put(where, not_before=NOW + timedelta(hours=1))
    Delivery.objects.update(attempt_count=len(webhook.WAITS))
    server.handler = lambda _: Answer(500)
    deliveries.send_due(NOW)
    assert now_is(last) == (DeliveryState.DEAD, len(webhook.WAITS) + 1)
    deliveries.send_due(NOW + timedelta(hours=2))
    assert now_is(other)[0] == DeliveryState.DEAD
    where.refresh_from_db()
    assert where.is_enabled
    assert [(one.user, one.title) for one in Notice.objects.all()] == [
        (admin, f"A message to the channel “{where.name}” was given up")
    ]


def test_an_endpoint_that_is_gone_is_switched_off_with_a_notice(server: Server):
    admin, ana = seeds.user("root", *ADMIN), seeds.user("ana", email="ana@example.com")
    where = channel(server, owner=ana)
    gone, waiting, personal = put(where), put(where, not_before=NOW + timedelta(hours=1)), put(where, user=ana, subject="own")
    server.script(Answer(410))
    deliveries.send_due(NOW)
    where.refresh_from_db()
    assert (where.is_enabled, where.disabled_at) == (False, NOW)
    assert "410" in where.disabled_reason
    assert [now_is(one)[0] for one in (gone, waiting, personal)] == [DeliveryState.DEAD] * 3
    assert Notice.objects.get(user=admin).title == f"Channel “{where.name}” was switched off"
    assert AuditEvent.objects.get(act="channel_switched_off").target_id == where.pk
    mails = Delivery.objects.filter(channel=None, user=ana).order_by("event").values_list("event", "subject")
    assert [event for event, _ in mails] == [Event.CHANNEL_DISABLED, Event.INCIDENT_OPENED]
    assert mails[1][1] == "own"


@pytest.mark.parametrize(("failed", "hours", "is_on"), [(9, 25, False), (8, 25, True), (9, 23, True)])
def test_a_channel_that_fails_for_long_is_switched_off(server: Server, failed: int, hours: int, is_on: bool):
    where = channel(server, failed_count=failed, failing_since=NOW - timedelta(hours=hours))
    put(where)
    server.script(Answer(500))
    deliveries.send_due(NOW)
    where.refresh_from_db()
    assert where.is_enabled is is_on


def test_the_end_of_an_incident_waits_for_its_beginning(server: Server):
    where, told = channel(server), incident()
    put(where, incident=told)
    end = put(where, incident=told, event=Event.INCIDENT_RESOLVED)
    put(where, incident=incident(cause="sync:2:run_failed"))
    server.script(Answer(500))
    deliveries.send_due(NOW)
    later = NOW + timedelta(minutes=10)
    assert [one.subject for one in deliveries.due(later)] == ["s2", "s0"]
    deliveries.send_due(later)
    assert now_is(end)[0] == DeliveryState.DELIVERED
    events = [request.json()["type"] for request in server.requests]
    assert events[-1] == "incident.resolved"


def test_a_place_that_hangs_keeps_no_other_waiting(server: Server):
    """The hanging one is released by the second message to the other: if that waited, nothing would ever end."""
    release = threading.Event()

    def answer(request: Request) -> Answer:
        if request.path.startswith("/webhook/0"):
            return Answer(200, release=release)
        if sum(one.path.startswith("/webhook/1") for one in server.requests) == 2:
            release.set()
        return Answer(200)

    server.handler = answer
    hanging, other = channel(server), channel(server)
    put(hanging), put(other), put(other)
    assert deliveries.send_due(NOW) == 3
    assert set(Delivery.objects.values_list("state", flat=True)) == {DeliveryState.DELIVERED}


def test_one_worker_holds_a_delivery_until_its_lease_ends(server: Server):
    made = put(channel(server))
    mine = deliveries.claim(Delivery.objects.get(pk=made.pk), NOW)
    assert mine is not None
    assert deliveries.claim(Delivery.objects.get(pk=made.pk), NOW) is None
    assert deliveries.claim(made, NOW) is None
    assert deliveries.send_due(NOW) == 0
    Delivery.objects.update(lease_until=NOW - timedelta(seconds=1))
    assert deliveries.send_due(NOW) == 1
    assert not delivery_notes.note(mine.delivery, mine.fence, Sent(False, error="late"), NOW)
    assert now_is(made) == (DeliveryState.DELIVERED, 2)


def test_what_is_for_one_person_is_judged_again_before_it_goes(server: Server, mailoutbox: list[Any]):
    seen = ("syncs.view_sync", "monitoring.view_incident", "monitoring.view_subscription")
    ana = seeds.user("ana", *seen, email="ana@example.com")
    bo, cy = seeds.user("bo", *seen, email="bo@example.com"), seeds.user("cy", *seen)
    sync = seeds.sync(*seeds.connections())
    sync.team = Team.objects.create(name="Growth")
    sync.save()
    sync.team.members.add(ana, cy)
    told = incident(sync=sync)
    IncidentSync.objects.create(incident=told, sync=sync)
    for person in (ana, bo, cy):
        put(None, user=person, incident=told)
    deliveries.send_due(NOW)
    assert [mail.to for mail in mailoutbox] == [["ana@example.com"]]
    errors = dict(Delivery.objects.values_list("user__username", "last_error"))
    assert errors == {
        "ana": "",
        "bo": "The person may not see this any more.",
        "cy": "The person has no email address.",
    }


def test_a_channel_in_the_console_writes_notices(server: Server):
    ana = seeds.user("ana", *ADMIN)
    where = Channel.objects.create(name="Bell", kind="in_app", config={"users": "ana, nobody"})
    put(where, subject="x")
    nowhere = Channel.objects.create(name="Empty", kind="in_app", config={"users": "nobody"})
    lost = put(nowhere, subject="x")
    deliveries.send_due(NOW)
    assert [(one.user, one.title) for one in Notice.objects.filter(event=Event.INCIDENT_OPENED)] == [(ana, "Runs fail")]
    assert now_is(lost)[0] == DeliveryState.DEAD


def test_the_tick_rings_for_what_is_due_and_no_more(server: Server, django_assert_num_queries: Any):
    where = channel(server)
    made = put(where)
    OrmQ.objects.all().delete()
    assert deliveries.ring_due(NOW)
    assert not deliveries.ring_due(NOW)
    assert deliveries.work(made.pk) == 1
    assert deliveries.work(made.pk) == 0
    OrmQ.objects.all().delete()
    with django_assert_num_queries(1 if is_sqlite() else 2):
        assert not deliveries.ring_due(NOW + timedelta(days=1))


def test_secrets_that_no_key_opens_fail_the_delivery_alone(server: Server, settings: Any):
    lost, fine = channel(server), channel(server, "slack")
    sealed = Channel.objects.filter(pk=lost.pk)
    sealed.update(secrets={"secret": webhook.new_secret()})
    first, second = put(lost), put(fine)
    broken = "00000000:gAAAAA"
    with_text(lost, broken)
    deliveries.send_due(NOW)
    assert now_is(first)[0] == DeliveryState.PENDING
    assert "RETL_ENCRYPTION_KEYS" in first.last_error
    assert now_is(second)[0] == DeliveryState.DELIVERED


def test_the_former_secret_signs_until_its_overlap_ends(server: Server):
    where = channel(server, secrets={"secret": "whsec_new", "former_secret": "whsec_old"}, overlap_until=NOW)
    assert places.place_of(where, NOW - timedelta(seconds=1)).former_secret == "whsec_old"
    after = places.place_of(where, NOW)
    assert (after.former_secret, dict(after.secrets)) == ("", {"secret": "whsec_new"})


def test_waits_grow_and_span_hours_or_days():
    assert sum(webhook.WAITS) > 3 * 86_400 - 3600
    assert list(webhook.WAITS) == sorted(webhook.WAITS)
    assert sum(slack.WAITS) > 15 * 3600
    assert channel_health.FOR.total_seconds() < sum(webhook.WAITS)


def is_sqlite() -> bool:
    from django.db import connection

    return connection.vendor == "sqlite"


def with_text(where: Channel, text: str) -> None:
    """A stored value as a key that is gone has left it."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE monitoring_channel SET secrets = %s WHERE id = %s", [text, where.pk])


def test_a_second_worker_leaves_the_sending_to_the_first(server: Server):
    """However many places hang, one worker is left for short runs."""
    hanging, next_one = put(channel(server)), put(channel(server))
    assert deliveries.claim(hanging, NOW) is not None
    assert deliveries.work(next_one.pk) == 0
    Delivery.objects.filter(pk=hanging.pk).update(lease_until=NOW - timedelta(seconds=1))  # it died
    assert deliveries.work(next_one.pk) == 2
    assert len(server.requests) == 2
