"""Each kind of channel against a real server on loopback."""

from __future__ import annotations

import email.message
import email.policy
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from monitoring.channels import email as mail
from monitoring.channels import pagerduty, registry, slack, teams, webhook
from monitoring.channels.base import Message, Place, Sent
from monitoring.choices import Event, Severity
from tests.servers import Answer, Server

LOOPBACK = ("127.0.0.0/8",)
HOSTILE = "<!channel> [x](https://evil.example) <b>*Contacts*</b> & co"
SECRET, FORMER = webhook.new_secret(), webhook.new_secret()


def message(event: Event = Event.INCIDENT_OPENED, **values: Any) -> Message:
    shared: dict[str, Any] = {
        "id": "5e1f3ff4-0000-4000-8000-000000000001",
        "event": event,
        "severity": Severity.PAGE,
        "subject": "incident:7",
        "title": f"Runs of {HOSTILE} fail",
        "text": "3 runs in a row failed.\nLog in again at the destination.",
        "at": datetime(2026, 3, 2, 8, 30, tzinfo=UTC),
        "facts": (("Sync", HOSTILE), ("Since", "2026-03-02 08:29 UTC")),
        "links": (("Incident", "https://redrive.example/admin/i/7/"), ("Run 12", "https://redrive.example/admin/r/12/")),
        "data": {"incident": {"id": 7, "condition": "run_failed"}},
    }
    return Message(**{**shared, **values})


def place(config: dict[str, Any] | None = None, **secrets: str) -> Place:
    former = secrets.pop("former", "")
    return Place(config or {}, secrets, allowed_private_networks=LOOPBACK, former_secret=former)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(lambda _: Answer(200, body=b"ok")) as running:
        yield running


# --- webhook


def post(server: Server, told: Message | None = None, **secrets: str) -> Sent:
    return webhook.send(told or message(), place({"url": f"{server.url}/hook"}, **{"secret": SECRET, **secrets}))


def test_webhook_is_verified_by_a_receiver_that_knows_the_secret(server: Server):
    sent = post(server, authorization="Bearer s3cr3t-of-theirs")
    assert (sent.is_delivered, sent.http_status, sent.excerpt) == (True, 200, "ok")
    got = server.requests[0]
    body = Webhook(SECRET).verify(got.body, got.headers)
    assert body["type"] == "incident.opened"
    assert body["timestamp"] == "2026-03-02T08:30:00+00:00"
    assert body["data"]["incident"]["id"] == 7
    assert body["data"]["url"] == "https://redrive.example/admin/i/7/"
    assert got.headers["webhook-id"] == message().id
    assert got.headers["authorization"] == "Bearer s3cr3t-of-theirs"
    with pytest.raises(WebhookVerificationError):
        Webhook(FORMER).verify(got.body, got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body.replace(b"incident", b"accident"), got.headers)


def test_both_secrets_sign_while_a_rotation_overlaps(server: Server):
    assert post(server, former=FORMER).is_delivered
    got = server.requests[0]
    assert Webhook(SECRET).verify(got.body, got.headers) == Webhook(FORMER).verify(got.body, got.headers)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(204), {"is_delivered": True}),
        (Answer(410), {"is_gone": True, "is_permanent": True}),
        (Answer(302, {"Location": "https://elsewhere.example/"}), {"is_permanent": True}),
        (Answer(400, body=b"no"), {"is_permanent": True, "excerpt": "no"}),
        (Answer(429, {"Retry-After": "90"}), {"retry_after": 90.0, "is_permanent": False}),
        (Answer(503, {"Retry-After": "999999"}), {"retry_after": 86_400.0}),
        (Answer(500), {"is_permanent": False, "is_gone": False, "error": "It answered 500."}),
        (Answer(fault="close"), {"is_permanent": False, "http_status": None}),
    ],
)
def test_answer_of_an_endpoint_is_judged(server: Server, answer: Answer, expected: dict[str, Any]):
    server.script(answer)
    sent = post(server)
    assert {name: getattr(sent, name) for name in expected} == expected
    assert sent.is_delivered is (answer.status == 204)


def test_secrets_and_addresses_stay_out_of_what_is_noted(server: Server):
    path = "services/T000/B000/abcdefSecretPath"
    server.script(Answer(403, body=f"no {SECRET} at {server.url}/{path} or /{path}".encode()))
    sent = webhook.send(message(), place({"url": f"{server.url}/{path}"}, secret=SECRET))
    assert SECRET not in sent.excerpt
    assert path not in sent.excerpt
    refused = webhook.send(message(), Place({"url": f"{server.url}/{path}"}, {"secret": SECRET}))
    assert refused.is_permanent
    assert "refused" in refused.error
    assert path not in refused.error
    assert len(server.requests) == 1


# --- Slack, Teams


def test_slack_message_shows_names_as_they_are_and_mentions_on_a_page(server: Server):
    where = place({"mention": "<!here>"}, webhook_url=f"{server.url}/services/x")
    assert slack.send(message(), where).is_delivered
    assert slack.send(message(Event.INCIDENT_RESOLVED), where).is_delivered
    opened, resolved = (request.json() for request in server.requests)
    assert opened["text"].startswith("<!here> 🔴 Runs of &lt;!channel&gt;")
    assert opened["blocks"][0]["text"] == {"type": "mrkdwn", "text": "<!here>"}
    assert {block["text"]["type"] for block in opened["blocks"][1:3]} == {"plain_text"}
    assert [one["url"] for one in opened["blocks"][-1]["elements"]] == [url for _, url in message().links]
    assert resolved["text"].startswith("✅ ")
    assert "here" not in resolved["text"]


@pytest.mark.parametrize(("status", "body", "is_gone"), [(404, b"no_service", True), (400, b"invalid_payload", False)])
def test_slack_says_that_an_address_is_gone(server: Server, status: int, body: bytes, is_gone: bool):
    server.script(Answer(status, body=body))
    sent = slack.send(message(), place(webhook_url=f"{server.url}/services/x"))
    assert (sent.is_delivered, sent.is_gone, sent.is_permanent) == (False, is_gone, True)


def test_long_texts_stay_within_the_limits_of_slack():
    long = message(title="t" * 5000, text="x" * 9000, facts=tuple((f"f{n}", "v" * 5000) for n in range(30)))
    made = slack.payload(long)
    assert len(made["blocks"][0]["text"]["text"]) == 150
    assert len(made["blocks"][1]["text"]["text"]) == 3000
    assert [len(field["text"]) for field in made["blocks"][2]["fields"]] == [2000] * 10


def test_teams_gets_a_card_whose_texts_are_no_markdown(server: Server):
    server.script(Answer(202), Answer(404))
    assert teams.send(message(), place(webhook_url=f"{server.url}/workflows/x")).is_delivered
    assert teams.send(message(), place(webhook_url=f"{server.url}/workflows/x")).is_gone
    content = server.requests[0].json()["attachments"][0]
    assert content["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = content["content"]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert card["body"][0]["inlines"][0]["text"] == f"Runs of {HOSTILE} fail"
    assert card["actions"][0] == {"type": "Action.OpenUrl", "title": "Incident", "url": message().links[0][1]}
    assert len(str(teams.payload(message(text="x" * 90_000, title="t" * 9000)))) < 20_000


# --- PagerDuty


def test_pagerduty_opens_acknowledges_and_resolves_one_alert(server: Server):
    server.handler = lambda _: Answer.json({"status": "success"}, 202)
    where = place({"url": f"{server.url}/v2/enqueue"}, routing_key="k" * 32)
    for event in (Event.INCIDENT_OPENED, Event.INCIDENT_CHANGED, Event.INCIDENT_ACKNOWLEDGED, Event.INCIDENT_RESOLVED):
        assert pagerduty.send(message(event), where).is_delivered
    bodies = [request.json() for request in server.requests]
    assert [body["event_action"] for body in bodies] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert {body["dedup_key"] for body in bodies} == {"redrive:incident:7"}
    assert {body["routing_key"] for body in bodies} == {"k" * 32}
    assert bodies[0]["payload"]["severity"] == "critical"
    assert bodies[0]["payload"]["class"] == "run_failed"
    assert bodies[0]["links"][0]["href"] == message().links[0][1]
    assert "payload" not in bodies[3]


def test_pagerduty_test_leaves_no_open_alert(server: Server):
    assert pagerduty.send(message(Event.TEST), place({"url": server.url}, routing_key="k" * 32)).is_delivered
    assert [request.json()["event_action"] for request in server.requests] == ["trigger", "resolve"]


# --- email


class Sink:
    """Keeps mails; answers RCPT for refused@ and DATA as it is told."""

    def __init__(self) -> None:
        self.mails: list[email.message.EmailMessage] = []
        self.answer = "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("refused@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=email.policy.default))  # type: ignore[arg-type]
        return self.answer


class AnyPort(Controller):
    """Port 0 is whichever the system gives; the stock one would knock at port 0."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def sink(settings: Any) -> Iterator[Sink]:
    kept = Sink()
    controller = AnyPort(kept, hostname="127.0.0.1", port=0)
    controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", controller.port
    settings.RETL = {**settings.RETL, "BASE_URL": "https://redrive.example"}
    yield kept
    controller.stop()


def test_mail_has_text_and_html_with_links_and_one_thread(sink: Sink):
    where = place({"to": "ana@example.com; ops@example.com", "prefix": "[Redrive test]"})
    assert mail.send(message(), where).is_delivered
    assert mail.send(message(Event.INCIDENT_RESOLVED, id="5e1f3ff4-0000-4000-8000-000000000002"), where).is_delivered
    first, second = sink.mails
    assert first["Subject"] == f"[Redrive test] Page: Runs of {HOSTILE} fail"
    assert first["To"] == "ana@example.com, ops@example.com"
    assert first["References"] == second["References"] == "<incident.7@redrive.example>"
    assert first["Message-ID"] != second["Message-ID"]
    assert first["Auto-Submitted"] == "auto-generated"
    text, html = (first.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    assert f"Sync: {HOSTILE}" in text
    assert "Run 12: https://redrive.example/admin/r/12/" in text
    assert 'href="https://redrive.example/admin/r/12/"' in html
    assert "&lt;!channel&gt;" in html
    assert "<b>*Contacts*" not in html


@pytest.mark.parametrize(
    ("to", "answer", "is_delivered", "is_permanent", "words"),
    [
        ("refused@example.com", "250 OK", False, True, "refused every recipient (550)"),
        ("refused@example.com, ana@example.com", "250 OK", True, False, ""),
        ("ana@example.com", "451 try later", False, False, "451"),
        ("ana@example.com", "554 spam", False, True, "554: spam"),
    ],
)
def test_answer_of_the_mail_server_is_judged(
    sink: Sink, to: str, answer: str, is_delivered: bool, is_permanent: bool, words: str
):
    sink.answer = answer
    sent = mail.send(message(), place({"to": to}))
    assert (sent.is_delivered, sent.is_permanent) == (is_delivered, is_permanent)
    assert words in sent.error
    assert len(sink.mails) == is_delivered


def test_mail_that_nobody_would_get_is_not_called_delivered(settings: Any):
    where = place({"to": "ana@example.com"})
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    assert "EMAIL_URL" in mail.send(message(), where).error
    settings.EMAIL_BACKEND, settings.EMAIL_HOST = "django.core.mail.backends.smtp.EmailBackend", "127.0.0.1"
    settings.EMAIL_PORT = 1  # nobody listens
    sent = mail.send(message(), where)
    assert (sent.is_delivered, sent.is_permanent) == (False, False)


# --- what is wrong with settings is said before anything is sent

GOOD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "email": ({"to": "a@example.com, b@example.com"}, {}),
    "slack": ({}, {"webhook_url": "https://hooks.slack.com/services/T/B/x"}),
    "teams": ({}, {"webhook_url": "https://prod.example.com/workflows/1?sig=abc"}),
    "pagerduty": ({}, {"routing_key": "R" * 32}),
    "webhook": ({"url": "https://ops.example.com/hook"}, {"secret": SECRET}),
    "in_app": ({"users": "ana"}, {}),
}


@pytest.mark.parametrize("kind", list(registry.CHANNEL_KINDS))
def test_settings_in_order_have_no_issue_and_empty_ones_name_the_field(kind: str):
    module = registry.module(kind)
    assert module.validate(*GOOD[kind]) == []
    required = {field.name for field in module.FIELDS if field.is_required}
    assert {issue.field for issue in module.validate({}, {})} == required
    assert {field.name for field in module.FIELDS} >= set(GOOD[kind][0]) | set(GOOD[kind][1])


@pytest.mark.parametrize(
    ("kind", "config", "secrets", "field", "words"),
    [
        ("email", {"to": "ana, b@example.com"}, {}, "to", "“ana” is not an email address"),
        ("email", {"to": ",".join(f"a{n}@example.com" for n in range(51))}, {}, "to", "at most 50"),
        ("slack", {}, {"webhook_url": "http://hooks.slack.com/x"}, "webhook_url", "https"),
        ("slack", {}, {"webhook_url": "https://169.254.169.254/x"}, "webhook_url", "refused"),
        ("teams", {}, {"webhook_url": "https://2130706433/x"}, "webhook_url", "refused"),
        ("webhook", {"url": "https://u:p@ops.example.com/"}, {}, "url", "user name or password"),
        ("webhook", {"url": "https://[::1]/"}, {}, "url", "private"),
        ("webhook", {"url": "ftp://ops.example.com/"}, {}, "url", "https://"),
        ("webhook", GOOD["webhook"][0], {"secret": "hunter2hunter2"}, "secret", "begins with whsec_"),
        ("webhook", GOOD["webhook"][0], {"secret": "whsec_%%%"}, "secret", "base64"),
        ("webhook", GOOD["webhook"][0], {"secret": "whsec_c2hvcnQ="}, "secret", "24 to 64 bytes"),
        ("webhook", GOOD["webhook"][0], {"authorization": "a\r\nX: y"}, "authorization", "printable"),
        ("pagerduty", {}, {"routing_key": "short"}, "routing_key", "32 letters and digits"),
    ],
)
def test_bad_setting_is_named(kind: str, config: dict[str, Any], secrets: dict[str, Any], field: str, words: str):
    issues = registry.module(kind).validate(config, secrets)
    assert [issue.field for issue in issues] == [field]
    assert words in issues[0].message
    for secret in secrets.values():
        assert secret not in issues[0].message
