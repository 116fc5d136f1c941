"""Channels and deliveries through the API: set up, tested, rotated, sent again; and secrets that never come out."""

from __future__ import annotations

from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from monitoring.api.channel_shapes import ChannelConfigShape, ChannelSecretsShape
from monitoring.channels import registry
from monitoring.choices import DeliveryState, Event, Severity
from monitoring.models import Channel, Delivery
from monitoring.services import deliveries, messages, outbox
from syncs.models import AuditEvent, Team
from tests.api.kit import caller, said
from tests.monitoring.conftest import loopback, server
from tests.monitoring.incident_world import connections, sync
from tests.servers import Answer, Server

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]
LIST = "/api/v1/channels"
__all__ = ["loopback", "server"]


def put(channel: Channel, **values: Any) -> Delivery:
    message = messages.make(Event.INCIDENT_OPENED, severity=Severity.WARNING, subject="incident:1", title="Runs fail")
    made = outbox.put(
        event=Event.INCIDENT_OPENED, message=message, channel=channel, subject=f"s{Delivery.objects.count()}",
        severity=Severity.WARNING, **values,
    )  # fmt: skip
    assert made is not None
    return made


def webhook(client: Any, server: Server, **values: Any) -> Any:
    body = {"kind": "webhook", "name": "Ops", "config": {"url": f"{server.url}/hook"}, "events": ["run.finished"]}
    answer = client.post(LIST, body | values)
    assert answer.status_code == 201, answer.content
    return answer


def test_names_of_settings_are_those_of_the_kinds() -> None:
    fields = [field for kind, _ in registry.kinds() for field in registry.module(kind).FIELDS]
    assert set(ChannelConfigShape().fields) == {field.name for field in fields if not field.is_secret}
    assert set(ChannelSecretsShape().fields) == {field.name for field in fields if field.is_secret}


def test_webhook_shows_its_secret_once_is_tested_rotated_and_changed(server: Server) -> None:
    client = caller("admin")
    made = webhook(client, server)
    secret, address = made.json()["signing_secret"], made["Location"]
    assert client.post(f"{address}/test").json()["is_delivered"] is True
    Webhook(secret).verify(server.requests[0].body, server.requests[0].headers)
    shown = client.get(address)
    assert secret not in shown.content.decode()
    assert (shown.json()["secret_names"], shown.json()["config"]) == (["secret"], {"url": f"{server.url}/hook"})
    turned = client.post(f"{address}/rotate-secret", {"hours": 2}).json()
    assert turned["overlap_until"] is not None
    assert turned["signing_secret"] not in (secret, None)
    assert said(client.patch(address, {"name": "x"}, headers={"If-Match": shown["ETag"]}))[:2] == (412, "precondition_failed")
    match = {"If-Match": client.get(address)["ETag"]}
    changed = client.patch(address, {"secrets": {"authorization": "Bearer hunter2"}, "min_severity": "page"}, headers=match)
    assert changed.status_code == 200, changed.content
    assert changed.json()["secret_names"] == ["authorization", "secret"]
    assert Channel.objects.get().secrets["secret"] == turned["signing_secret"]
    again = client.patch(address, {"secrets": {"authorization": None}}, headers={"If-Match": "*"})
    assert again.json()["secret_names"] == ["secret"]
    everything = str(list(AuditEvent.objects.values())) + client.get(LIST).content.decode() + again.content.decode()
    assert not any(text in everything for text in (secret, turned["signing_secret"], "hunter2"))
    assert client.delete(address, headers={"If-Match": "*"}).status_code == 204
    assert not Channel.objects.exists()


def test_switching_off_gives_up_what_waits_and_it_is_delivered_again(server: Server) -> None:
    client = caller("admin")
    address = webhook(client, server)["Location"]
    waiting = put(Channel.objects.get())
    assert client.post(f"{address}/disable").json()["is_enabled"] is False
    assert said(client.post(f"{address}/disable"))[:2] == (409, "refused")
    assert client.get(address).json()["missed_count"] == 1
    assert said(client.post(f"{address}/redeliver"))[:2] == (409, "refused")
    assert client.post(f"{address}/enable").json()["is_enabled"] is True
    assert client.post(f"{address}/redeliver").json() == {"count": 1}
    [again, first] = client.get("/api/v1/deliveries").json()["data"]
    assert (again["resent_of_id"], first["id"], first["state"]) == (waiting.pk, waiting.pk, "dead")


def test_delivery_shows_its_attempts_and_is_sent_again(server: Server) -> None:
    client = caller("admin")
    webhook(client, server)
    server.script(Answer(500, body=b"no"))
    delivery = put(Channel.objects.get())
    deliveries.send_due()
    address = f"/api/v1/deliveries/{delivery.pk}"
    found = client.get(address).json()
    assert (found["title"], found["body"]["type"], found["state"]) == ("Runs fail", "incident.opened", "pending")
    assert found["attempts"][0]["http_status"] == 500
    assert said(client.post(f"{address}/redeliver"))[:2] == (409, "refused")
    Delivery.objects.update(state=DeliveryState.DEAD)
    made = client.post(f"{address}/redeliver")
    assert made.status_code == 201
    assert client.get(made["Location"]).json()["message_id"] == found["message_id"]
    assert [one["id"] for one in client.get("/api/v1/deliveries", {"state": "dead"}).json()["data"]] == [delivery.pk]
    assert client.get("/api/v1/deliveries", {"event": "test"}).json()["data"] == []
    assert said(client.get("/api/v1/deliveries", {"state": "lost"}))[2].keys() == {"state"}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"kind": "webhook"}, "config.url"),
        ({"kind": "webhook", "config": {"url": "https://169.254.169.254/"}}, "config.url"),
        ({"kind": "webhook", "config": {"url": "https://127.0.0.1/"}, "secrets": {"secret": "hunter2"}}, "secrets.secret"),
        ({"kind": "webhook", "config": {"url": "https://127.0.0.1/", "to": "a@b.example"}}, "config.to"),
        ({"kind": "webhook", "config": {"secret": "x"}}, "config.secret"),
        ({"kind": "slack"}, "secrets.webhook_url"),
        ({"kind": "slack", "secrets": {"routing_key": "x"}}, "secrets.routing_key"),
        ({"kind": "email", "config": {"to": "a@example.com"}, "events": ["run.finished"]}, "events"),
        ({"kind": "email", "config": {"to": "a@example.com"}, "owner_id": 99999}, "owner_id"),
        ({"kind": "email", "config": {"to": "a@example.com"}, "name": "Taken"}, "name"),
        ({"kind": "pigeon"}, "kind"),
        ({"kind": "email", "config": []}, "config"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], field: str) -> None:
    Channel.objects.create(name="Taken", kind="email")
    answer = caller("admin").post(LIST, {"name": "New", **values})
    assert said(answer)[0] == 400
    assert field in said(answer)[2]
    assert "hunter2" not in answer.content.decode()
    assert Channel.objects.count() == 1


def test_operator_sees_channels_and_the_deliveries_of_his_own_syncs() -> None:
    channel = Channel.objects.create(name="Ops", kind="email", config={"to": "a@example.com"})
    mine = sync(*connections())
    theirs = sync(mine.source, mine.destination, team=Team.objects.create(name="others"))
    seen, hidden = put(channel, sync=mine), put(channel, sync=theirs)
    client = caller("operator")
    assert [one["id"] for one in client.get("/api/v1/deliveries").json()["data"]] == [seen.pk]
    assert client.get(f"/api/v1/deliveries/{hidden.pk}").status_code == 404
    assert client.get(f"{LIST}/{channel.pk}").json()["config"] == {"to": "a@example.com"}
    assert said(client.post(f"{LIST}/{channel.pk}/test"))[:2] == (403, "forbidden")
    assert said(caller("admin", "write").post(f"{LIST}/{channel.pk}/test"))[:2] == (403, "scope_missing")
    assert caller("viewer").get("/api/v1/deliveries").status_code == 403
    kinds = {one["kind"]: one for one in client.get("/api/v1/channel-kinds").json()["data"]}
    assert kinds["webhook"]["settings"][1]["is_secret"] is True
    assert "run.finished" in kinds["webhook"]["events"]
