"""A small world for tests of services: a SQLite warehouse, a destination in memory, a sync between them."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path
from typing import Any

from syncs.choices import ConnectionRole, RunStatus, Trigger
from syncs.models import Connection, FieldMapping, Run, Sync
from syncs.services import execution, runs
from tests import memory_destination
from tests.fakes import FakeDestination


class World:
    """``warehouse``: path of a SQLite file with a table ``people(id, name, age)``."""

    def __init__(self, folder: Path, rows: list[tuple[Any, Any, Any]], **sync: Any) -> None:
        memory_destination.register()
        self.warehouse = folder / f"warehouse-{uuid.uuid4().hex[:6]}.sqlite3"
        self.write_rows(rows, create=True)
        self.destination = FakeDestination()
        name = uuid.uuid4().hex
        memory_destination.STORES[name] = self.destination
        self.source = Connection.objects.create(
            name=f"warehouse {name}", role=ConnectionRole.SOURCE, kind="sqlite", config={"path": str(self.warehouse)}
        )
        self.target = Connection.objects.create(
            name=f"crm {name}", role=ConnectionRole.DESTINATION, kind="memory", config={"name": name}
        )
        values: dict[str, Any] = {
            "name": f"People {name}",
            "source": self.source,
            "query": "SELECT id, name, age FROM people",
            "key_columns": "id",
            "destination": self.target,
            "destination_object": "things",
        }
        self.sync = Sync.objects.create(**(values | sync))
        for position, (field, kind) in enumerate((("id", "integer"), ("name", "string"), ("age", "integer"))):
            FieldMapping.objects.create(
                sync=self.sync, position=position, destination_field=field, column=field, type=kind, is_key=field == "id"
            )

    def write_rows(self, rows: list[tuple[Any, Any, Any]], *, create: bool = False) -> None:
        with sqlite3.connect(self.warehouse) as database:
            if create:
                database.execute("CREATE TABLE people (id, name, age)")
            database.executemany("INSERT INTO people VALUES (?, ?, ?)", rows)
        database.close()

    def sql(self, statement: str, *parameters: Any) -> None:
        with sqlite3.connect(self.warehouse) as database:
            database.execute(statement, parameters)
        database.close()

    def run(self, **options: Any) -> Run:
        """Request a run and work it off in this process."""
        run = runs.request(sync=self.sync, trigger=Trigger.MANUAL, options=options)
        return self.work(run)

    def work(self, run: Run) -> Run:
        claim = runs.claim(run_id=run.pk, worker="test")
        assert claim is not None, f"{run} could not be claimed: {Run.objects.get(pk=run.pk).status}"
        execution.execute(claim)
        run.refresh_from_db()
        assert run.status != RunStatus.RUNNING
        return run
