from __future__ import annotations

import re
from datetime import time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from monitoring.choices import DeliveryState, Digest, Event, Follows, Severity
from monitoring.models import Channel, Delivery, Incident, IncidentSync, Notice, Subscription, WatchedSync
from syncs.models import AuditEvent, Team
from tests import seeds
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
PAGE = "/admin/monitoring/subscription/"
MAY = ("syncs.view_sync", "monitoring.view_subscription")


@pytest.fixture
def ana() -> User:
    return seeds.user("ana", *MAY, email="ana@example.com")


@pytest.fixture
def browser(ana: User) -> Client:
    client = Client()
    client.force_login(ana)
    return client


def filled(**changes: Any) -> dict[str, Any]:
    """What a browser posts from the untouched page, with changes; None leaves a field out, as an unticked box is."""
    values: dict[str, Any] = {"timezone": "UTC", "quiet_lets_through": "page", "fallback": ""}
    for follows in Follows:
        one = {"min_severity": "warning", "channel": "", "digest": "none", "digest_hour": "8", "digest_weekday": "0"}
        ticks = {} if follows == Follows.ALL else {"is_active": "on", "by_email": "on"}
        values.update({f"{follows}-{name}": value for name, value in {**one, **ticks}.items()})
    values.update({name.replace("__", "-"): value for name, value in changes.items()})
    return {name: value for name, value in values.items() if value is not None}


def channel(name: str = "phone", kind: str = "webhook", **values: Any) -> Channel:
    return Channel.objects.create(name=name, kind=kind, **values)


def incident(*syncs: Any, severity: str = Severity.WARNING, **values: Any) -> Incident:
    made = Incident.objects.create(
        **{"cause": f"c{Incident.objects.count()}", "condition": "late", "severity": severity, "title": "Late"} | values
    )
    for sync in syncs:
        IncidentSync.objects.create(incident=made, sync=sync)
    return made


def test_the_page_shows_the_defaults_and_saves_what_is_chosen(browser: Client, ana: User) -> None:
    page = browser.get(PAGE).content.decode()
    assert re.search(r'name="owned-is_active"[^>]*checked', page)
    assert not re.search(r'name="all-is_active"[^>]*checked', page)
    phone = channel()
    wanted = filled(
        owned__channel=phone.pk, owned__by_email=None, all__is_active="on", all__digest="weekly", all__by_email="on",
        all__digest_weekday="4", quiet_from="22:00", quiet_until="07:00", timezone="Europe/Berlin",
    )  # fmt: skip
    assert browser.post(PAGE, wanted).status_code == 302
    owned, weekly = Subscription.objects.get(follows="owned"), Subscription.objects.get(follows="all")
    assert (owned.channel, owned.by_email, owned.quiet_from, owned.timezone) == (phone, False, time(22), "Europe/Berlin")
    assert weekly.next_digest_at is not None
    assert weekly.next_digest_at.astimezone(ZoneInfo("Europe/Berlin")).strftime("%A %H:%M") == "Friday 08:00"
    [first, *_] = AuditEvent.objects.filter(target_type="subscription").order_by("pk")
    assert first.actor == ana
    assert first.detail["channel_id"] == [None, phone.pk]
    assert browser.get(PAGE).content.decode().count('value="Europe/Berlin"') == 2  # the field, and the list of names


def test_saving_what_holds_already_changes_nothing(browser: Client) -> None:
    browser.post(PAGE, filled())
    count = AuditEvent.objects.count()
    answer = browser.post(PAGE, filled(), follow=True)
    assert "Nothing was changed." in answer.content.decode()
    assert AuditEvent.objects.count() == count
    assert Subscription.objects.count() == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"timezone": "Mars/Base", "quiet_from": "22:00", "quiet_until": "07:00"}, "“Mars/Base” is not a time zone."),
        ({"timezone": "../../etc/passwd"}, "is not a time zone"),
        ({"timezone": "Europe/Berlin"}, "A time zone is for quiet hours and digests, and there are none."),
        ({"quiet_from": "22:00"}, "Quiet hours need a beginning and an end"),
        ({"quiet_from": "22:00", "quiet_until": "22:00"}, "end when they begin"),
        ({"quiet_from": "25:00", "quiet_until": "07:00"}, "Enter a valid time."),
        ({"fallback": "1"}, "The fallback is for quiet hours, and there are none."),
        ({"fallback": "1", "owned__channel": "1", "quiet_from": "22:00", "quiet_until": "07:00"}, "where alerts go anyway"),
        ({"owned__channel": "2"}, "off is switched off: 410 Gone. Choose another, or none."),
        ({"owned__channel": "999"}, "Select a valid choice."),
        ({"owned__channel": "4"}, "Select a valid choice."),  # a shared mailbox is nobody's own
        ({"owned__channel": "3", "owned__digest": "daily"}, "wakes people about incidents and takes no digests"),
        ({"owned__by_email": None, "owned__digest": "daily"}, "A digest needs a place to go"),
        (
            {"owned__digest": "daily", "owned__digest_hour": "6", "quiet_from": "22:00", "quiet_until": "07:00"},
            "06:00 is within your quiet hours (22:00 to 07:00)",
        ),
        ({"owned__digest_hour": "24"}, "Select a valid choice."),
        ({"owned__min_severity": "dire"}, "Select a valid choice."),
    ],
)
def test_bad_input_is_refused_with_its_reason(browser: Client, changes: dict[str, Any], said: str) -> None:
    for number, (name, kind, values) in enumerate(
        [
            ("phone", "webhook", {}),
            ("off", "slack", {"is_enabled": False, "disabled_reason": "410 Gone"}),
            ("pager", "pagerduty", {}),
            ("mailbox", "email", {}),
        ],
        start=1,
    ):
        channel(name, kind, pk=number, **values)
    answer = browser.post(PAGE, filled(**changes))
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert not Subscription.objects.exists()


def test_email_without_an_address_is_refused(browser: Client, ana: User) -> None:
    User.objects.filter(pk=ana.pk).update(email="")
    assert "Your account has no email address." in browser.post(PAGE, filled()).content.decode()


def test_ending_quiet_hours_or_digests_lets_go_what_waits(browser: Client, ana: User) -> None:
    later = timezone.now() + timedelta(days=5)
    waiting = Delivery.objects.create(
        user=ana, event=Event.INCIDENT_OPENED, subject="x", state=DeliveryState.HELD, not_before=later
    )
    browser.post(PAGE, filled(owned__digest="daily"))
    waiting.refresh_from_db()
    row = Subscription.objects.get(follows="owned")
    assert row.digest == Digest.DAILY
    assert row.next_digest_at is not None
    assert waiting.not_before == row.next_digest_at + timedelta(hours=6)
    browser.post(PAGE, filled())
    waiting.refresh_from_db()
    assert waiting.not_before <= timezone.now()


def test_the_page_names_syncs_stand_ins_and_last_week(browser: Client, ana: User) -> None:
    team = Team.objects.create(name="Growth")
    team.members.add(ana)
    gone = User.objects.create(username="olga", first_name="Olga", last_name="Ott", is_active=False)
    mine, theirs = make_sync(name="Mine", owner=ana), make_sync(name="Orphan", owner=gone, team=team)
    watched = make_sync(name="Watched")
    hidden = make_sync(name="Zquorl", team=Team.objects.create(name="Others"))
    for sync in (watched, hidden):
        WatchedSync.objects.create(user=ana, sync=sync)
    incident(mine, theirs, severity=Severity.PAGE)
    incident(mine)
    incident(hidden, severity=Severity.PAGE, title="Zquorl is late")
    incident(mine, opened_at=timezone.now() - timedelta(days=8))
    answer = browser.get(PAGE)
    page = answer.content.decode()
    assert "its owner Olga Ott is deactivated" in page
    assert "Zquorl" not in page
    assert [part["week"] for part in answer.context["parts"]] == ["1 page, 1 warning", "", "1 page, 1 warning"]


def test_watching_and_unwatching_is_noted_and_shown(browser: Client, ana: User) -> None:
    sync = make_sync(name="Contacts")
    page = f"/admin/syncs/sync/{sync.pk}/"
    address = f"{PAGE}sync/{sync.pk}/"
    assert ">Watch</button>" in browser.get(page).content.decode()
    for _ in range(2):  # pressing twice is no fault
        assert browser.post(address, {"act": "watch", "from": "sync"}).headers["Location"] == page
    assert WatchedSync.objects.filter(user=ana, sync=sync).count() == 1
    assert "Watching" in browser.get(page).content.decode()
    browser.post(address, {"act": "unwatch"})
    assert not WatchedSync.objects.exists()
    assert list(AuditEvent.objects.order_by("pk").values_list("act", flat=True)) == ["watched", "unwatched"]
    assert browser.post(address, {"act": "explode"}).status_code == 404


def test_a_sync_of_another_team_cannot_be_watched(browser: Client) -> None:
    hidden = make_sync(team=Team.objects.create(name="Others"))
    for answer in (browser.get(f"{PAGE}sync/{hidden.pk}/"), browser.post(f"{PAGE}sync/{hidden.pk}/", {"act": "watch"})):
        assert answer.status_code == 404
    assert not WatchedSync.objects.exists()


def test_who_hears_of_a_sync_is_named_with_the_reason(browser: Client, ana: User) -> None:
    ben = seeds.user("ben", *MAY, email="ben@example.com")
    Subscription.objects.create(user=ben, follows=Follows.ALL, min_severity=Severity.PAGE, channel=channel("ops"))
    sync = make_sync(owner=ana)
    answer = browser.get(f"{PAGE}sync/{sync.pk}/")
    lines = [(one.name, one.how, one.severity, one.places) for one in answer.context["told"].lines]
    assert lines == [("ana", "owner", "Warning", "email"), ("ben", "follows all syncs", "Page", "ops")]
    User.objects.filter(pk=ana.pk).update(is_staff=True)
    orphan = make_sync(team=Team.objects.create(name="Growth"))
    Team.objects.get().members.add(ana)
    assert (
        "the members of the team Growth are told: it has no owner." in browser.get(f"{PAGE}sync/{orphan.pk}/").content.decode()
    )


# --- notices


def notice(user: User, **values: Any) -> Notice:
    return Notice.objects.create(**{"user": user, "event": Event.INCIDENT_OPENED, "title": "Late", **values})


def test_the_bell_counts_and_reading_empties_it(browser: Client, ana: User) -> None:
    sync = make_sync()
    first = notice(ana, title="<b>Late</b>\u202e", url=f"/admin/syncs/sync/{sync.pk}/")
    second, third = notice(ana), notice(ana)
    other = notice(seeds.user("ben", *MAY))
    page = browser.get(f"{PAGE}notices/").content.decode()
    assert "Notices: 3 unread" in page
    assert "&lt;b&gt;Late&lt;/b&gt;⟨U+202E⟩" in page
    opened = browser.post(f"{PAGE}notices/read/", {"notice": first.pk, "go": "1"})
    assert opened.headers["Location"] == first.url
    assert "Notices: 2 unread" in browser.get(f"/admin/syncs/sync/{sync.pk}/").content.decode()
    browser.post(f"{PAGE}notices/read/", {"up_to": second.pk})  # what came after the page was shown stays unread
    assert list(Notice.objects.filter(read_at=None, user=ana)) == [third]
    assert browser.post(f"{PAGE}notices/read/", {"notice": other.pk, "go": "1"}).headers["Location"] == f"{PAGE}notices/"
    assert Notice.objects.get(pk=other.pk).read_at is None
    unread = browser.get(f"{PAGE}notices/?show=unread")
    assert [one.pk for one in unread.context["page"].notices] == [third.pk]


def test_notices_go_on_page_by_page_and_refuse_nonsense(browser: Client, ana: User) -> None:
    Notice.objects.bulk_create([Notice(user=ana, event=Event.DIGEST, title=f"n{number}") for number in range(53)])
    first = browser.get(f"{PAGE}notices/")
    rest = browser.get(f"{PAGE}notices/?before={first.context['page'].older}")
    assert [one.title for one in rest.context["page"].notices] == ["n2", "n1", "n0"]
    assert rest.context["page"].older is None
    assert browser.get(f"{PAGE}notices/?before=x").status_code == 404
    assert browser.post(f"{PAGE}notices/read/", {}).status_code == 404
    assert browser.get(f"{PAGE}notices/read/").status_code == 405


@pytest.mark.parametrize("url", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"])
def test_a_notice_never_leads_elsewhere(browser: Client, ana: User, url: str) -> None:
    bad = notice(ana, url=url)
    assert browser.post(f"{PAGE}notices/read/", {"notice": bad.pk, "go": "1"}).headers["Location"] == f"{PAGE}notices/"


def test_notices_of_syncs_that_one_may_not_see_any_more_are_gone(browser: Client, ana: User) -> None:
    sync = make_sync(team=Team.objects.create(name="Others"))
    notice(ana, sync=sync, title="Zquorl")
    notice(ana, incident=incident(sync, sync=sync), title="Zquorl too")
    assert "Zquorl" not in browser.get(f"{PAGE}notices/").content.decode()


def test_pages_take_at_most_twelve_queries(browser: Client, ana: User, django_assert_max_num_queries: Any) -> None:
    syncs = [make_sync(owner=ana if number % 2 else None) for number in range(6)]
    for sync in syncs:
        WatchedSync.objects.create(user=ana, sync=sync)
        notice(ana, sync=sync, incident=incident(sync))
    channel()
    browser.post(PAGE, filled())
    for address in (PAGE, f"{PAGE}notices/", f"{PAGE}sync/{syncs[0].pk}/"):
        with django_assert_max_num_queries(12):
            assert browser.get(address).status_code == 200
