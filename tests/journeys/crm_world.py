"""The airports' journey on stage: a warehouse, the sandbox CRM as a process, two syncs between them, and looks at both ends."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from dlq.models import DLQEntry
from dlq.services import groups
from retl_project.demo import crm_connection, setup, warehouse
from syncs.choices import ConnectionRole, Trigger
from syncs.models import Connection, FieldMapping, Run, Sync
from syncs.services import execution, runs
from tests.retl_project.crm import Crm
from tests.syncs.sources_support import postgres_config

AIRPORT_COLUMNS = (
    "code, iata, name, city, subdivision, country, latitude, longitude, elevation_ft, timezone, site_type, is_commercial, "
    "security_zone, updated_at"
)


class Warehouse:
    """Read and changed with a plain driver, beside Redrive. ``%s`` stands for parameters."""

    def __init__(self, place: Path | str) -> None:
        self.place = place
        is_file = isinstance(place, Path)
        warehouse.load(f"sqlite:///{place}" if is_file else str(place).replace("postgresql:", "postgresql+psycopg:", 1))
        self.connection = Connection.objects.create(
            name="airport warehouse",
            role=ConnectionRole.SOURCE,
            kind="sqlite" if is_file else "postgresql",
            config={"path": str(place)} if is_file else postgres_config(str(place)),
        )

    def rows(self, sql: str) -> list[dict[str, Any]]:
        if isinstance(self.place, Path):
            with contextlib.closing(sqlite3.connect(self.place)) as lite:
                lite.row_factory = sqlite3.Row
                return [dict(row) for row in lite.execute(sql)]
        with psycopg.connect(self.place, row_factory=dict_row) as pg:
            return pg.execute(sql.encode()).fetchall()

    def airports(self) -> list[dict[str, Any]]:
        return self.rows(f"SELECT {AIRPORT_COLUMNS} FROM airports")

    def update(self, codes: Iterator[str] | set[str] | list[str], assignment: str, *values: Any) -> None:
        """``UPDATE airports SET assignment`` for these codes."""
        sql = f"UPDATE airports SET {assignment} WHERE code = %s"
        parameters = [(*values, code) for code in codes]
        if isinstance(self.place, Path):
            with contextlib.closing(sqlite3.connect(self.place)) as lite, lite:
                lite.executemany(sql.replace("%s", "?"), parameters)
            return
        with psycopg.connect(self.place) as pg, pg.cursor() as cursor:
            cursor.executemany(sql.encode(), parameters)


class Stage:
    def __init__(self, place: Path | str, crm: Crm) -> None:
        self.crm = crm
        self.warehouse = Warehouse(place)
        self.target = Connection.objects.create(
            name="sandbox CRM",
            role=ConnectionRole.DESTINATION,
            kind="http",
            config=crm_connection.config(crm.address),
            secrets=crm_connection.secrets(),
        )
        self.countries = self._sync("countries", "code, name, region, airport_count", setup.COUNTRY_MAPPING)
        self.airports = self._sync("airports", AIRPORT_COLUMNS, setup.AIRPORT_MAPPING)

    def _sync(self, name: str, columns: str, mapping: tuple[dict[str, Any], ...]) -> Sync:
        sync = Sync.objects.create(
            name=name,
            source=self.warehouse.connection,
            query=f"SELECT {columns} FROM {name}",
            key_columns="code",
            destination=self.target,
            destination_object=name,
        )
        FieldMapping.objects.bulk_create(FieldMapping(sync=sync, position=n, **line) for n, line in enumerate(mapping))
        return sync

    def run(self, sync: Sync, **options: Any) -> Run:
        return self.work(runs.request(sync=sync, trigger=Trigger.MANUAL, options=options))

    def work(self, run: Run) -> Run:
        """Claim and execute as a worker does; counts of the run and of the error groups must be true afterwards."""
        claim = runs.claim(run_id=run.pk, worker="journey")
        assert claim is not None
        execution.execute(claim)
        run.refresh_from_db()
        assert run.read_count == run.settled_count, run.failure_message
        assert run.pending_count == 0
        assert groups.recount(run.sync) == 0
        return run

    # -- both ends

    def held(self, name: str) -> dict[str, dict[str, Any]]:
        """What the CRM holds, its decimals exact: key -> properties."""
        answer = self.crm.get(f"/admin/records?object={name}&limit=1000000")
        records = json.loads(answer.text, parse_float=Decimal)["records"]
        return {record["key"]: record["properties"] for record in records}

    def receipts(self) -> list[dict[str, Any]]:
        return self.crm.receipts()


def entries(sync: Sync, **conditions: Any) -> Mapping[str, DLQEntry]:
    return {entry.row_key: entry for entry in DLQEntry.objects.filter(sync=sync, **conditions)}
