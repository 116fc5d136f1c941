"""Connections: the form follows the kind, secrets go in and never come out, the test reports what the other side said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from syncs.destinations.registry import DESTINATION_KINDS
from syncs.models import Connection
from syncs.sources.registry import SOURCE_KINDS
from tests import seeds
from tests.syncs.admin_forms import errors, posted

pytestmark = pytest.mark.django_db
ADD = "/admin/syncs/connection/add/"
SECRET = "s3cr3t-t0ken-value"
OBJECTS = '{"contacts": {"operations": {"upsert": {"method": "POST", "path": "/contacts"}}}}'


def change_url(connection: Connection) -> str:
    return reverse("admin:syncs_connection_change", args=(connection.pk,))


@pytest.fixture
def http() -> Connection:
    config = {
        "base_url": "http://127.0.0.1:9",
        "auth": {"kind": "bearer"},
        "objects": {"contacts": {"operations": {"upsert": {"method": "POST", "path": "/contacts"}}}},
        "limits": {"concurrency": 2},
    }
    return Connection.objects.create(name="CRM", role="destination", kind="http", config=config, secrets={"token": SECRET})


def save(client: Client, connection: Connection, **changes: Any) -> Any:
    return client.post(change_url(connection), posted(client.get(change_url(connection))) | changes)


def test_chooser_offers_every_kind_with_its_role(admin_client: Client):
    html = admin_client.get(ADD).content.decode()
    for wanted in ("?role=source&amp;kind=postgresql", "?role=source&amp;kind=duckdb", "?role=destination&amp;kind=http"):
        assert wanted in html


KINDS = [("source", kind) for kind in SOURCE_KINDS] + [("destination", kind) for kind in DESTINATION_KINDS]


@pytest.mark.parametrize(("role", "kind"), KINDS)
def test_form_opens_with_the_settings_of_its_kind(admin_client: Client, role: str, kind: str):
    answer = admin_client.get(f"{ADD}?role={role}&kind={kind}")
    assert answer.status_code == 200
    assert any(name.startswith("config__") for name in answer.context["adminform"].form.fields)


def test_unknown_kind_and_role_are_refused(admin_client: Client):
    answer = admin_client.get(f"{ADD}?role=source&kind=oracle", follow=True)
    assert "There is no source kind “oracle”" in answer.content.decode()
    assert admin_client.get(f"{ADD}?role=thief&kind=http").status_code == 404


def test_new_connection_keeps_settings_apart_from_secrets(admin_client: Client):
    data = {
        "name": "CRM",
        "config__base_url": "https://crm.example.com",
        "config__auth": '{"kind": "bearer"}',
        "config__objects": OBJECTS,
        "secret__token": SECRET,
    }
    answer = admin_client.post(f"{ADD}?role=destination&kind=http", data)
    assert answer.status_code == 302, errors(answer)
    made = Connection.objects.get()
    assert (made.role, made.kind) == ("destination", "http")
    assert made.config["base_url"] == "https://crm.example.com"
    assert made.secrets == {"token": SECRET}
    assert SECRET not in str(made.config)


WRONG = [
    ({"config__base_url": "crm example"}, "config__base_url:"),
    ({"config__base_url": ""}, "config__base_url: This field is required"),
    ({"config__objects": '{"contacts": '}, "config__objects: This is not valid JSON"),
    ({"config__objects": '{"a": 1, "a": 2}'}, "The name “a” stands twice"),
    ({"config__objects": '{"contacts": {"operations": {"upsert": {"method": "FETCH", "path": "/x"}}}}'}, "upsert.method"),
    ({"config__limits": '{"concurrency": "many"}'}, "config__limits: concurrency"),
    ({"config__limits": '{"concurrency": NaN}'}, "NaN is no JSON value"),
    ({"config__auth": '{"kind": "magic"}'}, "config__auth:"),
    ({"name": ""}, "name: This field is required"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG)
def test_wrong_setting_is_refused_at_its_field(admin_client: Client, http: Connection, changes: dict[str, str], words: str):
    before = dict(http.config)
    answer = save(admin_client, http, **changes)
    assert answer.status_code == 200
    assert words in errors(answer)
    http.refresh_from_db()
    assert http.config == before


def test_missing_secret_is_named(admin_client: Client):
    data = {
        "name": "CRM",
        "config__base_url": "https://a.example",
        "config__auth": '{"kind": "bearer"}',
        "config__objects": OBJECTS,
    }
    answer = admin_client.post(f"{ADD}?role=destination&kind=http", data)
    assert "secret__token: Is required for auth bearer" in errors(answer)


def test_secret_is_never_rendered(admin_client: Client, http: Connection):
    pages = [change_url(http), "/admin/syncs/connection/", f"/admin/syncs/connection/{http.pk}/history/"]
    for address in pages:
        assert SECRET not in admin_client.get(address).content.decode()
    refused = save(admin_client, http, name="", secret__token="another-token-value")
    assert refused.status_code == 200
    assert "another-token-value" not in refused.content.decode()


def test_form_says_which_secrets_are_set(admin_client: Client, http: Connection):
    fields = admin_client.get(change_url(http)).context["adminform"].form.fields
    assert fields["secret__token"].help_text.startswith("Set. Leave empty to keep it.")
    assert fields["secret__api_key"].help_text.startswith("Not set.")
    assert "clear__token" in fields
    assert "clear__api_key" not in fields


def test_empty_input_keeps_the_stored_secret(admin_client: Client, http: Connection):
    answer = save(admin_client, http, description="changed")
    assert answer.status_code == 302, errors(answer)
    http.refresh_from_db()
    assert (http.description, http.secrets) == ("changed", {"token": SECRET})


def test_new_value_replaces_and_checkbox_clears(admin_client: Client, http: Connection):
    save(admin_client, http, secret__token="fresh")
    http.refresh_from_db()
    assert http.secrets == {"token": "fresh"}
    answer = save(admin_client, http, clear__token="on", config__auth="")
    assert answer.status_code == 302, errors(answer)
    http.refresh_from_db()
    assert http.secrets == {}


def test_token_refreshed_meanwhile_is_not_overwritten(admin_client: Client, http: Connection):
    data = posted(admin_client.get(change_url(http)))
    Connection.objects.filter(pk=http.pk).update(secrets={"token": "rotated", "access_token": "short-lived"})
    answer = admin_client.post(change_url(http), data | {"description": "x"})
    assert answer.status_code == 302, errors(answer)
    http.refresh_from_db()
    assert http.secrets == {"token": "rotated", "access_token": "short-lived"}


def test_connection_test_reports_success_with_milliseconds(admin_client: Client, tmp_path: Path):
    source, _ = seeds.connections(str(seeds.warehouse(tmp_path / "w.sqlite3")))
    answer = admin_client.post(reverse("admin:syncs_connection_test", args=(source.pk,)), follow=True)
    html = answer.content.decode()
    source.refresh_from_db()
    assert source.state == "ok"
    assert source.checked_at is not None
    assert " ms" in html
    assert "Passed" in html


def test_connection_test_reports_failure_in_words(admin_client: Client, http: Connection):
    answer = admin_client.post(reverse("admin:syncs_connection_test", args=(http.pk,)), follow=True)
    http.refresh_from_db()
    assert http.state == "failing"
    assert http.state_message
    html = answer.content.decode()
    assert "Failed" in html
    assert "Correct host and port in base_url" in html
    assert SECRET not in answer.content.decode()


def test_viewer_may_neither_test_nor_change(client: Client, http: Connection):
    client.force_login(seeds.viewer())
    html = client.get(change_url(http)).content.decode()
    assert "Test the connection" not in html
    assert 'name="_save"' not in html
    assert SECRET not in html
    assert client.post(reverse("admin:syncs_connection_test", args=(http.pk,))).status_code == 403
    assert client.post(change_url(http), {"name": "Mine"}).status_code == 403
    assert client.get(ADD).status_code == 403


def test_connection_in_use_cannot_be_deleted(admin_client: Client, http: Connection, tmp_path: Path):
    source, destination = seeds.connections(str(tmp_path / "w.sqlite3"))
    seeds.sync(source, destination)
    admin_client.post(f"/admin/syncs/connection/{source.pk}/delete/", {"post": "yes"})
    assert Connection.objects.filter(pk=source.pk).exists()
    admin_client.post(f"/admin/syncs/connection/{http.pk}/delete/", {"post": "yes"})
    assert not Connection.objects.filter(pk=http.pk).exists()
