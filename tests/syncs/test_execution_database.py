"""Whole runs into a table: SQLite warehouse, mapping, database destination, dead letters."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from dlq.models import DLQEntry
from syncs.choices import ConnectionRole, RunStatus, SyncMode
from syncs.models import Connection, FieldMapping, Sync
from tests.factories import World

pytestmark = pytest.mark.django_db(transaction=True)

SCHEMA = "CREATE TABLE crm (number INTEGER PRIMARY KEY, name TEXT UNIQUE, age INTEGER CHECK (age < 100), tags JSON)"


def crm_world(folder: Path, rows: list[tuple[Any, Any, Any]], **sync: Any) -> World:
    """People go into the table ``crm``, which finds them by name: not its primary key."""
    with sqlite3.connect(folder / "crm.sqlite3") as database:
        database.execute(SCHEMA)
    database.close()
    world = World(folder, rows, destination_object="crm", key_columns="name", **sync)
    target = Connection.objects.create(
        name="crm table", role=ConnectionRole.DESTINATION, kind="database", config={"url": f"sqlite:///{folder}/crm.sqlite3"}
    )
    Sync.objects.filter(pk=world.sync.pk).update(destination=target)
    world.sync.refresh_from_db()
    FieldMapping.objects.filter(sync=world.sync, destination_field="id").delete()
    FieldMapping.objects.filter(sync=world.sync, destination_field="name").update(is_key=True)
    FieldMapping.objects.create(
        sync=world.sync, position=9, destination_field="tags[]", kind="template", template="{{ name | upcase }}"
    )
    return world


def table(folder: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "crm.sqlite3") as database:
        rows = database.execute("SELECT name, age, tags FROM crm ORDER BY name").fetchall()
    database.close()
    return rows


def test_rows_are_upserted_by_the_mappings_key_and_bad_ones_dead_lettered(tmp_path: Path) -> None:
    world = crm_world(tmp_path, [(1, "ann", 30), (2, "bob", 130), (3, "cid", "old"), (4, "dee", None)])
    run = world.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, 2, 2), run.failure_message
    assert table(tmp_path) == [("ann", 30, '["ANN"]'), ("dee", None, '["DEE"]')]
    entries = {entry.row_key: entry for entry in DLQEntry.objects.all()}
    assert (entries["bob"].error_type, entries["bob"].error_code) == ("validation", "SQLITE_CONSTRAINT_CHECK")
    assert (entries["cid"].error_type, entries["cid"].field) == ("mapping", "age")
    world.sql("UPDATE people SET age = 31 WHERE name IN ('ann', 'bob')")
    again = world.run()
    assert (again.accepted_count, again.unchanged_count, again.skipped_count) == (2, 1, 1)
    assert table(tmp_path) == [("ann", 31, '["ANN"]'), ("bob", 31, '["BOB"]'), ("dee", None, '["DEE"]')]


def test_mirror_deletes_what_vanished_from_the_table(tmp_path: Path) -> None:
    people = [(number, f"p{number:02}", number) for number in range(1, 21)]
    world = crm_world(tmp_path, people, mode=SyncMode.MIRROR)
    assert world.run().status == RunStatus.SUCCEEDED
    world.sql("DELETE FROM people WHERE name = 'p07'")
    run = world.run()
    assert (run.status, run.deleted_count) == (RunStatus.SUCCEEDED, 1), run.failure_message
    assert [row[0] for row in table(tmp_path)] == [name for _, name, _ in people if name != "p07"]


def test_column_that_the_table_lacks_fails_the_run_and_dead_letters_nothing(tmp_path: Path) -> None:
    world = crm_world(tmp_path, [(1, "ann", 30)])
    FieldMapping.objects.filter(sync=world.sync, destination_field="age").update(destination_field="years")
    run = world.run()
    assert run.status == RunStatus.FAILED
    assert "no column “years”" in run.failure_message
    assert not DLQEntry.objects.exists()
