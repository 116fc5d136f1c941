"""Feeds as another tool reads them: in order, whole, nothing twice, and only what the reader may see."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.test import Client, override_settings
from django.utils import timezone

from monitoring.models import Incident, IncidentEvent, IncidentSync
from syncs.models import Run, Sync, Team
from tests import seeds

pytestmark = pytest.mark.django_db
TOKEN = "a-feed-token-of-some-length"
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
RUNS, INCIDENTS = "/feeds/runs.json", "/feeds/incidents.json"


@pytest.fixture(autouse=True)
def clock() -> Any:
    knobs = {**settings.RETL, "FEED_TOKENS": (TOKEN,), "BASE_URL": "https://redrive.example.com"}
    with override_settings(RETL=knobs), time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def sync() -> Sync:
    return seeds.sync(*seeds.connections())


def read(address: str, client: Client | None = None, **query: Any) -> Any:
    headers = {} if client else {"Authorization": f"Bearer {TOKEN}"}
    answer = (client or Client()).get(address, query, headers=headers)
    assert answer.status_code == 200, answer.content
    return answer.json()


def read_all(address: str, **query: Any) -> list[Any]:
    """Page by page, to the end."""
    page = read(address, **query)
    found = page["data"]
    while page["meta"]["page"]["has_more"]:
        page = read(address, after=page["meta"]["page"]["next"], **query)
        found += page["data"]
    return found


def ended(sync: Sync, minutes_ago: float, status: str = "succeeded", **values: Any) -> Run:
    return seeds.run(sync, status, finished_at=timezone.now() - timedelta(minutes=minutes_ago), **values)


def happened(sync: Sync, *kinds: str, condition: str = "run_failed", **values: Any) -> Incident:
    incident = Incident.objects.create(
        cause=f"sync:{sync.pk}:{condition}", condition=condition, severity="page", title="Runs fail", sync=sync, **values
    )
    IncidentSync.objects.create(incident=incident, sync=sync)
    for minutes, kind in enumerate(kinds):
        IncidentEvent.objects.create(
            incident=incident, kind=kind, at=timezone.now() - timedelta(minutes=30 - minutes), sync=sync, text=f"{kind} said"
        )
    return incident


# -- runs


def test_runs_come_in_the_order_of_their_end(sync: Sync):
    late = ended(
        sync, 5, "partial", refused=3, error_summary=[{"type": "validation", "code": "X", "message": "ana", "count": 3}]
    )
    early = ended(sync, 50)
    same = [ended(sync, 20) for _ in range(3)]
    seeds.run(sync, "running")
    seeds.run(sync, "queued")
    ended(sync, 60 * 30)  # before the last day, with which a reader begins
    rows = read_all(RUNS, limit=2)
    assert [row["id"] for row in rows] == [early.pk, *(run.pk for run in same), late.pk]
    last = rows[-1]
    assert (last["status"], last["dead_lettered_count"], last["sync"]["id"]) == ("partial", 3, sync.pk)
    assert last["url"] == f"https://redrive.example.com/admin/syncs/run/{late.pk}/change/"
    assert last["dead_letter_causes"] == [{"type": "validation", "code": "X", "count": 3}]
    assert "ana" not in json.dumps(rows)


def test_reader_goes_on_where_it_stopped(sync: Sync, clock: Any):
    first = ended(sync, 5)
    page = read(RUNS)
    cursor = page["meta"]["page"]["next"]
    assert [row["id"] for row in page["data"]] == [first.pk]
    assert read(RUNS, after=cursor)["data"] == []
    fresh = ended(sync, 0)
    assert read(RUNS, after=cursor)["data"] == []  # one that ended a moment before it may still be committing
    clock.shift(timedelta(seconds=11))
    assert [row["id"] for row in read(RUNS, after=cursor)["data"]] == [fresh.pk]
    assert [row["id"] for row in read(RUNS, since="2026-05-04T11:59:00Z")["data"]] == [fresh.pk]


def test_runs_by_sync_and_status(sync: Sync):
    other = seeds.sync(sync.source, sync.destination, "Other")
    wanted = ended(sync, 5, "failed")
    ended(sync, 5)
    ended(other, 5, "failed")
    assert [row["id"] for row in read_all(RUNS, sync=sync.pk, status="failed, partial")] == [wanted.pk]


def test_runs_cost_one_query(sync: Sync, django_assert_num_queries: Any):
    for number in range(4):
        ended(seeds.sync(sync.source, sync.destination, f"s{number}"), 5)
    with django_assert_num_queries(1):
        assert len(read(RUNS)["data"]) == 4


# -- incidents


def test_incidents_are_told_event_by_event(sync: Sync, clock: Any, django_assert_num_queries: Any):
    incident = happened(sync, "opened", "acknowledged", "recovered", drivers=[["Failed runs", 3]])
    other = happened(seeds.sync(sync.source, sync.destination, "Other"), "opened")
    with django_assert_num_queries(3):
        page = read(INCIDENTS)
    assert [(row["kind"], row["incident"]["id"]) for row in page["data"]] == [
        ("opened", incident.pk),
        ("acknowledged", incident.pk),
        ("recovered", incident.pk),
        ("opened", other.pk),
    ]
    told = page["data"][0]["incident"]
    assert (told["cause"], told["drivers"]) == (incident.cause, [{"label": "Failed runs", "value": "3"}])
    assert [one["name"] for one in told["syncs"]] == ["Contacts"]
    assert [row["kind"] for row in read_all(INCIDENTS, limit=1, sync=sync.pk)] == ["opened", "acknowledged", "recovered"]
    assert read_all(INCIDENTS, severity="info") == []


def test_event_that_is_older_than_its_number_is_not_lost(sync: Sync, clock: Any):
    """Two judgements at once: the one that began first writes second."""
    incident = happened(sync, "opened")
    after = read(INCIDENTS)["meta"]["page"]["next"]
    young = IncidentEvent.objects.create(incident=incident, kind="changed", at=NOW)
    old = IncidentEvent.objects.create(incident=incident, kind="joined", at=NOW - timedelta(seconds=20))
    assert read(INCIDENTS, after=after)["data"] == []
    clock.shift(timedelta(seconds=11))
    assert [row["id"] for row in read(INCIDENTS, after=after)["data"]] == [young.pk, old.pk]


# -- who may read


def test_feeds_ask_who_reads(sync: Sync):
    for address in (RUNS, INCIDENTS):
        answer = Client().get(address)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert Client().get(address, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert Client().post(address).status_code == 405
    client = Client()
    client.force_login(seeds.user("nobody"))
    assert client.get(RUNS).json()["error"]["message"] == "Your account lacks the right syncs.view_run."
    assert client.get(INCIDENTS).status_code == 403


def test_signed_in_reader_learns_of_no_sync_of_another_team(sync: Sync):
    theirs = seeds.sync(sync.source, sync.destination, "Secret", team=Team.objects.create(name="Others"))
    mine = ended(sync, 5)
    ended(theirs, 5)
    both = happened(sync, "opened", condition="credential")
    IncidentSync.objects.create(incident=both, sync=theirs)
    IncidentEvent.objects.create(incident=both, kind="joined", sync=theirs, text="Secret", at=NOW - timedelta(minutes=9))
    happened(theirs, "opened")
    platform = Incident.objects.create(
        cause="platform:worker_silent", condition="worker_silent", severity="page", title="Silent"
    )
    IncidentEvent.objects.create(incident=platform, kind="opened", at=NOW - timedelta(minutes=8))
    client = Client()
    client.force_login(seeds.user("vera", "syncs.view_run", "monitoring.view_incident"))
    assert [row["id"] for row in read(RUNS, client)["data"]] == [mine.pk]
    rows = read(INCIDENTS, client)["data"]
    assert [(row["incident"]["id"], row["kind"]) for row in rows] == [(both.pk, "opened"), (platform.pk, "opened")]
    assert "Secret" not in json.dumps(rows)
    assert len(read(INCIDENTS)["data"]) == 4


# -- bad input


def forged(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"after": "%%%"}, "after"),
        ({"after": "é"}, "after"),
        ({"after": forged("incidents", "2026-01-01T00:00:00+00:00", 1)}, "after"),
        ({"after": forged("runs", "2026-01-01T00:00:00", 1)}, "after"),
        ({"after": forged("runs", "2026-01-01T00:00:00+00:00", 2**64)}, "after"),
        ({"after": forged("runs", 7, 1)}, "after"),
        ({"after": "W" * 9000}, "after"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-02-31T00:00:00Z"}, "since"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"sync": "Contacts"}, "sync"),
        ({"sync": "9" * 30}, "sync"),
        ({"status": "broken"}, "status"),
        ({"cursor": "x"}, "cursor"),
    ],
)
def test_wrong_question_is_named(query: dict[str, str], field: str):
    answer = Client().get(RUNS, query, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 400, query
    assert [one["field"] for one in answer.json()["error"]["details"]] == [field]
