"""Probes and /metrics: who may read them, what they say, and what they cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.db import connection
from django.db.models import F
from django.test import Client, override_settings
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from monitoring.models import Channel, Incident
from monitoring.services import doorkeeping, readiness
from monitoring.services.metrics import names, of_syncs
from syncs.models import Heartbeat, Sync
from syncs.models.periods import SyncDay
from syncs.services import heartbeats
from tests import seeds

pytestmark = pytest.mark.django_db
TOKEN = "a-token-of-more-than-twenty-characters"


def beat(name: str, seconds_ago: float = 1, **values: Any) -> None:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    Heartbeat.objects.update_or_create(name=name, defaults={"at": at, "started_at": at, **values})


def samples(page: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """(name without prefix, values of the labels in order) -> value."""
    read = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = names.BY_NAME[sample.name].labels
            assert set(sample.labels) == set(labels), sample.name
            read[sample.name.removeprefix("redrive_"), tuple(sample.labels[name] for name in labels)] = sample.value
    return read


def scrape(client: Client) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200, answer.content
    return samples(answer.content.decode())


@pytest.fixture(autouse=True)
def first_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_syncs, "_former", None)


@pytest.fixture
def knobs() -> Any:
    with override_settings(RETL={**settings.RETL, "METRICS_TOKENS": ("former-token-that-still-stands", TOKEN)}):
        yield settings.RETL


@pytest.fixture
def sync() -> Sync:
    return seeds.sync(*seeds.connections(), status="degraded")


# -- probes


def test_livez_needs_no_database(client: Client, django_assert_num_queries: Any):
    with django_assert_num_queries(0):
        assert client.get("/livez").content == b"ok\n"


@pytest.mark.parametrize(
    ("beats", "address", "status", "last"),
    [
        ([], "/readyz", 200, "worker: not ok, none has run yet"),
        ([], "/readyz?with=worker", 503, "worker: not ok, none has run yet"),
        ([("tick", 3), ("worker:a:1", 3)], "/readyz?with=worker", 200, "worker: ok, last tick 3."),
        ([("tick", 600), ("worker:a:1", 600)], "/readyz", 200, "worker: not ok, last tick 10 min ago, 0 living"),
        ([("tick", 600)], "/readyz?with=worker", 503, "worker: not ok, last tick 10 min ago, 0 living"),
    ],
)
def test_readyz_says_what_is_well(client: Client, beats: list[tuple[str, float]], address: str, status: int, last: str):
    for name, ago in beats:
        beat(name, ago)
    answer = client.get(address)
    text = answer.content.decode()
    assert (answer.status_code, text.splitlines()[0]) == (status, "ok" if status == 200 else "not ready")
    assert "database: ok, answers\nmigrations: ok, up to date\n" in text
    assert text.splitlines()[-1].startswith(last)


def test_probe_that_says_not_ready_writes_no_log(client: Client, caplog: pytest.LogCaptureFixture):
    assert client.get("/readyz?with=worker").status_code == 503
    assert client.get("/metrics", REMOTE_ADDR="203.0.113.9").status_code == 403
    assert caplog.records == []


def test_readyz_is_not_ready_before_the_migrations(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readiness, "_migrated", set())
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'monitoring'")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "to apply: manage.py migrate" in answer.content.decode()


def test_probes_answer_by_any_host_name_and_without_tls(client: Client):
    with override_settings(ALLOWED_HOSTS=["redrive.example.com"], SECURE_SSL_REDIRECT=True):
        assert client.get("/livez", headers={"Host": "10.4.0.17:8000"}).status_code == 200
        assert client.get("/admin/", headers={"Host": "redrive.example.com"}).status_code == 301
    assert client.post("/livez").status_code == 405


# -- who may read metrics


@pytest.mark.parametrize(
    ("headers", "address", "expected"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, "203.0.113.9", 200),
        ({"Authorization": "Bearer former-token-that-still-stands"}, "203.0.113.9", 200),
        ({"Authorization": f"bearer {TOKEN} "}, "203.0.113.9", 200),
        ({"Authorization": "Bearer "}, "203.0.113.9", 403),
        ({"Authorization": f"Basic {TOKEN}"}, "203.0.113.9", 403),
        ({"Authorization": f"Bearer {TOKEN}é"}, "203.0.113.9", 403),
        ({}, "203.0.113.9", 403),
        ({}, "10.1.2.3", 200),
        ({}, "::ffff:10.1.2.3", 200),
        ({"X-Forwarded-For": "10.1.2.3"}, "10.0.0.1", 403),  # a proxy lends everybody its address
        ({}, "", 403),
    ],
)
def test_metrics_are_for_tokens_and_networks(client: Client, knobs: Any, headers: Any, address: str, expected: int):
    with override_settings(RETL={**knobs, "METRICS_NETWORKS": ("10.0.0.0/8",)}):
        answer = client.get("/metrics", headers=headers, REMOTE_ADDR=address)
    assert answer.status_code == expected
    assert (b"redrive_workers" in answer.content) == (expected == 200)


def test_wrong_settings_are_named():
    found = doorkeeping.issues(
        ["short", TOKEN], ["10.0.0.0/8", "10.0.0.300"], names=("RETL_METRICS_TOKENS", "RETL_METRICS_NETWORKS")
    )
    assert [(issue.field, issue.message.split(" must")[0]) for issue in found] == [
        ("RETL_METRICS_TOKENS", "Token 1 of RETL_METRICS_TOKENS"),
        ("RETL_METRICS_NETWORKS", "“10.0.0.300” is not a network. Write it like 10.0.0.0/8 or 192.0.2.17/32."),
    ]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "application/openmetrics-text"),
        ("text/plain", "text/plain"),
        ("application/openmetrics-text;version=next", "text/plain"),
        ("application/openmetrics-text;version=1.0.0;escaping=none-such", ""),
        ("", "text/plain"),
    ],
)
def test_metrics_speak_the_format_that_is_asked_for(client: Client, knobs: Any, accept: str, kind: str):
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}", "Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(kind)


# -- what metrics say


def test_metrics_of_a_sync(client: Client, knobs: Any, sync: Sync):
    Sync.objects.filter(pk=sync.pk).update(name='Contacts "EU"\\\n')
    seeds.run(sync, minutes_ago=90)
    partial = seeds.run(sync, "partial", refused=7, minutes_ago=30)
    failed = seeds.run(sync, "failed", minutes_ago=10)
    seeds.run(sync, "skipped", minutes_ago=5, finished_at=timezone.now())
    seeds.entries(partial, 7)
    day = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    for ago, accepted in ((0, 400), (1, 600), (300, 5)):
        counts = {"run_count": 2, "partial_count": 1, "failed_count": 1, "accepted_count": accepted, "milliseconds": 1500}
        SyncDay.objects.create(sync=sync, starts_at=day - timedelta(days=ago), read_count=accepted + 7, **counts)
    read = scrape(client)
    me = (str(sync.pk), 'Contacts "EU"\\\n')
    assert read["sync_status", (*me, "degraded")] == 1
    assert read["sync_status", (*me, "healthy")] == 0
    assert read["sync_dead_letters_open", me] == 7
    assert read["dead_letters_open", ("validation",)] == 7
    assert read["sync_rows_total", (*me, "accepted")] == 1005
    assert read["sync_rows_read_total", me] == 1026
    assert read["sync_runs_total", (*me, "failed")] == 3
    assert read["sync_run_seconds_total", me] == 4.5
    assert failed.finished_at
    assert partial.finished_at
    assert read["sync_last_run_timestamp_seconds", (*me, "failed")] == pytest.approx(failed.finished_at.timestamp())
    assert read["sync_last_good_run_timestamp_seconds", me] == pytest.approx(partial.finished_at.timestamp())
    assert read["sync_info", (*me, "Warehouse", "Sandbox CRM", "contacts", "", "")] == 1


def test_metrics_of_the_rest(client: Client, knobs: Any, sync: Sync):
    seeds.run(sync, "running")
    seeds.run(sync, "queued")
    beat("tick", 30)
    beat("worker:a:1", 5)
    beat("worker:b:2", 500)
    beat("queue:redrive", 45, note="7")
    for number, severity in enumerate(("page", "page", "warning")):
        Incident.objects.create(cause=f"sync:{number}:late", condition="late", severity=severity, title="Late")
    Incident.objects.create(
        cause="x", condition="late", severity="page", title="Late", state="resolved", resolved_at=timezone.now()
    )
    channel = Channel.objects.create(name="On call", kind="pagerduty", is_enabled=False, failed_count=3)
    read = scrape(client)
    assert read["runs", ("running",)] == read["runs", ("queued",)] == 1
    assert read["incidents_open", ("late", "page", "open")] == 2
    assert read["incidents_open", ("late", "warning", "open")] == 1
    assert read["channel_enabled", (str(channel.pk), "On call", "pagerduty")] == 0
    assert read["channel_failed_calls", (str(channel.pk), "On call", "pagerduty")] == 3
    assert read["workers", ()] == 1
    assert read["heartbeat_timestamp_seconds", ("tick",)] == pytest.approx(timezone.now().timestamp() - 30, abs=3)
    assert read["queue_waiting_seconds", ("redrive",)] == pytest.approx(45, abs=3)
    assert read["queue_waiting_seconds", ("fast",)] == 0
    assert [name for name, _ in read if name == "connection_state"].count("connection_state") == 8
    assert not [labels for name, labels in read if name == "heartbeat_timestamp_seconds" and "worker" in labels[0]]


def test_a_scrape_costs_twelve_queries_however_many_syncs(
    client: Client, knobs: Any, django_assert_num_queries: Any, sync: Sync
):
    for number in range(5):
        one = seeds.sync(sync.source, sync.destination, f"other {number}")
        seeds.entries(seeds.run(one, "partial", refused=3), 3)
    scrape(client)
    with django_assert_num_queries(12):
        scrape(client)


def test_counters_go_on_from_the_days_that_were_added_up(client: Client, knobs: Any, sync: Sync):
    """Former days are added up once; what ends today and yesterday is counted at every scrape; the day turns."""
    with time_machine.travel(datetime(2026, 5, 4, 23, 50, tzinfo=UTC), tick=False) as clock:
        day = datetime(2026, 5, 4, tzinfo=UTC)
        for ago, read in ((9, 1_000), (2, 100), (1, 10), (0, 1)):
            SyncDay.objects.create(sync=sync, starts_at=day - timedelta(days=ago), read_count=read)

        def rows_read() -> float:
            return scrape(client)["sync_rows_read_total", (str(sync.pk), sync.name)]

        assert rows_read() == 1_111
        SyncDay.objects.filter(starts_at__gte=day - timedelta(days=1)).update(read_count=F("read_count") * 5)
        assert rows_read() == 1_155
        clock.shift(timedelta(minutes=20))
        SyncDay.objects.create(sync=sync, starts_at=day + timedelta(days=1), read_count=20_000)
        assert rows_read() == 21_155


def test_a_tick_beats(monkeypatch: pytest.MonkeyPatch):
    from syncs.services import worker

    worker.tick()
    worker.tick()
    assert Heartbeat.objects.filter(name="tick", note=worker.worker_name()).count() == 1
    heartbeats.beat("worker:gone:1")
    Heartbeat.objects.filter(name="worker:gone:1").update(at=timezone.now() - timedelta(days=2))
    assert heartbeats.forget_old_workers() == 1
