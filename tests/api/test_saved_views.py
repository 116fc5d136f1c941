"""Saved views over the API: one's own and shared ones, edited without losing what somebody else did."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission

from dlq.models import SavedView
from dlq.services import views
from syncs.models import AuditEvent, Team
from tests.api.kit import Caller, caller, said
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
PLACE = "/api/v1/saved-views"
FILTER = {"status": ["open"], "failed": "24h", "owner": "me"}


def saved(client: Caller, **values: Any) -> dict[str, Any]:
    answer = client.post(PLACE, {"name": "Mine", "filter": FILTER, **values})
    assert answer.status_code == 201, answer.content
    assert answer["Location"] == f"{PLACE}/{answer.json()['id']}"
    found: dict[str, Any] = answer.json()
    return found


def test_view_keeps_its_filter_as_it_was_written() -> None:
    client = caller("viewer")
    made = saved(client)
    assert (made["filter"], made["query"]) == (FILTER, "status=open&failed=24h&owner=me")
    assert (made["is_mine"], made["may_change"], made["is_shared"], made["missing"]) == (True, True, False, None)
    assert client.get(f"{PLACE}/{made['id']}").json() == made
    view = SavedView.objects.get()
    assert (view.owner, view.query) == (client.user, made["query"])
    event = AuditEvent.objects.get(target_type="savedview")
    assert (event.act, event.door, event.actor) == ("created", "api", client.user)


def test_edits_say_what_they_were_written_against() -> None:
    client = caller("support")
    made = saved(client)
    here = f"{PLACE}/{made['id']}"
    etag = client.get(here)["ETag"]
    assert said(client.patch(here, {"name": "x"}))[:2] == (428, "precondition_required")
    answer = client.patch(here, {"name": "Today", "filter": {"code": ["none"]}}, headers={"If-Match": etag})
    assert (answer.json()["name"], answer.json()["filter"]) == ("Today", {"status": ["open"], "code": ["none"]})
    assert said(client.patch(here, {"name": "x"}, headers={"If-Match": etag}))[:2] == (412, "precondition_failed")
    answer = client.patch(here, {"is_shared": True}, headers={"If-Match": answer["ETag"]})
    assert (answer.json()["is_shared"], answer.json()["name"]) == (True, "Today")
    assert said(client.delete(here, headers={"If-Match": etag}))[:2] == (412, "precondition_failed")
    assert client.delete(here, headers={"If-Match": answer["ETag"]}).status_code == 204
    assert not SavedView.objects.exists()
    assert list(AuditEvent.objects.order_by("pk").values_list("act", "door")) == [
        ("created", "api"), ("changed", "api"), ("changed", "api"), ("deleted", "api"),
    ]  # fmt: skip


def test_sharing_needs_its_right_and_changing_is_for_the_owner() -> None:
    viewer, support, admin = caller("viewer"), caller("support"), caller("admin")
    assert said(viewer.post(PLACE, {"name": "x", "filter": {}, "is_shared": True}))[:2] == (403, "forbidden")
    own = saved(viewer)
    here, overwrite = f"{PLACE}/{own['id']}", {"If-Match": "*"}
    assert said(viewer.patch(here, {"is_shared": True}, headers=overwrite))[:2] == (403, "forbidden")
    assert said(support.get(here))[:2] == (404, "not_found")
    assert said(support.delete(here, headers=overwrite))[:2] == (404, "not_found")
    shared = saved(support, is_shared=True)
    there = f"{PLACE}/{shared['id']}"
    assert (viewer.get(there).json()["is_mine"], viewer.get(there).json()["may_change"]) == (False, False)
    assert said(viewer.patch(there, {"name": "x"}, headers=overwrite))[:2] == (403, "forbidden")
    assert said(viewer.delete(there, headers=overwrite))[:2] == (403, "forbidden")
    assert said(admin.patch(there, {"name": "x"}, headers=overwrite))[:2] == (403, "forbidden")
    assert admin.user
    admin.user.user_permissions.add(Permission.objects.get(codename="change_savedview"))
    assert admin.patch(there, {"name": "Theirs"}, headers=overwrite).json()["name"] == "Theirs"
    assert said(caller("support", "read").post(PLACE, {"name": "y", "filter": {}}))[:2] == (403, "scope_missing")


def test_what_cannot_be_saved_is_refused_by_its_field() -> None:
    client = caller("support")
    saved(client)
    for values, field in [
        ({"name": "Mine", "filter": {}}, "name"),
        ({"name": "a\u200fb", "filter": {}}, "name"),
        ({"name": "x" * 81, "filter": {}}, "name"),
        ({"name": "x"}, "filter"),
        ({"name": "x", "filter": {"group": 999_999}}, "filter.group"),
        ({"name": "x", "filter": {"q_deep": "1"}}, "filter.q_deep"),
        ({"name": "x", "filter": {}, "owner_id": 1}, "owner_id"),
    ]:
        assert said(client.post(PLACE, values))[2].keys() == {field}, values
    other = saved(client, name="Other")
    answer = client.patch(f"{PLACE}/{other['id']}", {"name": "Mine"}, headers={"If-Match": "*"})
    assert said(answer)[2].keys() == {"name"}


def test_list_is_by_name_and_says_what_is_missing(django_assert_max_num_queries: Any) -> None:
    team = Team.objects.create(name="Sales")
    sync = make_sync(team=team)
    boss, client = caller("admin"), caller("support")
    assert boss.user
    views.save(owner=boss.user, name="B sales", query=f"sync={sync.pk}", is_shared=True)
    views.save(owner=boss.user, name="A private", query="")
    for name in ("C", "D"):
        saved(client, name=name)
    with django_assert_max_num_queries(10):
        rows = client.get(PLACE).json()["data"]
    assert [(row["name"], row["missing"]) for row in rows] == [("B sales", f"sync {sync.pk}"), ("C", None), ("D", None)]
    assert [row["name"] for row in client.get(PLACE, {"who": "me"}).json()["data"]] == ["C", "D"]
    assert [row["name"] for row in client.get(PLACE, {"is_shared": "true"}).json()["data"]] == ["B sales"]
    page = client.get(PLACE, {"limit": 2}).json()
    assert [row["name"] for row in client.get(PLACE, {"limit": 2, "cursor": page["meta"]["page"]["next"]}).json()["data"]] == [
        "D"
    ]
