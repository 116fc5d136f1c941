"""Editing a sync: what is wrong is refused at save with the field and the way out; what is right makes a version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from syncs.models import AuditEvent, FieldMapping, Sync, SyncVersion
from tests import seeds
from tests.syncs.admin_forms import add_line, errors, posted

pytestmark = pytest.mark.django_db
ADD = "/admin/syncs/sync/add/"


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    source, destination = seeds.connections(str(seeds.warehouse(tmp_path / "warehouse.sqlite3")))
    return seeds.sync(source, destination)


def change_url(sync: Sync) -> str:
    return reverse("admin:syncs_sync_change", args=(sync.pk,))


def save(client: Client, sync: Sync, **changes: Any) -> Any:
    data = posted(client.get(change_url(sync))) | changes
    return client.post(change_url(sync), data)


def test_unchanged_save_succeeds_and_pins_a_version_with_its_author(admin_client: Client, admin_user: Any, sync: Sync):
    answer = save(admin_client, sync)
    assert answer.status_code == 302, errors(answer)
    assert answer.headers["Location"] == reverse("admin:syncs_sync_page", args=(sync.pk,))
    version = SyncVersion.objects.get(sync=sync)
    assert (version.number, version.author) == (1, admin_user)
    save(admin_client, sync)
    assert SyncVersion.objects.filter(sync=sync).count() == 1


def test_edited_mapping_makes_the_next_version(admin_client: Client, sync: Sync):
    save(admin_client, sync)
    data = posted(admin_client.get(change_url(sync)))
    add_line(data, destination_field="source", kind="constant", value="warehouse", is_required="on")
    add_line(data, destination_field="label", kind="template", value="{{ name }} ({{ city }})")
    add_line(data, destination_field="age", value="id", type="integer", default="5", on_null="default")
    answer = admin_client.post(change_url(sync), data)
    assert answer.status_code == 302, errors(answer)
    lines = {line["destination_field"]: line for line in Sync.objects.get(pk=sync.pk).current_version.snapshot["mappings"]}
    assert lines["source"]["constant"] == "warehouse"
    assert lines["label"]["template"] == "{{ name }} ({{ city }})"
    assert lines["age"]["default"] == 5
    assert SyncVersion.objects.filter(sync=sync).count() == 2


def test_lines_added_without_a_number_come_last_in_their_order(admin_client: Client, sync: Sync):
    data = posted(admin_client.get(change_url(sync)))
    for name in ("zulu", "alpha"):
        add_line(data, destination_field=name, value="city", position=0)
    answer = admin_client.post(change_url(sync), data)
    assert answer.status_code == 302, errors(answer)
    positions = dict(FieldMapping.objects.filter(sync=sync).values_list("destination_field", "position"))
    assert (positions["zulu"], positions["alpha"]) == (4, 5)


def test_changed_kind_leaves_nothing_of_the_old_value(admin_client: Client, sync: Sync):
    answer = save(admin_client, sync, **{"mappings-1-kind": "constant", "mappings-1-value": "5"})
    assert answer.status_code == 302, errors(answer)
    line = FieldMapping.objects.get(sync=sync, destination_field="name")
    assert (line.column, line.constant, line.template) == ("", 5, "")


def test_schedule_is_set_on_save(admin_client: Client, sync: Sync):
    answer = save(admin_client, sync, schedule_kind="cron", cron="15 6 * * 1-5", timezone="Europe/Berlin")
    assert answer.status_code == 302, errors(answer)
    sync.refresh_from_db()
    assert sync.next_run_at is not None
    assert sync.next_run_at.minute == 15


def test_two_lines_may_swap_their_fields(admin_client: Client, sync: Sync):
    answer = save(admin_client, sync, **{"mappings-1-destination_field": "email", "mappings-2-destination_field": "name"})
    assert answer.status_code == 302, errors(answer)
    assert list(sync.mappings.values_list("destination_field", "column"))[1:3] == [("email", "name"), ("name", "email")]


def test_field_of_a_deleted_line_is_free_at_once(admin_client: Client, sync: Sync):
    answer = save(admin_client, sync, **{"mappings-1-destination_field": "email", "mappings-2-DELETE": "on"})
    assert answer.status_code == 302, errors(answer)
    assert list(sync.mappings.values_list("destination_field", flat=True)) == ["external_id", "email", "address.city"]


WRONG = [
    ({"query": "SELEC id FROM contacts"}, "query:", "must be one SELECT"),
    ({"query": "SELECT * FROM nowhere"}, "query:", "nowhere"),
    ({"query": "DELETE FROM contacts"}, "query:", ""),
    ({"query": "SELECT id, name, email, city FROM contacts; DROP TABLE contacts"}, "query:", ""),
    ({"query": "SELECT id, name, email, city, name FROM contacts"}, "query:", "twice"),
    ({"key_columns": "uuid"}, "key_columns:", "no column uuid"),
    ({"key_columns": ""}, "key_columns:", "required"),
    ({"destination_object": "deals"}, "destination_object:", "has no object “deals”"),
    ({"mode": "delete"}, "mode:", "has no operation delete"),
    ({"mappings-1-value": "surname"}, "mappings-1-value:", "surname"),
    ({"mappings-1-value": ""}, "mappings-1-value:", "Name the column"),
    ({"mappings-1-destination_field": "email"}, "mappings-2-destination_field:", "mapped twice"),
    ({"mappings-1-kind": "template", "mappings-1-value": "{{ name "}, "mappings-1-value:", ""),
    ({"mappings-1-kind": "template", "mappings-1-value": "{{ nickname }}"}, "mappings-1-value:", "nickname"),
    ({"mappings-1-options": "{max_length: 3}"}, "mappings-1-options:", "not valid JSON"),
    ({"mappings-1-options": "[1]"}, "mappings-1-options:", "an object of names and values"),
    ({"schedule_kind": "cron", "cron": "99 6 * *"}, "cron:", "five fields"),
    ({"schedule_kind": "cron", "cron": "99 6 * * *"}, "cron:", "15 6 * * 1-5"),
    ({"schedule_kind": "interval", "interval_minutes": ""}, "interval_minutes:", "minutes between two runs"),
    ({"timezone": "Mars/Olympus"}, "timezone:", "not an IANA time zone"),
    ({"detection": "watermark"}, "cursor_column:", "needs a cursor column"),
    ({"detection": "watermark", "cursor_column": "changed"}, "cursor_column:", "no column changed"),
    ({"batch_records": "0"}, "batch_records:", "at least 1"),
    ({"destination_options": "not json"}, "destination_options:", "line 1, column 1"),
]


@pytest.mark.parametrize(("changes", "field", "words"), WRONG, ids=[str(list(case[0].items())[-1])[:60] for case in WRONG])
def test_what_is_wrong_is_refused_with_its_field(
    admin_client: Client, sync: Sync, changes: dict[str, str], field: str, words: str
):
    answer = save(admin_client, sync, **changes)
    assert answer.status_code == 200
    said = errors(answer)
    assert field in said
    assert words in said
    assert not SyncVersion.objects.exists()
    assert Sync.objects.values("query", "cron", "mode").get() == {"query": sync.query, "cron": "", "mode": "upsert"}
    assert "Constraint" not in said


def test_unreadable_warehouse_is_refused_with_a_sentence(admin_client: Client, sync: Sync):
    sync.source.config = {"path": "/nowhere/at/all.sqlite3"}
    sync.source.save()
    answer = save(admin_client, sync)
    assert answer.status_code == 200
    assert "/nowhere/at/all.sqlite3" in errors(answer)


def test_new_sync_is_checked_before_it_exists(admin_client: Client, sync: Sync):
    data = posted(admin_client.get(change_url(sync))) | {"name": "Second", "mappings-INITIAL_FORMS": 0}
    for name in [name for name in data if name.endswith(("-id", "-sync"))]:
        del data[name]
    wrong = admin_client.post(ADD, data | {"query": "SELECT nothing FROM contacts"})
    assert "query:" in errors(wrong)
    assert not Sync.objects.filter(name="Second").exists()
    answer = admin_client.post(ADD, data)
    assert answer.status_code == 302, errors(answer)
    made = Sync.objects.get(name="Second")
    assert made.mappings.count() == 4
    assert made.current_version is not None


def test_source_is_not_offered_as_destination(admin_client: Client, sync: Sync):
    answer = save(admin_client, sync, destination=str(sync.source_id))
    assert "destination: Select a valid choice" in errors(answer)


def test_form_opens_within_its_queries(admin_client: Client, sync: Sync, django_assert_max_num_queries: Any):
    with django_assert_max_num_queries(14):
        assert admin_client.get(change_url(sync)).status_code == 200


def test_viewer_may_read_the_form_but_not_save(client: Client, sync: Sync):
    client.force_login(seeds.viewer())
    html = client.get(change_url(sync)).content.decode()
    assert 'name="_save"' not in html
    assert client.post(change_url(sync), {"name": "Mine"}).status_code == 403
    assert Sync.objects.get().name == "Contacts"


def test_no_sync_can_be_deleted_from_the_console(admin_client: Client, sync: Sync):
    assert admin_client.post(f"/admin/syncs/sync/{sync.pk}/delete/", {"post": "yes"}).status_code == 403


def test_sync_that_somebody_saved_meanwhile_is_not_overwritten_unknowingly(admin_client: Client, sync: Sync):
    mine = posted(admin_client.get(change_url(sync))) | {"description": "mine"}
    assert save(admin_client, sync, description="theirs").status_code == 302
    answer = admin_client.post(change_url(sync), mine)
    assert "Somebody else saved this sync" in errors(answer)
    assert Sync.objects.get(pk=sync.pk).description == "theirs"
    again = admin_client.post(change_url(sync), posted(answer))
    assert again.status_code == 302, errors(again)
    assert Sync.objects.get(pk=sync.pk).description == "mine"


def test_edit_is_in_the_audit_log_with_what_it_changed(admin_client: Client, admin_user: Any, sync: Sync):
    save(admin_client, sync, description="new", max_attempts="7")
    event = AuditEvent.objects.get()
    assert (event.act, event.door, event.actor_id, event.target_id) == ("changed", "admin", admin_user.pk, sync.pk)
    assert event.detail == {"description": ["", "new"], "max_attempts": ["5", "7"]}
    save(admin_client, sync)
    assert AuditEvent.objects.count() == 1
