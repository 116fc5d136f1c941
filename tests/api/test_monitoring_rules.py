"""Alert rules through the API: written, refused, tested against the past, changed without losing an edit."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.models import AlertRule, Channel
from syncs.models import AuditEvent, Sync, Tag, Team
from tests.api.kit import caller, person, said
from tests.monitoring.incident_world import connections, rule, sync

pytestmark = pytest.mark.django_db
LIST = "/api/v1/alert-rules"


@pytest.fixture
def mine() -> Sync:
    return sync(*connections(), name="mine-sync")


@pytest.fixture
def theirs(mine: Sync) -> Sync:
    return sync(mine.source, mine.destination, name="secret-sync", team=Team.objects.create(name="others"))


def test_rule_is_written_from_a_template_and_changed(mine: Sync) -> None:
    client, tag, channel = caller("operator"), Tag.objects.create(name="crm"), Channel.objects.create(name="ops", kind="email")
    mine.tags.add(tag)
    values = {
        "template": "rows_fail",
        "limit": 5,
        "scope": "tag",
        "tag_id": tag.pk,
        "channel_ids": [channel.pk],
        "window": "1h",
    }
    answer = client.post(LIST, values)
    assert answer.status_code == 201, answer.content
    made = answer.json()
    stored = AlertRule.objects.get(pk=made["id"])
    assert (stored.name, stored.template, stored.condition, stored.tag, stored.window) == (
        "Rows fail", "rows_fail", "error_rate", tag, "1h",
    )  # fmt: skip
    assert stored.limits == {"error_rate_warn_percent": 5.0, "error_rate_fail_percent": 5.0}
    assert list(stored.channels.all()) == [channel]
    assert (made["limit"], made["scope_words"]) == (5.0, "Tag crm")
    address, etag = answer["Location"], answer["ETag"]
    assert said(client.patch(address, {"name": "x"}))[:2] == (428, "precondition_required")
    match = {"If-Match": etag}
    changed = client.patch(address, {"scope": "sync", "sync_id": mine.pk, "limit": None, "is_active": False}, headers=match)
    assert changed.status_code == 200, changed.content
    assert (changed.json()["tag_id"], changed.json()["sync_id"], changed.json()["limit"]) == (None, mine.pk, None)
    assert changed.json()["channel_ids"] == [channel.pk]
    assert said(client.patch(address, {"name": "x"}, headers=match))[:2] == (412, "precondition_failed")
    assert client.post(f"{address}/enable").json()["is_active"] is True
    assert said(client.post(f"{address}/enable"))[:2] == (409, "refused")
    assert client.post(f"{address}/disable").json()["is_active"] is False
    assert client.post(f"{address}/mute", {"span": "1d", "reason": "move"}).json()["is_muted"] is True
    assert client.get(LIST, {"is_muted": "true", "is_active": "false"}).json()["data"][0]["id"] == made["id"]
    assert client.get(LIST, {"is_muted": "false", "sync": mine.pk}).json()["data"] == []
    assert client.post(f"{address}/unmute").json()["is_muted"] is False
    assert client.delete(address, headers={"If-Match": "*"}).status_code == 204
    assert not AlertRule.objects.exists()
    done = list(AuditEvent.objects.filter(target_type="alertrule").order_by("pk").values_list("act", "door"))
    acts = ["created", "changed", "switched_on", "switched_off", "muted", "unmuted", "deleted"]
    assert done == [(act, "api") for act in acts]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"condition": "late"}, "name"),
        ({"name": "x"}, "condition"),
        ({"name": "x", "condition": "drift", "limit": 3}, "limit"),
        ({"name": "x", "condition": "run_failed", "limit": 1.5}, "limit"),
        ({"name": "x", "condition": "run_failed", "limit": 0}, "limit"),
        ({"name": "x", "condition": "run_failed", "limit": 10**400}, "limit"),
        ({"name": "x", "condition": "run_failed", "window": "1h"}, "window"),
        ({"name": "x", "condition": "worker_silent", "scope": "tag", "tag_id": 1}, "scope"),
        ({"name": "x", "condition": "late", "scope": "sync"}, "sync_id"),
        ({"name": "x", "condition": "late", "scope": "sync", "sync_id": 99999}, "sync_id"),
        ({"name": "x", "condition": "late", "tag_id": 1}, "tag_id"),
        ({"name": "x", "condition": "late", "channel_ids": [99999]}, "channel_ids"),
        ({"name": "x", "condition": "late", "owner_id": 99999}, "owner_id"),
        ({"name": "x", "condition": "late", "runbook_url": "javascript:alert(1)"}, "runbook_url"),
        ({"name": "x", "condition": "late", "severity": "loud"}, "severity"),
        ({"template": "late", "condition": "drift"}, "condition"),
        ({"template": "nonsense"}, "template"),
        ({"name": "Taken", "condition": "late", "confirm": True}, "name"),
    ],
)
def test_what_is_wrong_is_named(mine: Sync, values: dict[str, Any], field: str) -> None:
    rule("late", name="Taken")
    status, code, issues = said(caller("operator").post(LIST, values))
    assert (status, code) == (400, "invalid")
    assert field in issues
    assert AlertRule.objects.count() == 1


def test_rule_that_can_never_fire_or_always_does_asks_for_confirmation(mine: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    client, tag = caller("operator"), Tag.objects.create(name="nobody")
    values = {"name": "Never", "condition": "run_failed", "scope": "tag", "tag_id": tag.pk}
    status, code, issues = said(client.post(LIST, values))
    assert (status, code, set(issues)) == (409, "refused", {"confirm"})
    tested = client.post(f"{LIST}/test", values).json()
    assert (tested["is_doubtful"], tested["scope_count"]) == (True, 0)
    made = client.post(LIST, {**values, "confirm": True})
    assert made.status_code == 201
    assert client.get(f"{made['Location']}/past").json()["sentence"].startswith("No sync is in its scope")
    assert said(client.patch(made["Location"], {"severity": "page"}, headers={"If-Match": made["ETag"]}))[0] == 409


def test_rule_about_a_sync_of_others_is_not_there(theirs: Sync) -> None:
    hidden = rule("late", scope="sync", sync=theirs, name="hidden")
    client = caller("operator")
    assert client.get(f"{LIST}/{hidden.pk}").status_code == 404
    assert client.get(LIST).json()["data"] == []
    assert said(client.post(LIST, {"name": "x", "condition": "late", "scope": "sync", "sync_id": theirs.pk}))[2].keys() == {
        "sync_id"
    }
    assert client.delete(f"{LIST}/{hidden.pk}", headers={"If-Match": "*"}).status_code == 404


def test_choices_are_listed_and_the_list_takes_few_queries(mine: Sync) -> None:
    client = caller("viewer")
    for number in range(3):
        made = rule("late", name=f"r{number}", owner=person("operator"), scope="sync", sync=mine)
        made.channels.add(Channel.objects.create(name=f"c{number}", kind="email"))
    client.get(LIST)
    with CaptureQueriesContext(connection) as captured:
        assert [one["name"] for one in client.get(LIST, {"order": "-name"}).json()["data"]] == ["r2", "r1", "r0"]
    assert len(captured) <= 10
    templates = client.get(f"{LIST}/templates").json()["data"]
    assert {"key", "name", "said", "condition", "severity", "limit"} == set(templates[0])
    conditions = {one["condition"]: one for one in client.get(f"{LIST}/conditions").json()["data"]}
    assert conditions["error_rate"]["limit"]["unit"] == "% of rows"
    assert conditions["drift"]["limit"] is None
    assert said(client.post(LIST, {"name": "x", "condition": "late"}))[:2] == (403, "forbidden")
