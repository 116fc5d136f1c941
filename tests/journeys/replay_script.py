"""What happens in the three weeks of the replay: a week in which all is well, and two with twelve troubles."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from dlq.choices import Door
from dlq.models import DLQEntry, ErrorGroup
from dlq.services import entries, group_acts
from monitoring.choices import Condition
from monitoring.models import AlertRule, Channel
from monitoring.services.rule_templates import TEMPLATES, values
from syncs.choices import FieldType, Trigger
from syncs.errors import ErrorType
from syncs.models import Sync
from syncs.records import RowError
from syncs.services import mappings, previews, runs
from syncs.services import syncs as sync_service
from tests.journeys.replay_places import DAY
from tests.journeys.replay_world import World, at
from tests.syncs.test_logins import log_in

Act = tuple[datetime, Callable[[], object]]

SCORE_REFUSED = RowError(ErrorType.VALIDATION, "The score is out of range.", code="out_of_range", field="score")
NO_OWNER = RowError(ErrorType.REFERENCE_NOT_FOUND, "The owner of this lead does not exist.", code="no_owner", field="owner")


@dataclass(frozen=True)
class Planted:
    """``opens``: the moment of the evaluation that finds it, no earlier and no later than so. ``is_over``: by then people have
    been told that it is. ``names``: of the syncs that are affected."""

    what: str
    cause: str
    condition: Condition
    opens: tuple[datetime, datetime]
    is_over: datetime
    names: frozenset[str] = frozenset()


def furnish(world: World) -> None:
    """Connections, syncs and schedules, as they have been for long; the clock stands on the Sunday before."""
    crm, shop = world.tool("CRM").connection, world.tool("Shop").connection
    for name in ("contacts", "companies", "deals"):
        world.sync(name, "0 4,16 * * *", crm)
    ads = world.advertising()
    for name in ("audiences", "lookalikes"):
        world.sync(name, "0 6 * * *", ads, rows=40, destination_object="contacts")
    world.sync("accounts", "0 5 * * *", world.accounting())
    world.sync("usage", "30 5,17 * * *", world.tool("Metering").connection, rows=400, each=1)
    world.sync("invoices", "0 2 * * *", world.tool("Billing").connection)
    world.sync("tickets", "0 19 * * *", world.tool("Helpdesk").connection, is_even=True)
    world.sync("orders", "0 9 * * *", shop)
    world.sync("reports", "30 3 * * *", world.tool("Reports").connection)
    world.sync("leads", "0 10 * * *", world.tool("Leads").connection, rows=200, each=1)
    for name in ("stock", "prices"):
        world.sync(name, "0 1 * * *", shop, source="second")
    world.tool("Metering").refuse(SCORE_REFUSED, 7)
    world.tool("Leads").refuse(NO_OWNER, 3)
    world.begin()
    for name in ("Metering", "Leads"):
        world.tool(name).refuse(SCORE_REFUSED)
    _deal_with_errors(world.owner)


def _deal_with_errors(by: User) -> None:
    """Errors that everybody knows: they are not news any more."""
    for group in ErrorGroup.objects.all():
        group_acts.acknowledge(group, by=by, door=Door.ADMIN, reason="Known.")
    entries.discard(DLQEntry.objects.all(), by=by, reason="Rows of a test.", door=Door.ADMIN)


def rules(channel: Channel) -> None:
    """Those that a fresh installation begins with."""
    for template in TEMPLATES:
        if template.is_starter:
            AlertRule.objects.create(**values(template)).channels.add(channel)


def healthy_week(world: World) -> list[Act]:
    """What people do in a week without trouble: nobody is to be told anything about it."""
    deals, orders = world.lines["deals"].sync, world.lines["orders"].sync

    def run_and_cancel() -> None:
        run = runs.request(sync=orders, trigger=Trigger.MANUAL, by=world.owner)
        runs.cancel(run, by=world.owner)

    return [
        (at(1, "10:40"), run_and_cancel),
        (at(2, "15:20"), lambda: runs.request(sync=orders, trigger=Trigger.MANUAL, by=world.owner)),
        (at(3, "10:00"), lambda: sync_service.pause(deals, by=world.owner, reason="Quarter's end")),
        (at(4, "15:00"), lambda: sync_service.resume(deals, by=world.owner)),
    ]


def troubles(world: World, client: Client) -> tuple[list[Act], list[Planted]]:
    """What goes wrong and what is mended when; and what is to be made of it."""
    ids = {name: line.sync.pk for name, line in world.lines.items()}
    crm, ads, second = world.tool("CRM").connection, world.lines["audiences"].sync.destination, world.second.connection
    metering, leads, reports = world.tool("Metering"), world.tool("Leads"), world.tool("Reports")
    acts: list[Act] = [
        (at(7, "15:00"), lambda: setattr(world.tool("CRM"), "is_down", True)),
        (at(8, "13:00"), lambda: setattr(world.tool("CRM"), "is_down", False)),
        (at(8, "20:00"), world.oauth.revoke),
        (at(9, "15:00"), lambda: log_in(client, ads)),
        (at(9, "12:00"), lambda: world.alter("ALTER TABLE things DROP COLUMN score")),
        (at(10, "15:00"), lambda: _map_without(world, "accounts", "score")),
        *((at(day, "00:30"), lambda count=count: metering.refuse(SCORE_REFUSED, *range(1, 1 + count))) for day, count in DECAY),
        (at(10, "15:00"), lambda: _deploy(world, "tickets", FieldType.INTEGER)),
        (at(11, "12:00"), lambda: _deploy(world, "tickets", FieldType.STRING)),
        (at(14, "15:00"), lambda: _deploy(world, "tickets", FieldType.INTEGER)),
        (at(15, "12:00"), lambda: _deploy(world, "tickets", FieldType.STRING)),
        (at(10, "12:00"), lambda: world.scale("invoices", 0.0)),
        (at(12, "12:00"), lambda: world.scale("invoices", 1.0)),
        (at(15, "06:00"), lambda: world.scale("orders", 0.25)),
        (at(16, "06:00"), lambda: world.scale("orders", 1.0)),
        (at(16, "03:00"), lambda: setattr(reports, "seconds", 3000.0)),
        (at(16, "12:00"), lambda: setattr(reports, "seconds", 40.0)),
        (at(8, "08:30"), lambda: leads.refuse(NO_OWNER, 10)),
        (at(16, "12:00"), lambda: leads.refuse(NO_OWNER)),
        (at(17, "10:30"), lambda: setattr(world, "is_ticking", False)),
        *((at(17, "10:30") + n * timedelta(minutes=10), _watch) for n in range(24)),
        (at(17, "14:30"), lambda: setattr(world, "is_ticking", True)),
        # The tick that comes within seconds: it closes incidents of errors that are gone.
        *((at(day, "19:05"), lambda: None) for day in (11, 15)),
        (at(18, "00:30"), world.second.go_down),
        (at(19, "00:10"), world.second.come_back),
    ]
    planted = [
        Planted(
            "outage of a tool that three syncs write to",
            f"connection:{crm.pk}:destination_unavailable",
            Condition.RUN_FAILED,
            _soon(at(7, "16:00")),
            at(8, "16:10"),
            frozenset({"contacts", "companies", "deals"}),
        ),
        Planted(
            "revoked login",
            f"connection:{ads.pk}:auth",
            Condition.CREDENTIAL,
            _soon(at(9, "06:00")),
            at(10, "06:10"),
            frozenset({"audiences", "lookalikes"}),
        ),
        _of(ids, "accounts", Condition.DRIFT, "schema drift", (at(9, "12:00"), at(10, "13:00")), at(11, "05:10")),
        _of(ids, "usage", Condition.ERROR_RATE, "slow decay", (at(9, "05:30"), at(10, "18:00")), at(13, "06:00")),
        _of(ids, "invoices", Condition.ZERO_ROWS, "nightly zero rows", _soon(at(12, "02:00")), at(13, "02:10")),
        _of(ids, "tickets", Condition.NEW_GROUP, "bad deploy", _soon(at(10, "19:00")), at(11, "19:10")),
        _of(ids, "tickets", Condition.REGRESSED_GROUP, "the same bad deploy again", _soon(at(14, "19:00")), at(15, "19:10")),
        _of(ids, "orders", Condition.VOLUME, "a quarter of the rows", _soon(at(15, "09:00")), at(16, "09:10")),
        _of(ids, "reports", Condition.DURATION, "slow run", _soon(at(16, "03:30"), minutes=70), at(17, "03:40")),
        _of(ids, "leads", Condition.DLQ_AGE, "a row that nobody looks after", _soon(at(15, "10:00")), at(17, "10:10")),
        Planted(
            "no worker",
            "platform:worker_silent",
            Condition.WORKER_SILENT,
            _soon(at(17, "10:30"), minutes=10),
            at(17, "14:31"),
        ),
        Planted(
            "warehouse down",
            f"connection:{second.pk}:unavailable",
            Condition.RUN_FAILED,
            _soon(at(18, "01:00")),
            at(19, "01:10"),
            frozenset({"stock", "prices"}),
        ),
    ]
    return acts, planted


# Rows of 400 refused by each run: never a jump, and past one in a hundred on the Thursday.
DECAY = ((7, 1), (8, 2), (9, 3), (10, 5), (11, 0))


def _soon(moment: datetime, minutes: int = 5) -> tuple[datetime, datetime]:
    return moment, moment + timedelta(minutes=minutes)


def _of(
    ids: dict[str, int], name: str, condition: Condition, what: str, opens: tuple[datetime, datetime], is_over: datetime
) -> Planted:
    is_group = condition in (Condition.NEW_GROUP, Condition.REGRESSED_GROUP)
    cause = "group:" if is_group else f"sync:{ids[name]}:{condition}"
    return Planted(what, cause, condition, opens, is_over, frozenset({name}))


def _deploy(world: World, name: str, kind: FieldType) -> None:
    """Somebody saves another type for the field ``name``: text is no integer."""
    sync = _fresh(world, name)
    lines = [replace(line, type=kind) if line.destination_field == "name" else line for line in mappings.lines(sync)]
    mappings.save(sync, lines, opened=mappings.digest(sync), by=world.owner, door="admin", note="Deploy")


def _map_without(world: World, name: str, field: str) -> None:
    sync = _fresh(world, name)
    lines = [line for line in mappings.lines(sync) if line.destination_field != field]
    mappings.save(sync, lines, opened=mappings.digest(sync), by=world.owner, door="admin")
    previews.note(sync, previews.preview(sync), by=world.owner, door="admin")


def _fresh(world: World, name: str) -> Sync:
    return Sync.objects.get(pk=world.lines[name].sync.pk)


def _watch() -> None:
    """As cron calls it. It ends with 1 where something is wrong."""
    with contextlib.suppress(SystemExit):
        call_command("watch", stdout=io.StringIO())


END = at(20, "00:00") + DAY
