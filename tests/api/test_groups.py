"""Error groups and grouping rules through the API."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dlq.choices import Door
from dlq.models import DLQEntry, ErrorGroup, FingerprintRule, GroupEvent
from dlq.services import group_list
from syncs.models import AuditEvent, Run
from syncs.models.team import Team
from tests.api.kit import Caller, caller, person, said
from tests.dlq.group_world import assert_counters_agree, group_of, rejected, store
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
GROUPS, RULES = "/api/v1/error-groups", "/api/v1/grouping-rules"


def at(group: ErrorGroup, tail: str = "") -> str:
    return f"{GROUPS}/{group.pk}{tail}"


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["data"]]


def failed(*keys: str) -> Run:
    run = make_run(make_sync())
    store(run, [rejected(key, f"Property '{key[0]}' value '{key}' is not valid", field="email") for key in keys])
    return run


# --- the list


def test_list_has_the_filters_and_orders_of_the_console() -> None:
    now, ana = timezone.now(), person("support")
    run = make_run(make_sync())
    few = make_group(run.sync, last_seen_at=now, state="acknowledged", owner=ana, error_type="timeout")
    many = make_group(run.sync, last_seen_at=now - timedelta(hours=1), title="Other words", note="VEND-1")
    settled = make_group(run.sync, last_seen_at=now - timedelta(hours=2))
    make_entry(run, group=few)
    make_entries(3, run, many)
    client = Caller(ana)
    assert ids(client.get(GROUPS)) == [few.pk, many.pk]
    assert ids(client.get(GROUPS, {"order": "most"})) == [many.pk, few.pk]
    assert ids(client.get(GROUPS, {"show": "all"})) == [few.pk, many.pk, settled.pk]
    for query in (
        "state=acknowledged", "state=open&state=resolved", f"sync={run.sync_id}", "error_type=timeout", "owner=me",
        "owner=none", f"owner={ana.pk}", "q=VEND", "show=all&state=open",
    ):  # fmt: skip
        pairs = [one.split("=") for one in query.split("&")]
        asked = group_list.parse({name: [value for other, value in pairs if other == name] for name, _ in pairs}, user=ana)
        assert ids(client.get(f"{GROUPS}?{query}")) == [one.pk for one in group_list.page(asked, user=ana).groups], query
    first = client.get(GROUPS, {"show": "all", "order": "most", "limit": 2})
    make_entries(5, run, make_group(run.sync, last_seen_at=now))
    rest = client.get(GROUPS, {"show": "all", "order": "most", "limit": 2, "cursor": first.json()["meta"]["page"]["next"]})
    assert ids(first) + ids(rest) == [many.pk, few.pk, settled.pk]
    assert "cursor" in said(client.get(GROUPS, {"order": "newest", "cursor": first.json()["meta"]["page"]["next"]}))[2]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=bad", "state"), ("sync=99999", "sync"), ("error_type=x", "error_type"), ("owner=you", "owner"), ("q=", "q"),
        ("sort=most", "sort"), ("after=x", "after"), ("show=some", "show"), ("order=oldest", "order"), ("q=a&q=b", "q"),
    ],
)  # fmt: skip
def test_filter_of_groups_that_is_not_understood_widens_nothing(query: str, field: str) -> None:
    assert field in said(caller("viewer").get(f"{GROUPS}?{query}"))[2]


def test_list_of_groups_takes_as_many_queries_however_long_it_is() -> None:
    ana, counts = person("viewer"), []
    client = Caller(ana)
    run = make_run(make_sync())
    for count in (2, 20):
        for _ in range(count):
            make_entry(run, group=make_group(run.sync, owner=ana))
        client.get(GROUPS)
        with CaptureQueriesContext(connection) as captured:
            assert len(ids(client.get(GROUPS))) >= count
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 10, counts


def test_groups_of_another_team_are_not_there() -> None:
    run = make_run(make_sync(team=Team.objects.create(name="Theirs")))
    group = make_group(run.sync)
    make_entry(run, group=group)
    rule = FingerprintRule.objects.create(sync=run.sync, kind="split", pattern="{value}", title="theirs")
    client = caller("operator")
    assert ids(client.get(GROUPS, {"show": "all"})) == []
    assert ids(client.get(RULES)) == []
    for tail in ("", "/events", "/suggested-rules"):
        assert said(client.get(at(group, tail)))[:2] == (404, "not_found")
    assert said(client.put(at(group, "/note"), {"note": "x"}))[:2] == (404, "not_found")
    assert said(client.post(f"{RULES}/{rule.pk}/switch", {"is_active": False}))[:2] == (404, "not_found")
    draft = {"group_id": group.pk, "kind": "split", "pattern": "{value}"}
    assert "group_id" in said(client.post(f"{RULES}/preview", draft))[2]


# --- one of them


def test_group_tells_what_its_refused_values_have_in_common() -> None:
    run = make_run(make_sync())
    group = make_group(run.sync, field="plan", first_run=run, last_run=run)
    for plan in ("gold", "gold", "silver"):
        make_entry(run, group=group, payload=f'{{"plan": "{plan}", "email": "bo@example.test"}}', field="plan")
    found = caller("viewer").get(at(group), {"span": "48h"}).json()
    assert found["values"]["values"][0] == {"label": "gold", "count": 2, "percent": 67}
    assert (found["open_count"], found["values"]["is_whole"], len(found["newest"])) == (3, True, 3)
    assert len(found["chart"]) == 48
    assert found["first_version"] == 1
    assert "bo@example.test" not in str(found)


def test_acts_on_a_group_move_its_state_once() -> None:
    group = make_group(make_sync())
    ana = person("support")
    client = Caller(ana)
    assert client.post(at(group, "/acknowledge")).json()["state"] == "acknowledged"
    assert said(client.post(at(group, "/acknowledge")))[:2] == (409, "refused")
    assert "reason" in said(client.post(at(group, "/resolve"), {}))[2]
    assert client.post(at(group, "/resolve"), {"reason": "fixed"}).json()["state"] == "resolved"
    assert client.post(at(group, "/reopen"), {"reason": "no"}).json()["state"] == "open"
    assert client.post(at(group, "/assign"), {"owner_id": ana.pk}).json()["owner"]["id"] == ana.pk
    assert said(client.post(at(group, "/assign"), {"owner_id": ana.pk}))[:2] == (409, "refused")
    assert said(client.post(at(group, "/assign"), {"owner_id": 999999}))[:2] == (400, "invalid")
    assert client.post(at(group, "/assign"), {"owner_id": None}).json()["owner"] is None
    etag = client.get(at(group))["ETag"]
    noted = client.put(at(group, "/note"), {"note": "VEND-1"}, headers={"If-Match": etag})
    assert noted.json()["note"] == "VEND-1"
    stale = client.put(at(group, "/note"), {"note": "mine"}, headers={"If-Match": etag})
    assert said(stale)[:2] == (412, "precondition_failed")
    mine = {"If-Match": noted["ETag"]}
    assert "runbook_url" in said(client.put(at(group, "/runbook"), {"runbook_url": "javascript:alert(1)"}, headers=mine))[2]
    linked = client.put(at(group, "/runbook"), {"runbook_url": "https://wiki.example.test/x"}, headers=mine)
    assert linked.json()["runbook_url"] == "https://wiki.example.test/x"
    assert linked["ETag"] == client.get(at(group))["ETag"]
    kinds = [one["kind"] for one in client.get(at(group, "/events")).json()["data"]]
    assert kinds == ["noted", "noted", "assigned", "assigned", "reopened", "resolved", "acknowledged"]
    assert set(GroupEvent.objects.values_list("door", flat=True)) == {Door.API}
    assert said(caller("viewer").put(at(group, "/note"), {"note": "x"}))[:2] == (403, "forbidden")


def test_evidence_of_a_group_is_a_bundle() -> None:
    entry = make_entry()
    answer = caller("support").post(at(entry.group, "/evidence"), {})
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as book:
        assert "summary.html" in book.namelist()


# --- rules


def test_group_is_split_by_a_rule_and_put_together_again() -> None:
    run = failed("a1", "b1", "a2")
    group = group_of("a1")
    client = caller("operator")
    suggested = client.get(at(group, "/suggested-rules")).json()["data"]
    assert suggested
    draft = suggested[0]["draft"] | {"pattern": "Property {value} value * is not valid", "title": "By property"}
    preview = client.post(f"{RULES}/preview", {name: draft[name] for name in draft if name != "title"}).json()
    assert (preview["problem"], preview["matched_count"], sorted(line["value"] for line in preview["lines"])) == (
        "",
        3,
        ["a", "b"],
    )
    made = client.post(RULES, draft)
    assert made.status_code == 201, made.content
    assert made.json()["is_regrouped"] is True
    assert made["Location"] == f"{RULES}/{made.json()['id']}"
    assert DLQEntry.objects.values("group").distinct().count() == 2
    assert_counters_agree(run.sync)
    switched = client.post(f"{made['Location']}/switch", {"is_active": False})
    assert (switched.status_code, switched.json()["is_active"]) == (200, False)
    assert DLQEntry.objects.values("group").distinct().count() == 1
    assert said(client.post(f"{made['Location']}/switch", {"is_active": False}))[:2] == (409, "refused")
    assert [one["is_active"] for one in client.get(RULES).json()["data"]] == [False]
    assert client.get(made["Location"]).json()["pattern"] == draft["pattern"]
    events = AuditEvent.objects.filter(target_type="fingerprintrule").order_by("pk")
    assert list(events.values_list("act", "door")) == [("created", "api"), ("switched_off", "api")]


def test_groups_are_merged_by_a_rule() -> None:
    run = make_run(make_sync())
    store(run, [rejected("a", "odd value", field="email"), rejected("b", "odd value", field="phone")])
    one, other = group_of("a"), group_of("b")
    client = caller("operator")
    assert "other" in said(client.get(at(one, "/suggested-rules"), {"kind": "merge"}))[2]
    found = client.get(at(one, "/suggested-rules"), {"kind": "merge", "other": other.pk}).json()["data"]
    assert client.post(RULES, found[0]["draft"]).status_code == 201
    assert group_of("b") == one
    assert_counters_agree(run.sync)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"pattern": "{value} {value}"}, "pattern"), ({"pattern": "nothing like it {value}"}, "pattern"),
        ({"kind": "cut"}, "kind"),
        ({"error_type": "bad"}, "error_type"), ({"group_id": 999999}, "group_id"), ({"title": "\u202e"}, "title"),
        ({"target_id": 1}, "target_id"),
    ],
)  # fmt: skip
def test_rule_that_cannot_work_is_refused_with_its_field(values: dict[str, Any], field: str) -> None:
    failed("a1", "b1")
    draft = {"group_id": group_of("a1").pk, "kind": "split", "pattern": "Property {value} value * is not valid", "title": "x"}
    status, code, issues = said(caller("operator").post(RULES, {**draft, **values}))
    assert (status, code, list(issues)) == (400, "invalid", [field])
    assert not FingerprintRule.objects.exists()


def test_rules_need_the_right_and_the_scope() -> None:
    failed("a1", "b1")
    draft = {"group_id": group_of("a1").pk, "kind": "split", "pattern": "Property {value} value * is not valid", "title": "x"}
    assert said(caller("support").post(RULES, draft))[:2] == (403, "forbidden")
    assert said(caller("operator", "dlq:act").post(RULES, draft))[:2] == (403, "scope_missing")
