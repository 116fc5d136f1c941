"""A dead letter against the warehouse of this moment: a real SQLite warehouse, changed, emptied, broken and taken away."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from dlq.choices import Door, EventKind, RowState
from dlq.models import DLQEntry
from dlq.services import live
from dlq.services.changes import Tone, verdict
from dlq.services.comparison import compare
from dlq.services.live import Live
from dlq.services.moves import ActRefusedError
from syncs.errors import ErrorType
from syncs.models import Connection, FieldMapping, Sync
from syncs.records import RowError
from syncs.services import versions
from tests.factories import World

pytestmark = pytest.mark.django_db(transaction=True)

BAD = RowError(ErrorType.VALIDATION, "Property age is not valid", code="E1", field="age", http_status=422)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, [(1, "Ana", 30), (2, "Bo", -1), (3, "Cy", 50)])
    world.destination.bad = {"2": BAD}
    world.run()
    return world


def the_entry() -> DLQEntry:
    loaded = ("sync__source", "sync__destination", "sync__current_version", "version", "group", "closed_by")
    return DLQEntry.objects.select_related(*loaded).get()


def look() -> Live:
    entry = the_entry()
    return live.look(entry, versions.snapshot(entry.sync)["mappings"])


def marks(found: Live) -> dict[str, str]:
    entry = the_entry()
    table = compare(entry, found, versions.snapshot(entry.sync)["mappings"])
    return {row.field or row.source: row.difference for row in table.fields}


def said(found: Live) -> tuple[Tone, str]:
    entry = the_entry()
    line = verdict(entry, now=versions.snapshot(entry.sync), live=found)
    return line.tone, line.headline


def test_the_same_row_is_said_to_fail_again(world: World) -> None:
    found = look()
    assert (found.state, found.payload, found.problem) == (RowState.SAME, the_entry().payload, "")
    assert marks(found) == {"age": "Same", "id": "Same", "name": "Same"}
    assert said(found) == (Tone.WARN, "Nothing has changed: reprocessing will very likely fail again.")


def test_a_changed_row_is_marked_where_it_changed(world: World) -> None:
    world.sql("UPDATE people SET age = 40 WHERE id = 2")
    found = look()
    assert found.state == RowState.CHANGED
    assert marks(found) == {"age": "Changed since", "id": "Same", "name": "Same"}
    assert said(found) == (Tone.GOOD, "The row has changed since.")


def test_a_change_that_is_not_sent_is_told_apart(world: World) -> None:
    FieldMapping.objects.filter(destination_field="name").delete()
    world.run(full=True)
    world.sql("UPDATE people SET name = 'Bob' WHERE id = 2")
    found = look()
    assert marks(found)["name"] == "Not mapped, changed since"
    assert said(found) == (Tone.WARN, "The row has changed since, but not in what is sent.")


def test_a_changed_mapping_is_marked_where_it_sends_something_else(world: World) -> None:
    FieldMapping.objects.filter(destination_field="name").update(kind="template", template="{{ name | upcase }}", column="")
    FieldMapping.objects.create(
        sync=world.sync, position=9, destination_field="vip", kind="constant", constant=True, type="boolean"
    )
    FieldMapping.objects.filter(destination_field="age").delete()
    found = look()
    assert found.payload == '{"id":2,"name":"BO","vip":true}'
    assert marks(found) == {
        "age": "Gone from the mapping",
        "name": "Changed by today's mapping",
        "vip": "New in the mapping",
        "id": "Same",
    }
    assert said(found) == (Tone.GOOD, "The mapping of the sync has changed since.")


def test_the_row_and_the_mapping_are_named_together(world: World) -> None:
    world.sql("UPDATE people SET age = 40 WHERE id = 2")
    FieldMapping.objects.filter(destination_field="name").update(on_null="omit")
    Sync.objects.update(is_paused=True)
    entry = the_entry()
    line = verdict(entry, now=versions.snapshot(entry.sync), live=look())
    assert line.headline == "The row and the mapping of the sync have changed since."
    assert "The sync is paused" in line.advice


def test_what_todays_mapping_refuses_is_shown_at_its_field(world: World) -> None:
    world.sql("UPDATE people SET age = 'old' WHERE id = 2")
    found = look()
    assert "age" in found.refused
    assert (found.refused_field, found.payload) == ("age", "")
    assert marks(found)["age"] == "Refused by today's mapping"
    assert said(found)[0] == Tone.BAD


def test_a_mapping_that_cannot_work_still_shows_the_row(world: World) -> None:
    FieldMapping.objects.filter(destination_field="age").update(column="no_such")
    found = look()
    assert found.state == RowState.SAME
    assert "no_such" in found.refused
    assert '"age":-1' in found.row


def test_a_row_that_is_gone_leaves_two_ways_out(world: World) -> None:
    world.sql("DELETE FROM people WHERE id = 2")
    found = look()
    assert (found.state, found.row, found.payload) == (RowState.GONE, "", "")
    assert set(marks(found).values()) == {"Gone"}
    assert said(found) == (Tone.WARN, "The row is gone from the warehouse.")


def test_a_doubled_key_is_named(world: World) -> None:
    world.write_rows([(2, "Twin", 3)])
    assert look().warnings == (live.DOUBLED,)


@pytest.mark.parametrize("harm", ["file", "table", "query", "write", "keys", "kind"])
def test_a_warehouse_that_cannot_be_asked_gives_a_sentence(world: World, harm: str) -> None:
    if harm == "file":
        world.warehouse.unlink()
    elif harm == "table":
        world.sql("DROP TABLE people")
    elif harm == "query":
        Sync.objects.update(query="SELEC id")
    elif harm == "write":
        Sync.objects.update(query="DELETE FROM people")
    elif harm == "keys":
        Sync.objects.update(key_columns="id,name")
    else:
        Connection.objects.filter(pk=world.source.pk).update(kind="no_such_kind")
    found = look()
    assert found.problem.strip().endswith((".", ")")) or ":" in found.problem
    assert found.state == RowState.UNKNOWN
    entry = the_entry()
    assert not live.keep(entry, found)
    assert DLQEntry.objects.get().row_checked_at is None
    assert compare(entry, found, []).fields == compare(entry).fields
    assert said(found)[1] != "The row is gone from the warehouse."


def test_a_driver_that_raises_anything_is_a_sentence_without_its_words(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*args: object, **kwargs: object) -> None:
        raise RuntimeError("postgresql://user:secret@host")

    monkeypatch.setattr("syncs.services.connections.open_source", burst)
    found = look()
    assert "RuntimeError" in found.problem
    assert "secret" not in found.problem


def test_a_slow_warehouse_is_given_up_after_seconds(world: World) -> None:
    """The connection allows an hour; the look does not."""
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS id, 'a' AS name, 1 AS age FROM n"
    Sync.objects.update(query=f"SELECT id, name, age FROM ({endless} LIMIT 100000000000)")
    Connection.objects.filter(pk=world.source.pk).update(config={"path": str(world.warehouse), "preview_timeout_seconds": 3600})
    started = timezone.now()
    found = look()
    assert "limit of 5 s" in found.problem
    assert timezone.now() - started < timedelta(seconds=30)


def test_a_row_without_a_key_is_not_looked_up(world: World) -> None:
    DLQEntry.objects.update(error_type=ErrorType.INVALID_KEY)
    assert look().problem == live.NO_KEY


def test_what_was_found_is_remembered_without_touching_the_entry(world: World) -> None:
    before = the_entry()
    world.sql("UPDATE people SET age = 40 WHERE id = 2")
    assert live.keep(before, look())
    entry = the_entry()
    assert (entry.row_state, entry.updated_at) == (RowState.CHANGED, before.updated_at)
    assert entry.row_checked_at is not None
    assert verdict(entry).headline == "The row has changed since."


def test_what_was_found_of_an_older_failure_is_not_remembered(world: World) -> None:
    before, found = the_entry(), look()
    DLQEntry.objects.update(last_failed_at=before.last_failed_at + timedelta(seconds=1))
    assert not live.keep(before, found)
    assert the_entry().row_state == RowState.UNKNOWN


def test_a_new_failure_forgets_what_was_found(world: World) -> None:
    world.sql("UPDATE people SET age = -2 WHERE id = 2")
    live.keep(the_entry(), look())
    world.run()
    assert (the_entry().row_state, the_entry().row_checked_at) == (RowState.UNKNOWN, None)


def test_checking_is_an_act_in_the_history(world: World) -> None:
    entry = the_entry()
    mapping = versions.snapshot(entry.sync)["mappings"]
    live.check(entry, mapping, by=None, door=Door.ADMIN)
    event = entry.events.latest("pk")
    assert (event.kind, event.detail) == (EventKind.CHECKED, {"state": "same"})
    world.warehouse.unlink()
    with pytest.raises(ActRefusedError, match="There is no file"):
        live.check(entry, mapping, by=None, door=Door.ADMIN)
    assert entry.events.filter(kind=EventKind.CHECKED).count() == 1
