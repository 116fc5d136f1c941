"""Fill the database with made-up dead letters that hang together: syncs, versions, runs, groups, hours, entries, counts.

For measuring pages at the size of years. Entries go in by COPY on PostgreSQL, by executemany on SQLite, a chunk a transaction.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate, islice
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, models, transaction
from django.db.models import F, Max
from django.utils import timezone

from dlq.choices import LIVE
from dlq.fingerprint import fingerprint, masked
from dlq.models import DLQEntry, ErrorGroup
from dlq.services import filling_plan as plan
from dlq.services import tally
from dlq.services.group_counters import days_of
from syncs.choices import ConnectionRole, RunStatus, Trigger
from syncs.models import Connection, FieldMapping, Run, Sync
from syncs.services import versions

_MARK = "Made up by fill_dlq."
_CHUNK = {"postgresql": 250_000, "sqlite": 20_000}
_AT_ONCE = 200  # rows in one write to COPY
_COLUMNS = (
    "sync_id", "row_key", "status", "group_id", "fingerprint", "error_type", "error_code", "field", "message", "is_permanent",
    "http_status", "response_excerpt", "request_id", "source_row", "payload", "content_hash", "run_id", "first_run_id",
    "version_id", "attempt_count", "failure_count", "first_failed_at", "last_failed_at", "owner_id", "closed_at",
    "close_reason", "resolved_run_id", "row_state", "row_checked_at", "updated_at",
)  # fmt: skip


@dataclass(slots=True)
class _Group:
    pk: int
    fingerprint: str
    planned: plan.PlannedGroup
    excerpt: str


@dataclass(slots=True)
class _Sync:
    pk: int
    version_id: int
    groups: list[_Group]
    runs: list[tuple[int, datetime]] = field(default_factory=list)  # made so far, oldest first


@dataclass(slots=True)
class _Counts:
    """What a chunk adds to the counters of groups."""

    live: Counter[int] = field(default_factory=Counter)
    total: Counter[int] = field(default_factory=Counter)
    hours: Counter[tuple[int, datetime]] = field(default_factory=Counter)
    newest: dict[int, datetime] = field(default_factory=dict)
    first_run: dict[int, int] = field(default_factory=dict)
    last_run: dict[int, int] = field(default_factory=dict)


def fill(*, entries: int, syncs: int, seed: int, said: Callable[[int], None] = lambda _done: None) -> None:
    """Add ``entries`` dead letters over ``syncs`` syncs and the last ninety days. ``said`` hears how many are in, per chunk.

    The same seed gives the same entries but for their times. What is there already stays; syncs of an earlier fill are used
    again. Histories of single entries (events) and deliveries are not made.
    """
    chance = random.Random(seed)  # noqa: S311 - made-up data
    now = timezone.now().replace(microsecond=0)
    made = _make_syncs(chance, syncs, now)
    runs = _make_runs(chance, made, plan.plan_runs(chance, syncs=syncs, entries=entries, now=now))
    first = (DLQEntry.objects.aggregate(last=Max("pk"))["last"] or 0) + 1
    staff = get_user_model()._default_manager.filter(is_staff=True).order_by("pk")
    owners = list(staff.values_list("pk", flat=True)[:5])
    rows = _rows(chance, made, runs, owners, first, now)  # asks the database for nothing: it is busy with COPY then
    size = _CHUNK[connection.vendor]
    done = 0
    while True:
        with transaction.atomic():
            counts = _Counts()
            count = _write(counted for counted in _counted(islice(rows, size), counts))
            _add(counts)
        done += count
        if not count:
            break
        said(done)
    tally.fold(least=0)
    ErrorGroup.objects.filter(pk__in=[group.pk for sync in made for group in sync.groups], total_count=0).delete()


def _make_syncs(chance: random.Random, count: int, now: datetime) -> list[_Sync]:
    source = _connection("Filled warehouse", ConnectionRole.SOURCE)
    made = []
    for number in range(count):
        target = _connection(f"Filled {plan.destination_name(number)}", ConnectionRole.DESTINATION)
        sync, is_new = Sync.objects.get_or_create(
            name=f"Filled {number + 1:03d}: {plan.object_name(number)} to {plan.destination_name(number)}",
            defaults={
                "description": _MARK, "source": source, "destination": target, "destination_object": plan.object_name(number),
                "query": f"SELECT * FROM {plan.object_name(number)}", "key_columns": "id",  # noqa: S608 - never run
            },
        )  # fmt: skip
        if is_new:
            for position, column in enumerate(("id", "email", "first_name", "last_name", "city")):
                FieldMapping.objects.create(
                    sync=sync, position=position, destination_field=column, column=column, is_key=column == "id"
                )
        groups = [_group(sync, planned, now) for planned in plan.plan_groups(chance)]
        made.append(_Sync(sync.pk, versions.pin(sync).pk, groups))
    return made


def _connection(name: str, role: ConnectionRole) -> Connection:
    kind = "sqlite" if role == ConnectionRole.SOURCE else "http"
    return Connection.objects.get_or_create(name=name, defaults={"role": role, "kind": kind, "description": _MARK})[0]


def _group(sync: Sync, planned: plan.PlannedGroup, now: datetime) -> _Group:
    cause = planned.cause
    message = cause.message % {"value": "1234567"}
    group, _ = ErrorGroup.objects.get_or_create(
        sync=sync,
        fingerprint=fingerprint(cause.error_type, cause.code, planned.field, masked(message)),
        defaults={
            "error_type": cause.error_type, "error_code": cause.code, "field": planned.field, "title": masked(message),
            "first_seen_at": now, "last_seen_at": now - timedelta(days=plan.DAYS),
        },
    )  # fmt: skip
    return _Group(group.pk, group.fingerprint, planned, plan.excerpt(cause, planned.field))


def _make_runs(chance: random.Random, syncs: list[_Sync], planned: list[plan.PlannedRun]) -> list[tuple[int, plan.PlannedRun]]:
    """(id, plan) of each run; all before the first entry, since nothing else can be asked of a connection during COPY."""
    made = [_run(chance, syncs[one.sync], one) for one in planned]
    Run.objects.bulk_create(made, batch_size=1_000)
    return [(run.pk, one) for run, one in zip(made, planned, strict=True)]


def _run(chance: random.Random, sync: _Sync, planned: plan.PlannedRun) -> Run:
    accepted = chance.randrange(1_000, 100_000)
    started_at = planned.started_at
    return Run(
        sync_id=sync.pk, version_id=sync.version_id, status=RunStatus.PARTIAL, trigger=Trigger.SCHEDULE, queued_at=started_at,
        started_at=started_at, finished_at=started_at + timedelta(minutes=plan.RUN_MINUTES), dead_lettered_count=planned.count,
        read_count=accepted + planned.count, accepted_count=accepted, request_count=accepted // 100 + 1,
    )  # fmt: skip


def _rows(
    chance: random.Random,
    syncs: list[_Sync],
    runs: list[tuple[int, plan.PlannedRun]],
    owners: list[int],
    first: int,
    now: datetime,
) -> Iterator[dict[str, Any]]:
    statuses, row_states = _Chooser(chance, plan.STATUSES), _Chooser(chance, plan.ROW_STATES)
    number = first
    for run_id, planned in runs:
        sync = syncs[planned.sync]
        sync.runs.append((run_id, planned.started_at))
        at_work = [one for one in sync.groups if one.planned.since <= planned.part <= one.planned.until] or sync.groups
        groups = _Chooser(chance, [(one, one.planned.weight) for one in at_work])
        step = timedelta(minutes=plan.RUN_MINUTES) / planned.count
        for position in range(planned.count):
            failed_at = planned.started_at + step * position
            row = _entry(chance, number, sync, run_id, groups.one(), failed_at)
            row["owner_id"] = chance.choice(owners) if owners and chance.random() < 0.03 else None
            _end(row, statuses.one(), min(now, failed_at + timedelta(hours=6)))
            row["row_state"] = row_states.one()
            row["row_checked_at"] = failed_at if row["row_state"] else None
            yield row
            number += 1


def _entry(chance: random.Random, number: int, sync: _Sync, run_id: int, group: _Group, failed_at: datetime) -> dict[str, Any]:
    cause = group.planned.cause
    first_run, first_at, failures = run_id, failed_at, 1
    if len(sync.runs) > 1 and chance.random() < 0.1:  # it has failed before
        failures = chance.randrange(2, 6)
        first_run, first_at = sync.runs[-min(len(sync.runs), failures)]
    source_row, payload = plan.texts(number)
    return {
        "sync_id": sync.pk, "row_key": f"C-{number:09d}", "group_id": group.pk, "fingerprint": group.fingerprint,
        "error_type": cause.error_type.value, "error_code": cause.code, "field": group.planned.field,
        "message": cause.message % {"value": f"{number % 1_000_000}@wrong"}, "is_permanent": cause.error_type.info.is_permanent,
        "http_status": cause.codes[0] if chance.random() < 0.9 else cause.codes[-1], "response_excerpt": group.excerpt,
        "request_id": f"req-{number:x}", "source_row": source_row, "payload": payload,
        "content_hash": number * 2_654_435_761 % (1 << 62), "run_id": run_id, "first_run_id": first_run,
        "version_id": sync.version_id, "attempt_count": failures + (number % 50 == 0) * 4, "failure_count": failures,
        "first_failed_at": first_at, "last_failed_at": failed_at,
    }  # fmt: skip


def _end(row: dict[str, Any], status: str, closed_at: datetime) -> None:
    is_live = status in LIVE
    row["status"] = status
    row["closed_at"] = None if is_live else closed_at
    row["close_reason"] = "" if is_live else "Not needed any more." if status == "discarded" else "A run delivered the row."
    row["resolved_run_id"] = row["run_id"] if status == "resolved" else None
    row["updated_at"] = row["closed_at"] or row["last_failed_at"]


class _Chooser:
    """One of several by weight; much faster than ``random.choices`` for one at a time."""

    def __init__(self, chance: random.Random, weighted: Sequence[tuple[Any, float]]) -> None:
        self._values = [value for value, _weight in weighted]
        self._bounds = list(accumulate(weight for _value, weight in weighted))
        self._random = chance.random

    def one(self) -> Any:
        return self._values[bisect(self._bounds, self._random() * self._bounds[-1], hi=len(self._values) - 1)]


def _counted(rows: Iterator[dict[str, Any]], counts: _Counts) -> Iterator[dict[str, Any]]:
    for row in rows:
        group_id, at = row["group_id"], row["last_failed_at"]
        counts.total[group_id] += 1
        counts.live[group_id] += row["status"] in LIVE
        counts.hours[group_id, at.replace(minute=0, second=0, microsecond=0)] += 1
        counts.newest[group_id] = at
        counts.first_run.setdefault(group_id, row["first_run_id"])
        counts.last_run[group_id] = row["run_id"]
        yield row


def _add(counts: _Counts) -> None:
    for group_id, total in sorted(counts.total.items()):
        at = counts.newest[group_id]
        ErrorGroup.objects.filter(pk=group_id).update(
            open_count=F("open_count") + counts.live[group_id],
            total_count=F("total_count") + total,
            first_seen_at=models.functions.Least("first_seen_at", models.Value(at)),
            last_seen_at=models.functions.Greatest("last_seen_at", models.Value(at)),
            first_run=models.functions.Coalesce("first_run", counts.first_run[group_id]),
            last_run=counts.last_run[group_id],
        )
    with connection.cursor() as cursor:
        cursor.executemany(_HOURS, [(group_id, hour, count) for (group_id, hour), count in counts.hours.items()])
        days = days_of(counts.hours)
        cursor.executemany(_DAYS, [(group_id, day, count) for (group_id, day), count in days.items()])


_HOURS = """
    INSERT INTO dlq_grouphour (group_id, hour, failed_count) VALUES (%s, %s, %s)
    ON CONFLICT (group_id, hour) DO UPDATE SET failed_count = dlq_grouphour.failed_count + excluded.failed_count"""
_DAYS = """
    INSERT INTO dlq_groupday (group_id, day, failed_count) VALUES (%s, %s, %s)
    ON CONFLICT (group_id, day) DO UPDATE SET failed_count = dlq_groupday.failed_count + excluded.failed_count"""


def _write(rows: Iterator[dict[str, Any]]) -> int:
    """Insert them; columns that this module does not know get their default. Returns how many there were."""
    fields = {one.column: one for one in DLQEntry._meta.concrete_fields if not one.primary_key}
    rest = {name: one.get_db_prep_save(one.get_default(), connection) for name, one in fields.items() if name not in _COLUMNS}
    columns = [*_COLUMNS, *map(str, rest)]
    tails = tuple(rest.values())
    values = ((*(row[name] for name in _COLUMNS), *tails) for row in rows)
    return _copy(columns, values) if connection.vendor == "postgresql" else _execute(columns, values)


def _copy(columns: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> int:
    count = 0
    statement = f"COPY dlq_dlqentry ({', '.join(columns)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        while lines := ["\t".join(map(_text, row)) + "\n" for row in islice(rows, _AT_ONCE)]:
            copy.write("".join(lines))
            count += len(lines)
    return count


def _text(value: Any) -> str:
    """In COPY's text format; the made-up values hold no tab, line break or backslash."""
    return "\\N" if value is None else str(value)


def _execute(columns: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> int:
    count = 0

    def plain() -> Iterator[list[Any]]:
        nonlocal count
        for row in rows:
            count += 1
            yield [str(value.replace(tzinfo=None)) if isinstance(value, datetime) else value for value in row]

    places = ", ".join(["?"] * len(columns))
    connection.ensure_connection()
    # Past Django's cursor, which keeps every statement's parameters in debug mode.
    connection.connection.cursor().executemany(
        f"INSERT INTO dlq_dlqentry ({', '.join(columns)}) VALUES ({places})",  # noqa: S608 - names only
        plain(),
    )
    return count
