"""A whole sync from a small SQLite warehouse into a real server, configured as a person would."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlq.models import DLQEntry
from dlq.services import groups
from syncs.choices import RunStatus, Trigger
from syncs.models import FieldMapping, Run, Sync
from syncs.services import connections, runs, worker
from syncs.services import syncs as sync_service
from tests.syncs.objects import make_connection


class WholeSync:
    """``mapping``: destination field -> column, or the line's values. ``rows``: of the table ``contacts``, by column."""

    def __init__(
        self,
        folder: Path,
        rows: Sequence[Mapping[str, Any]],
        *,
        config: Mapping[str, Any],
        secrets: Mapping[str, Any],
        destination_object: str,
        mapping: Mapping[str, Any],
        kind: str = "http",
        **sync: Any,
    ) -> None:
        self.path = folder / "warehouse.sqlite3"
        columns = list(rows[0])
        self.sql(f"CREATE TABLE contacts ({', '.join(columns)})")
        for row in rows:
            self.sql(f"INSERT INTO contacts VALUES ({', '.join('?' * len(columns))})", *row.values())
        self.target = make_connection("destination", kind=kind, config=config, secrets=secrets)
        self.sync = Sync.objects.create(
            name=f"contacts into {destination_object}",
            source=make_connection(config={"path": str(self.path)}),
            query=f"SELECT {', '.join(columns)} FROM contacts",
            key_columns="id",
            destination=self.target,
            destination_object=destination_object,
            **sync,
        )
        for position, (field, line) in enumerate(mapping.items()):
            values = {"column": line} if isinstance(line, str) else line
            FieldMapping.objects.create(sync=self.sync, position=position, destination_field=field, **values)
        assert sync_service.validate(self.sync) == []
        assert connections.check(self.target).is_ok, self.target.state_message

    def sql(self, statement: str, *parameters: Any) -> None:
        with sqlite3.connect(self.path) as database:
            database.execute(statement, parameters)
        database.close()

    def run(self) -> Run:
        run = runs.request(sync=self.sync, trigger=Trigger.MANUAL)
        claim = runs.claim(run_id=run.pk, worker="test")
        assert claim is not None
        worker.execute(claim)
        run.refresh_from_db()
        assert run.status in (RunStatus.SUCCEEDED, RunStatus.PARTIAL), run.failure_message
        assert run.read_count == run.settled_count
        assert groups.recount(self.sync) == 0
        return run

    def entries(self, **conditions: Any) -> dict[str, DLQEntry]:
        return {entry.row_key: entry for entry in DLQEntry.objects.filter(sync=self.sync, **conditions)}

    def causes(self) -> dict[str, tuple[str, str, int | None]]:
        """Row key -> (error type, field, HTTP status) of every dead letter."""
        return {key: (entry.error_type, entry.field, entry.http_status) for key, entry in self.entries().items()}
