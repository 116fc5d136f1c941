"""Three weeks of a company that syncs its warehouses into seven tools, with a clock that the test moves.

Nothing of Redrive is replaced: slots come from the schedules, ticks start what is due, doorbells are answered in the order in
which they were rung, runs go through the engine into destinations, messages leave through the outbox. The other side is ours:
two warehouses in files, tools in this process, a login server and the place that messages go to on loopback.

With SQLite only: leases and slots go by the database's clock, and PostgreSQL's cannot be moved.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import time_machine
from django.contrib.auth.models import Group, User
from django.db.models import Min
from django.utils.module_loading import import_string
from django_q.models import OrmQ

from monitoring.choices import DeliveryState
from monitoring.models import Channel, Delivery, SyncWatch
from syncs.choices import ConnectionRole, ScheduleKind, Trigger
from syncs.models import Connection, FieldMapping, Sync
from syncs.models.schema import SchemaWatch
from syncs.services import runs, schedules, worker
from tests import memory_destination
from tests.contracts.servers.oauth import CLIENT_ID, CLIENT_SECRET, OAuth
from tests.journeys.replay_places import DAY, MONDAY, Clock, Place, Tool, Warehouse

BETWEEN = timedelta(hours=8)  # a tick at least this often; in truth one comes every five seconds


def at(day: int, clock: str) -> datetime:
    """``at(7, "15:00")``: on the second Monday."""
    hour, minute = clock.split(":")
    return MONDAY + day * DAY + timedelta(hours=int(hour), minutes=int(minute))


@dataclass
class Line:
    """One sync: how many rows it reads on a working day, and which share of them is new each time.
    ``is_even``: always as many."""

    sync: Sync
    warehouse: Warehouse
    table: str
    rows: int
    each: int
    is_even: bool = False
    scale: float = 1.0


@dataclass
class World:
    clock: Clock
    folder: Path
    oauth: OAuth
    place: Place
    chance: random.Random = field(default_factory=lambda: random.Random(20260302))
    broken: list[str] = field(default_factory=list)  # tasks that raised
    is_ticking: bool = True
    lines: dict[str, Line] = field(default_factory=dict)
    tools: dict[str, Tool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        memory_destination.register()
        self.owner = User.objects.create_user("olga", email="olga@example.org", is_staff=True)
        self.owner.groups.add(Group.objects.get(name="Operator"))
        self.main = Warehouse(self.folder / "main_warehouse.sqlite3")
        self.second = Warehouse(self.folder / "second_warehouse.sqlite3")

    # -- what there is

    def tool(self, name: str) -> Tool:
        if name not in self.tools:
            self.tools[name] = Tool(name, self.clock, self.chance)
        return self.tools[name]

    def advertising(self) -> Connection:
        """An HTTP API behind a login that a person has given."""
        self.oauth.refresh = "refresh-0-of-the-test"
        secrets = {"access_token": "none", "expires_at": 0, "refresh_token": self.oauth.refresh}
        secrets |= {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        return Connection.objects.create(
            name="Ads", role=ConnectionRole.DESTINATION, kind="http", config=self.oauth.config(), secrets=secrets
        )

    def accounting(self) -> Connection:
        """A database whose columns change."""
        self.ledger_file = self.folder / "accounting.sqlite3"
        self.alter("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, score INTEGER)")
        url = f"sqlite:///{self.ledger_file}"
        return Connection.objects.create(
            name="Accounting", role=ConnectionRole.DESTINATION, kind="database", config={"url": url}
        )

    def alter(self, *statements: str) -> None:
        with contextlib.closing(sqlite3.connect(self.ledger_file)) as database, database:
            for statement in statements:
                database.execute(statement)

    def sync(
        self,
        name: str,
        cron: str,
        destination: Connection,
        *,
        rows: int = 100,
        each: int = 10,
        is_even: bool = False,
        source: str = "main",
        **values: Any,
    ) -> Sync:
        warehouse = self.main if source == "main" else self.second
        sync = Sync.objects.create(
            name=name,
            owner=self.owner,
            source=warehouse.connection,
            query=warehouse.table(name, rows),
            key_columns="id",
            destination=destination,
            destination_object=values.pop("destination_object", "things"),
            schedule_kind=ScheduleKind.CRON,
            cron=cron,
            max_attempts=1,  # the replay has no time to wait for the engine's
            breaker_threshold=1,
            **values,
        )
        for position, (column, kind) in enumerate((("id", "integer"), ("name", "string"), ("score", "integer"))):
            FieldMapping.objects.create(
                sync=sync, position=position, destination_field=column, column=column, type=kind, is_key=column == "id"
            )
        schedules.reschedule(sync)
        self.lines[name] = Line(sync, warehouse, name, rows, each, is_even)
        return sync

    def scale(self, name: str, share: float) -> None:
        """From now on the query of this sync finds so many of its usual rows."""
        self.lines[name].scale = share

    def operations(self) -> Channel:
        """The place on loopback where messages are heard."""
        return Channel.objects.create(
            name="Operations", kind="webhook", config={"url": self.place.url}, secrets={"secret": self.place.secret}
        )

    # -- time

    def begin(self) -> None:
        """Everything runs once by hand."""
        for line in self.lines.values():
            runs.request(sync=line.sync, trigger=Trigger.MANUAL, by=self.owner)
        self.beat()

    def until(self, end: datetime, acts: list[tuple[datetime, Callable[[], object]]]) -> None:
        """Go on until ``end``, from one moment at which something is due to the next. ``acts``: what people and the other side
        do, by time; those that are done are taken out."""
        acts.sort(key=lambda act: act[0])
        while (moment := self._next(acts)) <= end:
            self.clock.to(moment)
            while acts and acts[0][0] <= self.clock.now:
                acts.pop(0)[1]()
            self.beat()
        self.clock.to(end)

    def beat(self) -> None:
        """What a worker does: tick, and answer whoever rings."""
        if self.is_ticking:
            self._live()
            worker.tick()
            self.answer()

    def answer(self) -> None:
        while rung := list(OrmQ.objects.order_by("pk")):
            OrmQ.objects.filter(pk__in=[message.pk for message in rung]).delete()
            for message in rung:
                task = message.task
                try:
                    import_string(task["func"])(*task["args"], **task["kwargs"])
                except Exception as error:
                    self.broken.append(f"{task['func']}{task['args']}: {error!r}")  # as a cluster: the next task goes on

    def _next(self, acts: list[tuple[datetime, Callable[[], object]]]) -> datetime:
        now = self.clock.now
        due = [now + BETWEEN - (now - MONDAY) % BETWEEN, *(moment for moment, _act in acts[:1])]
        if self.is_ticking:
            waiting = Delivery.objects.filter(state__in=[DeliveryState.PENDING, DeliveryState.HELD])
            due += [
                moment
                for moment in (
                    Sync.objects.filter(is_paused=False).aggregate(at=Min("next_run_at"))["at"],
                    SyncWatch.objects.aggregate(at=Min("due_at"))["at"],
                    waiting.aggregate(at=Min("not_before"))["at"],
                    SchemaWatch.objects.filter(problem="").aggregate(at=Min("next_at"))["at"],
                )
                if moment is not None
            ]
        soonest = now + timedelta(seconds=5)  # the pace of ticks
        return max(min(due), soonest)

    def _live(self) -> None:
        """Rows change, and their number scatters; at the weekend half as much is new."""
        weekend = self.clock.now.weekday() >= 5
        due = set(Sync.objects.filter(next_run_at__lte=self.clock.now).values_list("pk", flat=True))
        for line in self.lines.values():
            if line.sync.pk in due and not line.warehouse.is_down:
                scatter = 1.0 if line.is_even else (0.7 if weekend else 1.0) * self.chance.uniform(0.96, 1.04)
                line.warehouse.fill(line.table, round(line.rows * line.scale * scatter))
                line.warehouse.change(line.table, each=line.each)


@contextlib.contextmanager
def replay(folder: Path) -> Iterator[World]:
    oauth, place = OAuth(), Place()
    with oauth.server, place.server, time_machine.travel(MONDAY - DAY, tick=False) as traveller:
        world = World(Clock(traveller), folder, oauth, place)
        try:
            yield world
        finally:
            world.main.close()
            world.second.close()
