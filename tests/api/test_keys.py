"""API keys, service accounts, and who calls."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group, User
from django.utils import timezone

from retl_project.logs import LineFormatter
from syncs import log_context
from syncs.models import ApiKey, ApiWindow, AuditEvent, Heartbeat, IdempotentRequest, ServiceAccount, Team
from syncs.services import api_keys, sweeping, worker
from tests import seeds
from tests.api.kit import Caller, caller, key_of, person, said

pytestmark = pytest.mark.django_db
KEYS, ACCOUNTS = "/api/v1/keys", "/api/v1/service-accounts"


def with_key(text: str) -> Caller:
    client = Caller()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def signed_in(user: User) -> Caller:
    client = Caller()
    client.force_login(user)
    return client


def days_of(key: ApiKey) -> float | None:
    return None if key.expires_at is None else (key.expires_at - key.created_at) / timedelta(days=1)


def account_of(client: Caller, **values: Any) -> dict[str, Any]:
    answer = client.post(ACCOUNTS, {"name": "airflow", "roles": ["Operator"], **values})
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_key_is_shown_once_and_works() -> None:
    user = person("operator")
    answer = signed_in(user).post(KEYS, {"name": "  nightly   job ", "scopes": ["run", "read", "read"]})
    made = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"{KEYS}/{made['id']}")
    about = with_key(made["key"]).get(answer["Location"]).json()
    assert about == with_key(made["key"]).get(KEYS).json()["data"][0]
    assert (about["name"], about["scopes"], about["state"]) == ("nightly job", ["read", "run"], "good")
    assert made["key"] not in str(about)
    key = ApiKey.objects.get()
    assert round(days_of(key) or 0) == 90
    event = AuditEvent.objects.get()
    assert (event.act, event.target_id, event.door, event.actor) == ("key_made", key.pk, "api", user)
    assert made["key"] not in str(event.detail)


def test_repeated_making_gives_the_same_key_and_keeps_it_encrypted() -> None:
    client, header = signed_in(person("operator")), {"Idempotency-Key": "once"}
    first = client.post(KEYS, {"name": "x", "scopes": ["read"]}, headers=header).json()
    assert client.post(KEYS, {"name": "x", "scopes": ["read"]}, headers=header).json() == first
    assert ApiKey.objects.count() == 1
    stored = IdempotentRequest.objects.extra(select={"raw": "answer"}).values_list("raw", flat=True)[0]
    assert first["key"][20:] not in str(stored)


@pytest.mark.parametrize(
    "body, field",
    [
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["everything"]}, "scopes[0]"),
        ({"name": " ", "scopes": ["read"]}, "name"),
        ({"name": "x", "scopes": ["read"], "expires_in_days": None}, "expires_in_days"),
        ({"name": "x", "scopes": ["read"], "expires_in_days": 366}, "expires_in_days"),
        ({"name": "x", "scopes": ["read"], "expires_in_days": 0}, "expires_in_days"),
        ({"name": "x", "scopes": ["read"], "digest": "0"}, "digest"),
        ({"name": "x", "scopes": ["read"], "service_account_id": 999}, "service_account_id"),
    ],
)
def test_wrong_key_is_refused_with_its_field(body: dict[str, Any], field: str) -> None:
    status, code, issues = said(signed_in(person("admin")).post(KEYS, body))
    assert (status, code, list(issues)) == (400, "invalid", [field])
    assert not ApiKey.objects.exists()


def test_key_made_with_a_key_never_exceeds_it() -> None:
    user = person("operator")
    soon = timezone.now() + timedelta(days=3)
    client = with_key(key_of(user, "admin", "read", expires_at=soon))
    assert said(client.post(KEYS, {"name": "more", "scopes": ["read", "run"]}))[2].keys() == {"scopes"}
    made = client.post(KEYS, {"name": "same", "scopes": ["read"], "expires_in_days": 300}).json()
    assert ApiKey.objects.get(pk=made["id"]).expires_at == soon
    wider = ApiKey.objects.create(user=user, name="wide", prefix="w" * 12, digest="0", scopes=["run"])
    assert said(client.post(f"{KEYS}/{wider.pk}/rotate"))[0] == 409


def test_rotation_overlaps_and_happens_once() -> None:
    user = person("operator")
    client = signed_in(user)
    first = client.post(KEYS, {"name": "x", "scopes": ["read"], "expires_in_days": 30}).json()
    second = client.post(f"{KEYS}/{first['id']}/rotate", {"overlap_hours": 2}).json()
    assert with_key(first["key"]).get("/api/v1/me").status_code == 200
    assert with_key(second["key"]).get("/api/v1/me").status_code == 200
    old, new = ApiKey.objects.get(pk=first["id"]), ApiKey.objects.get(pk=second["id"])
    assert timedelta(hours=1.9) < old.expires_at - timezone.now() <= timedelta(hours=2)  # type: ignore[operator]
    assert (round(days_of(new) or 0), new.scopes, new.rotated_from) == (30, ["read"], old)
    assert client.get(f"{KEYS}/{old.pk}").json()["replaced_by"] == new.pk
    assert said(client.post(f"{KEYS}/{old.pk}/rotate"))[:2] == (409, "refused")
    third = client.post(f"{KEYS}/{new.pk}/rotate", {"overlap_hours": 0}).json()
    assert with_key(second["key"]).get("/api/v1/me").status_code == 401
    assert with_key(third["key"]).get("/api/v1/me").status_code == 200
    assert said(client.post(f"{KEYS}/{third['id']}/rotate", {"overlap_hours": 169}))[2].keys() == {"overlap_hours"}


def test_key_rotates_itself_within_its_own_end() -> None:
    ends = timezone.now() + timedelta(days=5)
    user = person("operator")
    text = key_of(user, "admin", "read", expires_at=ends)
    made = with_key(text).post(f"{KEYS}/{ApiKey.objects.get().pk}/rotate").json()
    assert ApiKey.objects.get(pk=made["id"]).expires_at == ends


def test_revoked_key_is_refused_at_once() -> None:
    user = person("operator")
    text = key_of(user)
    pk = ApiKey.objects.get().pk
    client = signed_in(user)
    answer = client.post(f"{KEYS}/{pk}/revoke")
    assert (answer.status_code, answer.json()["state"], answer.json()["revoked_by"]) == (200, "revoked", user.username)
    assert with_key(text).get("/api/v1/me").status_code == 401
    assert said(client.post(f"{KEYS}/{pk}/revoke"))[:2] == (409, "refused")
    assert AuditEvent.objects.filter(act="key_revoked").count() == 1


def test_keys_of_others_are_not_there_and_an_admin_revokes_but_never_reads_them() -> None:
    owner = person("operator")
    key_of(owner)
    pk = ApiKey.objects.get().pk
    stranger, admin = signed_in(person("operator")), signed_in(person("admin"))
    assert stranger.get(KEYS).json()["data"] == []
    assert {stranger.get(f"{KEYS}/{pk}").status_code, stranger.post(f"{KEYS}/{pk}/revoke").status_code} == {404}
    assert [row["id"] for row in admin.get(KEYS, {"owner": owner.pk}).json()["data"]] == [pk]
    assert said(admin.post(f"{KEYS}/{pk}/rotate"))[:2] == (409, "refused")
    assert admin.post(f"{KEYS}/{pk}/revoke").status_code == 200


def test_states_and_the_cost_of_the_list(django_assert_max_num_queries: Any) -> None:
    user, now = person("operator"), timezone.now()
    ends = {"good": now + timedelta(days=60), "ending": now + timedelta(days=3), "expired": now - timedelta(days=1)}
    for name, end in ends.items():
        for _ in range(3):
            ApiKey.objects.create(
                user=user, name=name, prefix=api_keys.made()[1], digest="0", scopes=["read"], expires_at=end, created_by=user
            )
    client = signed_in(user)
    for name in ends:
        rows = client.get(KEYS, {"state": name}).json()["data"]
        assert ({row["name"] for row in rows}, {row["state"] for row in rows}, len(rows)) == ({name}, {name}, 3)
    assert len(client.get(KEYS, {"state": ["good", "expired"]}).json()["data"]) == 6
    with django_assert_max_num_queries(8):
        assert len(client.get(KEYS).json()["data"]) == 9


def test_too_many_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "MOST", 1)
    client = signed_in(person("operator"))
    assert client.post(KEYS, {"name": "x", "scopes": ["read"]}).status_code == 201
    assert said(client.post(KEYS, {"name": "y", "scopes": ["read"]}))[:2] == (409, "refused")


# --- service accounts


def test_account_has_roles_and_teams_and_never_signs_in() -> None:
    team = Team.objects.create(name="Revenue")
    admin = person("admin")
    made = account_of(signed_in(admin), description=" Runs  the syncs ", team_ids=[team.pk])
    account = ServiceAccount.objects.get()
    assert (made["roles"], made["teams"], made["description"]) == (
        ["Operator"],
        [{"id": team.pk, "name": "Revenue"}],
        "Runs the syncs",
    )
    assert (made["id"], made["user_id"], made["created_by"]) == (account.pk, account.user_id, admin.username)
    User.objects.filter(pk=account.user_id).update(is_staff=True)
    account.user.set_password("correct horse")
    account.user.save()
    assert authenticate(username="airflow", password="correct horse") is None
    assert AuditEvent.objects.get(target_type="serviceaccount").detail["roles"] == ["Operator"]


def test_key_of_an_account_acts_as_the_account_and_may_never_end() -> None:
    client = signed_in(person("admin"))
    account = account_of(client)
    made = client.post(
        KEYS, {"name": "x", "scopes": ["read", "write"], "expires_in_days": None, "service_account_id": account["id"]}
    ).json()
    assert made["about"]["expires_at"] is None
    assert made["about"]["owner"] == {"id": account["user_id"], "username": "airflow", "is_service_account": True}
    me = with_key(made["key"]).get("/api/v1/me").json()
    assert (me["username"], me["is_service_account"], me["scopes"]) == ("airflow", True, ["read", "write"])
    assert me["roles"] == ["Operator"]
    assert me["key"]["prefix"] == made["about"]["prefix"]
    assert with_key(made["key"]).post("/api/v1/tags", {"name": "by-machine"}).status_code == 201
    assert client.get(f"{ACCOUNTS}/{account['id']}").json()["key_count"] == 1
    address = f"{ACCOUNTS}/{account['id']}"
    answer = client.patch(address, {"is_active": False}, headers={"If-Match": client.get(address)["ETag"]})
    assert (answer.status_code, answer.json()["is_active"]) == (200, False)
    assert with_key(made["key"]).get("/api/v1/me").status_code == 401


def test_nobody_makes_an_account_that_may_more_than_they() -> None:
    rights = [f"syncs.{act}_{what}" for act in ("view", "add", "change") for what in ("serviceaccount", "apikey")]
    manager = seeds.user("manager", *rights)
    client = signed_in(manager)
    status, _, issues = said(client.post(ACCOUNTS, {"name": "x", "roles": ["Admin"]}))
    assert (status, issues.keys()) == (400, {"roles"})
    assert not User.objects.filter(username="x").exists()
    Team.objects.create(name="Theirs")
    assert said(client.post(ACCOUNTS, {"name": "x", "team_ids": [Team.objects.get().pk]}))[2].keys() == {"team_ids"}
    strong = account_of(signed_in(person("admin")), name="strong")
    body = {"name": "k", "scopes": ["read"], "service_account_id": strong["id"]}
    assert said(client.post(KEYS, body))[:2] == (409, "refused")
    assert said(client.patch(f"{ACCOUNTS}/{strong['id']}", {"roles": []}, headers={"If-Match": "*"}))[0] == 409
    assert not ApiKey.objects.exists()


def test_account_edits_are_not_lost_and_names_are_checked() -> None:
    client = signed_in(person("admin"))
    account = account_of(client)
    address = f"{ACCOUNTS}/{account['id']}"
    etag = client.get(address)["ETag"]
    assert client.patch(address, {"description": "one"}, headers={"If-Match": etag}).status_code == 200
    assert said(client.patch(address, {"description": "two"}, headers={"If-Match": etag}))[0] == 412
    assert said(client.post(ACCOUNTS, {"name": "airflow"}))[2].keys() == {"name"}
    assert said(client.post(ACCOUNTS, {"name": "a b"}))[2].keys() == {"name"}
    assert said(client.post(ACCOUNTS, {"name": "b", "roles": ["Emperor"]}))[2].keys() == {"roles"}
    changed = AuditEvent.objects.get(act="changed")
    assert changed.detail == {"description": ["", "one"]}


def test_account_list_costs_the_same_for_many(django_assert_max_num_queries: Any) -> None:
    operator = Group.objects.get(name="Operator")
    for number in range(12):
        user = User.objects.create(username=f"m{number}")
        user.groups.add(operator)
        ServiceAccount.objects.create(user=user)
    client = signed_in(person("admin"))
    with django_assert_max_num_queries(9):
        assert len(client.get(ACCOUNTS).json()["data"]) == 12


# --- who calls


def test_me_of_a_person_signed_in() -> None:
    team = Team.objects.create(name="Revenue")
    user = person("viewer", team=team)
    me = signed_in(user).get("/api/v1/me").json()
    assert (me["roles"], me["key"], me["sees_all_teams"]) == (["Viewer"], None, False)
    assert me["teams"] == [{"id": team.pk, "name": "Revenue"}]
    assert "syncs.view_sync" in me["permissions"]
    assert "dlq:raw" in me["scopes"]
    assert said(caller(None).get("/api/v1/me"))[0] == 401


# --- what is left behind


def test_tick_forgets_once_an_hour_what_is_over() -> None:
    client, old = caller("operator"), timezone.now() - timedelta(hours=25)
    for number in range(2):
        client.post("/api/v1/tags", {"name": f"t{number}"}, headers={"Idempotency-Key": f"k{number}"})
    IdempotentRequest.objects.filter(key="k0").update(created_at=old)
    ApiWindow.objects.create(caller="ip:203.0.113.7", minute=int(old.timestamp()) // 60, count=3)
    worker.tick()
    assert list(IdempotentRequest.objects.values_list("key", flat=True)) == ["k1"]
    assert not ApiWindow.objects.filter(caller="ip:203.0.113.7").exists()
    IdempotentRequest.objects.update(created_at=old)
    worker.tick()
    assert IdempotentRequest.objects.exists()  # not within the same hour
    Heartbeat.objects.filter(name="sweep").update(at=timezone.now() - timedelta(hours=2))
    assert [sweeping.sweep_due(), sweeping.sweep_due()] == [True, False]
    assert not IdempotentRequest.objects.exists()


def test_log_names_the_prefix_of_a_key_and_never_the_key(caplog: pytest.LogCaptureFixture) -> None:
    text = key_of(person("operator"))
    seen: list[dict[str, Any]] = []

    class Spy(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(dict(log_context.about()))

    spy = Spy()
    logging.getLogger("syncs.services.idempotency").addHandler(spy)
    with pytest.MonkeyPatch.context() as patch:
        logger = logging.getLogger("syncs.services.idempotency")
        patch.setattr("syncs.services.tags.saved", lambda *_, **__: logger.warning("saved with %s", text))
        with_key(text).post("/api/v1/tags", {"name": "x"})
    logging.getLogger("syncs.services.idempotency").removeHandler(spy)
    assert seen == [{"api_key": text[3:15]}]
    assert log_context.about() == {}
    formatted = LineFormatter("{message}", style="{").format(next(one for one in caplog.records if "saved with" in one.message))
    assert text[16:] not in formatted
