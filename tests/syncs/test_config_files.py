"""Configuration in files: out of the database, into an empty one, and back to the same bytes; and what is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given, settings
from hypothesis import strategies as st

from syncs.errors import ConfigError
from syncs.models import AuditEvent, Connection, FieldMapping, Sync, SyncVersion, Tag, Team
from syncs.services import archives, config_files
from syncs.services.config_files import Action, Environment, reading, writing
from tests import seeds
from tests.syncs.people import people_api, people_source, write_people

pytestmark = pytest.mark.django_db
HOSTILE = "\u202e<b>x</b> ' \" : # & * ! | > %\t\u2028é漢😀"
QUERY = "SELECT id,\n\temail,  \n       '”; -- ' AS note   \n  FROM people\n\n WHERE 1 = 1 -- \\n ${env:HOME} {{ x }}\n"


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    path = tmp_path / "warehouse.sqlite3"
    write_people(path, 3)
    return path


@pytest.fixture
def world(warehouse: Path) -> Sync:
    """A connection with a secret, and a sync of which few settings have their defaults."""
    source, api = people_source(warehouse), people_api("https://crm.example.org/v1")
    config = {
        **api.config,
        "auth": {"kind": "bearer"},
        "headers": {"X-Note": HOSTILE, "X-Yes": "yes", "X-Day": "2024-01-01", "X-Number": "1e3", "X-Empty": ""},
        "limits": {"concurrency": 2, "window_seconds": 0.5, "max_bytes": 200_000_000, "deadline_seconds": 30.0},
    }
    Connection.objects.filter(pk=source.pk).update(name="Warehouse", description="Line one\r\nline two  \n\n")
    Connection.objects.filter(pk=api.pk).update(name=HOSTILE, config=config, secrets={"token": "s3cret-token"})
    sync = Sync.objects.create(
        name=f"- {HOSTILE}", description="no", owner=seeds.user("olga"), team=Team.objects.create(name="yes"),
        source_id=source.pk, destination_id=api.pk, query=QUERY, key_columns="id , email", destination_object="contacts",
        max_attempts=2, batch_records=7, schedule_kind="cron", cron="15 6 * * 1-5", timezone="Europe/Berlin",
        delete_guard_rows=0, overlap_policy="queue",
    )  # fmt: skip
    sync.tags.set([Tag.objects.create(name=name) for name in ("yes", "123", "b-2")])
    lines: list[dict[str, Any]] = [
        {"destination_field": "id", "column": "id", "type": "integer", "is_key": True, "is_required": True},
        {"destination_field": "note", "kind": "template", "template": "{{ note }}\r\n  {{ email | upcase }}\n"},
        {"destination_field": "tags[]", "kind": "constant", "constant": "null", "type": "string"},
        {"destination_field": "tags[]", "kind": "constant", "constant": HOSTILE, "options": {"max_length": 200}},
        {"destination_field": "score", "column": "id", "type": "decimal", "on_null": "default", "default": 1.5},
        {"destination_field": "raw", "kind": "constant", "type": "json", "constant": {"b": [1, True, None], "a": {"": "~"}}},
    ]  # fmt: skip
    FieldMapping.objects.bulk_create(FieldMapping(sync=sync, position=n * 3, **line) for n, line in enumerate(lines))
    return sync


def exported() -> str:
    return config_files.one_text(config_files.export(list(Sync.objects.active()), list(Connection.objects.all())))


def emptied() -> None:
    FieldMapping.objects.all().delete()
    Sync.objects.update(current_version=None)
    SyncVersion.objects.all().delete()
    Sync.objects.all().delete()
    Connection.objects.all().delete()


def planned(
    *texts: str, values: dict[str, str] | None = None, is_any: bool = True, by: Any = None
) -> tuple[Any, Any, Environment]:
    environment = Environment(values or {}, is_any=is_any)
    files = [(f"{'abc'[number]}.yaml", text.encode()) for number, text in enumerate(texts)]
    plan = config_files.matched(files, environment=environment, by=by)
    return plan, config_files.check(plan), environment


def applied(*texts: str, values: dict[str, str] | None = None, **options: Any) -> Any:
    plan, known, environment = planned(*texts, values=values)
    assert [str(one) for one in plan.problems] == []
    config_files.apply(plan, known, environment=environment, by=None, door="cli", **options)
    return plan


def variables(text: str, value: str = "s3cret-token") -> dict[str, str]:
    """Every variable that the text names."""
    return dict.fromkeys(re.findall(r"\$\{env:(REDRIVE_SECRET_\w+)\}", text), value)


# -- round trips


def test_export_apply_on_an_empty_database_and_export_give_the_same_bytes(world: Sync):
    first = exported()
    assert "s3cret" not in first
    emptied()
    applied(first, values=variables(first))
    assert exported() == first
    made = Sync.objects.get()
    assert made.query == QUERY
    assert (made.owner.get_username(), made.team.name, made.key_columns) == ("olga", "yes", "id,email")  # type: ignore[union-attr]
    lines = list(made.mappings.values_list("destination_field", "constant", "default"))
    assert lines[2:4] == [("tags[]", "null", None), ("tags[]", HOSTILE, None)]
    assert lines[4][2] == 1.5
    connection = Connection.objects.get(name=HOSTILE)
    assert connection.config["headers"]["X-Note"] == HOSTILE
    assert connection.secrets["token"] == "s3cret-token"


def test_exported_text_reads_well(world: Sync):
    text = exported()
    assert "query: |\n  SELECT id,\n  \temail,  \n" in text
    assert "  - destination_field: id\n    column: id\n    type: integer\n    is_required: true\n    is_key: true\n" in text
    assert "description: 'no'" in text
    assert "max_attempts: 2" in text
    for left_out in (
        "detection",
        "breaker_threshold",
        "cursor_column",
        "is_paused",
        "destination_options",
        "Europe/Berlin\n  ",
    ):
        assert left_out not in text


def test_second_apply_changes_nothing_and_says_so(world: Sync):
    text = exported()
    values = variables(text)
    plan, *_ = planned(text, values=values)
    assert plan.is_empty, [item.changes for item in plan.items]
    emptied()
    applied(text, values=values)
    before = (AuditEvent.objects.count(), SyncVersion.objects.count(), Sync.objects.get().updated_at)
    plan = applied(text, values=values)
    assert plan.counts == {Action.CREATE: 0, Action.CHANGE: 0, Action.UNCHANGED: 3}
    assert (AuditEvent.objects.count(), SyncVersion.objects.count(), Sync.objects.get().updated_at) == before


_CHARACTERS = list(" \t\n\r-:#'\"|>&*!%@`{}[],?~019.eE+_nulltrueyesNO=<\x85\u2028\u2029\ufeff\x07\u200b😀")
_texts = st.text(
    st.one_of(st.sampled_from(_CHARACTERS), st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), max_size=20
)
_leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**18), 10**18), st.floats(allow_nan=False, allow_infinity=False), _texts
)
_values = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3), max_leaves=6
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(_texts, _values, min_size=1, max_size=3), min_size=1, max_size=3))
def test_whatever_is_written_is_read_as_it_was(documents: list[dict[str, Any]]):
    text = writing.write(documents)
    found = [one.values for one in reading.read("x", text.encode())]
    assert repr(found) == repr(documents)
    assert writing.write(found) == text


# -- changes


def test_changes_are_named_field_by_field(world: Sync):
    text = exported()
    changed = text.replace("max_attempts: 2", "max_attempts: 3").replace("concurrency: 2", "concurrency: 9")
    changed = changed.replace("    type: integer\n", "    type: string\n").replace("batch_records: 7\n", "")
    plan, *_ = planned(changed, values=variables(text))
    assert [str(one) for one in plan.problems] == []
    found = {(item.kind, one.path): (one.before, one.after) for item in plan.items for one in item.changes}
    assert found == {
        ("connection", "config.limits.concurrency"): ("2", "9"),
        ("sync", "max_attempts"): ("2", "3"),
        ("sync", "batch_records"): ("7", "null"),
        ("sync", "mappings.id.type"): ("integer", "string"),
    }


def test_applied_change_makes_a_version_sets_the_slot_and_is_audited(world: Sync):
    text = exported()
    values = variables(text)
    applied(text.replace("cron: 15 6", "cron: 45 7").replace("column: email", "column: id"), values=values)
    sync = Sync.objects.get()
    assert sync.next_run_at is not None
    assert sync.next_run_at.minute == 45
    assert sync.current_version is not None
    assert sync.current_version.note == "Applied from a.yaml"
    event = AuditEvent.objects.get(target_type="sync")
    assert (event.act, event.door) == ("changed", "cli")
    assert event.detail["cron"] == ["15 6 * * 1-5", "45 7 * * 1-5"]


def test_order_of_the_mapping_is_a_change(world: Sync):
    text = exported()
    first = "  - destination_field: id\n    column: id\n    type: integer\n    is_required: true\n    is_key: true\n"
    plan = applied(text.replace(first, "") + first, values=variables(text))
    assert [one.path for item in plan.items for one in item.changes] == ["mappings"]
    assert Sync.objects.get().mappings.order_by("position").last().destination_field == "id"  # type: ignore[union-attr]


def test_new_syncs_begin_paused_on_request(world: Sync):
    text = exported()
    emptied()
    applied(text, values=variables(text), is_paused=True)
    sync = Sync.objects.get()
    assert (sync.is_paused, sync.next_run_at) == (True, None)


def test_apply_does_not_resume_or_touch_what_happened(world: Sync):
    Sync.objects.update(is_paused=True, pause_reason="mine", watermark={"value": 1})
    text = exported()
    applied(text.replace("max_attempts: 2", "max_attempts: 4"), values=variables(text))
    sync = Sync.objects.get()
    assert (sync.is_paused, sync.pause_reason, sync.watermark, sync.next_run_at) == (True, "mine", {"value": 1}, None)


def test_apply_refuses_when_somebody_was_quicker(world: Sync):
    text = exported()
    plan, known, environment = planned(text.replace("max_attempts: 2", "max_attempts: 4"), values=variables(text))
    Sync.objects.update(max_attempts=9)
    with pytest.raises(ConfigError, match="Somebody changed"):
        config_files.apply(plan, known, environment=environment, by=None, door="cli")
    assert Sync.objects.get().max_attempts == 9


# -- secrets

CRM = """\
redrive: 1
connection: CRM
role: destination
kind: http
config:
  base_url: https://crm.example.org
  auth: {kind: %s}
  objects: {contacts: {operations: {upsert: {path: /contacts}}}}
secrets:
%s
"""
BEARER = CRM % ("bearer", "  token: ${env:CRM_TOKEN}")
REFRESH = CRM % (
    "oauth2_refresh, token_url: 'https://crm.example.org/token'",
    "  client_id: ${env:ID}\n  client_secret: ${env:SECRET}\n  refresh_token: ${env:REFRESH}",
)


def test_reference_stays_the_one_that_was_written(world: Sync):
    applied(BEARER, values={"CRM_TOKEN": "one"})
    assert "token: ${env:CRM_TOKEN}" in exported()
    assert Connection.objects.get(name="CRM").secrets["token"] == "one"


def test_new_value_in_the_environment_is_a_change_and_never_shown():
    applied(BEARER, values={"CRM_TOKEN": "one-secret"})
    plan = applied(BEARER, values={"CRM_TOKEN": "two-secret"})
    assert [(one.path, one.before, one.after) for one in plan.items[0].changes] == [
        ("secrets.token", "set", "set from ${env:CRM_TOKEN}")
    ]
    assert Connection.objects.get(name="CRM").secrets["token"] == "two-secret"
    assert "-secret" not in str(list(AuditEvent.objects.values()))


def test_rotated_token_is_not_put_back():
    values = {"ID": "i", "SECRET": "s", "REFRESH": "first"}
    applied(REFRESH, values=values)
    crm = Connection.objects.get(name="CRM")
    crm.secrets = {**crm.secrets, "refresh_token": "second", "access_token": "a"}  # as a refresh does
    crm.save()
    assert applied(REFRESH, values=values).is_empty
    assert Connection.objects.get(name="CRM").secrets["refresh_token"] == "second"
    assert "access_token" not in exported()
    applied(REFRESH, values={**values, "REFRESH": "third"})
    assert Connection.objects.get(name="CRM").secrets["refresh_token"] == "third"


def test_stored_secret_stays_where_its_variable_is_not_set(world: Sync):
    text = exported()
    assert applied(text).is_empty
    assert Connection.objects.get(name=HOSTILE).secrets == {"token": "s3cret-token"}
    plan, *_ = planned(re.sub(r"REDRIVE_SECRET_\w+", "REDRIVE_SECRET_OTHER", text))
    assert "The environment has no variable REDRIVE_SECRET_OTHER." in str(plan.problems[0])


def test_secret_that_the_file_does_not_name_stays_and_null_takes_it_away():
    applied(BEARER, values={"CRM_TOKEN": "one"})
    assert applied(BEARER.replace("secrets:\n  token: ${env:CRM_TOKEN}\n", "")).is_empty
    plan = applied(CRM % ("none", "  token: null"))
    assert Connection.objects.get(name="CRM").secrets == {}
    assert ("secrets.token", "set", "removed") in [(one.path, one.before, one.after) for one in plan.items[0].changes]
    assert applied(CRM % ("none", "  token: null")).is_empty


@pytest.mark.parametrize(
    ("secret", "values", "sentence"),
    [
        ("  token: abc-very-secret", {}, "a.yaml, line 10, secrets.token: A secret is named, never written. Write ${env:NAME}"),
        ("  token: {a: abc-very-secret}", {}, "A secret is named, never written"),
        ("  token: ${env:CRM_TOKEN}abc-very-secret", {}, "A secret is named, never written"),
        ("  token: ${env:CRM_TOKEN}", {}, "a.yaml, line 10, secrets.token: The environment has no variable CRM_TOKEN."),
        ("  token: ${env:CRM_TOKEN}", {"CRM_TOKEN": ""}, "The environment has no variable CRM_TOKEN"),
        ("  token: ${env:SECRET_KEY}", {"SECRET_KEY": "abc-very-secret"}, "SECRET_KEY is Redrive's own"),
        ("  tokn: ${env:T}", {"T": "x"}, "secrets.tokn: This kind has no secret “tokn”. It has: api_key"),
        ("  password: ${env:T}", {"T": "x"}, "a.yaml, line 9, secrets.token: Is required for auth bearer."),
    ],
)
def test_secret_that_cannot_be_resolved_is_refused(secret: str, values: dict[str, str], sentence: str):
    plan, *_ = planned(CRM % ("bearer", secret), values=values)
    said = "\n".join(map(str, plan.problems))
    assert sentence in said
    assert "very-secret" not in said


def test_two_connections_with_nearly_one_name_never_share_a_variable():
    for name in ("CRM EU", "crm-eu", "Other"):
        Connection.objects.create(name=name, role="destination", kind="http", secrets={"token": name})
    found = variables(exported())
    assert len(found) == 3
    assert "REDRIVE_SECRET_OTHER_TOKEN" in found


# -- refusals

PEOPLE = """\
redrive: 1
sync: People
source: Warehouse
key_columns: [id]
destination: CRM
query: SELECT id, email FROM people
destination_object: contacts
mappings:
  - destination_field: email
    column: email
    is_key: true
"""
WAREHOUSE = "redrive: 1\nconnection: Warehouse\nrole: source\nkind: sqlite\nconfig:\n  path: {path}\n"
OPEN = CRM % ("none", "  {}")


def edited(old: str, new: str) -> str:
    assert old in PEOPLE
    return PEOPLE.replace(old, new)


REFUSED = [
    (edited("source: W", "sauce: x\nsource: W"), "c.yaml, line 3, sauce: There is no key “sauce” in a sync. Did you mean"),
    (edited("redrive: 1", "redrive: 2"), "c.yaml, line 1, redrive: This is format 2; this Redrive reads format 1."),
    (edited("redrive: 1\n", ""), "redrive: The document must begin with “redrive: 1”."),
    (edited("source: Warehouse", "source: Nowhere"), "c.yaml, line 3, source: There is no connection “Nowhere”"),
    (edited("source: Warehouse", "source: CRM"), "line 3, source: “CRM” is a destination, not a source."),
    (edited("source: Warehouse\n", ""), "source: The key “source” is missing: a sync needs it."),
    (edited("key_columns: [id]", "key_columns: id"), "line 4, key_columns: Must be a list, not a text."),
    (edited("key_columns: [id]", "key_columns: [id, 5]"), "line 4, key_columns.1: Must be the name of a column"),
    (edited("key_columns: [id]", "key_columns: [nope]"), "line 4, key_columns: The query returns no column nope."),
    (edited("SELECT id, email FROM people", "SELECT id FROM nowhere"), "line 6, query: "),
    (edited("SELECT id, email FROM people", "DELETE FROM people"), "line 6, query: "),
    (edited("destination_object: contacts", "destination_object: deals"), "line 7, destination_object: “CRM” has no object"),
    (edited("destination_object: contacts", "destination_object: 5"), "line 7, destination_object: Must be a text, not a"),
    (edited("mappings:", "max_attempts: yes\nmappings:"), "line 8, max_attempts: Must be a whole number, not a text."),
    (edited("mappings:", "max_attempts: true\nmappings:"), "line 8, max_attempts: Must be a whole number, not true or false."),
    (edited("mappings:", "max_attempts: -1\nmappings:"), "line 8, max_attempts: Ensure this value is greater"),
    (edited("mappings:", "mode: merge\nmappings:"), "line 8, mode: “merge” is none of: insert, update,"),
    (edited("mappings:", "mode: delete\nmappings:"), "line 8, mode: “contacts” has no operation delete."),
    (edited("mappings:", "schedule_kind: cron\ncron: every day\nmappings:"), "line 9, cron: A cron expression has five fields"),
    (edited("mappings:", "owner: nobody\nmappings:"), "line 8, owner: There is no user “nobody”."),
    (edited("mappings:", "team: Ghosts\nmappings:"), "line 8, team: There is no team “Ghosts”."),
    (edited("mappings:", "tags: [ok, 'no word']\nmappings:"), "A tag is a word of at most 40 letters"),
    (edited("mappings:", "tags: [3]\nmappings:"), "A tag is a word of at most 40 letters"),
    (edited("    column: email", "    colum: email"), "line 10, mappings.0.colum: There is no key “colum” in a line of"),
    (edited("    column: email", "    column: mail"), "line 10, mappings.0.column: Field “email”: the query returns no"),
    (edited("    is_key: true", "    is_key: sure"), "line 11, mappings.0.is_key: Must be true or false, not a text."),
    (edited("    is_key: true", "    type: text"), "line 11, mappings.0.type: “text” is none of: string, integer"),
    (edited("mappings:", "mappings:\n  - email"), "line 9, mappings.0: Must be keys and values, not a text."),
    (edited("sync: People", f"sync: {'x' * 130}"), "line 2, sync: Ensure this value has at most 120 characters (it has 130)."),
    (PEOPLE + "---\n" + PEOPLE, "c.yaml, line 14, sync: The sync “People” stands twice, first in c.yaml, line 2."),
    (PEOPLE + "---\n" + OPEN, "The connection “CRM” stands twice, first in b.yaml, line 2. Keep one of the two."),
    (PEOPLE + "---\nredrive: 1\nname: x\n", "c.yaml, line 13: A document is one connection or one sync"),
    (PEOPLE + "source: Warehouse\n", "c.yaml, line 12: The key “source” stands here twice."),
    (edited("source: Warehouse", "source: &w Warehouse"), "c.yaml, line 3: Anchors (&name) and aliases (*name) are not taken."),
    (edited("source: Warehouse", "source: !!python/name:os.system Warehouse"), "c.yaml, line 3: Tags (!name) are not taken"),
    (edited("source: Warehouse", "source: [1, 2"), "This is not valid YAML"),
    (edited("source: Warehouse", "5: x\nsource: Warehouse"), "c.yaml, line 3: The key 5 is not a text. Write it in quotes."),
    (edited("source: Warehouse", 'source: "a\\0b"'), "c.yaml, line 3: A text with a NUL character"),
    (edited("source: Warehouse", "source: " + "[" * 100), "c.yaml, line 3: Values are nested deeper than 40 levels."),
    ("a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", "Anchors (&name) and aliases (*name) are not taken."),
    ("- a\n", "c.yaml, line 1: A document is a list of keys and values that begins with “redrive: 1”."),
    ("x" * 500_001, "c.yaml: The file has 500,001 bytes; 500,000 are the most."),
    ("a: [" + "1," * 30_001 + "]", "c.yaml, line 1: The file has more than 30,000 values."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), REFUSED, ids=[sentence[:50] for _, sentence in REFUSED])
def test_file_that_cannot_be_applied_is_refused_and_nothing_else_is(text: str, sentence: str, warehouse: Path):
    plan, known, environment = planned(WAREHOUSE.format(path=warehouse), OPEN, text)
    said = "\n".join(map(str, plan.problems))
    assert sentence in said
    with pytest.raises(ConfigError):
        config_files.apply(plan, known, environment=environment, by=None, door="cli")
    assert not Connection.objects.exists()
    assert not Sync.objects.exists()
    assert not AuditEvent.objects.exists()


def test_every_refusal_is_said_at_once(warehouse: Path):
    plan, *_ = planned(WAREHOUSE.format(path=warehouse), OPEN.replace("base_url", "base"), edited("source", "sauce"))
    keys = {one.key for one in plan.problems}
    assert {"config.base_url", "config.base", "sauce", "source"} <= keys, keys


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("kind: http", "kind: https"), "kind: There is no destination kind “https”. Known: http"),
        (("role: destination", "role: both"), "role: “both” is none of: source, destination."),
        (("  auth: {kind: none}", "  auth: {kind: nun}"), "line 7, config.auth.kind: "),
        (("path: /contacts", "pathh: /contacts"), "line 8, config.objects.contacts.operations.upsert.pathh: "),
    ],
)
def test_connection_that_cannot_work_is_refused(change: tuple[str, str], sentence: str):
    plan, *_ = planned(OPEN.replace(*change))
    assert sentence in "\n".join(map(str, plan.problems))


def test_role_and_kind_of_a_connection_stay(world: Sync):
    plan, *_ = planned(WAREHOUSE.format(path="/x").replace("kind: sqlite", "kind: duckdb"))
    assert "line 4, kind: “Warehouse” is a connection of kind sqlite, and stays one." in str(plan.problems[0])


def test_archived_sync_is_not_changed_and_not_exported(world: Sync):
    text = exported()
    archives.archive(world, by=None, door="cli")
    plan, *_ = planned(text, values=variables(text))
    assert "is archived. Take it out of the archive" in str(plan.problems[0])
    assert "sync:" not in exported()


def test_secrets_that_no_key_opens_refuse_the_export(world: Sync, settings: Any):
    settings.RETL = {**settings.RETL, "ENCRYPTION_KEYS": ["c29tZS1vdGhlci1rZXktdGhhdC1pcy1yYW5kb20tMTI="]}
    with pytest.raises(ConfigError, match="cannot be read"):
        exported()


# -- who may


def test_somebody_who_may_not_set_up_connections_learns_nothing_of_them(world: Sync):
    text = exported()
    editor = seeds.user("eda", "syncs.view_sync", "syncs.add_sync", "syncs.change_sync", "syncs.allteams_sync")
    plan, *_ = planned(text.replace("concurrency: 2", "concurrency: 3"), values=variables(text), by=editor)
    assert [one.message for one in plan.problems] == ["You may not set up connections. Take this document out of the file."] * 2
    assert all(not item.changes for item in plan.of("connection"))


def test_tags_are_named_by_who_may_and_taken_off_where_the_file_has_none(world: Sync):
    text = exported()
    editor = seeds.user("tia", "syncs.view_sync", "syncs.change_sync", "syncs.allteams_sync", "syncs.change_connection")
    renamed = text.replace("b-2", "brand-new")
    plan, _, _ = planned(renamed, values=variables(text), by=editor)
    assert any("There is no tag “brand-new”, and you may not name one" in one.message for one in plan.problems)
    applied(renamed, values=variables(text))
    assert set(world.tags.values_list("name", flat=True)) == {"123", "brand-new", "yes"}
    assert AuditEvent.objects.filter(target_type="tag", target_name="brand-new", act="created").count() == 1
    changes = [change for item in planned(text, values=variables(text))[0].items for change in item.changes]
    assert [(one.path, one.before, one.after) for one in changes] == [
        ("tags", '["123", "brand-new", "yes"]', '["123", "b-2", "yes"]')
    ]
    applied(re.sub(r"tags:\n( *- .*\n)+?(?=source)", "", renamed), values=variables(text))
    assert not world.tags.exists()


def test_sync_of_another_team_is_not_to_be_seen(world: Sync):
    only = exported().split("---\n")[-1]
    editor = seeds.user("eda", "syncs.view_sync", "syncs.add_sync", "syncs.change_sync")
    plan, *_ = planned(only.replace("max_attempts: 2", "max_attempts: 3"), by=editor)
    assert "is taken by a sync of another team" in str(plan.problems[0])
    assert not plan.items[0].changes
    assert plan.items[0].before is None
    other = [*only.splitlines()[:1], "sync: Other", *only.splitlines()[2:]]
    plan, *_ = planned("\n".join(other), by=editor)
    assert any("You may not give a sync to the team “yes”" in one.message for one in plan.problems)


def test_uploaded_file_reads_only_variables_with_the_prefix():
    root = seeds.user("root", is_superuser=True)
    plan, *_ = planned(BEARER, values={"CRM_TOKEN": "one"}, is_any=False, by=root)
    assert "may only name variables that begin with REDRIVE_SECRET_" in str(plan.problems[0])
    applied(BEARER, values={"CRM_TOKEN": "one"})  # by the command: then the console may keep what it has
    plan, *_ = planned(BEARER, values={"CRM_TOKEN": "other"}, is_any=False, by=root)
    assert plan.problems == []
    assert plan.is_empty


# -- commands


def run(command: str, *arguments: str) -> int:
    try:
        call_command(command, *arguments)
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def test_commands_carry_syncs_to_another_installation(
    world: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "config"
    assert run("sync_export", "--all", "--output", f"{folder}/") == 0
    assert "3 of 3 files" in capsys.readouterr().out
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.yaml"))
    assert files[1:2] == ["connections/warehouse.yaml"]
    assert [name.split("/")[0] for name in files] == ["connections", "connections", "syncs"]
    assert run("sync_export", "--all", "--output", str(folder)) == 0
    assert "0 of 3 files" in capsys.readouterr().out
    before = exported()
    for name, value in variables(before).items():
        monkeypatch.setitem(os.environ, name, value)
    emptied()
    assert run("sync_apply", str(folder), "--dry-run") == 1
    assert not Sync.objects.exists()
    assert "3 to create, 0 to change, 0 unchanged." in capsys.readouterr().out
    assert run("sync_apply", str(folder)) == 0
    said = capsys.readouterr().out
    assert "Applied." in said
    assert "\u202e" not in said
    assert exported() == before
    assert run("sync_apply", str(folder), "--dry-run") == 0
    assert run("sync_apply", str(folder)) == 0
    assert "Nothing to change." in capsys.readouterr().out


def test_export_of_named_syncs_has_the_connections_they_use(world: Sync, capsys: pytest.CaptureFixture[str]):
    people_api("https://unused.example.org")
    run("sync_export", world.name)
    text = capsys.readouterr().out
    assert text.count("connection:") == 2
    assert "unused" not in text


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        ("sync_export", (), "Name the syncs to write, or say --all."),
        ("sync_export", ("Peeple",), "There is no sync “Peeple”."),
        ("sync_apply", ("/no/such/file.yaml",), "/no/such/file.yaml: No such file or directory."),
        ("sync_apply", ("{folder}",), "has no .yaml or .yml file."),
        ("sync_apply", ("{folder}/bad.txt",), "Nothing was applied."),
    ],
)
def test_command_that_cannot_work_ends_with_2(command: str, arguments: tuple[str, ...], sentence: str, tmp_path: Path):
    (tmp_path / "bad.txt").write_text("a: b: c")
    with pytest.raises(CommandError, match=sentence.replace(".", r"\.")) as caught:
        call_command(command, *(one.format(folder=tmp_path) for one in arguments))
    assert caught.value.returncode == 2


def test_diff_of_a_query_shows_the_lines_that_changed(world: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "x.yaml"
    text = exported().split("---\n")[-1]
    path.write_text(text.replace("WHERE 1 = 1", "WHERE 2 = 2"))
    assert run("sync_apply", str(path), "--dry-run") == 1
    said = capsys.readouterr().out
    assert "- WHERE 1 = 1" in said
    assert "+ WHERE 2 = 2" in said
    assert "note" not in said
