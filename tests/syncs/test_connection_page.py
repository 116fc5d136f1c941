"""The page of a connection: what it tells, to whom, and at what cost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from syncs.choices import StepKind, StepStatus
from syncs.models import AuditEvent, Connection, RateWindow, Step, Sync, Team
from syncs.services import connection_overview
from tests import memory_destination, seeds
from tests.servers import Answer, Server, tls_pair
from tests.syncs.admin_forms import errors, posted

pytestmark = pytest.mark.django_db
OLD, NEW = "first-token-of-the-test", "second-token-of-the-test"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(lambda request: Answer.json({})) as started:
        yield started


@pytest.fixture
def http(server: Server) -> Connection:
    config = {
        "base_url": server.url,
        "auth": {"kind": "bearer"},
        "limits": {"requests_per_window": 10, "window_seconds": 60, "concurrency": 3},
        "objects": {name: {"operations": {"upsert": {"path": f"/{name}"}}} for name in ("contacts", "deals")},
    }
    return Connection.objects.create(name="CRM", role="destination", kind="http", config=config, secrets={"token": OLD})


def url(connection: Connection, name: str = "") -> str:
    return f"/admin/syncs/connection/{connection.pk}/{name}"


def html_of(client: Client, connection: Connection) -> str:
    answer = client.get(url(connection))
    assert answer.status_code == 200
    return answer.content.decode()


def save(client: Client, connection: Connection, **changes: Any) -> Any:
    answer = client.post(url(connection, "change/"), posted(client.get(url(connection, "change/"))) | changes)
    assert answer.status_code == 302, errors(answer)
    return answer


def test_limits_budget_and_syncs_are_shown(admin_client: Client, http: Connection):
    source, _ = seeds.connections()
    sync = seeds.sync(source, http, "Contacts of the shop")
    run = seeds.run(sync, "partial", read=100, refused=7, request_count=40, retry_count=4)
    started = timezone.now() - timedelta(minutes=5)
    Step.objects.create(
        run=run, number=99, kind=StepKind.WAIT, status=StepStatus.SUCCEEDED, started_at=started,
        finished_at=started + timedelta(seconds=90),
    )  # fmt: skip
    RateWindow.objects.create(connection=http, window_started_at=timezone.now(), used_count=4)
    html = html_of(admin_client, http)
    for wanted in ("<code>contacts</code>", "<code>deals</code>", "10 per 60 s", "4 of 10 calls used", "Contacts of the shop",
                   "4 of them again", "1, 1 min 30 s together", "7 dead-lettered"):  # fmt: skip
        assert wanted in html, wanted
    assert "Redirect URI" not in html


def test_health_counts_a_day_and_no_more(http: Connection):
    source, _ = seeds.connections()
    sync = seeds.sync(source, http, "A")
    for status, days in (("succeeded", 0), ("failed", 0), ("succeeded", 2)):
        run = seeds.run(sync, status, read=10, request_count=5)
        type(run).objects.filter(pk=run.pk).update(started_at=timezone.now() - timedelta(days=days, minutes=1))
    health = connection_overview.health([sync])
    assert (health.run_count, health.failed_count, health.call_count) == (2, 1, 10)
    assert connection_overview.health([]).run_count == 0


def test_syncs_of_other_teams_are_neither_named_nor_counted(http: Connection):
    source, _ = seeds.connections()
    ours = seeds.sync(source, http, "Ours")
    theirs = seeds.sync(source, http, "Zquorl", team=Team.objects.create(name="Others"))
    seeds.run(theirs, "failed", read=5)
    client = Client()
    client.force_login(seeds.user("viv", "syncs.view_connection", "syncs.view_sync"))
    html = html_of(client, http)
    assert ours.name in html
    assert "Zquorl" not in html
    assert "No run of a sync that you see went through it" in html
    for hidden in ("Test the connection", "Try one record", "/change/"):
        assert f'"{hidden}' not in html


def test_test_tells_phases_and_remedy(admin_client: Client, http: Connection, server: Server):
    answer = admin_client.post(url(http, "test/"), follow=True)
    test = answer.context["test"]
    assert [name for name, _, _ in test.phases] == ["Look up the name", "Connect", "Answer"]
    assert test.is_ok
    assert abs(sum(milliseconds for _, milliseconds, _ in test.phases) - test.milliseconds) < 1
    server.script(Answer(403))
    html = admin_client.post(url(http, "test/"), follow=True).content.decode()
    assert "Check their rights at the destination" in html
    http.refresh_from_db()
    assert http.state == "failing"
    assert "Check their rights" in http.state_message


FAILURES = [
    ("http://no-such-host.invalid", "cannot be resolved", "Correct the host name", ["Look up the name"]),
    ("http://127.0.0.1:9", "No connection", "Correct host and port", ["Look up the name", "Connect"]),
    ("https://127.0.0.1:{port}", "No trusted TLS connection", "valid certificate", ["Look up the name", "Connect", "TLS"]),
    ("http://10.0.0.1", "is refused", "have the operator allow", ["Look up the name"]),
]


@pytest.mark.parametrize(("address", "message", "remedy", "phases"), FAILURES)
def test_each_failure_has_its_remedy(
    admin_client: Client, http: Connection, address: str, message: str, remedy: str, phases: list[str]
):
    with Server(tls=tls_pair("127.0.0.1")[0]) as untrusted:
        http.config |= {"base_url": address.format(port=untrusted.port), "limits": {"deadline_seconds": 5}}
        http.save()
        test = admin_client.post(url(http, "test/"), follow=True).context["test"]
    assert message in test.message
    assert remedy in test.remedy
    assert [name for name, _, _ in test.phases] == phases


def test_history_tells_changes_and_never_a_secret(admin_client: Client, http: Connection):
    config = '{"kind": "api_key", "name": "X-Key"}'
    save(admin_client, http, name="CRM 2", config__auth=config, secret__api_key=NEW, clear__token="on", expires_on="2031-05-04")
    save(admin_client, http)
    detail = {event.act: event.detail for event in AuditEvent.objects.all()}
    assert detail["changed"]["name"] == ["CRM", "CRM 2"]
    assert detail["changed"]["auth.kind"] == ["bearer", "api_key"]
    assert detail["changed"]["expires_on"] == [None, "2031-05-04"]
    assert detail["rotated"] == {"given": ["api_key"], "removed": ["token"]}
    assert AuditEvent.objects.count() == 2, "a save that changes nothing says nothing"
    html = html_of(admin_client, http)
    assert "new value: api_key; removed: token" in html
    assert "4 May 2031" in html
    for told in (html, repr(list(AuditEvent.objects.values()))):
        assert OLD not in told
        assert NEW not in told


def test_token_written_into_a_setting_is_masked_in_the_history(admin_client: Client, http: Connection):
    save(admin_client, http, config__headers='{"X-Auth": "sk-live-Abcdef0123456789"}')
    assert "sk-live-Abcdef" not in repr(list(AuditEvent.objects.values()))


def test_created_and_cleared_states_are_told(admin_client: Client, http: Connection, server: Server):
    data = {"name": "New", "config__base_url": server.url, "config__auth": '{"kind": "bearer"}', "secret__token": NEW}
    data["config__objects"] = '{"a": {"operations": {"upsert": {"path": "/a"}}}}'
    assert admin_client.post("/admin/syncs/connection/add/?role=destination&kind=http", data).status_code == 302
    assert AuditEvent.objects.get().detail == {"kind": "http", "role": "destination", "secrets": ["token"]}
    Connection.objects.filter(pk=http.pk).update(state="reauthorize", state_message="Ended.")
    assert "Log in again" in html_of(admin_client, http)
    save(admin_client, http, description="only words")
    assert Connection.objects.get(pk=http.pk).state == "reauthorize"
    save(admin_client, http, secret__token=NEW)
    assert Connection.objects.get(pk=http.pk).state == "unchecked"


def test_expiry_typed_in_the_form_warns(admin_client: Client, http: Connection):
    tomorrow = (timezone.now() + timedelta(days=1)).date().isoformat()
    save(admin_client, http, expires_on=tomorrow)
    assert "The credential ends soon" in html_of(admin_client, http)
    save(admin_client, http, expires_on="")
    assert "The credential ends soon" not in html_of(admin_client, http)


def test_broken_settings_and_unreadable_secrets_are_told(admin_client: Client, http: Connection, settings: Any):
    Connection.objects.filter(pk=http.pk).update(config={"base_url": "nowhere"})
    assert "The settings do not hold" in html_of(admin_client, http)
    settings.RETL = {**settings.RETL, "ENCRYPTION_KEYS": ["a" * 43 + "="]}
    assert "The secrets cannot be opened" in html_of(admin_client, http)


def test_kind_that_breaks_while_it_describes_itself_keeps_its_page(admin_client: Client, http: Connection):
    memory_destination.register()
    Connection.objects.filter(pk=http.pk).update(kind="memory", config={})
    assert "“memory” could not say (KeyError). See the log." in html_of(admin_client, http)


def test_page_takes_few_queries_however_many_syncs(admin_client: Client, http: Connection, django_assert_max_num_queries: Any):
    source, _ = seeds.connections()
    for number in range(5):
        seeds.run(seeds.sync(source, http, f"S{number}"), "partial", refused=1)
    assert Sync.objects.count() == 5
    admin_client.post(url(http, "test/"))
    with django_assert_max_num_queries(12):
        admin_client.get(url(http))
