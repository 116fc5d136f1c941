"""A year of five hundred syncs beside millions of dead letters: runs, their hours and days, steps; and what a purge may delete.

What is there already stays, so a kept database can be measured again.
"""

from __future__ import annotations

import random
import sys
import time
from datetime import datetime, timedelta
from importlib import import_module

DAYS = 365
STEPS_A_RUN = 3
OLD_ENTRIES = timedelta(days=400)


def make(*, syncs: int, runs: int, closed: int) -> None:
    """``closed``: closed dead letters older than any rule lets them get, made anew where an earlier measurement purged them."""
    from django.db import connection

    started = time.perf_counter()
    _make_runs(syncs, runs)
    _make_steps()
    _make_periods(connection)
    made = _make_closed(connection, closed)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    sys.stderr.write(f"made in {time.perf_counter() - started:.0f} s, {made:,} closed dead letters among it\n")


def _make_runs(syncs: int, runs: int) -> None:
    from django.utils import timezone

    from syncs.models import Run, Sync

    chance = random.Random(20261123)
    now = timezone.now().replace(microsecond=0)
    beside = _make_syncs(max(0, syncs - Sync.objects.exclude(name__startswith="Beside").count()), now)
    missing = runs - Run.objects.count()
    if missing <= 0 or not beside:
        return
    step = timedelta(days=DAYS) * len(beside) / missing
    made = []
    for number in range(missing):
        sync, version = beside[number % len(beside)]
        at = now - timedelta(days=DAYS) + step * (number // len(beside)) + timedelta(minutes=chance.randrange(600))
        made.append(_run(chance, sync, version, min(at, now - timedelta(hours=1))))
    made.sort(key=lambda run: run.queued_at)
    Run.objects.bulk_create(made, batch_size=2_000)


def _make_syncs(count: int, now: datetime) -> list[tuple[int, int]]:
    """(id, id of the version) of each."""
    from syncs.models import Connection, FieldMapping, Sync
    from syncs.services import versions

    source = Connection.objects.filter(role="source").order_by("pk")[0]
    targets = list(Connection.objects.filter(role="destination").order_by("pk"))
    made = []
    for number in range(count):
        values = {
            "source": source, "destination": targets[number % len(targets)], "destination_object": "contacts",
            "query": "SELECT * FROM contacts", "key_columns": "id", "schedule_kind": "interval", "interval_minutes": 2 * 1440,
            "next_run_at": now + timedelta(days=1),
        }  # fmt: skip
        sync, is_new = Sync.objects.get_or_create(name=f"Beside {number + 1:03d}", defaults=values)
        if is_new:
            FieldMapping.objects.create(sync=sync, position=0, destination_field="id", column="id", is_key=True)
        made.append((sync.pk, versions.pin(sync).pk))
    return made


def _run(chance: random.Random, sync: int, version: int, at: datetime):
    from syncs.models import Run

    read = chance.randrange(5_000, 6_000)
    is_bad = chance.random() < 0.02
    settled = 0 if is_bad else read // 10
    return Run(
        sync_id=sync, version_id=version, status="failed" if is_bad else "succeeded", trigger="schedule", queued_at=at,
        started_at=at, finished_at=at + timedelta(seconds=chance.randrange(30, 90)), read_count=read, accepted_count=settled,
        unchanged_count=0 if is_bad else read - settled, pending_count=read if is_bad else 0, request_count=5,
        failure_type="destination_unavailable" if is_bad else "",
        failure_message="The destination answered 503." if is_bad else "",
    )  # fmt: skip


def _make_steps() -> None:
    """Of runs that have none: an earlier measurement purged them."""
    from django.db.models import Exists, OuterRef

    from syncs.models import Run, Step

    attempt = {"at": "2026-01-01T00:00:00Z", "milliseconds": 120, "http_status": 200, "excerpt": '{"results": []}' * 20}
    without = Run.objects.exclude(Exists(Step.objects.filter(run_id=OuterRef("pk")))).order_by("pk")
    rows: list[Step] = []
    for pk, at in without.values_list("pk", "queued_at").iterator(chunk_size=5_000):
        for number in range(1, STEPS_A_RUN + 1):
            upload = {"kind": "upload", "attempts": [attempt], "row_count": 100}
            rows.append(Step(run_id=pk, number=number, status="succeeded", started_at=at, **upload))
        if len(rows) >= 6_000:
            Step.objects.bulk_create(rows, batch_size=2_000)
            rows.clear()
    Step.objects.bulk_create(rows, batch_size=2_000)


def _make_periods(connection) -> None:
    """As the migration counted the runs of before."""
    fill = import_module("syncs.migrations.0012_fill_periods").fill
    with connection.schema_editor() as editor:
        fill(None, editor)


def _make_closed(connection, wanted: int) -> int:
    """Copies of closed dead letters with their failure and end in the distant past, two lines of history each."""
    from django.utils import timezone

    from dlq.models import DLQEntry

    old = timezone.now() - OLD_ENTRIES
    there = DLQEntry.objects.filter(status="resolved", last_failed_at__lt=old + timedelta(days=10)).count()
    missing = wanted - there
    if missing <= 0:
        return 0
    names = [one.column for one in DLQEntry._meta.concrete_fields if not one.primary_key]
    changed = {"row_key": "'old-' || row_key", "status": "'resolved'", "close_reason": "'A run delivered the row.'"}
    times = ("first_failed_at", "last_failed_at", "closed_at", "updated_at")
    values = [changed.get(name, "%s" if name in times else name) for name in names]
    chosen = f"SELECT {', '.join(values)} FROM dlq_dlqentry WHERE status <> 'open' ORDER BY id LIMIT %s"
    with connection.cursor() as cursor:
        cursor.execute("SELECT COALESCE(MAX(id), 0) FROM dlq_dlqentry")
        last = cursor.fetchone()[0]
        cursor.execute(f"INSERT INTO dlq_dlqentry ({', '.join(names)}) {chosen}", [*[old] * len(times), missing])
        made = cursor.rowcount
        for kind in ("failed", "resolved"):
            cursor.execute(
                "INSERT INTO dlq_dlqevent (entry_id, kind, at, run_id, door, reason, detail) "
                f"SELECT id, '{kind}', %s, run_id, 'run', '', '{{}}' FROM dlq_dlqentry WHERE id > %s",
                [old, last],
            )
    return int(made)
