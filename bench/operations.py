"""Discarding many dead letters by a bulk operation against one raw SQL UPDATE of the same rows, round by round.

The operation freezes its members, moves the entries slice by slice, writes an event for each, keeps group counters and the
ledger, and can be killed, paused and undone; the UPDATE does nothing of the kind. Both pay for the entry table's indexes and
triggers.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.pages import database, prepare

_REASON = "bench"
_RAW = """
UPDATE dlq_dlqentry SET status = 'discarded', closed_at = %(now)s, closed_by_id = %(user)s, close_reason = %(reason)s,
updated_at = %(now)s WHERE status = 'open'
"""
_BACK = """
UPDATE dlq_dlqentry SET status = 'open', closed_at = NULL, closed_by_id = NULL, close_reason = '', updated_at = last_failed_at
WHERE close_reason = %(reason)s
"""
_EMPTY = "TRUNCATE dlq_bulkitem, dlq_dlqevent, dlq_bulkoperation, django_q_ormq CASCADE"
_TIDY = "VACUUM (ANALYZE) dlq_dlqentry"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench operations")
    parser.add_argument("--entries", type=int, default=200_000, help="dead letters that are open")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder of the filled database: made if it is not there, used again if it is")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    home = arguments.keep or Path(tempfile.mkdtemp(prefix="redrive-operations-", dir="/tmp"))
    home.mkdir(parents=True, exist_ok=True)
    with database("postgresql", home, is_kept=arguments.keep is not None) as url:
        os.environ |= {"DATABASE_URL": url, "REDRIVE_VAR": str(home / "var"), "LOG_LEVEL": "WARNING", "DEBUG": "1"}
        prepare(arguments.entries, 40)
        report = measure(arguments.entries, arguments.rounds)
    sys.stdout.write(json.dumps(report) + "\n" if arguments.json else as_text(report))


def measure(entries: int, rounds: int) -> dict[str, Any]:
    from dlq.models import DLQEntry

    DLQEntry.objects.exclude(status="open").update(status="open", closed_at=None, close_reason="", closed_by=None)
    _reset()
    results = [_round() for _ in range(rounds)]
    return {
        "entries": DLQEntry.objects.count(),
        "ratio": round(statistics.median(one["ratio"] for one in results), 3),
        "create_ms": round(max(one["create_ms"] for one in results), 1),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "rounds": results,
    }


def _round() -> dict[str, Any]:
    raw = _raw_update()
    _reset()
    ours = _operation()
    _reset()
    return {
        "ratio": round(raw / ours["seconds"], 3),
        "raw_rows_s": round(ours["rows"] / raw),
        "operation_rows_s": round(ours["rows"] / ours["seconds"]),
        "freeze_s": round(ours["freeze"], 2),
        "longest_slice_ms": round(ours["longest"] * 1000),
        "snapshot_ms": round(ours["snapshot"] * 1000, 1),
        "create_ms": round(ours["create"] * 1000, 1),
    }


def _raw_update() -> float:
    from django.contrib.auth.models import User
    from django.utils import timezone

    started = time.perf_counter()
    _execute(_RAW, {"now": timezone.now(), "user": User.objects.get(username="bench").pk, "reason": _REASON})
    return time.perf_counter() - started


def _operation() -> dict[str, float]:
    from django.contrib.auth.models import User

    from dlq.choices import Door
    from dlq.services import operations, snapshots
    from dlq.services.entry_filter import EntryFilter
    from dlq.services.operations import acting, members
    from dlq.services.snapshots import BulkKind

    user = User.objects.get(username="bench")
    started = time.perf_counter()
    snapshot = snapshots.take(BulkKind.DISCARD, EntryFilter(), user=user)
    confirmed = time.perf_counter()
    operation = operations.create(snapshot, by=user, reason=_REASON, door=Door.CLI)
    created = time.perf_counter()
    with _timed(members, "freeze") as freezes, _timed(acting, "act") as acts:
        while operations.advance(operation.pk):
            pass
    ended = time.perf_counter()
    operation.refresh_from_db()
    if (operation.status, operation.done_count) != ("finished", snapshot.count):
        raise SystemExit(f"The operation did not discard what it should: {operation.status} {operation.message}")
    return {
        "rows": operation.done_count,
        "snapshot": confirmed - started,
        "create": created - confirmed,
        "freeze": sum(freezes),
        "longest": max(freezes + acts),
        "seconds": ended - created,
    }


@contextmanager
def _timed(module: Any, name: str) -> Iterator[list[float]]:
    """The seconds of each call of a function of the engine: a pause waits for at most one of these."""
    seconds: list[float] = []
    function = getattr(module, name)

    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            seconds.append(time.perf_counter() - started)

    setattr(module, name, timed)
    try:
        yield seconds
    finally:
        setattr(module, name, function)


def _reset() -> None:
    """Everything open again, and the table without dead rows, as before a first act."""
    from dlq.services import groups
    from syncs.models import Sync

    _execute(_EMPTY)
    _execute(_BACK, {"reason": _REASON})
    for sync in Sync.objects.all():
        groups.recount(sync)
    _execute(_TIDY)


def _execute(statement: str, params: Any = None) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, params)


def as_text(report: dict[str, Any]) -> str:
    lines = [
        f"{report['entries']:,} dead letters: {report['ratio']} x one raw UPDATE; created in {report['create_ms']} ms at most"
    ]
    return "\n".join([*lines, *(f"  {one}" for one in report["rounds"])]) + "\n"
