"""Error rules through the API: written, ordered, tried out on dead letters that are there, and applied to them."""

from __future__ import annotations

from typing import Any

import pytest

from dlq.models import DLQEntry, Reclassification
from syncs.models import AuditEvent, Connection, ErrorRule, Team
from tests import seeds
from tests.api.kit import Caller, caller, person, said

pytestmark = pytest.mark.django_db
ROOT = "/api/v1/error-rules"
RULE = {"kind": "http", "name": "No such owner", "statuses": [422, 400], "text": "refused|is no", "error_type": "validation"}


@pytest.fixture
def crm() -> Connection:
    return seeds.connections()[1]


def data(client: Caller, address: str, **query: Any) -> Any:
    answer = client.get(address, query)
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def test_rule_is_written_changed_switched_and_deleted(crm: Connection) -> None:
    client = caller("admin")
    answer = client.post(ROOT, {**RULE, "kind": crm.kind})
    assert answer.status_code == 201, answer.content
    address = answer["Location"]
    rule = ErrorRule.objects.get()
    assert (address, rule.statuses, rule.is_enabled) == (f"{ROOT}/{rule.pk}", [400, 422], True)
    assert said(client.patch(address, {"is_enabled": False}))[0] == 428
    changed = client.patch(address, {"is_enabled": False, "advice": "Ask sales."}, headers={"If-Match": answer["ETag"]})
    assert (changed.json()["is_enabled"], changed.json()["advice"], changed.json()["name"]) == (
        False,
        "Ask sales.",
        RULE["name"],
    )
    assert said(client.patch(address, {"name": "x"}, headers={"If-Match": answer["ETag"]}))[0] == 412
    assert client.delete(address, headers={"If-Match": changed["ETag"]}).status_code == 204
    assert not ErrorRule.objects.exists()
    assert list(AuditEvent.objects.order_by("pk").values_list("act", "door")) == [
        ("created", "api"), ("changed", "api"), ("deleted", "api"),
    ]  # fmt: skip


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kind": "oracle"}, "kind"),
    ({"connection": 999, "kind": ""}, "kind"),
    ({"connection": 1}, "connection"),
    ({"name": " "}, "name"),
    ({"statuses": [99]}, "statuses"),
    ({"statuses": ["400"]}, "statuses"),
    ({"statuses": [], "text": ""}, "text"),
    ({"text": "a" * 501}, "text"),
    ({"text": "("}, "text"),
    ({"codes": [""]}, "codes"),
    ({"error_type": "mapping"}, "error_type"),
    ({"is_permanent": "no"}, "is_permanent"),
    ({"position": 3}, "position"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG)
def test_wrong_rule_is_named(changes: dict[str, Any], field: str) -> None:
    status, _code, issues = said(caller("admin").post(ROOT, {**RULE, **changes}))
    assert status == 400
    assert [name.split(".")[0].split("[")[0] for name in issues] == [field]


def test_list_is_in_the_order_of_deciding_and_filtered(crm: Connection) -> None:
    ErrorRule.objects.create(kind=crm.kind, position=0, name="kind", text="x", error_type="timeout")
    own = ErrorRule.objects.create(connection=crm, position=0, name="own 1", text="x", error_type="validation")
    ErrorRule.objects.create(connection=crm, position=1, name="own 2", text="x", error_type="validation", is_enabled=False)
    ErrorRule.objects.create(kind="slack", position=0, name="other", text="x", error_type="validation")
    client = caller("viewer")

    def names(**query: Any) -> list[str]:
        return [one["name"] for one in data(client, ROOT, **query)]

    assert names(holds_for=crm.pk) == ["own 1", "own 2", "kind"]
    assert names(connection=crm.pk, is_enabled="true") == ["own 1"]
    assert names(kind="slack") == ["other"]
    assert names(error_type="timeout") == ["kind"]
    first = client.get(ROOT, {"limit": 2}).json()
    rest = names(limit=2, cursor=first["meta"]["page"]["next"])
    assert [one["name"] for one in first["data"]] + rest == ["own 1", "own 2", "kind", "other"]
    moved = caller("admin").post(f"{ROOT}/{own.pk}/move", {"by_places": 1})
    assert moved.status_code == 200
    assert names(connection=crm.pk) == ["own 2", "own 1"]


def world(team: Team | None = None) -> Any:
    found = seeds.console(run_count=1)
    if team is not None:
        type(found.sync).objects.update(team=team)
    return found


def test_preview_counts_what_the_caller_sees(crm: Connection) -> None:
    sync = seeds.sync(Connection.objects.get(role="source"), crm, "Mine")
    group = seeds.entries(seeds.run(sync, "partial"), 3)
    hidden = seeds.sync(sync.source, crm, "Hidden", team=Team.objects.create(name="Others"))
    seeds.entries(seeds.run(hidden, "partial"), 2)
    before = list(DLQEntry.objects.order_by("pk").values())
    client = caller("operator")
    rule = ErrorRule.objects.create(kind=crm.kind, name="All", text=".", error_type="unknown", is_enabled=False)
    found = client.get(f"{ROOT}/{rule.pk}/preview")
    assert found.status_code == 200, found.content
    assert (found.json()["looked_count"], found.json()["decided_count"], found.json()["sync_count"]) == (3, 3, 1)
    assert found.json()["groups"] == [{"id": group.pk, "title": group.title, "count": 3}]
    assert b"Hidden" not in found.content
    assert caller("admin").get(f"{ROOT}/{rule.pk}/preview").json()["looked_count"] == 5
    assert said(client.post(f"{ROOT}/preview", RULE))[0] == 403  # who writes no rules
    changed = caller("admin").post(f"{ROOT}/{rule.pk}/preview", {"text": "nothing like it"})
    assert changed.json()["matched_count"] == 0
    fresh = caller("admin").post(f"{ROOT}/preview", {**RULE, "kind": crm.kind, "statuses": [], "text": "."})
    assert fresh.json()["matched_count"] == 5
    assert said(caller("admin").post(f"{ROOT}/preview", {**RULE, "text": "("}))[2].keys() == {"text"}
    assert list(DLQEntry.objects.order_by("pk").values()) == before


def test_rules_are_applied_and_the_work_is_followed(crm: Connection) -> None:
    sync = seeds.sync(Connection.objects.get(role="source"), crm, "Mine")
    seeds.entries(seeds.run(sync, "partial"), 3)
    ErrorRule.objects.create(connection=crm, name="All", text=".", error_type="reference_not_found")
    client = caller("admin")
    outlook = client.get(f"{ROOT}/applications/outlook", {"connection": crm.pk})
    assert outlook.status_code == 200, outlook.content
    assert (outlook.json()["changed_count"], outlook.json()["syncs"]) == (3, ["Mine"])
    answer = client.post(f"{ROOT}/applications", {"connection": crm.pk, "reason": "New rule."})
    assert answer.status_code == 202, answer.content
    assert set(DLQEntry.objects.values_list("error_type", flat=True)) == {"reference_not_found"}
    found = client.get(answer["Location"]).json()
    assert (found["is_over"], found["changed_count"], found["reason"]) == (True, 3, "New rule.")
    assert found["lines"][0]["rule"] == "All"
    assert said(client.post(f"{answer['Location']}/stop"))[:2] == (409, "refused")
    assert set(AuditEvent.objects.values_list("door", flat=True)) == {"api"}


def test_application_is_stopped_and_seen_by_who_asked(crm: Connection) -> None:
    sync = seeds.sync(Connection.objects.get(role="source"), crm, "Mine")
    seeds.sync(sync.source, crm, "Hidden", team=Team.objects.create(name="Others"))
    asker = person("admin")
    walk = Reclassification.objects.create(connection=crm, place=f"connection:{crm.pk}", sync_ids=[sync.pk], requested_by=asker)
    address = f"{ROOT}/applications/{walk.pk}"
    assert said(caller("operator").get(address))[0] == 404
    assert data(caller("operator"), f"{ROOT}/applications") == []
    admin = Caller(asker)
    assert said(admin.post(f"{ROOT}/applications", {"connection": crm.pk}))[:2] == (409, "refused")
    assert [one["id"] for one in data(admin, f"{ROOT}/applications", connection=crm.pk, is_over="false")] == [walk.pk]
    stopped = admin.post(f"{address}/stop").json()
    assert (stopped["is_over"], stopped["is_cancelled"]) == (True, True)
    for given in ({}, {"connection": crm.pk, "kind": "http"}, {"kind": "oracle"}, {"connection": 999}):
        assert said(admin.post(f"{ROOT}/applications", given))[0] == 400
        assert said(admin.get(f"{ROOT}/applications/outlook", given))[0] == 400
