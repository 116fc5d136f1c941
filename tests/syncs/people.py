"""A small real sync: people in a SQLite warehouse, sent one by one to an HTTP API on loopback."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from syncs.choices import ConnectionRole
from syncs.models import Connection, Sync
from tests.syncs.objects import make_connection, make_sync


def write_people(path: Path, count: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as warehouse, warehouse:
        warehouse.execute("drop table if exists people")
        warehouse.execute("create table people (id integer primary key, email text)")
        warehouse.executemany("insert into people values (?, ?)", [(n, f"p{n}@example.org") for n in range(1, count + 1)])


def people_source(path: Path) -> Connection:
    return make_connection(ConnectionRole.SOURCE, config={"path": str(path)})


def people_api(url: str, *, concurrency: int = 2) -> Connection:
    config = {
        "base_url": url,
        "limits": {"concurrency": concurrency},
        "check": {"path": "/me"},
        "objects": {"contacts": {"operations": {"upsert": {"method": "POST", "path": "/contacts", "per_call": "record"}}}},
    }
    return make_connection(ConnectionRole.DESTINATION, config=config)


def people_sync(folder: Path | str, url: str, count: int = 10, **values: Any) -> Sync:
    path = Path(folder) / "warehouse.sqlite3"
    write_people(path, count)
    return make_sync(source=people_source(path), destination=people_api(url), **values)
