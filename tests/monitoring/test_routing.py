"""Whom an incident is told to, through the real services: rows of deliveries, notices and timeline are looked at."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from monitoring.choices import Condition, DeliveryState, Digest, Event, Follows, IncidentState, Severity
from monitoring.models import (
    AlertRule,
    Channel,
    Delivery,
    Incident,
    IncidentEvent,
    IncidentSync,
    Notice,
    Subscription,
    WatchedSync,
)
from monitoring.services import audience, deliveries, routing
from syncs.models import Sync, Team
from syncs.services import access
from tests import seeds
from tests.syncs.objects import make_connection, make_sync

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_numbers = itertools.count(1)
MAY = ("syncs.view_sync", "monitoring.view_subscription")


def person(name: str, *more: str, **values: Any) -> User:
    return seeds.user(name, *MAY, *more, **{"email": f"{name}@example.com", **values})


def admin() -> User:
    return person("root", "syncs.allteams_sync", "monitoring.change_channel")


def channel(kind: str = "webhook", **values: Any) -> Channel:
    return Channel.objects.create(**{"name": f"{kind} {next(_numbers):06}", "kind": kind, **values})


def incident(*syncs: Sync, rule: AlertRule | None = None, **values: Any) -> Incident:
    number = next(_numbers)
    defaults: dict[str, Any] = {
        "cause": f"cause:{number}",
        "condition": Condition.RUN_FAILED,
        "severity": Severity.WARNING,
        "title": f"Trouble {number}",
        "sync": syncs[0] if len(syncs) == 1 else None,
        "opened_at": AT,
    }
    made = Incident.objects.create(**{**defaults, **values})
    for sync in syncs:
        IncidentSync.objects.create(incident=made, sync=sync, since=AT, text=f"finding of {sync.name}")
    if rule is not None:
        made.rules.add(rule)
    return made


def rule(*channels: Channel, **values: Any) -> AlertRule:
    made = AlertRule.objects.create(**{"name": f"rule {next(_numbers)}", "condition": Condition.RUN_FAILED, **values})
    made.channels.set(channels)
    return made


def chosen(user: User, follows: Follows = Follows.OWNED, **values: Any) -> Subscription:
    return Subscription.objects.create(user=user, follows=follows, **{"by_email": True, **values})


def told(event: Event | None = None) -> list[str]:
    """Names of people and channels with a delivery, ``name@channel`` for a person's channel; and its state where it waits."""
    rows = Delivery.objects.filter(**({"event": event} if event else {})).select_related("user", "channel").order_by("pk")
    return sorted(_said(row) for row in rows)


def _said(row: Delivery) -> str:
    place = row.channel.name if row.channel else ""
    name = f"{row.user.username}{'@' + place if place else ''}" if row.user else place
    return name if row.state == DeliveryState.PENDING else f"{name} {row.state}"


def noticed(event: Event | None = None) -> list[str]:
    rows = Notice.objects.filter(**({"event": event} if event else {})).select_related("user")
    return sorted(row.user.username for row in rows)


def announce(made: Incident, event: Event = Event.INCIDENT_OPENED, at: datetime = AT, text: str = "") -> None:
    routing.announce(made, event, at=at, text=text)


def resolve(made: Incident, at: datetime = AT + timedelta(hours=1)) -> None:
    Incident.objects.filter(pk=made.pk).update(state=IncidentState.RESOLVED, resolved_at=at)
    IncidentSync.objects.filter(incident=made).update(recovered_at=at)
    made.refresh_from_db()
    announce(made, Event.INCIDENT_RESOLVED, at)


# --- who


def test_an_incident_reaches_owner_watcher_and_follower_and_nobody_else() -> None:
    ana, ben, cem, _dora = (person(name) for name in ("ana", "ben", "cem", "dora"))
    sync = make_sync(owner=ana)
    WatchedSync.objects.create(user=ben, sync=sync)
    chosen(cem, Follows.ALL)
    announce(incident(sync))
    assert told() == noticed() == ["ana", "ben", "cem"]


def test_a_person_concerned_in_three_ways_is_told_once() -> None:
    ana = person("ana")
    sync = make_sync(owner=ana)
    WatchedSync.objects.create(user=ana, sync=sync)
    for follows in Follows:
        chosen(ana, follows)
    announce(incident(sync))
    assert told() == noticed() == ["ana"]


@pytest.mark.parametrize(
    ("owner", "expected", "why"),
    [
        ({"is_active": False}, ["ben", "cem"], "its owner ana is deactivated"),
        ({"is_staff": False}, ["ben", "cem"], "its owner ana may not see it, or may not be told of alerts"),
        (None, ["ben", "cem"], "it has no owner"),
    ],
)
def test_in_place_of_an_owner_who_cannot_be_told_the_team_is(owner: Any, expected: list[str], why: str) -> None:
    admin()
    team = Team.objects.create(name="Growth")
    team.members.set([person("ben"), person("cem"), person("gone", is_active=False)])
    ana = person("ana") if owner is not None else None
    if ana is not None:
        team.members.add(ana)
        User.objects.filter(pk=ana.pk).update(**owner)
    made = incident(make_sync(owner=ana, team=team))
    announce(made)
    assert told() == expected
    line = IncidentEvent.objects.get(incident=made, sync__isnull=False)
    assert line.text == f"In place of the sync's owner the team Growth: {why}."


def test_in_place_of_an_owner_without_a_team_the_admins_are_told() -> None:
    admin()
    person("ben")
    made = incident(make_sync())
    announce(made)
    assert told() == ["root"]
    assert "the admins: it has no owner" in IncidentEvent.objects.get(incident=made, sync__isnull=False).text


def test_an_incident_of_redrive_itself_reaches_admins_and_who_follows_all() -> None:
    admin()
    person("ana")
    chosen(person("ben"), Follows.ALL)
    announce(incident(condition=Condition.WORKER_SILENT, severity=Severity.PAGE, text="No tick for 5 min."))
    assert told() == noticed() == ["ben", "root"]


def test_nobody_to_tell_stands_in_the_timeline() -> None:
    made = incident(make_sync(owner=person("ana")))
    chosen(User.objects.get(), min_severity=Severity.PAGE)
    announce(made)
    assert told() == noticed() == []
    assert IncidentEvent.objects.get(incident=made).text.startswith("Nobody: no channel of its rules takes it")


def test_a_choice_that_is_off_or_asks_for_graver_is_not_told() -> None:
    ana, ben = person("ana"), person("ben")
    sync = make_sync(owner=ana)
    WatchedSync.objects.create(user=ben, sync=sync)
    chosen(ana, is_active=False)
    chosen(ben, Follows.WATCHED, min_severity=Severity.PAGE)
    announce(incident(sync))
    assert told() == []
    announce(incident(sync, severity=Severity.PAGE))
    assert told() == noticed() == ["ben"]


# --- teams


def world_of_two_teams() -> tuple[User, User, User, Sync, Sync]:
    ana, ben = person("ana"), person("ben")
    ours, theirs = Team.objects.create(name="ours"), Team.objects.create(name="theirs")
    ours.members.set([ana])
    theirs.members.set([ben])
    target = make_connection("destination", name="CRM")
    one = make_sync(name="Ours sync", owner=ana, team=ours, destination=target)
    other = make_sync(name="Zquorl sync", owner=ben, team=theirs, destination=target)
    return ana, ben, admin(), one, other


def test_sight_agrees_with_the_pages() -> None:
    ana, ben, root, one, other = world_of_two_teams()
    free, hermit = make_sync(), person("hermit")
    made = audience.of([one.pk, other.pk, free.pk])
    for user in (ana, ben, root, hermit):
        fresh = User.objects.get(pk=user.pk)
        seen = {sync.pk for sync in (one, other, free) if access.may_see(fresh, sync.pk)}
        assert made.seen[user.pk] == seen, user


def test_who_sees_a_part_reads_of_that_part_alone() -> None:
    ana, _ben, root, one, other = world_of_two_teams()
    chosen(root, Follows.ALL)
    made = incident(one, other, title="The login at CRM was revoked", connection=one.destination, text="Log in again.")
    announce(made, text="finding of Zquorl sync")
    mine = Delivery.objects.get(user=ana)
    assert "zquorl" not in str(mine.message).lower()
    assert "Ours sync" in mine.message["text"]
    assert "Log in again." in mine.message["text"]
    assert str(other.pk) not in [value for _, value in mine.message["facts"]]
    assert "zquorl" not in " ".join(f"{one.title} {one.text}" for one in Notice.objects.filter(user=ana)).lower()
    assert "Zquorl sync" in str(Delivery.objects.get(user=root).message)


def test_who_sees_nothing_of_it_is_not_told_although_he_watches_it() -> None:
    ana, _ben, _root, _one, other = world_of_two_teams()
    WatchedSync.objects.create(user=ana, sync=other)
    chosen(ana, Follows.ALL)
    announce(incident(other))
    assert told() == noticed() == ["ben"]


def test_a_sync_that_joins_reaches_those_only_whom_it_concerns() -> None:
    _ana, _ben, root, one, other = world_of_two_teams()
    chosen(root, Follows.ALL)
    hook = channel()
    made = incident(one, sync=None, rule=rule(hook))
    announce(made)
    assert told() == ["ana", "root", hook.name]
    IncidentSync.objects.create(incident=made, sync=other, since=AT)
    announce(made, at=AT + timedelta(minutes=3))
    assert told() == ["ana", "ben", "root", hook.name]
    assert noticed() == ["ana", "ben", "root"]


# --- channels of rules


def test_channels_of_rules_are_told_once_and_by_their_severity() -> None:
    hook, picky, off = channel(), channel(min_severity=Severity.PAGE), channel("slack", is_enabled=False)
    muted = rule(channel("teams"), muted_until=AT + timedelta(hours=1), mute_reason="migration")
    made = incident(make_sync(owner=person("ana")), rule=rule(hook, picky, off))
    made.rules.add(rule(hook), muted, rule(channel("teams"), is_active=False))
    announce(made)
    announce(made, at=AT + timedelta(minutes=1))
    assert told() == ["ana", f"{off.name} dead", hook.name]
    [said] = IncidentEvent.objects.filter(incident=made)
    assert said.text == f"{hook.name}, {off.name} (switched off), ana."


def test_getting_worse_reaches_who_was_told_and_who_asked_for_graver_only() -> None:
    ana, ben = person("ana"), person("ben")
    hook, picky = channel(), channel(min_severity=Severity.PAGE)
    sync = make_sync(owner=ana)
    WatchedSync.objects.create(user=ben, sync=sync)
    chosen(ben, Follows.WATCHED, min_severity=Severity.PAGE)
    made = incident(sync, rule=rule(hook, picky))
    announce(made)
    made.severity = Severity.PAGE
    made.save()
    announce(made, Event.INCIDENT_CHANGED, AT + timedelta(minutes=5))
    assert told(Event.INCIDENT_CHANGED) == ["ana", "ben", hook.name, picky.name]


def test_the_end_reaches_who_was_told_of_the_beginning() -> None:
    ana, late = person("ana"), person("late")
    hook, silent, pager = channel(), channel("slack"), channel("pagerduty")
    sync = make_sync(owner=ana)
    made = incident(sync, rule=rule(hook))
    made.rules.add(rule(silent, pager, tells_recovery=False))
    announce(made)
    WatchedSync.objects.create(user=late, sync=sync)
    made.rules.add(rule(channel("teams")))
    resolve(made)
    assert told(Event.INCIDENT_RESOLVED) == ["ana", pager.name, hook.name]
    assert noticed(Event.INCIDENT_RESOLVED) == ["ana"]


def test_what_comes_back_is_told_again() -> None:
    hook = channel()
    made = incident(make_sync(owner=person("ana")), rule=rule(hook))
    announce(made)
    resolve(made)
    Incident.objects.filter(pk=made.pk).update(state=IncidentState.OPEN, resolved_at=None, reopened_count=1)
    IncidentSync.objects.update(recovered_at=None)
    made.refresh_from_db()
    announce(made, at=AT + timedelta(hours=2))
    assert told(Event.INCIDENT_OPENED) == ["ana", "ana", hook.name, hook.name]
    assert Notice.objects.filter(read_at=None).count() == 1  # the bell counts things, not messages


def test_a_recovery_that_is_an_incident_of_its_own_is_told() -> None:
    made = incident(make_sync(owner=person("ana")), condition=Condition.RECOVERY, rule=rule(channel("webhook", name="hook")))
    resolve(made)
    assert told() == ["ana", "hook"]


def test_who_acts_is_not_told_of_it_and_an_acknowledgement_sends_no_mail() -> None:
    ana, ben = person("ana"), person("ben")
    hook = channel()
    sync = make_sync(owner=ana)
    WatchedSync.objects.create(user=ben, sync=sync)
    made = incident(sync, rule=rule(hook))
    announce(made)
    Incident.objects.filter(pk=made.pk).update(acknowledged_by=ana, resolved_by=ana)
    made.refresh_from_db()
    announce(made, Event.INCIDENT_ACKNOWLEDGED, AT + timedelta(minutes=1))
    resolve(made)
    assert told(Event.INCIDENT_ACKNOWLEDGED) == [hook.name]
    assert noticed(Event.INCIDENT_ACKNOWLEDGED) == noticed(Event.INCIDENT_RESOLVED) == ["ben"]
    assert told(Event.INCIDENT_RESOLVED) == ["ben", hook.name]


# --- where and when

NIGHT = {"quiet_from": time(22), "quiet_until": time(7), "timezone": "Europe/Berlin"}
AT_NIGHT = datetime(2026, 11, 23, 23, 0, tzinfo=UTC)
MORNING = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def test_quiet_hours_hold_what_is_less_grave() -> None:
    ana = person("ana")
    chosen(ana, **NIGHT)
    sync = make_sync(owner=ana)
    announce(incident(sync), at=AT_NIGHT)
    announce(incident(sync, severity=Severity.PAGE), at=AT_NIGHT)
    assert told() == ["ana", "ana held"]
    assert Delivery.objects.get(state=DeliveryState.HELD).not_before == MORNING
    assert noticed() == ["ana", "ana"]
    assert "after quiet hours, 06:00 UTC" in IncidentEvent.objects.order_by("pk")[0].text


def test_the_fallback_takes_over_in_quiet_hours_and_hears_of_the_end() -> None:
    ana = person("ana")
    pager = channel("webhook", name="phone")
    chosen(ana, fallback=pager, **NIGHT)
    made = incident(make_sync(owner=ana))
    announce(made, at=AT_NIGHT)
    assert told() == ["ana@phone"]
    resolve(made, MORNING + timedelta(hours=3))
    assert told(Event.INCIDENT_RESOLVED) == ["ana", "ana@phone"]


def test_what_is_over_before_the_quiet_hours_are_is_told_once() -> None:
    ana = person("ana")
    chosen(ana, **NIGHT)
    made = incident(make_sync(owner=ana))
    announce(made, at=AT_NIGHT)
    resolve(made, AT_NIGHT + timedelta(hours=2))
    assert told() == ["ana folded", "ana held"]
    assert told(Event.INCIDENT_RESOLVED) == ["ana held"]


def test_a_channel_that_is_switched_off_leaves_email() -> None:
    ana = person("ana")
    dead = channel("slack", is_enabled=False)
    chosen(ana, channel=dead, by_email=False)
    announce(incident(make_sync(owner=ana)))
    assert told() == ["ana"]


def test_a_channel_that_a_rule_tells_is_not_told_again_for_a_person() -> None:
    ana, ben = person("ana"), person("ben")
    shared, other = channel("slack"), channel("slack", name="other")
    sync = make_sync(owner=ana)
    WatchedSync.objects.create(user=ben, sync=sync)
    chosen(ana, channel=shared, by_email=False)
    chosen(ben, Follows.WATCHED, channel=other, by_email=False)
    chosen(person("cem"), Follows.ALL, channel=other, by_email=False)
    announce(incident(sync, rule=rule(shared)))
    assert told() == ["ben@other", shared.name]
    assert noticed() == ["ana", "ben", "cem"]


def test_who_has_no_address_and_no_channel_reads_it_in_the_console() -> None:
    announce(incident(make_sync(owner=person("ana", email=""))))
    assert told() == []
    assert noticed() == ["ana"]


def test_a_digest_collects_but_no_page_waits_for_it() -> None:
    ana = person("ana")
    due = AT + timedelta(hours=19)
    chosen(ana, digest=Digest.DAILY, next_digest_at=due)
    sync = make_sync(owner=ana)
    announce(incident(sync))
    announce(incident(sync, severity=Severity.PAGE))
    assert told() == ["ana", "ana held"]
    assert Delivery.objects.get(state=DeliveryState.HELD).not_before == due + timedelta(hours=6)


def test_telling_costs_the_same_for_many_people(django_assert_max_num_queries: Any) -> None:
    sync = make_sync(owner=person("p0", email=""))
    for number in range(1, 12):
        WatchedSync.objects.create(user=person(f"p{number}", email=""), sync=sync)
    made = incident(sync)
    with django_assert_max_num_queries(22):
        announce(made)
    assert len(noticed()) == 12


def test_a_notice_by_a_channel_says_what_the_person_may_read_and_nothing_twice() -> None:
    _ana, ben, _root, one, other = world_of_two_teams()
    console = channel("in_app", name="console", config={"users": "ana, ben, nobody"})
    chosen(ben, is_active=False)
    made = incident(one, other, title="The login at CRM was revoked", text="Log in again.", rule=rule(console))
    announce(made, text="finding of Zquorl sync")
    deliveries.send_due(AT)
    assert Delivery.objects.get(channel=console).state == DeliveryState.DELIVERED
    assert noticed() == ["ana", "ben"]
    texts = {row.user.username: row.text for row in Notice.objects.select_related("user")}
    assert "Ours" in texts["ana"]
    assert "Ours" not in texts["ben"]
    assert "Zquorl sync" in texts["ben"]
