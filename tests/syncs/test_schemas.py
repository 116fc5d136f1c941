"""Schemas of destination objects kept in versions, the drift they bring to syncs, and how it is settled."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from syncs.choices import ConnectionState, SchemaOrigin
from syncs.destinations.base import Field
from syncs.errors import ConfigError, RedriveError
from syncs.models import AuditEvent, SchemaChange, SchemaSnapshot, Sync
from syncs.services import drift, schemas, versions
from tests.servers import Answer, Server
from tests.syncs.objects import make_connection
from tests.syncs.schema_world import Target

pytestmark = pytest.mark.django_db


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(tmp_path)


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana")


def events(target: Any, *acts: str) -> list[AuditEvent]:
    chosen = AuditEvent.objects.filter(target_id=target.pk, target_type=target._meta.model_name)
    return list(chosen.filter(act__in=acts).order_by("pk"))


def preview(sync: Sync, **values: Any) -> bool:
    """As the preview page notes it."""
    return schemas.note_preview(sync, versions.digest_of(versions.snapshot(sync)), True, **values)


def fresh(sync: Sync) -> Sync:
    return Sync.objects.select_related("source", "destination").get(pk=sync.pk)


# --- versions


def test_first_refresh_keeps_what_the_destination_tells(target: Target, ana: User):
    found = target.refresh(by=ana, door="admin")
    snapshot = schemas.current(target.connection, "people")
    assert found.is_new
    assert found.snapshot == snapshot
    assert (snapshot.number, snapshot.origin, snapshot.taken_by) == (1, SchemaOrigin.DISCOVERED, ana)
    assert [(field.name, field.is_key, field.max_length) for field in schemas.fields(snapshot)] == [
        ("id", True, None), ("name", False, 50), ("city", False, None),
    ]  # fmt: skip
    assert not SchemaChange.objects.exists()
    assert not AuditEvent.objects.exists()


def test_refresh_that_finds_the_same_only_moves_when_it_was_seen(target: Target):
    first = target.refresh().snapshot
    SchemaSnapshot.objects.update(seen_at=timezone.now() - timedelta(days=2))
    again = target.refresh()
    assert (again.is_new, again.changes, again.snapshot.pk) == (False, [], first.pk)
    assert timezone.now() - schemas.current(target.connection, "people").seen_at < timedelta(minutes=1)
    assert schemas.current(target.connection, "people").taken_at == first.taken_at


def test_refresh_that_finds_a_difference_makes_a_version_and_an_event(target: Target):
    target.refresh()
    target.sql("ALTER TABLE people ADD COLUMN note TEXT")
    found = target.refresh()
    assert (found.snapshot.number, [change.kind for change in found.changes]) == (2, ["field_added"])
    (event,) = events(target.connection, "schema_changed")
    assert event.detail["message"] == "people, version 2. note: New field"
    assert (event.detail["change_count"], event.detail["breaking_count"]) == (1, 0)
    assert fresh(target.sync).drift_since is None  # nothing breaks


@pytest.mark.parametrize(
    "answer, said",
    [
        (None, "does not tell the fields"),
        ("nonsense", "is no list"),
        ([Field(f"f{n}") for n in range(5_001)], "5,001 fields"),
        (RuntimeError("postgresql://u:hunter2@host"), "could not be read (RuntimeError)"),
    ],
)
def test_answer_that_is_none_changes_nothing(target: Target, monkeypatch: pytest.MonkeyPatch, answer: Any, said: str):
    from syncs.destinations.database_destination import DatabaseDestination

    before = target.refresh().snapshot

    def tell(self: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(DatabaseDestination, "fields", tell)
    with pytest.raises(ConfigError) as problem:
        target.refresh()
    assert said in problem.value.message
    assert "hunter2" not in problem.value.message
    assert schemas.current(target.connection, "people") == before
    assert SchemaSnapshot.objects.count() == 1


def test_fields_described_by_an_api_are_read_by_data():
    described = {
        "data": {
            "result": [
                {
                    "apiName": "email",
                    "label": "E-mail",
                    "soapType": "string",
                    "length": "80",
                    "nillable": False,
                    "hasDefault": False,
                },
                {"apiName": "tier", "nillable": False, "hasDefault": True, "picks": [{"value": "gold"}, {"value": "tin"}]},
                {"apiName": "score", "createable": False, "hidden": False},
                {"apiName": "internal", "hidden": True},
            ]
        }
    }
    discover = {
        "path": "/describe/contacts", "fields": "data.result", "name": "apiName", "label": "label", "type": "soapType",
        "max_length": "length", "options": "picks[].value", "key": {"path": "apiName", "equals": ["email"]},
        "required": [{"path": "nillable", "equals": False}, {"path": "hasDefault", "equals": False}],
        "writable": {"path": "createable", "equals": [True, None]}, "only": {"path": "hidden", "equals": [False, None]},
    }  # fmt: skip
    with Server(lambda request: Answer.json(described)) as server:
        objects = {"contacts": {"operations": {"upsert": {"path": "/contacts"}}, "discover": discover}}
        connection = make_connection("destination", config={"base_url": server.url, "objects": objects})
        snapshot = schemas.refresh(connection, "contacts", door="system").snapshot
        assert [request.path for request in server.requests] == ["/describe/contacts"]
    assert schemas.fields(snapshot) == [
        Field("email", "E-mail", "string", True, True, 80),
        Field("tier", options=("gold", "tin")),
        Field("score", is_writable=False),
    ]


@pytest.mark.parametrize(
    "answer, said",
    [
        (Answer.json({"fields": "nonsense"}), "holds no list or object at “fields”"),
        (Answer.json({"fields": [{"name": "a"}, {"title": "b"}]}), "item number 2 has no name"),
        (Answer.json({"fields": [17]}), "item number 1 is no object"),
        (Answer.json({"fields": [{"name": f"f{n}"} for n in range(5_001)]}), "5,001 fields"),
        (Answer(body=b"<html>"), "not JSON"),
        (Answer.json({}, 403), "may not read"),
        (Answer.json({}, 500), "cannot answer"),
    ],
)
def test_nonsense_of_an_api_is_told_in_words(answer: Answer, said: str):
    with Server(lambda request: answer) as server:
        discover = {"path": "/describe", "fields": "fields", "name": "name"}
        objects = {"contacts": {"operations": {"upsert": {"path": "/contacts"}}, "discover": discover}}
        connection = make_connection("destination", config={"base_url": server.url, "objects": objects})
        with pytest.raises(RedriveError) as problem:
            schemas.refresh(connection, "contacts", door="system")
    assert said in str(problem.value)
    assert not SchemaSnapshot.objects.exists()


def test_typed_fields_are_a_version_with_an_event_and_drift_like_others(target: Target, ana: User):
    first = schemas.typed(target.connection, "people", [Field("id", is_key=True), Field("name")], by=ana, door="admin")
    assert (first.snapshot.origin, first.snapshot.taken_by, first.is_new) == (SchemaOrigin.TYPED, ana, True)
    more = [Field("id", is_key=True), Field("name"), Field("tier", is_required=True)]
    second = schemas.typed(target.connection, "people", more, by=ana, door="admin")
    assert second.syncs == (target.sync,)
    assert [event.actor for event in events(target.connection, "schema_typed")] == [ana, ana]
    assert fresh(target.sync).drift_reason == "the new field “tier” is required"
    with pytest.raises(ConfigError, match="“id” twice"):
        schemas.typed(target.connection, "people", [Field("id"), Field("id")], by=ana, door="admin")
    with pytest.raises(ConfigError, match="is a source"):
        schemas.typed(target.sync.source, "people", more, by=ana, door="admin")


# --- drift


def test_break_that_touches_a_mapping_is_noted_on_the_sync_and_told(target: Target):
    other = Sync.objects.create(
        name="Elsewhere", source=target.sync.source, query="SELECT 1", key_columns="id",
        destination=target.connection, destination_object="cities",
    )  # fmt: skip
    gone = Sync.objects.create(
        name="Archived", source=target.sync.source, query="SELECT 1", key_columns="id",
        destination=target.connection, destination_object="people", is_archived=True,
    )  # fmt: skip
    found = target.drift()
    sync = fresh(target.sync)
    assert found.syncs == (sync,)
    assert (sync.drift_since, sync.drift_reason) == (found.snapshot.taken_at, "the new field “tier” is required")
    (event,) = events(sync, "schema_drifted")
    assert event.detail == {"object": "people", "schema": 2, "reason": sync.drift_reason}
    assert [fresh(one).drift_since for one in (other, gone)] == [None, None]
    assert target.refresh().syncs == ()  # nothing new the second time
    assert len(events(sync, "schema_drifted")) == 1


def test_break_beside_the_mapping_is_no_drift(target: Target):
    target.refresh()
    target.rebuild("id TEXT PRIMARY KEY NOT NULL, name VARCHAR(50)")
    found = target.refresh()
    assert [(change.kind, change.field, change.is_breaking) for change in found.changes] == [("field_removed", "city", True)]
    assert fresh(target.sync).drift_since is None


def test_second_break_adds_to_the_reason_and_takes_the_preview_back(target: Target):
    target.drift()
    target.map("tier", kind="constant", constant="gold")
    since = fresh(target.sync).drift_since
    Sync.objects.update(previewed_at=timezone.now(), previewed_digest="x" * 64)
    target.rebuild("id TEXT PRIMARY KEY NOT NULL, name VARCHAR(20), tier TEXT NOT NULL, rank TEXT NOT NULL")
    target.refresh()
    sync = fresh(target.sync)
    assert (sync.drift_since, sync.previewed_at, sync.previewed_digest) == (since, None, "")
    assert sync.drift_reason == "“name” takes shorter texts only; the new field “rank” is required"


def test_new_mapping_and_a_clean_preview_of_it_settle_the_drift(target: Target, ana: User):
    target.drift()
    assert not preview(target.sync)  # it still lacks the field
    assert not drift.is_held(fresh(target.sync))  # but its preview showed no problem
    target.map("tier", kind="constant", constant="gold")
    assert drift.is_held(fresh(target.sync))  # another version now
    assert not schemas.note_preview(target.sync, versions.digest_of(versions.snapshot(target.sync)), False)
    assert drift.is_held(fresh(target.sync))
    assert preview(target.sync, by=ana)
    sync = fresh(target.sync)
    assert (sync.drift_since, sync.drift_reason) == (None, "")
    assert [event.actor for event in events(sync, "drift_cleared")] == [ana]
    assert not preview(target.sync)  # nothing to settle any more


def test_preview_of_an_older_version_or_schema_settles_nothing(target: Target):
    first = target.refresh().snapshot
    target.drift()
    target.map("tier", kind="constant", constant="gold")
    assert not schemas.note_preview(target.sync, "0" * 64, True)
    assert not preview(target.sync, snapshot=first)
    assert drift.is_held(fresh(target.sync))
    assert preview(target.sync, snapshot=schemas.current(target.connection, "people"))


def test_acknowledged_drift_still_waits_for_a_preview(target: Target, ana: User):
    target.drift()
    with pytest.raises(ConfigError, match="Say why"):
        drift.acknowledge(target.sync, by=ana, reason=" ", door="admin")
    assert not drift.acknowledge(target.sync, by=ana, reason="a trigger fills it", door="admin")
    assert drift.acknowledged(fresh(target.sync)).detail["reason"] == "a trigger fills it"
    assert drift.is_held(fresh(target.sync))
    assert preview(target.sync)
    assert fresh(target.sync).drift_since is None
    with pytest.raises(ConfigError, match="nothing to acknowledge"):
        drift.acknowledge(target.sync, by=ana, reason="again", door="admin")


def test_acknowledgement_does_not_outlive_the_next_break(target: Target, ana: User):
    target.drift()
    drift.acknowledge(target.sync, by=ana, reason="a trigger fills it", door="admin")
    target.rebuild("id TEXT PRIMARY KEY NOT NULL, name VARCHAR(50), tier TEXT NOT NULL, rank TEXT NOT NULL")
    target.refresh()
    assert drift.acknowledged(fresh(target.sync)) is None


def test_destination_that_takes_its_change_back_settles_with_a_preview(target: Target):
    target.drift()
    target.rebuild("id TEXT PRIMARY KEY NOT NULL, name VARCHAR(50), city TEXT")
    target.refresh()
    assert drift.touches_of(fresh(target.sync)) == []
    assert preview(target.sync)


def test_problems_name_lines_and_lacking_lines(target: Target):
    target.drift()
    lines = [*target.sync.mappings.all(), target.sync.mappings.model(destination_field="nope", column="x")]
    found = schemas.problems(target.sync, lines, schemas.current(target.connection, "people"))
    assert [issue.field for issue in found] == ["mappings.1.options", "mappings.2.destination_field", "mappings"]
    assert target.connection.state == ConnectionState.UNCHECKED
