"""Channels and their log in the console: who may do what, what is shown, and what never is."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from monitoring.channels import webhook
from monitoring.choices import Condition, DeliveryState, Event, Severity
from monitoring.models import Channel, Delivery, Incident
from monitoring.services import channel_edit, deliveries, delivery_list, messages, outbox
from syncs.models import AuditEvent, Team
from tests import seeds
from tests.servers import Answer, Server

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]
LIST = "/admin/monitoring/channel/"
LOG = "/admin/monitoring/delivery/"
HOSTILE = "<script>alert(1)</script> ‮"


@pytest.fixture
def root(client: Client) -> User:
    acts = [f"monitoring.{act}_channel" for act in ("view", "add", "change", "delete")]
    more = ("monitoring.view_delivery", "monitoring.change_delivery", "syncs.allteams_sync", "syncs.view_sync")
    made = seeds.user("root", *acts, *more, "monitoring.view_incident", "monitoring.view_subscription")
    client.force_login(made)
    return made


def page_of(channel: Channel) -> str:
    return f"{LIST}{channel.pk}/change/"


def put(channel: Channel | None, **values: Any) -> Delivery:
    event = values.pop("event", Event.INCIDENT_OPENED)
    title = values.pop("title", "Runs fail")
    message = messages.make(event, severity=Severity.WARNING, subject="incident:1", title=title)
    shared = {"subject": f"s{Delivery.objects.count()}", "severity": Severity.WARNING}
    made = outbox.put(event=event, message=message, channel=channel, **{**shared, **values})
    assert made is not None
    return made


def test_a_webhook_shows_its_secret_once_and_a_test_is_signed_with_it(client: Client, root: User, server: Server):
    sent = {"kind": "webhook", "name": HOSTILE, "min_severity": "warning", "owner": root.pk}
    answer = client.post(f"{LIST}add/", {**sent, "url": f"{server.url}/hook", "events": ["run.finished"]})
    shown = re.search(r'value="(whsec_[^"]+)"', answer.content.decode())
    assert shown is not None
    assert "no-store" in answer["Cache-Control"]
    channel = Channel.objects.get()
    assert (channel.events, channel.secrets) == (["run.finished"], {"secret": shown[1]})
    assert client.post(f"{LIST}{channel.pk}/act/", {"act": "test"}).status_code == 302
    Webhook(shown[1]).verify(server.requests[0].body, server.requests[0].headers)
    after = client.get(page_of(channel)).content.decode()
    assert "The test was delivered" in after
    assert shown[1] not in after
    assert "<script>alert" not in after
    assert shown[1] not in str(list(AuditEvent.objects.values()))


def test_a_rotated_secret_overlaps_and_the_former_is_forgotten(client: Client, root: User, server: Server):
    old = webhook.new_secret()
    config = {"url": f"{server.url}/hook"}
    channel = Channel.objects.create(name="Ops", kind="webhook", config=config, secrets={"secret": old, "authorization": "x"})
    answer = client.post(f"{LIST}{channel.pk}/act/", {"act": "rotate", "hours": "2"}).content.decode()
    new = re.search(r'value="(whsec_[^"]+)"', answer)
    assert new is not None
    put(channel)
    deliveries.send_due()
    for secret in (old, new[1]):
        Webhook(secret).verify(server.requests[0].body, server.requests[0].headers)
    now = timezone.now()
    assert channel_edit.forget_former(now) == 0
    assert channel_edit.forget_former(now + timedelta(hours=3)) == 1
    channel.refresh_from_db()
    assert channel.secrets == {"secret": new[1], "authorization": "x"}
    refused = client.post(f"{LIST}{channel.pk}/act/", {"act": "rotate", "hours": "999"}, follow=True)
    assert "The overlap is 0 to 168 hours." in refused.content.decode()


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("webhook", {"url": "https://169.254.169.254/"}, "is refused"),
        ("webhook", {"url": "https://localhost.localdomain.invalid:99999/"}, "cannot be read"),
        ("webhook", {"url": "https://ops.example.com/", "secret": "hunter2"}, "begins with whsec_"),
        ("webhook", {"url": "https://ops.example.com/", "events": ["nonsense"]}, "nonsense"),
        ("slack", {}, "This field is required."),
        ("email", {"to": "not an address"}, "is not an email address"),
        ("in_app", {"users": "root, ghost"}, "“ghost” is nobody who can be told"),
        ("pagerduty", {"routing_key": "x"}, "32 letters and digits"),
        ("email", {"to": "a@example.com", "name": "Taken"}, "already"),
    ],
)
def test_what_is_wrong_is_named_at_save(client: Client, root: User, kind: str, values: dict[str, Any], words: str):
    Channel.objects.create(name="Taken", kind="email")
    answer = client.post(f"{LIST}add/", {"kind": kind, "name": "New", "min_severity": "info", **values})
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert "hunter2" not in answer.content.decode()
    assert Channel.objects.count() == 1


def test_a_name_that_stands_for_a_refused_address_is_named_at_save(settings: Any):
    settings.RETL = {**settings.RETL, "ALLOWED_PRIVATE_NETWORKS": ()}
    issues = channel_edit.issues("slack", {}, {"webhook_url": "https://localhost/services/x"})
    assert [issue.field for issue in issues] == ["webhook_url"]
    assert "refused" in issues[0].message


def test_secrets_stay_when_a_form_leaves_them_empty(client: Client, root: User):
    config = {"url": "https://127.0.0.1:9/"}
    channel = Channel.objects.create(
        name="Ops", kind="webhook", config=config, secrets={"secret": "whsec_" + "QUFB" * 8, "authorization": "x"}
    )
    form = {"name": "Operations", "min_severity": "page", "url": "https://127.0.0.1:9/new", "owner": ""}
    first = channel.updated_at.isoformat()
    assert client.post(page_of(channel), {**form, "seen_at": first}).status_code == 302
    channel.refresh_from_db()
    assert (channel.name, channel.config["url"], channel.secrets["authorization"]) == (
        "Operations",
        "https://127.0.0.1:9/new",
        "x",
    )
    stale = client.post(page_of(channel), {**form, "name": "Late", "seen_at": first})
    assert "somebody else has changed the channel" in stale.content.decode()
    client.post(page_of(channel), {**form, "clear__authorization": "on"})
    channel.refresh_from_db()
    assert "authorization" not in channel.secrets
    acts = list(AuditEvent.objects.order_by("pk").values_list("act", flat=True))
    assert acts == ["changed", "rotated"]


def test_acts_switch_send_again_and_delete(client: Client, root: User, server: Server):
    channel = Channel.objects.create(
        name="Ops", kind="webhook", config={"url": server.url}, secrets={"secret": webhook.new_secret()}, failed_count=3
    )
    waiting = put(channel)
    act = f"{LIST}{channel.pk}/act/"
    assert "1 message that waited was given up" in client.post(act, {"act": "off"}, follow=True).content.decode()
    refused = client.post(f"{LOG}{waiting.pk}/again/", follow=True).content.decode()
    assert "is off. Switch it on first." in refused
    assert "off already" in client.post(act, {"act": "off"}, follow=True).content.decode()
    client.post(act, {"act": "on"})
    channel.refresh_from_db()
    assert (channel.is_enabled, channel.failed_count, channel.disabled_reason) == (True, 0, "")
    assert "1 message is sent again." in client.post(act, {"act": "again"}, follow=True).content.decode()
    again = Delivery.objects.get(resent_of=waiting)
    assert "on its way already" in client.post(f"{LOG}{waiting.pk}/again/", follow=True).content.decode()
    deliveries.send_due()
    again.refresh_from_db()
    assert again.state == DeliveryState.DELIVERED
    assert server.requests[0].headers["webhook-id"] == str(waiting.key)
    client.post(act, {"act": "delete"})
    assert not Channel.objects.exists()
    assert client.post(act, {"act": "nonsense"}).status_code == 404


def test_a_failed_test_says_why_and_harms_nothing(client: Client, root: User, server: Server):
    server.handler = lambda _: Answer(403, body=b"<b>no</b>")
    channel = Channel.objects.create(name="Chat", kind="slack", secrets={"webhook_url": f"{server.url}/s"}, is_enabled=False)
    said = client.post(f"{LIST}{channel.pk}/act/", {"act": "test"}, follow=True).content.decode()
    assert "The test was not delivered. It answered 403." in said
    made = Delivery.objects.get()
    assert (made.state, made.attempt_count) == (DeliveryState.DEAD, 1)
    shown = client.get(f"{LOG}{made.pk}/change/").content.decode()
    assert "&lt;b&gt;no&lt;/b&gt;" in shown
    channel.refresh_from_db()
    assert (channel.failed_count, list(delivery_list.missed(channel, timezone.now()))) == (0, [])


def test_pages_take_few_queries(client: Client, root: User, django_assert_max_num_queries: Any):
    channels = [Channel.objects.create(name=f"C{n}", kind="slack", secrets={"webhook_url": "x"}, owner=root) for n in range(5)]
    made = [put(channel) for channel in channels for _ in range(4)]
    client.get(LIST)
    for url in (LIST, page_of(channels[0]), LOG, f"{LOG}?channel={channels[0].pk}&state=pending", f"{LOG}{made[0].pk}/change/"):
        with django_assert_max_num_queries(12):
            assert client.get(url).status_code == 200, url


@pytest.mark.parametrize("query", ["channel=x", "before=-1", "state=lost", "event=nothing", "channel=999999999999999999999"])
def test_a_filter_that_makes_no_sense_is_said(client: Client, root: User, query: str):
    answer = client.get(f"{LOG}?{query}")
    assert answer.status_code == 400
    assert "This filter cannot be used" in answer.content.decode()


def test_the_log_tells_nobody_of_syncs_he_may_not_see(client: Client):
    rights = ("monitoring.view_delivery", "monitoring.view_channel", "syncs.view_sync", "monitoring.view_incident")
    ana, bo = seeds.user("ana", *rights, email="a@example.com"), seeds.user("bo", *rights, email="b@example.com")
    source, target = seeds.connections()
    mine, theirs = seeds.sync(source, target), seeds.sync(source, target, name="Secret payroll")
    for sync, person in ((mine, ana), (theirs, bo)):
        sync.team = Team.objects.create(name=f"Team of {person}")
        sync.save()
        sync.team.members.add(person)
    shared = Incident.objects.create(
        cause="connection:1:auth", condition=Condition.CREDENTIAL, severity="page", title="Login is lost", connection=target
    )
    own = Incident.objects.create(cause="s", condition=Condition.RUN_FAILED, severity="page", title="Runs fail", sync=mine)
    channel = Channel.objects.create(name="Chat", kind="slack", secrets={"webhook_url": "x"})
    told = {
        "own incident": put(channel, incident=own),
        "shared incident": put(channel, incident=shared, title="Secret payroll and others"),
        "their sync": put(channel, sync=theirs, title="Secret payroll"),
        "my mail": put(None, user=ana, incident=shared),
        "his mail": put(None, user=bo, incident=shared, title="Secret payroll"),
        "test": put(channel, event=Event.TEST),
    }
    seen = set(delivery_list.visible(ana).values_list("pk", flat=True))
    assert {name for name, one in told.items() if one.pk in seen} == {"own incident", "my mail", "test"}
    client.force_login(ana)
    assert "payroll" not in client.get(LOG).content.decode()
    assert client.get(f"{LOG}{told['his mail'].pk}/change/").status_code == 404
    assert client.post(f"{LOG}{told['own incident'].pk}/again/").status_code == 403
    shown = client.get(page_of(channel)).content.decode()
    assert "payroll" not in shown
    assert 'name="webhook_url"' not in shown
    assert client.post(page_of(channel), {"name": "Mine"}).status_code == 403
