"""Retention and purges through the API."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from monitoring.choices import Retained
from monitoring.models import Purge
from monitoring.services.retention import rules, work
from syncs.models import AuditEvent, Step
from tests.api.kit import caller, said
from tests.dlq.objects import make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
RULES, PURGES = "/api/v1/retention-rules", "/api/v1/purges"
OLD = timezone.now() - timedelta(days=1_000)


@pytest.fixture
def steps() -> None:
    run = make_run(make_sync(), queued_at=OLD, started_at=OLD, finished_at=OLD)
    Step.objects.create(run=run, number=1, kind="query", status="succeeded", started_at=OLD)


def test_rules_are_listed_in_few_queries_and_changed() -> None:
    client = caller("admin")
    client.get(RULES)
    with CaptureQueriesContext(connection) as captured:
        found = {one["kind"]: one for one in client.get(RULES).json()["data"]}
    assert len(captured) <= 14
    assert set(found) == set(Retained)
    assert (found["steps"]["days"], found["audit"]["days"], found["steps"]["least_days"]) == (90, None, 7)
    first = client.get(f"{RULES}/steps")
    match = {"If-Match": first["ETag"]}
    assert said(client.patch(f"{RULES}/steps", {"days": 3}, headers=match))[2].keys() == {"days"}
    assert said(client.patch(f"{RULES}/steps", {"days": "30"}, headers=match))[2].keys() == {"days"}
    assert client.patch(f"{RULES}/steps", {"days": 30}, headers=match).json()["days"] == 30
    assert said(client.patch(f"{RULES}/steps", {"days": 40}, headers=match))[:2] == (412, "precondition_failed")
    assert client.patch(f"{RULES}/steps", {"days": None}, headers={"If-Match": "*"}).json()["days"] is None
    assert rules.days()[Retained.STEPS] is None
    assert client.get(f"{RULES}/nonsense").status_code == 404
    assert list(AuditEvent.objects.values_list("act", "door")) == [("changed", "api")] * 2
    assert said(caller("auditor").patch(f"{RULES}/steps", {"days": 30}, headers=match))[0] == 403


@pytest.mark.usefixtures("steps")
def test_purge_is_looked_at_started_followed_and_stopped() -> None:
    client = caller("admin")
    looked = client.post(f"{RULES}/steps/dry-run", {"days": 30})
    assert (looked.status_code, looked.json()["state"], looked.json()["is_dry_run"]) == (202, "queued", True)
    assert said(client.post(f"{RULES}/steps/purge"))[:2] == (409, "refused")
    work.advance(looked.json()["id"], seconds=None)
    assert client.get(looked["Location"]).json()["deleted_count"] == 1
    assert Step.objects.count() == 1
    begun = client.post(f"{RULES}/steps/purge")
    assert begun.status_code == 202
    assert client.get(f"{RULES}/steps").json()["going_purge_id"] == begun.json()["id"]
    assert client.post(f"{begun['Location']}/stop").json()["state"] == "cancelled"
    assert said(client.post(f"{begun['Location']}/stop"))[:2] == (409, "refused")
    again = client.post(f"{RULES}/steps/purge")
    work.advance(again.json()["id"], seconds=None)
    assert client.get(again["Location"]).json()["state"] == "succeeded"
    assert not Step.objects.exists()
    listed = client.get(PURGES, {"kind": "steps", "is_dry_run": "false"}).json()["data"]
    assert [one["id"] for one in listed] == [again.json()["id"], begun.json()["id"]]
    assert client.get(PURGES, {"is_over": "false"}).json()["data"] == []
    assert set(AuditEvent.objects.values_list("act", "door")) == {
        (act, "api") for act in ("purge_asked", "purge_stopped", "purged")
    }
    assert Purge.objects.filter(door="api").count() == 3


def test_what_is_kept_for_ever_is_not_purged_and_wrong_days_are_named() -> None:
    client = caller("admin")
    assert said(client.post(f"{RULES}/audit/purge"))[:2] == (409, "refused")
    assert said(client.post(f"{RULES}/steps/dry-run", {"days": 2}))[2].keys() == {"days"}
    assert said(client.post(f"{RULES}/steps/purge", {"days": 30}))[2].keys() == {"days"}
    assert said(client.get(PURGES, {"kind": "nonsense"}))[2].keys() == {"kind"}
    assert not Purge.objects.exists()
