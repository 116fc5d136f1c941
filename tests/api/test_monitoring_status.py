"""Statuses, thresholds, subscriptions and notices through the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from monitoring.models import Channel, Notice, StatusChange, Subscription, SyncPolicy, SyncWatch, WatchedSync
from syncs.models import AuditEvent, Sync, Tag, Team
from tests.api.kit import caller, person, said
from tests.api.test_monitoring_incidents import incident
from tests.monitoring.incident_world import connections, sync

pytestmark = pytest.mark.django_db
MINE = "/api/v1/subscriptions/mine"


@pytest.fixture
def mine() -> Sync:
    return sync(*connections(), name="mine-sync", status="degraded", status_reason="Rows fail.")


@pytest.fixture
def theirs(mine: Sync) -> Sync:
    return sync(mine.source, mine.destination, name="secret-sync", team=Team.objects.create(name="others"))


def change(of: Sync, before: str = "healthy", after: str = "degraded", **values: Any) -> StatusChange:
    return StatusChange.objects.create(sync=of, before=before, after=after, conditions=["error_rate"], **values)


def test_status_of_a_sync_comes_with_reason_findings_and_history(mine: Sync, theirs: Sync) -> None:
    Sync.objects.filter(pk=mine.pk).update(created_at=timezone.now() - timedelta(days=9))
    change(mine, at=timezone.now() - timedelta(days=3), reason="Rows fail.")
    finding = {"condition": "error_rate", "level": "warn", "text": "5 %", "advice": "Look.", "value": 5.0, "limit": 1.0}
    SyncWatch.objects.create(sync=mine, judged_at=timezone.now(), findings=[finding])
    opened = incident(mine)
    client = caller("viewer")
    found = client.get(f"/api/v1/syncs/{mine.pk}/status").json()
    assert (found["status"], found["reason"]) == ("degraded", "Rows fail.")
    assert [one["condition"] for one in found["findings"]] == ["error_rate"]
    assert [one["id"] for one in found["incidents"]] == [opened.pk]
    assert {one["status"]: round(one["percent"]) for one in found["shares"]} == {"healthy": 67, "degraded": 33}
    history = client.get(found["history"]).json()["data"]
    assert [(one["before"], one["after"], one["conditions"]) for one in history] == [("healthy", "degraded", ["error_rate"])]
    assert client.get(f"/api/v1/syncs/{theirs.pk}/status").status_code == 404
    assert client.get(f"/api/v1/syncs/{theirs.pk}/status-changes").status_code == 404


def test_statuses_and_changes_of_all_syncs_are_filtered(mine: Sync, theirs: Sync) -> None:
    mine.tags.add(Tag.objects.create(name="crm"))
    well = sync(mine.source, mine.destination, name="well-sync", status="healthy")
    change(theirs)
    old, new = change(mine, at=timezone.now() - timedelta(days=9)), change(well, "degraded", "healthy")
    client = caller("operator")

    def named(**query: Any) -> list[str]:
        return [one["sync"] for one in client.get("/api/v1/statuses", query).json()["data"]]

    def changed(**query: Any) -> list[int]:
        return [one["id"] for one in client.get("/api/v1/status-changes", query).json()["data"]]

    assert named() == ["mine-sync", "well-sync"]
    assert named(status=["healthy", "failing"]) == ["well-sync"]
    assert named(tag="crm") == ["mine-sync"]
    assert named(sync=theirs.pk) == []
    assert changed() == [new.pk, old.pk]
    assert changed(after="degraded") == [old.pk]
    assert changed(sync=well.pk) == [new.pk]
    assert changed(since=(timezone.now() - timedelta(days=1)).isoformat()) == [new.pk]
    assert said(client.get("/api/v1/status-changes", {"since": "yesterday"}))[2].keys() == {"since"}
    with CaptureQueriesContext(connection) as captured:
        changed()
    assert len(captured) <= 10


def test_thresholds_are_changed_tried_and_taken_back(mine: Sync) -> None:
    client = caller("operator")
    address = f"/api/v1/syncs/{mine.pk}/thresholds"
    first = client.get(address)
    assert set(first.json()["values"].values()) == {None}
    assert first.json()["past"] is None  # it never ran
    assert {one["name"] for one in first.json()["about"]} == set(first.json()["values"])
    values = {"failures_to_fail": 3, "error_rate_warn_percent": 2.5, "freshness_minutes": 0}
    match = {"If-Match": first["ETag"]}
    changed = client.patch(address, {"values": values}, headers=match)
    assert changed.status_code == 200, changed.content
    assert {name: changed.json()["values"][name] for name in values} == values
    assert changed.json()["updated_by"] == (client.user and client.user.username)
    assert said(client.patch(address, {"values": {}}, headers=match))[:2] == (412, "precondition_failed")
    more = client.patch(address, {"values": {"failures_to_fail": None}}, headers={"If-Match": changed["ETag"]})
    assert (more.json()["values"]["failures_to_fail"], more.json()["values"]["freshness_minutes"]) == (None, 0)
    assert SyncPolicy.objects.get().error_rate_warn_percent == 2.5
    tried = client.post(f"{address}/try", {"values": {"failures_to_fail": 9}})
    assert tried.status_code == 200, tried.content
    assert SyncPolicy.objects.get().failures_to_fail is None
    assert set(client.post(f"{address}/reset").json()["values"].values()) == {None}
    assert AuditEvent.objects.filter(act="thresholds_changed", door="api").count() == 3


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"failures_to_fail": 0}, "values.failures_to_fail"),
        ({"failures_to_fail": "3"}, "values.failures_to_fail"),
        ({"error_rate_warn_percent": 1.23456}, "values.error_rate_warn_percent"),
        ({"error_rate_warn_percent": 50, "error_rate_fail_percent": 10}, "values.error_rate_fail_percent"),
        ({"nonsense": 1}, "values.nonsense"),
        ({"dlq_depth_warn": 10**400}, "values.dlq_depth_warn"),
    ],
)
def test_thresholds_that_cannot_be_are_named(mine: Sync, values: dict[str, Any], field: str) -> None:
    client = caller("operator")
    address = f"/api/v1/syncs/{mine.pk}/thresholds"
    for answer in (
        client.patch(address, {"values": values}, headers={"If-Match": "*"}),
        client.post(f"{address}/try", {"values": values}),
    ):
        assert said(answer)[0] == 400
        assert field in said(answer)[2]
    assert not SyncPolicy.objects.exists()


# --- what oneself is told of


def test_subscriptions_are_read_changed_and_replaced() -> None:
    client = caller("support")
    phone = Channel.objects.create(name="phone", kind="webhook")
    first = client.get(MINE)
    assert (first.json()["owned"]["is_active"], first.json()["all"]["is_active"]) == (True, False)
    wanted = {
        "owned": {"channel_id": phone.pk, "by_email": False},
        "all": {"is_active": True, "digest": "weekly", "digest_weekday": 4, "channel_id": phone.pk, "by_email": False},
        "watched": {"by_email": False},
        "timezone": "Europe/Berlin", "quiet_from": "22:00", "quiet_until": "07:00",
    }  # fmt: skip
    match = {"If-Match": first["ETag"]}
    changed = client.patch(MINE, wanted, headers=match)
    assert changed.status_code == 200, changed.content
    assert (changed.json()["quiet_from"], changed.json()["owned"]["channel_id"]) == ("22:00", phone.pk)
    assert said(client.patch(MINE, {"timezone": "UTC"}, headers=match))[:2] == (412, "precondition_failed")
    kept = Subscription.objects.get(user=client.user, follows="all")
    assert (kept.digest, kept.digest_weekday, kept.timezone) == ("weekly", 4, "Europe/Berlin")
    assert said(client.put(MINE, wanted, headers={"If-Match": "*"}))[0] == 400
    whole = {**changed.json(), "quiet_from": None, "quiet_until": None}
    assert client.put(MINE, whole, headers={"If-Match": "*"}).json()["quiet_from"] is None
    assert not Subscription.objects.exclude(user=client.user).exists()
    assert [one["name"] for one in client.get("/api/v1/subscriptions/channels").json()["data"]] == ["phone"]


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"owned": {"digest": "daily", "by_email": False}}, "owned.digest"),
        ({"owned": {"by_email": True}}, "owned.by_email"),
        ({"owned": {"channel_id": 99999}}, "owned.channel_id"),
        ({"all": {"is_active": False, "channel_id": 99999}}, "all.channel_id"),
        ({"fallback_id": 99999}, "fallback_id"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"quiet_from": "22:00"}, "quiet_until"),
        ({"quiet_from": "25:00"}, "quiet_from"),
        ({"quiet_from": 22}, "quiet_from"),
        ({"owned": {"digest_hour": 24}}, "owned.digest_hour"),
        ({"owned": {"loud": True}}, "owned.loud"),
    ],
)
def test_choices_that_cannot_be_are_named(wanted: dict[str, Any], field: str) -> None:
    status, _, issues = said(caller("support").patch(MINE, wanted, headers={"If-Match": "*"}))
    assert status == 400
    assert field in issues
    assert not Subscription.objects.exists()


def test_sync_is_watched_and_says_whom_it_tells(mine: Sync, theirs: Sync) -> None:
    client = caller("support")
    address = f"/api/v1/syncs/{mine.pk}/audience"
    assert client.get(address).json()["is_watching"] is False
    for _ in range(2):
        watched = client.post(f"{address}/watch").json()
        assert (watched["is_watching"], watched["watcher_count"]) == (True, 1)
    assert client.user is not None
    assert client.user.username in [one["name"] for one in watched["told"]]
    assert [one["id"] for one in client.get("/api/v1/subscriptions/syncs").json()["watched"]] == [mine.pk]
    assert client.post(f"{address}/unwatch").json()["is_watching"] is False
    assert not WatchedSync.objects.exists()
    for tail in ("", "/watch", "/unwatch"):
        method = client.post if tail else client.get
        assert method(f"/api/v1/syncs/{theirs.pk}/audience{tail}").status_code == 404


def test_notices_are_ones_own_and_are_read(mine: Sync, theirs: Sync) -> None:
    client = caller("viewer")
    values: dict[str, Any] = {"user": client.user, "event": "incident.opened"}
    first, second = (Notice.objects.create(title=f"n{number}", sync=mine, **values) for number in range(2))
    hidden = Notice.objects.create(title="secret", sync=theirs, **values)
    others = Notice.objects.create(title="not mine", user=person("viewer"), event="test")
    assert [one["title"] for one in client.get("/api/v1/notices").json()["data"]] == ["n1", "n0"]
    assert client.post(f"/api/v1/notices/{first.pk}/read").json()["read_at"] is not None
    assert [one["id"] for one in client.get("/api/v1/notices", {"is_read": "false"}).json()["data"]] == [second.pk]
    assert client.get("/api/v1/notices/unread").json() == {"unread_count": 2}
    for one in (hidden, others):
        assert client.post(f"/api/v1/notices/{one.pk}/read").status_code == 404
    assert client.post("/api/v1/notices/read", {"up_to": second.pk}).json() == {"unread_count": 1}
    others.refresh_from_db()
    assert others.read_at is None
