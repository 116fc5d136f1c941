"""The pages of schemas and drift, as people see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from dlq.models import ErrorGroup
from syncs.destinations.base import Field
from syncs.models import AuditEvent, SchemaSnapshot, Sync, Team
from syncs.models.schema import SchemaWatch
from syncs.services import schemas
from tests import seeds
from tests.dlq.objects import make_entry, make_group, make_run
from tests.syncs.schema_world import Target

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>\u202eevil"


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(tmp_path)


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


def at_schema(target: Target, query: str = "?object=people") -> str:
    return f"/admin/syncs/connection/{target.connection.pk}/schema/{query}"


def at_drift(target: Target) -> str:
    return f"/admin/syncs/sync/{target.sync.pk}/drift/"


def text_of(client: Client, url: str, status: int = 200) -> str:
    answer = client.get(url)
    assert answer.status_code == status
    return answer.content.decode()


def typed(*rows: dict[str, Any], name: str = "people") -> dict[str, Any]:
    form: dict[str, Any] = {"act": "type", "object": name, "form-TOTAL_FORMS": len(rows), "form-INITIAL_FORMS": 0}
    for number, row in enumerate(rows):
        form |= {f"form-{number}-{key}": value for key, value in row.items()}
    return form


# --- the fields of an object


def test_object_is_read_when_asked_and_its_fields_are_shown(root: Client, target: Target):
    assert "not known yet" in text_of(root, at_schema(target))
    answer = root.post(at_schema(target, ""), {"act": "refresh", "object": "people"}, follow=True)
    text = answer.content.decode()
    assert "3 fields are kept as version 1" in text
    assert "varchar(50)" in text
    assert ">key<" in text
    assert target.sync.name in text
    assert "people" in text_of(root, at_schema(target, ""))


def test_change_is_shown_with_the_syncs_it_touches(root: Client, target: Target):
    target.drift()
    text = text_of(root, at_schema(target))
    assert "Changed by version 2" in text
    assert "New required field" in text
    assert f"/admin/syncs/sync/{target.sync.pk}/drift/" in text
    assert "Changed by" not in text_of(root, at_schema(target, "?object=people&version=1"))
    assert root.get(at_schema(target, "?object=people&version=9")).status_code == 404
    assert root.get(at_schema(target, "?object=people&version=x")).status_code == 200


def test_failed_reading_is_told_and_keeps_the_version(root: Client, target: Target):
    target.refresh()
    root.post(at_schema(target, ""), {"act": "refresh", "object": "people"})
    target.sql("DROP TABLE people")
    answer = root.post(at_schema(target, ""), {"act": "refresh", "object": "people"}, follow=True)
    assert "There is no table “people”" in answer.content.decode()
    assert "version 1" in answer.content.decode()
    assert "The last reading gave nothing" in answer.content.decode()


def test_five_thousand_fields_are_a_page_that_can_be_searched(root: Client, target: Target):
    found = [Field(f"field_{n:04}", options=("a", "b")) for n in range(4_999)] + [Field("needle", label="Heu")]
    schemas.typed(target.connection, "people", found, by=User.objects.get(), door="admin")
    text = text_of(root, at_schema(target))
    assert "The first 300 of 5,000" in text
    assert len(text) < 400_000
    found_text = text_of(root, at_schema(target, "?object=people&q=HEU"))
    assert "needle" in found_text
    assert "field_0001" not in found_text


def test_hostile_names_are_harmless_everywhere(root: Client, target: Target):
    before = [Field("id"), Field("name"), Field(HOSTILE, HOSTILE, HOSTILE, options=(HOSTILE,))]
    after = [Field("id"), Field("name"), Field(HOSTILE + "2", HOSTILE, is_required=True, options=(HOSTILE,))]
    target.map(HOSTILE.replace("\u202e", ""), column="name")
    for found in (before, after):
        schemas.typed(target.connection, "people", found, by=User.objects.get(), door="admin")
    pages = [at_schema(target), at_schema(target, ""), at_schema(target, "?object=people&type=1"), at_drift(target)]
    for url in (*pages, f"/admin/syncs/sync/{target.sync.pk}/", f"/admin/syncs/connection/{target.connection.pk}/"):
        text = text_of(root, url)
        assert "<script>alert" not in text, url
    assert "⟨U+202E⟩" in text_of(root, at_schema(target))


def test_queries_stay_few_however_much_there_is(root: Client, target: Target, django_assert_max_num_queries: Any):
    target.drift()
    for number in range(4):
        Sync.objects.create(
            name=f"Other {number}", source=target.sync.source, query="SELECT 1", key_columns="id",
            destination=target.connection, destination_object="people" if number % 2 else f"t{number}",
        )  # fmt: skip
    for url in (at_schema(target), at_schema(target, ""), at_drift(target), at_schema(target, "?object=people&type=1")):
        with django_assert_max_num_queries(12):
            text_of(root, url)


# --- typing them


def test_fields_are_typed_kept_and_taken_up_again(root: Client, target: Target):
    rows = (
        {"name": "id", "type": "string", "is_required": "on", "is_key": "on"},
        {"name": "tier", "type": "enum", "max_length": "9", "options": "gold\ntin\ngold", "is_read_only": "on"},
        {"name": ""},
        {"name": "gone", "DELETE": "on"},
    )
    answer = root.post(at_schema(target, ""), typed(*rows))
    assert answer.status_code == 302
    snapshot = schemas.current(target.connection, "people")
    assert schemas.fields(snapshot) == [
        Field("id", type="string", is_required=True, is_key=True),
        Field("tier", type="enum", max_length=9, options=("gold", "tin"), is_writable=False),
    ]
    (event,) = AuditEvent.objects.filter(act="schema_typed")
    assert (event.actor, event.door, event.target_id) == (User.objects.get(), "admin", target.connection.pk)
    form = text_of(root, at_schema(target, "?object=people&type=1"))
    assert 'value="tier"' in form
    assert "gold\ntin" in form


@pytest.mark.parametrize(
    "rows, said",
    [
        (({"name": "id"}, {"name": "id"}), "“id” twice"),
        (({"name": ""},), "Type at least one field"),
        (({"name": "x" * 256},), "at most 255 characters"),
        (({"name": "a", "max_length": "-1"},), "greater than or equal to 1"),
        (({"name": "a", "type": "<b>"},), "Select a valid choice"),
        (({"name": "a\u202eb"},), "cannot be printed"),
    ],
)
def test_typed_nonsense_is_refused_in_the_form(root: Client, target: Target, rows: tuple[dict[str, Any], ...], said: str):
    answer = root.post(at_schema(target, ""), typed(*rows), follow=True)
    assert said in answer.content.decode()
    assert not SchemaSnapshot.objects.exists()


def test_posts_that_name_nothing_are_refused(root: Client, target: Target):
    url = at_schema(target, "")
    assert root.post(url, {"act": "type", "object": "people"}).status_code == 400  # no form at all
    assert root.post(url, {"act": "drop", "object": "people"}).status_code == 404
    assert "Name the object" in root.post(url, {"act": "refresh"}, follow=True).content.decode()
    assert root.post(url, {"act": "refresh", "object": "x" * 300}).status_code == 404
    source = f"/admin/syncs/connection/{target.sync.source_id}/schema/"
    assert root.get(source).status_code == 404


# --- drift


def test_drift_page_tells_what_changed_what_breaks_and_what_to_do(root: Client, target: Target):
    target.drift()
    run = make_run(target.sync)
    group = make_group(target.sync, field="tier", error_type="missing_required")
    for _ in range(3):
        make_entry(run, group=group, field="tier")
    make_entry(run, group=make_group(target.sync, field="name"), field="name")
    text = text_of(root, at_drift(target))
    for wanted in ("the new field “tier” is required", "Add a line for it", "Preview the sync", "reprocess of this sync"):
        assert wanted in text
    link = next(part for part in text.split('"') if "field=tier" in part).replace("&amp;", "&")
    assert "3" in text
    listed = text_of(root, link)
    assert "3 dead letters" in listed or listed.count("rd-key") == 3


def test_dead_letters_from_before_are_not_explained(root: Client, target: Target):
    group = make_group(target.sync, field="tier", error_type="missing_required", last_seen_at=timezone.now())
    make_entry(make_run(target.sync), group=group, field="tier")
    target.drift()
    ErrorGroup.objects.update(last_seen_at=target.sync.created_at)
    assert "field=tier" not in text_of(root, at_drift(target))


def test_acknowledging_needs_a_reason_and_still_waits_for_the_preview(root: Client, target: Target):
    target.drift()
    answer = root.post(at_drift(target), {"act": "acknowledge", "reason": " "})
    assert (answer.status_code, "Say why the mapping may stay" in answer.content.decode()) == (400, True)
    answer = root.post(at_drift(target), {"act": "acknowledge", "reason": "a <b>trigger</b> fills it"}, follow=True)
    text = answer.content.decode()
    assert "a &lt;b&gt;trigger&lt;/b&gt; fills it" in text
    assert "Not seen yet" in text
    assert "The mapping stays as it is</h2>" not in text
    assert root.post(at_drift(target), {"act": "dance"}).status_code == 404


def test_page_of_a_sync_leads_to_the_drift_and_refreshes(root: Client, target: Target):
    target.drift()
    make_run(target.sync)
    from monitoring.services import evaluation

    evaluation.judge(target.sync.pk)
    text = text_of(root, f"/admin/syncs/sync/{target.sync.pk}/")
    assert "Destination schema changed: the new field “tier” is required." in text
    assert text.count(at_drift(target)) >= 2
    answer = root.post(at_drift(target), {"act": "refresh"}, follow=True)
    assert "nothing has changed since version 2" in answer.content.decode()


@pytest.mark.parametrize(
    "permissions, act, status",
    [
        (("view_sync", "view_connection"), "refresh", 403),
        (("view_sync", "view_connection", "change_sync"), "refresh", 302),
        (("view_sync", "view_connection", "change_sync"), "type", 403),
    ],
)
def test_rights_on_the_fields(client: Client, target: Target, permissions: tuple[str, ...], act: str, status: int):
    client.force_login(seeds.user("bo", *(f"syncs.{name}" for name in permissions)))
    assert client.post(at_schema(target, ""), {**typed({"name": "id"}), "act": act}).status_code == status
    wanted = 200 if "change_connection" in permissions else 403
    assert client.get(at_schema(target, "?object=people&type=1")).status_code == wanted
    assert client.get(at_schema(target)).status_code == 200


def test_message_of_a_refresh_names_no_sync_of_another_team(client: Client, target: Target):
    target.refresh()
    target.rebuild("id TEXT PRIMARY KEY NOT NULL, name VARCHAR(50), tier TEXT NOT NULL")
    team = Team.objects.create(name="Others")
    Sync.objects.update(team=team, name="Secret sync")
    client.force_login(seeds.user("bo", "syncs.view_sync", "syncs.view_connection", "syncs.change_sync"))
    answer = client.post(at_schema(target, ""), {"act": "refresh", "object": "people"}, follow=True)
    text = answer.content.decode()
    assert "The mapping of 1 sync is touched" in text
    assert "Secret" not in text


def test_name_that_gives_nothing_leaves_no_trace(root: Client, target: Target):
    root.post(at_schema(target, ""), {"act": "refresh", "object": "nowhere"})
    assert not SchemaWatch.objects.exists()
