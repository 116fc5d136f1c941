"""Logging in at a destination, against a real authorization server on loopback: what comes back is checked before it counts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.core import signing
from django.test import Client
from django.utils import timezone

from syncs.models import AuditEvent, Connection, SpentToken
from syncs.services import connections, logins
from tests import seeds
from tests.contracts.servers.oauth import CLIENT_ID, CLIENT_SECRET, OAuth

pytestmark = pytest.mark.django_db
CALLBACK = "http://testserver/admin/syncs/connection/login/callback/"
SECRETS = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


@pytest.fixture
def oauth() -> Iterator[OAuth]:
    made = OAuth()
    with made.server:
        yield made


@pytest.fixture
def connection(oauth: OAuth) -> Connection:
    return Connection.objects.create(name="CRM", role="destination", kind="http", config=oauth.config(), secrets=SECRETS)


def page(connection: Connection, name: str = "") -> str:
    return f"/admin/syncs/connection/{connection.pk}/{name}"


def depart(client: Client, connection: Connection) -> str:
    """The address that the browser is sent to."""
    answer = client.post(page(connection, "login/"))
    assert answer.status_code == 200, answer.content.decode()[:2000]
    url: str = answer.context["departure"].url
    return url


def way_back(url: str) -> str:
    """What the authorization server redirects to, as path and query."""
    answer = requests.get(url, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    where = urlsplit(answer.headers["Location"])
    return f"{where.path}?{where.query}"


def log_in(client: Client, connection: Connection) -> Any:
    return client.get(way_back(depart(client, connection)), follow=True)


def test_login_brings_tokens_who_and_when(admin_client: Client, oauth: OAuth, connection: Connection):
    oauth.answer["refresh_expires_in"] = 30 * 86_400
    answer = log_in(admin_client, connection)
    assert answer.redirect_chain == [(page(connection), 302)]
    assert "You are logged in at the destination" in answer.content.decode()
    connection.refresh_from_db()
    assert connection.secrets["access_token"] == "access-1-of-the-test"
    assert connection.secrets["refresh_token"] == "refresh-1-of-the-test"
    assert connection.secrets["client_secret"] == CLIENT_SECRET
    assert connection.authorized_by is not None
    assert connection.authorized_by.username == "admin"
    assert connection.authorized_at is not None
    assert timezone.now() - connection.authorized_at < timedelta(minutes=1)
    assert connection.credential_expires_at is not None
    assert abs(connection.credential_expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    assert list(AuditEvent.objects.values_list("act", "actor__username", "door")) == [("logged_in", "admin", "admin")]
    assert connections.check(connection).is_ok
    assert oauth.grants == ["authorization_code"]


def test_address_carries_challenge_state_scope_and_what_stood_in_it(admin_client: Client, connection: Connection):
    connection.config["auth"]["authorize_parameters"] = {"prompt": "consent"}
    connection.save()
    query = parse_qs(urlsplit(depart(admin_client, connection)).query)
    assert query["redirect_uri"] == [CALLBACK]
    assert query["scope"] == ["contacts.write offline"]
    assert (query["tenant"], query["prompt"], query["code_challenge_method"]) == (["a b"], ["consent"], ["S256"])
    assert "testserver" not in query["state"][0]
    html = admin_client.get(page(connection)).content.decode()
    assert CALLBACK in html
    assert "Log in at the destination" in html


def tampered(url: str) -> str:
    return url.replace("state=", "state=A", 1)


def other_signature(url: str) -> str:
    state = signing.dumps({"c": 1, "u": 1, "s": "x", "d": "y", "n": "z"}, salt="another purpose")
    return f"{urlsplit(url).path}?code=code-0-of-the-test&state={state}"


FORGED = [
    (tampered, "no way back from a login that began here"),
    (other_signature, "no way back from a login that began here"),
    (lambda url: f"{urlsplit(url).path}?code=code-0-of-the-test", "no way back from a login that began here"),
    (lambda url: f"{urlsplit(url).path}", "no way back from a login that began here"),
    (lambda url: url.replace("code=code-0-of-the-test", "code="), "sent no code"),
    (lambda url: url.replace("code-0", "code-7"), "refused the connection&#x27;s credentials with 400 (invalid_grant)"),
]


@pytest.mark.parametrize(("change", "words"), FORGED)
def test_forged_way_back_changes_nothing(admin_client: Client, oauth: OAuth, connection: Connection, change: Any, words: str):
    before = Connection.objects.values().get()
    url = way_back(depart(admin_client, connection))
    answer = admin_client.get(change(url))
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert "Nothing was changed" in answer.content.decode()
    assert repr(Connection.objects.values().get()) == repr(before)
    assert oauth.grants == []
    assert not AuditEvent.objects.exists()


def test_state_is_good_once(admin_client: Client, oauth: OAuth, connection: Connection):
    url = way_back(depart(admin_client, connection))
    assert admin_client.get(url).status_code == 302
    answer = admin_client.get(url)
    assert answer.status_code == 400
    assert "was used before" in answer.content.decode()
    assert oauth.grants == ["authorization_code"]
    assert SpentToken.objects.count() == 1


def test_state_is_short_lived(admin_client: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch):
    url = way_back(depart(admin_client, connection))
    later = timezone.now().timestamp() + logins.MINUTES * 60 + 1
    monkeypatch.setattr(signing.time, "time", lambda: later)
    answer = admin_client.get(url)
    assert answer.status_code == 400
    assert "took longer than 10 minutes" in answer.content.decode()


def test_state_of_another_person_or_session_is_refused(admin_client: Client, oauth: OAuth, connection: Connection):
    url = way_back(depart(admin_client, connection))
    for name, words in (("mallory", "begun by somebody else"), ("admin", "another session of yours")):
        client = Client()
        user = connection_user(name)
        client.force_login(user)
        answer = client.get(url)
        assert answer.status_code == 400
        assert words in answer.content.decode()
    assert oauth.grants == []
    assert admin_client.get(url).status_code == 302, "what others tried does not spend it"


def connection_user(name: str) -> Any:
    from django.contrib.auth.models import User

    return User.objects.filter(username=name).first() or User.objects.create_superuser(name)


def test_who_may_not_change_connections_can_neither_go_nor_return(connection: Connection, admin_client: Client):
    url = way_back(depart(admin_client, connection))
    client = Client()
    client.force_login(seeds.user("viewer", "syncs.view_connection"))
    assert client.post(page(connection, "login/")).status_code == 403
    assert client.get(url).status_code == 403
    assert client.get(page(connection)).status_code == 200


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("access_denied", "The login was declined at the destination."),
        ("server_error", "had a problem of its own"),
        ("<script>", "an error it gives no usable name"),
    ],
)
def test_declined_login_is_told_in_words(admin_client: Client, oauth: OAuth, connection: Connection, error: str, words: str):
    oauth.error = error
    answer = log_in(admin_client, connection)
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert "<script>" not in answer.content.decode()
    connection.refresh_from_db()
    assert connection.secrets == SECRETS


def test_settings_changed_meanwhile_send_no_code_elsewhere(admin_client: Client, oauth: OAuth, connection: Connection):
    url = way_back(depart(admin_client, connection))
    with OAuth().server as thief:
        connection.config["auth"]["token_url"] = f"{thief.url}/token"
        connection.save()
        answer = admin_client.get(url)
        assert "were changed while you were away" in answer.content.decode()
        assert thief.requests == []


def test_deleted_connection_and_one_without_a_login_are_refused(admin_client: Client, oauth: OAuth, connection: Connection):
    url = way_back(depart(admin_client, connection))
    Connection.objects.all().delete()
    assert "has been deleted meanwhile" in admin_client.get(url).content.decode()
    config = oauth.config(auth={"kind": "bearer"})
    other = Connection.objects.create(name="B", role="destination", kind="http", config=config, secrets={"token": "t"})
    answer = admin_client.post(page(other, "login/"), follow=True)
    assert "does not log in by a person" in answer.content.decode()
    assert "Redirect URI" not in answer.content.decode()
    source, _ = seeds.connections()
    assert admin_client.post(page(source, "login/"), follow=True).status_code == 200


def test_no_token_or_code_reaches_pages_history_or_log(
    admin_client: Client, connection: Connection, caplog: pytest.LogCaptureFixture
):
    told = log_in(admin_client, connection).content.decode()
    told += (
        admin_client.get(page(connection)).content.decode() + admin_client.get(page(connection, "history/")).content.decode()
    )
    told += caplog.text + repr(list(AuditEvent.objects.values()))
    for secret in ("access-1-of", "refresh-1-of", CLIENT_SECRET, "code-0-of"):
        assert secret not in told


@pytest.mark.parametrize(
    ("answer", "gives_refresh", "ends_at", "is_kept"),
    [
        ({"expires_in": 5_184_000}, False, 60, True),
        ({"expires_in": None}, False, None, True),
        ({"refresh_token_expires_in": "864000"}, True, 10, True),
        ({"refresh_expires_in": 0}, True, None, True),
        ({"refresh_expires_in": "soon", "expires_in": "nonsense"}, True, None, True),
        ({"expires_in": 1e308}, False, 3660, True),
    ],
)
def test_end_of_the_login_is_read_from_the_answer(
    admin_client: Client,
    oauth: OAuth,
    connection: Connection,
    answer: dict[str, Any],
    gives_refresh: bool,
    ends_at: int | None,
    is_kept: bool,
):
    """In days; a login without a refresh token ends with its access token."""
    oauth.answer |= answer
    oauth.gives_refresh_token = gives_refresh
    log_in(admin_client, connection)
    connection.refresh_from_db()
    found = connection.credential_expires_at
    assert (found and round((found - datetime.now(UTC)) / timedelta(days=1))) == ends_at
    assert connections.check(connection).is_ok is is_kept
