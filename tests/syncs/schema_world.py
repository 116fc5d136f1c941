"""A sync into a real SQLite table whose columns the test changes: what a refresh finds is what the database says."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from syncs.choices import ConnectionRole
from syncs.models import Connection, FieldMapping, Sync
from syncs.services import schemas
from tests.syncs.objects import make_connection


def sqlite(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


class Target:
    """A table ``people(id, name, city)`` and a sync that fills ``id`` and ``name``; the warehouse is its file too."""

    def __init__(self, folder: Path, **sync: Any) -> None:
        self.path = folder / "target.sqlite3"
        self.sql("CREATE TABLE people (id TEXT PRIMARY KEY NOT NULL, name VARCHAR(50), city TEXT)")
        self.sql("CREATE TABLE rows (id TEXT, name TEXT)")
        self.sql("INSERT INTO rows VALUES ('1', 'Ana'), ('2', 'Bo')")
        self.connection: Connection = make_connection(
            ConnectionRole.DESTINATION, kind="database", config={"url": f"sqlite:///{self.path}"}
        )
        values = {"name": "People", "query": "SELECT id, name FROM rows", "key_columns": "id", "destination_object": "people"}
        source = make_connection(config={"path": str(self.path)})
        self.sync = Sync.objects.create(**(values | {"source": source, "destination": self.connection} | sync))
        self.map("id", is_key=True)
        self.map("name")

    def sql(self, *statements: str) -> None:
        sqlite(self.path, *statements)

    def map(self, field: str, **values: Any) -> FieldMapping:
        values = {"column": field, "position": self.sync.mappings.count(), **values}
        line: FieldMapping = self.sync.mappings.create(destination_field=field, **values)
        return line

    def refresh(self, **values: Any) -> schemas.Refresh:
        return schemas.refresh(self.connection, "people", **{"door": "system", **values})

    def drift(self) -> schemas.Refresh:
        """A first look, then a required column that the mapping lacks, then another look."""
        self.refresh()
        self.rebuild("id TEXT PRIMARY KEY NOT NULL, name VARCHAR(50), city TEXT, tier TEXT NOT NULL")
        return self.refresh()

    def rebuild(self, columns: str) -> None:
        self.sql("DROP TABLE people", f"CREATE TABLE people ({columns})")
