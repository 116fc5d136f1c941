"""The database kind's harness: a real file of SQLite, or a real PostgreSQL."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from syncs.destinations import registry
from syncs.errors import ErrorType
from tests.contracts.harness import FAULTS, Change, Harness, OpenWorld, open_world
from tests.contracts.http_tools import MemoryCredentials

_TABLE = """CREATE TABLE contacts (
  external_id VARCHAR(50) PRIMARY KEY, email TEXT NOT NULL CHECK (email <> 'bad'), note TEXT,
  CONSTRAINT contacts_email_key UNIQUE (email))"""
_TAKEN = "INSERT INTO contacts VALUES ('0', 'dup@x.test', '')"


@dataclass(frozen=True)
class DatabaseHarness(Harness):
    id: str
    kind: str = "database"
    faults: Mapping[str | None, ErrorType] = field(default_factory=lambda: dict(FAULTS))
    speaks_http: bool = False
    drop: Change | None = None

    @contextmanager
    def opened(self, request: pytest.FixtureRequest) -> Iterator[OpenWorld]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "crm.db"
            sqlite3.connect(path).close()
            url = f"sqlite:///{path}" if self.id.endswith("sqlite") else request.getfixturevalue("postgres_url")
            engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
            with engine.begin() as connection:
                connection.exec_driver_sql(_TABLE)
                connection.exec_driver_sql(_TAKEN)
            destination = registry.build(
                "database", config={"url": url}, credentials=MemoryCredentials({}), object_name="contacts", options={}
            )
            with open_world(OpenWorld(destination, lambda: _rows(engine), "external_id")) as world:
                yield world


def _rows(engine: sa.Engine) -> Mapping[str, Mapping[str, Any]]:
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM contacts WHERE external_id <> '0'").mappings()
        return {row["external_id"]: dict(row) for row in rows}


HARNESS = (DatabaseHarness("database-sqlite"), DatabaseHarness("database-postgresql"))
