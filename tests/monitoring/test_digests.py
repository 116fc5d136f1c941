from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from monitoring.choices import DeliveryState, Digest, Event, Follows, IncidentState, Severity
from monitoring.models import Channel, Delivery, Subscription
from monitoring.services import digests, routing
from syncs.models import Sync, Team
from tests.monitoring.test_routing import chosen, incident, person, resolve
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
DUE = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
YESTERDAY = DUE - timedelta(hours=20)


@pytest.fixture
def ana() -> User:
    return person("ana")


@pytest.fixture
def sync(ana: User) -> Sync:
    return make_sync(name="Contacts", owner=ana)


def daily(user: User, **values: Any) -> Subscription:
    return chosen(user, **{"digest": Digest.DAILY, "next_digest_at": DUE, **values})


def happen(sync: Sync, at: datetime = YESTERDAY, **values: Any) -> Any:
    made = incident(sync, opened_at=at, **values)
    routing.announce(made, Event.INCIDENT_OPENED, at=at)
    return made


def states() -> list[tuple[str, str]]:
    return [(row.event, row.state) for row in Delivery.objects.order_by("pk")]


def test_a_digest_brings_what_waited_once_and_says_how_it_ended(ana: User, sync: Sync) -> None:
    subscription = daily(ana)
    late = happen(sync, title="Contacts is late")
    happen(sync, title="Contacts fails", severity=Severity.PAGE)
    happen(sync, title="Contacts read nothing")
    resolve(late, YESTERDAY + timedelta(hours=1))
    assert digests.send_due(DUE - timedelta(seconds=1)) == 0
    assert digests.send_due(DUE) == 1
    assert digests.send_due(DUE) == 0
    [sent] = Delivery.objects.filter(event=Event.DIGEST)
    assert sent.message["title"] == "2 incidents of the last day: 1 open, 1 over"
    assert sent.message["text"].splitlines() == [
        "Warning: Contacts read nothing (since 2026-11-23 12:00 UTC, open)",
        "Warning: Contacts is late (since 2026-11-23 12:00 UTC, over since 2026-11-23 13:00 UTC)",
    ]
    assert sent.user == ana
    assert sent.channel is None
    waited = Delivery.objects.filter(state=DeliveryState.FOLDED)
    assert waited.count() == 3
    assert all(row.digest == sent for row in waited)
    assert Delivery.objects.get(severity=Severity.PAGE).state == DeliveryState.PENDING  # a page never waits for a digest
    subscription.refresh_from_db()
    assert subscription.next_digest_at == DUE + timedelta(days=1)


def test_nothing_happened_nothing_is_sent(ana: User) -> None:
    subscription = daily(ana, digest=Digest.WEEKLY, digest_weekday=1)
    assert digests.send_due(DUE) == 0
    assert not Delivery.objects.exists()
    subscription.refresh_from_db()
    assert subscription.next_digest_at == DUE + timedelta(days=7)  # 24 November 2026 is a Tuesday


def test_two_digests_of_one_hour_are_one_message_and_a_weekly_one_waits(ana: User, sync: Sync) -> None:
    ben = person("ben")
    daily(ana)
    daily(ana, follows=Follows.ALL)
    daily(ben, follows=Follows.ALL, digest=Digest.WEEKLY, next_digest_at=DUE + timedelta(days=3))
    happen(sync)
    assert digests.send_due(DUE) == 1
    assert Delivery.objects.get(user=ben).state == DeliveryState.HELD


def test_a_late_tick_still_makes_one_digest(ana: User, sync: Sync) -> None:
    daily(ana)
    happen(sync)
    assert digests.send_due(DUE + timedelta(days=2, hours=1)) == 1
    assert states() == [("incident.opened", "folded"), ("digest", "pending")]
    assert Subscription.objects.get().next_digest_at == DUE + timedelta(days=3)


def test_each_place_gets_its_digest(ana: User, sync: Sync) -> None:
    ops = Channel.objects.create(name="ops", kind="slack")
    daily(ana, channel=ops)
    happen(sync)
    assert digests.send_due(DUE) == 2
    assert {row.channel for row in Delivery.objects.filter(event=Event.DIGEST)} == {None, ops}


def test_what_one_may_not_see_any_more_is_in_no_digest(ana: User, sync: Sync) -> None:
    daily(ana)
    watched = make_sync(name="Other", owner=ana)
    happen(sync, title="Zquorl")
    happen(watched, title="Seen")
    Sync.objects.filter(pk=sync.pk).update(team=Team.objects.create(name="Others"))
    assert digests.send_due(DUE) == 1
    assert "Zquorl" not in str(Delivery.objects.get(event=Event.DIGEST).message)
    assert set(Delivery.objects.exclude(event=Event.DIGEST).values_list("state", flat=True)) == {DeliveryState.FOLDED}


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
def test_who_has_left_gets_no_digest(ana: User, sync: Sync, change: dict[str, bool]) -> None:
    daily(ana)
    happen(sync)
    User.objects.filter(pk=ana.pk).update(**change)
    assert digests.send_due(DUE) == 0
    assert states() == [("incident.opened", "folded")]


def test_a_digest_that_fails_keeps_no_other_waiting(ana: User, sync: Sync) -> None:
    """The first one's stored message cannot be read."""
    other = person("ben")
    daily(ana)
    daily(other, follows=Follows.ALL)
    happen(sync)
    Delivery.objects.filter(user=ana).update(message={"id": "x"})
    assert digests.send_due(DUE) == 1
    assert Delivery.objects.get(user=ana).state == DeliveryState.HELD  # goes out by itself later
    assert Delivery.objects.get(event=Event.DIGEST).user == other


def test_a_reopened_incident_stands_there_once(ana: User, sync: Sync) -> None:
    daily(ana)
    made = happen(sync, title="Flaps")
    resolve(made, YESTERDAY + timedelta(hours=1))
    type(made).objects.filter(pk=made.pk).update(state=IncidentState.OPEN, resolved_at=None, reopened_count=1)
    made.refresh_from_db()
    routing.announce(made, Event.INCIDENT_OPENED, at=YESTERDAY + timedelta(hours=2))
    digests.send_due(DUE)
    sent = Delivery.objects.get(event=Event.DIGEST)
    assert sent.message["title"] == "1 incident of the last day: 1 open, 0 over"
