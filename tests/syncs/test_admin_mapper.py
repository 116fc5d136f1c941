"""The mapper's page as a browser without JavaScript uses it: every button posts the whole form, and only Save saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from sqlalchemy import make_url

from syncs.models import AuditEvent, FieldMapping, Sync, SyncVersion
from syncs.services import mappings, samples, versions
from tests import seeds
from tests.syncs import mapper_world as world
from tests.syncs.mapper_world import findings, posted, press, url
from tests.syncs.sources_support import postgres_config

pytestmark = pytest.mark.django_db


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    return world.sync(tmp_path)


def saved(sync: Sync) -> list[tuple[str, str]]:
    return [(line.destination_field, line.column or line.template or line.constant) for line in mappings.lines(sync)]


# --- what is shown


def test_page_shows_columns_with_samples_beside_fields_and_suggestions(admin_client: Client, sync: Sync):
    answer = admin_client.get(url(sync))
    view = answer.context["view"]
    assert [column.name for column in view.columns] == ["id", "mail", "first_name", "plan", "age", "city"]
    assert view.by_name["plan"].values == ("pro", "gold", "free")
    assert view.by_name["city"].values[-1] is None
    assert view.by_name["id"].used_by == ("external_id",)
    assert [one.field.name for one in view.needed] == ["email"]
    guesses = {one.field.name: one.column.name for one in view.suggested if one.column}
    assert guesses == {"email": "mail", "firstname": "first_name", "plan": "plan", "address.city": "city"}
    said = world.visible_text(answer)
    assert "Required and key fields that no line fills 1 email" in said
    assert answer.context["tally"] == {"error": 0, "warning": 1, "note": 0}
    assert "at most 20" in said
    assert "one of free , pro" in said or "one of free, pro" in said


def test_samples_of_people_are_masked_unless_the_house_shows_them(admin_client: Client, sync: Sync, settings: Any):
    assert "ann@x.example" not in admin_client.get(url(sync)).content.decode()
    settings.RETL = {**settings.RETL, "MASK_PAGES": False}
    assert "ann@x.example" in admin_client.get(url(sync)).content.decode()


def test_column_whose_values_cannot_become_the_type_is_not_suggested(admin_client: Client, sync: Sync):
    others = {one.field.name: one for one in admin_client.get(url(sync)).context["view"].others}
    assert others["age"].column is None


def test_page_opens_and_checks_within_its_queries(admin_client: Client, sync: Sync, django_assert_max_num_queries: Any):
    with django_assert_max_num_queries(12):
        answer = admin_client.get(url(sync))
    with django_assert_max_num_queries(12):
        press(admin_client, answer, do="check")


def test_checking_while_writing_does_not_read_the_warehouse_each_time(
    admin_client: Client, sync: Sync, monkeypatch: pytest.MonkeyPatch
):
    answer = admin_client.get(url(sync))
    Path(sync.source.config["path"]).unlink()
    assert press(admin_client, answer, do="check").context["view"].problem == ""
    again = press(admin_client, answer, do="again")
    assert again.context["view"].problem
    assert "columns are not known" in again.content.decode()


def test_unreadable_query_is_said_and_the_lines_stay(admin_client: Client, sync: Sync):
    Sync.objects.update(query="SELECT nonsense FROM people")
    answer = admin_client.get(url(sync))
    assert "nonsense" in answer.context["view"].problem
    assert [line.value for line in answer.context["state"].lines] == ["id"]
    refused = press(admin_client, answer, do="save")
    assert any("nonsense" in text for _, level, text in findings(refused) if level == "error")
    assert not SyncVersion.objects.exists()


def test_destination_that_tells_no_fields_is_said(admin_client: Client, tmp_path: Path):
    answer = admin_client.get(url(world.sync(tmp_path, fields=None)))
    assert "does not tell which fields contacts has" in world.visible_text(answer)
    assert findings(answer) == []


def test_many_fields_are_found_by_a_part_of_their_name(admin_client: Client, tmp_path: Path):
    many = [{"name": f"field_{number}", "label": f"Label {number}", "type": "string"} for number in range(700)]
    sync = world.sync(tmp_path, fields=[*world.FIELDS, *many])
    answer = admin_client.get(url(sync))
    assert (len(answer.context["others"]), answer.context["others_count"]) == (500, 705)
    assert "500 of 705 are shown" in world.visible_text(answer)
    found = press(admin_client, answer, {"find": "LABEL 69"}, do="find")
    assert len(found.context["others"]) == 11


# --- buttons


def test_buttons_change_the_page_and_save_nothing(admin_client: Client, sync: Sync):
    def fields(answer: Any) -> list[str]:
        return [line.destination_field for line in answer.context["state"].lines]

    before = saved(sync)
    answer = press(admin_client, admin_client.get(url(sync)), take="email")
    assert [(line.destination_field, line.value) for line in answer.context["state"].lines][1:] == [("email", "mail")]
    answer = press(admin_client, answer, take_column="city")
    assert fields(answer) == ["external_id", "email", "address.city"]
    answer = press(admin_client, answer, take_column="age")
    assert answer.context["state"].lines[-1].destination_field == "age"
    answer = press(admin_client, answer, up="2")
    assert fields(answer) == ["external_id", "address.city", "email", "age"]
    answer = press(admin_client, answer, down="0")
    answer = press(admin_client, answer, remove="3")
    assert fields(answer) == ["address.city", "external_id", "email"]
    answer = press(admin_client, answer, add="1")
    assert fields(answer)[-1] == ""
    answer = press(admin_client, answer, take_all="1")
    assert {"firstname", "plan"} <= set(fields(answer))
    assert saved(sync) == before
    assert not SyncVersion.objects.exists()


def test_field_without_a_suggestion_gets_an_empty_line(admin_client: Client, sync: Sync):
    answer = press(admin_client, admin_client.get(url(sync)), take="tags")
    line = answer.context["state"].lines[-1]
    assert (line.destination_field, line.value, line.type) == ("tags", "", "array")
    assert any("choose the column" in text for _, _, text in findings(answer))


@pytest.mark.parametrize(
    "button", [{"up": "-1"}, {"down": "99"}, {"remove": "x"}, {"remove": "9" * 99}, {"take": "\0"}, {"do": "?"}]
)
def test_nonsense_from_a_button_is_harmless(admin_client: Client, sync: Sync, button: dict[str, str]):
    assert press(admin_client, admin_client.get(url(sync)), **button).status_code == 200


def test_part_of_the_page_is_answered_to_the_script(admin_client: Client, sync: Sync):
    answer = admin_client.get(url(sync))
    part = admin_client.post(url(sync), posted(answer) | {"do": "check"}, headers={"Accept": "text/vnd.redrive.part+html"})
    assert "<h1" not in part.content.decode()
    assert 'data-live="findings-0"' in part.content.decode()


# --- what is checked

CHECKS: list[tuple[dict[str, str], str, str]] = [
    ({"value": "maill"}, "error", "no column “maill”. Did you mean “mail”?"),
    ({"value": ""}, "error", "choose the column"),
    ({"destination_field": ""}, "error", "has no name"),
    ({"destination_field": "tags[].x"}, "error", "at the end"),
    ({"destination_field": "external_id"}, "error", "mapped twice"),
    ({"type": "nonsense"}, "error", "is not a type"),
    ({"kind": "nonsense"}, "error", "is not a kind"),
    ({"on_null": "nonsense"}, "error", "says nothing for NULL"),
    ({"options": "{max_length: 3}"}, "error", "not valid JSON"),
    ({"options": '{"longest": 3}'}, "error", "has no option “longest”"),
    ({"on_null": "default"}, "error", "there is no default"),
    ({"kind": "template", "value": "{{ nickname }}"}, "error", "nickname"),
    ({"kind": "template", "value": "{{ mail "}, "error", ""),
    ({"value": "x" * 300}, "error", "at most 255"),
    ({"destination_field": "nickname"}, "warning", "names no field “nickname”"),
    ({"destination_field": "age", "value": "age", "type": "integer"}, "warning", "1 of 3 sample rows would be refused."),
    (
        {"destination_field": "email", "value": "mail"},
        "warning",
        "1 of 3 sample rows would be refused. “email” takes at most 20",
    ),
    ({"destination_field": "plan", "value": "plan"}, "warning", "1 of 3 sample rows would be refused. “plan” allows 2 values"),
    (
        {"destination_field": "address.city", "value": "city", "on_null": "reject"},
        "warning",
        "1 of 3 sample rows would be refused",
    ),
    ({"destination_field": "tags[]", "value": "plan"}, "", ""),
    ({"destination_field": "address.city", "value": "city", "on_null": "omit"}, "", ""),
    ({"destination_field": "firstname", "kind": "template", "value": "{{ first_name }}\n{{ city }}"}, "", ""),
    ({"destination_field": "age", "kind": "constant", "value": "41", "type": "integer"}, "", ""),
    ({"destination_field": "plan", "kind": "constant", "value": "gold"}, "warning", "does not fit"),
]


@pytest.mark.parametrize(
    ("line", "level", "words"), CHECKS, ids=[f"{list(case[0].values())[-1][:25]}-{case[2][:20]}" for case in CHECKS]
)
def test_line_is_checked_against_columns_samples_and_fields(
    admin_client: Client, sync: Sync, line: dict[str, str], level: str, words: str
):
    start = press(admin_client, admin_client.get(url(sync)), add="1")
    given = {"destination_field": "firstname", "value": "first_name", **line}
    answer = press(admin_client, start, {f"lines-1-{name}": value for name, value in given.items()}, do="check")
    mine = [(found, text) for number, found, text in findings(answer) if number == 1 and found != "note"]
    if level:
        assert any(found == level and words in text for found, text in mine), mine
    else:
        assert mine == []
    assert "ann@x.example" not in answer.content.decode()


def test_value_that_is_refused_is_named_masked(admin_client: Client, tmp_path: Path):
    sync = world.sync(tmp_path)
    start = press(admin_client, admin_client.get(url(sync)), add="1")
    line = {"lines-1-destination_field": "age", "lines-1-value": "mail", "lines-1-type": "integer"}
    answer = press(admin_client, start, line, do="check")
    (text,) = [text for number, level, text in findings(answer) if number == 1 and level == "warning"]
    assert "is not an integer" in text
    assert "ann@x" not in text
    assert "***" in text


def test_numbers_as_text_fit_a_number_and_nulls_are_no_misfit(admin_client: Client, tmp_path: Path):
    path = tmp_path / "numbers.sqlite3"
    world.warehouse(path, [("c1", "a@b.example", "Ann", "pro", "41", None), ("c2", None, None, None, " 7 ", None)])
    sync = world.sync(tmp_path)
    sync.source.config = {"path": str(path)}
    sync.source.save()
    answer = admin_client.get(url(sync))
    assert "age" in {one.field.name for one in answer.context["view"].suggested}
    answer = press(admin_client, answer, take="age")
    assert answer.context["state"].lines[-1].type == "integer"
    assert [one for one in findings(answer) if one[0] == 1 and one[1] != "note"] == []


# --- saving


def test_save_makes_a_version_with_its_author_and_note_and_an_audit_event(admin_client: Client, admin_user: Any, sync: Sync):
    answer = press(admin_client, admin_client.get(url(sync)), take_all="1")
    answer = press(admin_client, answer, {"note": "first mapping"}, do="save_preview")
    assert (answer.status_code, answer.headers["Location"]) == (302, url(sync, "preview"))
    version = SyncVersion.objects.get(sync=sync)
    assert (version.number, version.author, version.note) == (1, admin_user, "first mapping")
    assert saved(sync)[1:] == [("email", "mail"), ("firstname", "first_name"), ("plan", "plan"), ("address.city", "city")]
    event = AuditEvent.objects.get()
    assert (event.act, event.actor, event.door, event.detail["version"]) == ("mapping_changed", admin_user, "admin", 1)
    assert set(event.detail["fields"]) == {"email", "firstname", "plan", "address.city"}
    assert event.detail["fields"]["email"][0] is None


def test_unchanged_save_makes_no_second_version_and_no_event(admin_client: Client, sync: Sync):
    press(admin_client, admin_client.get(url(sync)), do="save")
    count = AuditEvent.objects.count()
    press(admin_client, admin_client.get(url(sync)), do="save")
    assert (SyncVersion.objects.count(), AuditEvent.objects.count()) == (1, count)


def test_saved_lines_keep_their_rows_where_the_field_stays(admin_client: Client, sync: Sync):
    FieldMapping.objects.create(sync=sync, position=1, destination_field="tags[]", column="plan")
    FieldMapping.objects.create(sync=sync, position=2, destination_field="tags[]", column="age")
    before = set(sync.mappings.values_list("pk", flat=True))
    answer = press(admin_client, admin_client.get(url(sync)), down="0")
    press(admin_client, answer, {"lines-2-value": "city", "lines-2-options": '{"trim": true}'}, do="save")
    assert saved(sync) == [("tags[]", "plan"), ("external_id", "id"), ("tags[]", "city")]
    assert set(sync.mappings.values_list("pk", flat=True)) == before


def test_cleared_constant_is_stored_as_no_value(admin_client: Client, sync: Sync):
    FieldMapping.objects.create(sync=sync, position=1, destination_field="plan", kind="constant", constant="pro")
    answer = admin_client.get(url(sync))
    press(admin_client, answer, {"lines-1-value": ""}, do="save")
    assert FieldMapping.objects.filter(destination_field="plan", constant__isnull=True).exists()


def test_values_written_loosely_are_read_as_in_the_sync_form(admin_client: Client, sync: Sync):
    answer = admin_client.get(url(sync))
    for value in ("5", "true", "Berlin", '"5"', '{"a": [1]}'):
        answer = press(admin_client, answer, add="1")
        number = len(answer.context["state"].lines) - 1
        given = {"destination_field": f"constant_{number}", "kind": "constant", "value": value}
        answer = press(admin_client, answer, {f"lines-{number}-{name}": text for name, text in given.items()}, do="check")
    press(admin_client, answer, do="save")
    assert [line.constant for line in mappings.lines(sync)][1:4] == [5, True, "Berlin"]
    again = admin_client.get(url(sync)).context["state"].lines
    assert [line.value for line in again][1:] == ["5", "true", "Berlin", '"5"', '{"a": [1]}']


def test_wrong_line_is_not_saved_and_comes_back_as_written(admin_client: Client, sync: Sync):
    answer = press(admin_client, admin_client.get(url(sync)), take="email")
    answer = press(admin_client, answer, {"lines-1-value": "nowhere", "lines-0-options": "{not json"}, do="save")
    assert answer.status_code == 200
    assert answer.context["state"].lines[0].options == "{not json"
    assert {number for number, level, _ in findings(answer) if level == "error"} == {0, 1}
    assert saved(sync) == [("external_id", "id")]


def test_blank_line_is_left_out_when_saving(admin_client: Client, sync: Sync):
    answer = press(admin_client, admin_client.get(url(sync)), add="1")
    assert press(admin_client, answer, do="save").status_code == 302
    assert saved(sync) == [("external_id", "id")]


def test_mapping_that_somebody_else_saved_meanwhile_is_not_written_over(admin_client: Client, sync: Sync):
    mine = press(admin_client, admin_client.get(url(sync)), take="email")
    theirs = press(admin_client, admin_client.get(url(sync)), take="plan")
    press(admin_client, theirs, do="save")
    refused = press(admin_client, mine, do="save")
    assert refused.status_code == 200
    assert "was saved by somebody else since you opened this page" in refused.content.decode()
    assert {one.name for one in refused.context["differences"]} == {"plan", "email"}
    assert [line.destination_field for line in refused.context["state"].lines] == ["external_id", "email"]
    assert saved(sync) == [("external_id", "id"), ("plan", "plan")]
    again = press(admin_client, refused, do="save")  # saving once more is no consent
    assert again.context["is_conflict"]
    done = press(admin_client, again, {"seen": again.context["state"].conflict.digest}, do="overwrite")
    assert done.status_code == 302
    assert saved(sync) == [("external_id", "id"), ("email", "mail")]
    assert SyncVersion.objects.count() == 2


def test_consent_to_write_over_is_for_what_was_shown(admin_client: Client, sync: Sync):
    mine = press(admin_client, admin_client.get(url(sync)), take="email")
    press(admin_client, press(admin_client, admin_client.get(url(sync)), take="plan"), do="save")
    refused = press(admin_client, mine, do="save")
    FieldMapping.objects.filter(destination_field="plan").update(is_required=True)
    again = press(admin_client, refused, {"seen": refused.context["state"].conflict.digest}, do="overwrite")
    assert again.context["is_conflict"]
    assert saved(sync) == [("external_id", "id"), ("plan", "plan")]


def test_changed_query_is_a_conflict_too(admin_client: Client, sync: Sync):
    answer = admin_client.get(url(sync))
    Sync.objects.update(query=f"{world.QUERY} WHERE age > 3")
    refused = press(admin_client, answer, do="save")
    assert "the query or a setting was changed" in world.visible_text(refused)


def test_mapping_of_an_archived_sync_is_not_saved(admin_client: Client, sync: Sync):
    answer = press(admin_client, admin_client.get(url(sync)), take="email")
    Sync.objects.update(is_archived=True)
    refused = press(admin_client, answer, do="save")
    assert "is archived" in world.visible_text(refused)
    assert 'value="save"' not in refused.content.decode()
    assert saved(sync) == [("external_id", "id")]


def test_large_mapping_is_saved_at_once(admin_client: Client, tmp_path: Path):
    sync = world.sync(tmp_path, fields=None)
    answer = admin_client.get(url(sync))
    data: dict[str, Any] = {"opened": answer.context["state"].opened, "lines-count": 400, "do": "save"}
    for number in range(400):
        line = {"destination_field": f"f{number}", "kind": "column", "value": "mail", "type": "string", "on_null": "null"}
        data |= {f"lines-{number}-{name}": value for name, value in {**line, "options": "", "default": ""}.items()}
    assert admin_client.post(url(sync), data).status_code == 302
    assert sync.mappings.count() == 400


# --- who, and what is hostile


def test_mapper_wants_the_right_to_change_syncs(client: Client, sync: Sync):
    client.force_login(seeds.viewer())
    assert client.get(url(sync)).status_code == 403
    assert client.post(url(sync), {"do": "save"}).status_code == 403
    client.force_login(seeds.user("olga", "syncs.view_sync", "syncs.change_sync"))
    assert client.get(url(sync)).status_code == 200


def test_hostile_names_and_values_are_shown_as_text(admin_client: Client, tmp_path: Path):
    bad = '"><script>alert(1)</script>\u202e'
    path = world.warehouse(tmp_path / "bad.sqlite3", [("c1", bad, bad, bad, bad, bad)])
    fields = [*world.FIELDS, {"name": "x<b>y", "label": bad, "type": bad[:40], "options": [bad]}]
    sync = world.sync(
        tmp_path, fields=fields, query='SELECT id, mail, city AS "<script>alert(2)</script>" FROM people', name=bad
    )
    sync.source.config = {"path": str(path)}
    sync.source.save()
    answer = admin_client.get(url(sync))
    answer = press(admin_client, answer, take_column="<script>alert(2)</script>")
    html = press(
        admin_client, answer, {"lines-1-destination_field": bad, "lines-1-default": bad, "note": bad}, do="check"
    ).content.decode()
    assert "<script>alert" not in html
    assert "x<b>y" not in html
    assert "⟨U+202E⟩" in html


def test_samples_are_kept_by_what_they_depend_on(sync: Sync):
    first = samples.look(sync)
    assert samples.look(sync) is first
    sync.query = "SELECT id FROM people"
    assert samples.look(sync).names == ("id",)


def test_digest_of_the_page_is_that_of_the_next_version(admin_client: Client, sync: Sync):
    opened = admin_client.get(url(sync)).context["state"].opened
    assert versions.pin(sync).digest == opened


@pytest.mark.postgres
def test_typed_columns_of_a_warehouse_are_shown_and_judged_by_their_values(
    admin_client: Client, tmp_path: Path, postgres_url: str, settings: Any
):
    settings.RETL = {**settings.RETL, "MASK_PAGES": False}
    query = (
        "SELECT 'c1'::text AS id, 12.50::numeric(10,2) AS price, array['a', 'b'] AS tags, "
        "'{\"b\": {\"c\": 1}}'::jsonb AS extra, '2024-01-31 10:00+02'::timestamptz AS created, "
        "gen_random_uuid() AS reference, '\\xff00'::bytea AS photo, "
        "NULL::int AS seats, true AS is_active, interval '1 day' AS term"
    )
    fields = [
        {"name": "external_id", "type": "string", "is_key": True},
        {"name": "Price", "type": "number"},
        {"name": "Tags", "type": "list"},
        {"name": "created_at", "type": "datetime"},
        {"name": "seats", "type": "integer"},
        {"name": "term", "type": "integer"},
    ]
    sync = world.sync(tmp_path, fields=fields, query=query)
    sync.source.kind, sync.source.config = "postgresql", postgres_config(postgres_url)
    sync.source.secrets = {"password": make_url(postgres_url).password or ""}
    sync.source.save()
    answer = admin_client.get(url(sync))
    view = answer.context["view"]
    assert view.problem == ""
    assert view.by_name["price"].type == "numeric(10,2)"
    guesses = {one.field.name: one.column.name for one in view.suggested if one.column}
    assert guesses == {"Price": "price", "Tags": "tags", "created_at": "created", "seats": "seats"}  # an interval is no number
    answer = press(admin_client, answer, take_all="1")
    assert [line.type for line in answer.context["state"].lines[1:]] == ["decimal", "array", "timestamp", "integer"]
    assert [one for one in findings(answer) if one[1] != "note"] == []
    html = answer.content.decode()
    for text in ("12.50", "[&quot;a&quot;,&quot;b&quot;]", "0xff00", "{&quot;b&quot;:{&quot;c&quot;:1}}"):
        assert text in html
    answer = press(admin_client, answer, take_column="photo")
    assert any("binary data" in text for _, level, text in findings(answer) if level == "warning")
