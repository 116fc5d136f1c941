"""Incidents through the API: what is seen, by whom, and what people do with them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from monitoring.models import AlertRule, Incident, IncidentEvent, IncidentSync
from syncs.models import AuditEvent, Run, Sync, Team
from tests.api.kit import Caller, caller, person, said
from tests.monitoring.incident_world import connections, rule, run, sync

pytestmark = pytest.mark.django_db
LIST = "/api/v1/incidents"


def incident(*syncs: Sync, title: str = "It broke", **values: Any) -> Incident:
    one = syncs[0] if len(syncs) == 1 else None
    made: dict[str, Any] = {
        "cause": f"test:{title}",
        "condition": "run_failed",
        "severity": "page",
        "title": title,
        "sync": one,
    }
    opened = Incident.objects.create(**(made | values))
    for each in syncs:
        IncidentSync.objects.create(incident=opened, sync=each, text=f"found at {each.name}")
        IncidentEvent.objects.create(incident=opened, kind="joined", sync=each, text=f"joined {each.name}")
    return opened


@pytest.fixture
def mine() -> Sync:
    return sync(*connections(), name="mine-sync")


@pytest.fixture
def theirs(mine: Sync) -> Sync:
    return sync(mine.source, mine.destination, name="secret-sync", team=Team.objects.create(name="others"))


def ids(client: Caller, **query: Any) -> list[int]:
    answer = client.get(LIST, query)
    assert answer.status_code == 200, answer.content
    return [one["id"] for one in answer.json()["data"]]


def test_list_filters_as_the_console_does(mine: Sync) -> None:
    client = caller("support")
    first = incident(mine, title="Alpha")
    other = incident(mine, title="Beta", severity="info", condition="late", owner=client.user)
    following = incident(mine, title="Gamma", follows=first, condition="freshness")
    over = incident(mine, title="Delta", state="resolved", resolved_at=timezone.now())
    told = rule("late")
    other.rules.add(told)
    assert ids(client) == [other.pk, first.pk]
    assert ids(client, show="all") == [over.pk, following.pk, other.pk, first.pk]
    assert ids(client, show="following") == [following.pk]
    assert ids(client, show="resolved") == [over.pk]
    assert ids(client, severity=["info"]) == [other.pk]
    assert ids(client, condition=["late", "freshness"], show="all") == [following.pk, other.pk]
    assert ids(client, owner="me") == ids(client, owner=str(client.user and client.user.pk)) == [other.pk]
    assert ids(client, owner="none") == [first.pk]
    assert ids(client, sync=mine.pk, q="alph") == [first.pk]
    assert ids(client, rule=told.pk) == [other.pk]
    assert ids(client, connection=mine.source_id) == []
    assert said(client.get(LIST, {"owner": "nobody", "show": "x", "sync": "0"}))[2].keys() == {"owner", "show", "sync"}
    page = client.get(LIST, {"limit": 1}).json()
    assert client.get(LIST, {"limit": 1, "cursor": page["meta"]["page"]["next"]}).json()["data"][0]["id"] == first.pk


def test_list_takes_few_queries_however_many_there_are(mine: Sync) -> None:
    client = caller("operator")
    for number in range(3):
        incident(mine, title=f"One {number}", owner=person("support"), acknowledged_by=person("support"))
    client.get(LIST)
    with CaptureQueriesContext(connection) as captured:
        assert len(ids(client)) == 3
    assert len(captured) <= 10


def test_one_names_only_what_its_reader_may_see(mine: Sync, theirs: Sync) -> None:
    both = incident(mine, theirs, connection=mine.destination, run=run(theirs))
    hidden = incident(theirs, title="Hidden")
    both.rules.add(rule("late", name="mine"), rule("late", name="not mine", scope="sync", sync=theirs))
    client = caller("operator")
    found = client.get(f"{LIST}/{both.pk}").json()
    assert (found["sync_names"], found["sync_count"], found["run_id"]) == (["mine-sync"], 1, None)
    assert [one["sync"] for one in found["affected"]] == ["mine-sync"]
    assert [one["name"] for one in found["rules"]] == ["mine"]
    assert "secret-sync" not in str(found) + str(client.get(f"{LIST}/{both.pk}/events").json())
    assert client.get(f"{LIST}/{hidden.pk}").status_code == 404
    assert client.post(f"{LIST}/{hidden.pk}/acknowledge").status_code == 404
    assert ids(client) == [both.pk]
    all_of_it = caller("auditor").get(f"{LIST}/{both.pk}").json()
    assert all_of_it["sync_count"] == 2
    assert all_of_it["run_id"] == Run.objects.get().pk


def test_acts_are_done_logged_and_refused_when_late(mine: Sync) -> None:
    client, one = caller("support"), incident(mine)
    address = f"{LIST}/{one.pk}"
    assert client.post(f"{address}/acknowledge").json()["state"] == "acknowledged"
    assert said(client.post(f"{address}/acknowledge"))[:2] == (409, "refused")
    assert client.post(f"{address}/note", {"note": "Ticket 12"}).status_code == 200
    muted = client.post(f"{address}/mute", {"span": "4h", "reason": "vendor"}).json()["muted_until"]
    assert muted is not None
    assert client.post(f"{address}/unmute").status_code == 200
    assert said(client.post(f"{address}/unmute"))[:2] == (409, "refused")
    other = person("operator")
    assert client.post(f"{address}/assign", {"owner_id": other.pk}).json()["owner"] == other.username
    assert client.post(f"{address}/assign", {"owner_id": None}).json()["owner_id"] is None
    assert client.post(f"{address}/resolve", {"reason": "mended"}).json()["resolution"] == "mended"
    assert said(client.post(f"{address}/resolve", {"reason": "again"}))[:2] == (409, "refused")
    assert said(client.post(f"{address}/mute", {"span": "1h", "reason": "late"}))[:2] == (409, "refused")
    done = list(AuditEvent.objects.filter(door="api").order_by("pk").values_list("act", flat=True))
    assert done == ["acknowledged", "noted", "muted", "unmuted", "assigned", "assigned", "resolved"]
    kinds = [event["kind"] for event in client.get(f"{address}/events", {"order": "at"}).json()["data"]]
    assert kinds[0] == "joined"
    assert {"acknowledged", "noted", "muted", "resolved"} <= set(kinds)


def test_wrong_inputs_are_named(mine: Sync) -> None:
    client, one = caller("support"), incident(mine)
    address = f"{LIST}/{one.pk}"
    now = timezone.now()
    for until in (now - timedelta(hours=1), now + timedelta(days=40)):
        assert said(client.post(f"{address}/mute", {"until": until.isoformat(), "reason": "x"}))[2].keys() == {"until"}
    assert said(client.post(f"{address}/mute", {"reason": "x"}))[2].keys() == {"until"}
    assert said(client.post(f"{address}/mute", {"span": "1h", "until": now.isoformat(), "reason": "x"}))[0] == 400
    assert said(client.post(f"{address}/mute", {"span": "9y", "reason": "x"}))[2].keys() == {"span"}
    assert said(client.post(f"{address}/assign", {"owner_id": 10**17}))[2].keys() == {"owner_id"}
    assert said(client.post(f"{address}/note", {"note": "  "}))[2].keys() == {"note"}
    assert said(client.post(f"{address}/resolve", {}))[2].keys() == {"reason"}
    assert IncidentEvent.objects.filter(incident=one).count() == 1
    assert AlertRule.objects.count() == 0
