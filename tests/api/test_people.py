"""Teams, people to assign to, and the audit log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from syncs.models import AuditEvent, ServiceAccount, Tag, Team
from syncs.services import audit
from tests import seeds
from tests.api.kit import caller, person, said
from tests.factories import World

pytestmark = pytest.mark.django_db
TEAMS, PEOPLE, AUDIT = "/api/v1/teams", "/api/v1/people", "/api/v1/audit"


def test_team_is_made_changed_and_deleted_and_each_is_audited() -> None:
    client, ana, bo = caller("admin"), seeds.user("ana"), seeds.user("bo")
    made = client.post(TEAMS, {"name": " Revenue  team", "member_ids": [ana.pk]})
    team = Team.objects.get()
    assert (made.status_code, made["Location"], team.name) == (201, f"{TEAMS}/{team.pk}", "Revenue team")
    assert made.json()["members"] == [{"id": ana.pk, "username": "ana", "name": ""}]
    changed = client.patch(made["Location"], {"member_ids": [bo.pk]}, headers={"If-Match": made["ETag"]})
    assert ([one["username"] for one in changed.json()["members"]], changed.json()["member_count"]) == (["bo"], 1)
    assert said(client.patch(made["Location"], {"name": "x"}, headers={"If-Match": made["ETag"]}))[0] == 412
    assert client.delete(made["Location"], headers={"If-Match": changed["ETag"]}).status_code == 204
    assert not Team.objects.exists()
    acts = list(AuditEvent.objects.filter(target_type="team").order_by("pk").values_list("act", "detail__members"))
    assert acts == [("created", ["ana"]), ("changed", [["ana"], ["bo"]]), ("deleted", ["bo"])]


def test_team_with_a_taken_name_an_unknown_member_or_syncs_is_refused(tmp_path: Any) -> None:
    client = caller("admin")
    team = Team.objects.create(name="Revenue")
    world = World(tmp_path, [], team=team)
    assert said(client.post(TEAMS, {"name": "Revenue"}))[2].keys() == {"name"}
    assert said(client.post(TEAMS, {"name": "x", "member_ids": [10**17]}))[2].keys() == {"member_ids"}
    assert said(client.delete(f"{TEAMS}/{team.pk}", headers={"If-Match": "*"}))[:2] == (409, "refused")
    assert Team.objects.get() == team
    assert not AuditEvent.objects.filter(act="deleted").exists()
    assert client.get(f"{TEAMS}/{team.pk}").json()["sync_count"] == 1
    assert world.sync.team == team


def test_team_changed_in_the_console_is_audited_as_well() -> None:
    client = Client()
    client.force_login(person("admin"))
    ana = seeds.user("ana")
    client.post("/admin/syncs/team/add/", {"name": "Revenue", "description": "", "members": [ana.pk]})
    team = Team.objects.get()
    client.post(f"/admin/syncs/team/{team.pk}/change/", {"name": "Sales", "description": "", "members": []})
    events = AuditEvent.objects.filter(target_type="team").order_by("pk").values_list("act", "door", "detail")
    assert list(events) == [
        ("created", "admin", {"members": ["ana"]}),
        ("changed", "admin", {"members": [["ana"], []], "name": ["Revenue", "Sales"]}),
    ]
    client.post(f"/admin/syncs/team/{team.pk}/delete/", {"post": "yes"})
    assert not Team.objects.exists()


def test_one_sees_the_teams_one_belongs_to() -> None:
    mine, theirs = Team.objects.create(name="Mine"), Team.objects.create(name="Theirs")
    client = caller("viewer", team=mine)
    assert [team["name"] for team in client.get(TEAMS).json()["data"]] == ["Mine"]
    assert client.get(f"{TEAMS}/{theirs.pk}").status_code == 404
    assert len(caller("auditor").get(TEAMS).json()["data"]) == 2


def test_people_are_those_that_the_console_offers(django_assert_max_num_queries: Any) -> None:
    helper, viewer = person("support"), person("viewer")
    ServiceAccount.objects.create(user=User.objects.create(username="machine"))
    seeds.user("nobody")
    client = caller("support")
    assert client.user is not None
    for what in ("dead_letters", "incidents"):
        with django_assert_max_num_queries(8):
            rows = client.get(PEOPLE, {"able_to_take": what}).json()["data"]
        assert {row["id"] for row in rows} == {helper.pk, viewer.pk, client.user.pk}
    assert said(client.get(PEOPLE, {"able_to_take": "money"}))[2].keys() == {"able_to_take"}


def test_audit_log_is_filtered_and_costs_the_same_for_many(django_assert_max_num_queries: Any) -> None:
    ana = seeds.user("ana")
    tags = [Tag.objects.create(name=f"t{number}") for number in range(20)]
    for tag in tags:
        audit.record("created", tag, by=ana, door="cli")
    client = caller("auditor")
    caller("operator").post("/api/v1/tags", {"name": "by-key"})
    now = timezone.now()
    with django_assert_max_num_queries(8):
        assert len(client.get(AUDIT).json()["data"]) == 21
    asked: list[tuple[dict[str, Any], int]] = [
        ({"actor": ana.pk}, 20),
        ({"door": "api"}, 1),
        ({"door": ["api", "cli"]}, 21),
        ({"act": "created"}, 21),
        ({"target_type": "tag", "target_id": tags[3].pk}, 1),
        ({"since": (now - timedelta(hours=1)).isoformat()}, 21),
        ({"until": (now - timedelta(hours=1)).isoformat()}, 0),
        ({"key": AuditEvent.objects.get(door="api").detail["api_key"]}, 1),
    ]
    for query, count in asked:
        assert len(client.get(AUDIT, query).json()["data"]) == count, query
    first = client.get(AUDIT, {"limit": 15, "door": "cli"}).json()
    second = client.get(f"{AUDIT}?limit=15&door=cli&cursor={quote(first['meta']['page']['next'])}").json()
    assert (len(second["data"]), second["meta"]["page"]["next"]) == (5, None)
    one = first["data"][0]
    assert one == client.get(f"{AUDIT}/{one['id']}").json()
    assert (one["actor"], one["door"], one["target_name"]) == ({"id": ana.pk, "username": "ana"}, "cli", "t19")
    for query in ({"door": "window"}, {"actor": "x"}, {"since": "soon"}, {"colour": "red"}):
        assert said(client.get(AUDIT, query))[2].keys() == set(query)


def test_audit_log_tells_nothing_of_other_teams(tmp_path: Any) -> None:
    theirs = World(tmp_path, [], team=Team.objects.create(name="Theirs"))
    audit.record("changed", theirs.sync, by=None, door="system", detail={"query": ["a", "b"]})
    audit.record("created", Tag.objects.create(name="x"), by=None, door="system")
    reader = caller("viewer")
    assert reader.get(AUDIT).status_code == 403
    assert reader.user is not None
    reader.user.user_permissions.add(seeds.Permission.objects.get(codename="view_auditevent"))
    assert [row["target_type"] for row in reader.get(AUDIT).json()["data"]] == ["tag"]
    event = AuditEvent.objects.get(target_type="sync")
    assert reader.get(f"{AUDIT}/{event.pk}").status_code == 404
