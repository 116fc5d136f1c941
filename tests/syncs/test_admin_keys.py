"""API keys and service accounts in the console: shown once, rotated, revoked; whose keys one sees."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from syncs.models import ApiKey, AuditEvent, ServiceAccount
from syncs.services import api_keys
from tests.api.kit import key_of, person

pytestmark = pytest.mark.django_db
KEYS, ACCOUNTS = "/admin/syncs/apikey/", "/admin/syncs/serviceaccount/"
SHOWN = re.compile(r'value="(rd_[a-z0-9]{12}_[\w-]{43})"')


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def shown(answer: object) -> str:
    found = SHOWN.search(answer.content.decode())  # type: ignore[attr-defined]
    assert found is not None, answer.content.decode()[:3000]  # type: ignore[attr-defined]
    return found[1]


def test_key_is_shown_once_and_good():
    user = person("operator")
    client = signed_in(user)
    answer = client.post(f"{KEYS}add/", {"name": "Airflow", "scopes": ["read", "run"], "days": "30"})
    assert answer["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    key = api_keys.find(shown(answer))
    assert key is not None
    assert (key.user, key.scopes) == (user, ["read", "run"])
    html = client.get(KEYS).content.decode()
    assert f"rd_{key.prefix}…" in html
    assert SHOWN.search(html) is None
    assert AuditEvent.objects.get(act="key_made").door == "admin"


def test_wrong_form_says_what_is_wrong_and_makes_nothing():
    client = signed_in(person("operator"))
    for body in ({"name": "x", "days": "30"}, {"name": "x", "scopes": "read"}, {"name": "x", "scopes": "read", "days": "366"}):
        answer = client.post(f"{KEYS}add/", body)
        assert answer.status_code == 400
        assert b"rd-wrong" in answer.content
    assert not ApiKey.objects.exists()


def test_rotation_shows_the_new_key_and_says_how_long_the_old_one_lasts():
    client = signed_in(person("operator"))
    old = api_keys.find(shown(client.post(f"{KEYS}add/", {"name": "x", "scopes": "read", "days": "30"})))
    assert old is not None
    answer = client.post(f"{KEYS}{old.pk}/act/", {"act": "rotate", "hours": "2"})
    assert b"is good until" in answer.content
    new = api_keys.find(shown(answer))
    assert new is not None
    assert new.rotated_from == old
    assert client.post(f"{KEYS}{old.pk}/act/", {"act": "rotate"}, follow=True).content.count(b"rotated already") == 1
    client.post(f"{KEYS}{new.pk}/act/", {"act": "revoke"})
    assert ApiKey.objects.get(pk=new.pk).revoked_at is not None


def test_everybodys_keys_are_for_who_manages_them():
    owner, stranger = person("operator"), person("operator")
    text = key_of(owner)
    pk = ApiKey.objects.get().pk
    assert "test" not in signed_in(stranger).get(f"{KEYS}?whose=all").content.decode().split("<tbody")[-1]
    assert signed_in(stranger).post(f"{KEYS}{pk}/act/", {"act": "revoke"}).status_code == 404
    admin = signed_in(person("admin"))
    assert owner.username in admin.get(f"{KEYS}?whose=all").content.decode()
    assert admin.post(f"{KEYS}{pk}/act/", {"act": "rotate"}, follow=True).content.count(b"Only its owner") == 1
    admin.post(f"{KEYS}{pk}/act/", {"act": "revoke"})
    assert api_keys.find(text) is None
    assert signed_in(person("viewer")).get(KEYS).status_code == 403


def test_states_filter_and_what_is_not_understood_shows_nothing():
    user = person("operator")
    for name, days in (("good one", 60), ("soon over", 3), ("long over", -3)):
        ends = timezone.now() + timedelta(days=days)
        ApiKey.objects.create(
            user=user, name=name, prefix=api_keys.made()[1], digest="0", scopes=["read"], expires_at=ends, created_by=user
        )
    client = signed_in(user)
    html = client.get(f"{KEYS}?state=ending").content.decode()
    assert ("soon over" in html, "good one" in html, "long over" in html) == (True, False, False)
    for query in ("state=odd", "whose=theirs", "before=x", "colour=red"):
        html = client.get(f"{KEYS}?{query}").content.decode()
        assert "This filter cannot be used" in html
        assert "good one" not in html


def test_account_is_set_up_changed_and_gets_keys():
    client = signed_in(person("admin"))
    answer = client.post(f"{ACCOUNTS}add/", {"name": "airflow", "roles": "Operator", "is_active": "on"})
    account = ServiceAccount.objects.get()
    assert answer["Location"] == f"{KEYS}add/?account={account.pk}"
    assert f'<option value="{account.pk}" selected' in client.get(answer["Location"]).content.decode()
    body = {"name": "nightly", "scopes": ["read"], "account": str(account.pk), "is_endless": "on"}
    key = api_keys.find(shown(client.post(f"{KEYS}add/", body)))
    assert key is not None
    assert (key.user, key.expires_at) == (account.user, None)
    page = client.get(f"{ACCOUNTS}{account.pk}/change/").content.decode()
    assert f"rd_{key.prefix}" in page
    etag = re.search(r'name="etag" value="(\w+)"', page)
    assert etag is not None
    change = {"description": "new", "roles": ["Viewer"], "etag": etag[1]}  # not active any more
    assert client.post(f"{ACCOUNTS}{account.pk}/change/", change).status_code == 302
    account.refresh_from_db()
    account.user.refresh_from_db()
    assert (account.description, account.user.is_active) == ("new", False)
    assert list(account.user.groups.values_list("name", flat=True)) == ["Viewer"]
    again = client.post(f"{ACCOUNTS}{account.pk}/change/", {**change, "description": "lost"})
    assert again.status_code == 400
    assert b"somebody else has changed it" in again.content


def test_accounts_are_not_among_people():
    admin = person("admin")
    machine = User.objects.create(username="machine-of-ours")
    ServiceAccount.objects.create(user=machine)
    client = signed_in(admin)
    assert "machine-of-ours" not in client.get("/admin/auth/user/").content.decode()
    assert client.get(f"/admin/auth/user/{machine.pk}/change/").status_code == 302
    assert "machine-of-ours" in client.get(ACCOUNTS).content.decode()
