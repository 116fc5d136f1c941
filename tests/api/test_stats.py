"""Figures through the API: the console's own, of what the caller may see."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from dlq.choices import EntryStatus
from dlq.models import DLQEntry, ErrorGroup, GroupDay, GroupHour
from dlq.services.group_counters import whole_hour
from monitoring.models import DepthHour, Incident, IncidentSync
from syncs.models import Run, Sync, Tag, Team
from syncs.services import periods
from tests import seeds
from tests.api.kit import Caller, caller, said

pytestmark = pytest.mark.django_db
DEAD, RUNS, OVERVIEW = "/api/v1/stats/dead-letters", "/api/v1/stats/runs", "/api/v1/stats/overview"
FAILED = 40  # rows of one group in this hour


@pytest.fixture
def syncs() -> list[Sync]:
    """Two with runs and dead letters: 30 open ones, 3 resolved, 2 discarded; and 5 open ones of another type."""
    source, destination = seeds.connections()
    first, second = (seeds.sync(source, destination, name) for name in ("Alpha", "Beta"))
    now = timezone.now()
    for sync, refused, kind, count in ((first, 35, 0, 35), (second, 5, 1, 5)):
        run = seeds.run(sync, "partial", read=1000, refused=refused, minutes_ago=1)
        seeds.run(sync, "failed", read=100, minutes_ago=1)
        group = seeds.entries(run, count, kind=kind)
        GroupHour.objects.create(group=group, hour=whole_hour(now), failed_count=FAILED)
        GroupDay.objects.create(group=group, day=now.date(), failed_count=FAILED)
    closed = list(DLQEntry.objects.filter(sync=first).values_list("pk", flat=True)[:5])
    done = {"closed_at": now, "close_reason": "because"}
    DLQEntry.objects.filter(pk__in=closed[:3]).update(status=EntryStatus.RESOLVED, **done)
    DLQEntry.objects.filter(pk__in=closed[3:]).update(status=EntryStatus.DISCARDED, **done)
    ErrorGroup.objects.filter(sync=first).update(open_count=30)
    DepthHour.objects.create(sync=first, hour=whole_hour(now), open_count=12, oldest_failed_at=now - timedelta(days=2))
    for pk in Run.objects.values_list("pk", flat=True):
        periods.add(pk)
    return [first, second]


def get(client: Caller, address: str, **query: Any) -> dict[str, Any]:
    answer = client.get(address, query)
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


def test_dead_letters_by_state_type_and_sync(syncs: list[Sync]) -> None:
    body = get(caller("viewer"), DEAD, period="24h")
    assert body["counts"] == {"open": 35, "queued": 0, "inflight": 0, "resolved": 3, "discarded": 2, "superseded": 0}
    assert (body["open_count"], body["failed_count"]) == (35, 2 * FAILED)
    assert [
        (one["error_type"], one["open_count"], one["counts"]["resolved"], one["failed_count"]) for one in body["by_type"]
    ] == [
        ("validation", 30, 3, FAILED),
        ("duplicate_key", 5, 0, FAILED),
    ]
    assert [(one["sync"]["name"], one["open_count"]) for one in body["by_sync"]] == [("Alpha", 30), ("Beta", 5)]
    series = body["series"]
    assert len(series) == 24
    assert (series[-1]["open_count"], series[-1]["failed"]) == (12, {"validation": FAILED, "duplicate_key": FAILED})
    assert series[0]["failed_count"] == 0
    assert body["window"]["step_seconds"] == 3600
    assert body["window"]["starts_at"] == series[0]["at"]


def test_runs_and_rows_over_time(syncs: list[Sync]) -> None:
    body = get(caller("viewer"), RUNS, period="24h")
    totals = body["totals"]
    assert (totals["run_count"], totals["failed_run_count"], totals["read_count"]) == (4, 2, 2200)
    assert (totals["dead_lettered_count"], totals["error_rate"]) == (40, pytest.approx(40 / 2200))
    assert sum(step["run_count"] for step in body["series"]) == 4
    assert [(one["sync"]["name"], one["dead_lettered_count"]) for one in body["by_sync"]] == [("Alpha", 35), ("Beta", 5)]
    assert [one["sync"]["name"] for one in get(caller("viewer"), RUNS, top=1)["by_sync"]] == ["Alpha"]
    assert len(get(caller("viewer"), RUNS, period="1y")["series"]) == 52


def test_overview_says_what_needs_attention(syncs: list[Sync]) -> None:
    Sync.objects.filter(pk=syncs[0].pk).update(status="failing", status_reason="The token was revoked.")
    incident = Incident.objects.create(cause="x", condition="late", severity="page", title="Late", text="x", sync=syncs[0])
    IncidentSync.objects.create(incident=incident, sync=syncs[0])
    body = get(caller("viewer"), OVERVIEW, period="24h")
    assert (body["sync_count"], body["statuses"]["failing"]) == (2, 1)
    assert [(one["name"], one["reason"], one["open_count"]) for one in body["attention"]] == [
        ("Alpha", "The token was revoked.", 30)
    ]
    assert [(one["title"], one["severity"], one["sync_ids"]) for one in body["incidents"]] == [("Late", "page", [syncs[0].pk])]
    assert (body["open_count"], body["runs"]["run_count"]) == (35, 4)


def test_figures_are_narrowed_by_what_syncs_have(syncs: list[Sync]) -> None:
    first, second = syncs
    first.tags.add(Tag.objects.create(name="finance"))
    client = caller("viewer")
    for query, open_count, runs in (
        ({"tag": "finance"}, 30, 2),
        ({"sync": second.pk}, 5, 2),
        ({"sync": [first.pk, second.pk]}, 35, 4),
        ({"owner": "none"}, 35, 4),
        ({"connection": first.source_id, "tag": "finance"}, 30, 2),
        ({"sync": second.pk, "tag": "finance"}, 0, 0),
    ):
        assert get(client, DEAD, **query)["open_count"] == open_count, query
        assert get(client, RUNS, **query)["totals"]["run_count"] == runs, query
        assert get(client, OVERVIEW, **query)["open_count"] == open_count, query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"period": "2h"}, "period"),
        ({"tag": "nothing"}, "tag"),
        ({"owner": "999999"}, "owner"),
        ({"owner": "ana"}, "owner[0]"),
        ({"connection": "999999"}, "connection"),
        ({"sync": "999999"}, "sync"),
        ({"sync": "x"}, "sync[0]"),
        ({"top": "0"}, "top"),
        ({"wall": "1"}, "wall"),
        ({"period": ["7d", "24h"]}, "period"),
    ],
)
def test_parameter_that_is_wrong_is_named(syncs: list[Sync], query: dict[str, Any], field: str) -> None:
    client = caller("viewer")
    for address in (DEAD, RUNS, OVERVIEW):
        status, code, issues = said(client.get(address, query))
        assert (status, code) == (400, "invalid")
        assert list(issues) == [field]


def test_figures_leave_other_teams_out(syncs: list[Sync]) -> None:
    team = Team.objects.create(name="Ours")
    Sync.objects.filter(pk=syncs[0].pk).update(team=team)
    stranger, member, admin = caller("viewer"), caller("viewer", team=team), caller("admin")
    for client, open_count, runs in ((stranger, 5, 2), (member, 35, 4), (admin, 35, 4)):
        assert get(client, DEAD)["open_count"] == open_count
        assert get(client, DEAD)["failed_count"] == (FAILED if client is stranger else 2 * FAILED)
        assert get(client, RUNS)["totals"]["run_count"] == runs
        assert get(client, OVERVIEW)["open_count"] == open_count
    assert "Alpha" not in str([get(stranger, address) for address in (DEAD, RUNS, OVERVIEW)])
    assert list(said(stranger.get(RUNS, {"sync": syncs[0].pk}))[2]) == ["sync"]


def test_who_sees_no_syncs_at_all_gets_zeros() -> None:
    seeds.sync(*seeds.connections(), team=Team.objects.create(name="Ours"))
    client = caller("viewer")
    assert get(client, DEAD)["by_sync"] == []
    assert get(client, RUNS)["totals"]["run_count"] == 0
    assert get(client, OVERVIEW)["sync_count"] == 0


@pytest.mark.parametrize("address", [DEAD, RUNS, OVERVIEW])
def test_figures_take_few_queries(syncs: list[Sync], address: str, django_assert_max_num_queries: Any) -> None:
    client = caller("viewer")
    get(client, address)
    with django_assert_max_num_queries(10):
        get(client, address)
