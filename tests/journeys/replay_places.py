"""The places of the replay: a clock that the test moves, warehouses, tools, and the place that messages are sent to."""

from __future__ import annotations

import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import time_machine
from standardwebhooks import Webhook

from monitoring.channels import webhook
from syncs.choices import ConnectionRole
from syncs.models import Connection
from syncs.records import Batch, BatchResult, RowError
from tests import memory_destination
from tests.fakes import FakeDestination, no_answer
from tests.servers import Answer, Request, Server

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


class Clock:
    """Stands still unless it is moved: a run takes as long as the tools say that they took."""

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller
        self.now = MONDAY - DAY

    def to(self, moment: datetime) -> None:
        if moment > self.now:
            self.now = moment
            self._traveller.move_to(moment)

    def spend(self, seconds: float) -> None:
        self.to(self.now + timedelta(seconds=seconds))


class Warehouse:
    """A SQLite file. A sync's query reads the first so many rows of its table, as ``fill`` says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._away = path.with_suffix(".away")
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("CREATE TABLE sizes (name TEXT PRIMARY KEY, rows INTEGER)")
        self.connection = Connection.objects.create(
            name=path.stem, role=ConnectionRole.SOURCE, kind="sqlite", config={"path": str(path)}
        )

    def table(self, name: str, rows: int) -> str:
        """Make it, and give the query over it."""
        self._database.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, name TEXT, score INTEGER)")
        lines = [(n, f"{name} {n}", n) for n in range(1, 2 * rows + 1)]
        self._database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", lines)
        self.fill(name, rows)
        return f"SELECT id, name, score FROM {name} WHERE id <= (SELECT rows FROM sizes WHERE name = '{name}')"

    def fill(self, name: str, rows: int) -> None:
        self._database.execute("REPLACE INTO sizes VALUES (?, ?)", (name, rows))

    def change(self, name: str, *, each: int) -> None:
        """Every so-manieth row gets another value."""
        self._database.execute(f"UPDATE {name} SET score = score + 1 WHERE id % {each} = 0")

    def go_down(self) -> None:
        self.path.rename(self._away)

    def come_back(self) -> None:
        self._away.rename(self.path)

    @property
    def is_down(self) -> bool:
        return self._away.exists()

    def close(self) -> None:
        self._database.close()


class Tool:
    """A destination in this process. ``seconds``: what one call takes, by the moved clock."""

    def __init__(self, name: str, clock: Clock, chance: random.Random) -> None:
        self.is_down = False
        self.seconds = 40.0
        self._clock, self._chance = clock, chance
        self.store = FakeDestination(behave=self._behave)
        memory_destination.STORES[name] = self.store
        self.connection = Connection.objects.create(
            name=name, role=ConnectionRole.DESTINATION, kind="memory", config={"name": name}
        )

    def _behave(self, batch: Batch) -> BatchResult | None:
        self._clock.spend(self.seconds * self._chance.uniform(0.8, 1.25))
        return no_answer(503) if self.is_down else None

    def refuse(self, error: RowError, *keys: int) -> None:
        """From now on these rows, and no others."""
        self.store.bad = {str(key): error for key in keys}


class Place:
    """Where messages are sent to. It keeps the body of each that is signed as it should be, in the order they came in."""

    def __init__(self) -> None:
        self.secret = webhook.new_secret()
        self.heard: list[dict[str, Any]] = []
        self.server = Server(self._hear)

    @property
    def url(self) -> str:
        return self.server.url

    def _hear(self, request: Request) -> Answer:
        self.heard.append(Webhook(self.secret).verify(request.body, request.headers))
        return Answer(204)
