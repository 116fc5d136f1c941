"""How long monitoring takes with a year of five hundred syncs and millions of dead letters, and how many queries it makes.

The pages of the dashboard and of retention; the judgement of a tick in which nothing, one sync or fifty syncs changed; a purge.
The database is that of ``bench pages``: with ``--keep`` the same folder serves both, and is filled up to what is asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import monitoring_world, pages

TARGET_MS = 300


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench monitoring")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--syncs", type=int, default=500)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--closed", type=int, default=100_000, help="old closed dead letters that the purge deletes")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--requests", type=int, default=20, help="per page, after two that are not counted")
    parser.add_argument("--rounds", type=int, default=5, help="of judgements")
    parser.add_argument("--keep", type=Path, help="folder of the filled database, as for bench pages")
    parser.add_argument("--only", default="", help="pages whose name holds this")
    parser.add_argument("--skip", default="", help="of pages, judging, purge: those not to measure, joined by commas")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    home = arguments.keep or Path(tempfile.mkdtemp(prefix="redrive-monitoring-", dir="/tmp"))
    home.mkdir(parents=True, exist_ok=True)
    with pages.database(arguments.database, home, is_kept=arguments.keep is not None) as url:
        os.environ |= {"DATABASE_URL": url, "REDRIVE_VAR": str(home / "var"), "LOG_LEVEL": "WARNING", "DEBUG": "1"}
        pages.prepare(arguments.entries, 40)
        monitoring_world.make(syncs=arguments.syncs, runs=arguments.runs, closed=arguments.closed)
        report = {"database": arguments.database, **counted(), **measured(arguments)}
    sys.stdout.write(json.dumps(report, indent=1) + "\n" if arguments.json else as_text(report))


def counted() -> dict[str, Any]:
    from syncs.models import Run, Sync, SyncDay, SyncHour

    return {"syncs": Sync.objects.count(), "runs": Run.objects.count(), "hours": SyncHour.objects.count(),
            "days": SyncDay.objects.count()}  # fmt: skip


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    left_out = set(arguments.skip.split(","))
    report: dict[str, Any] = {}
    if "judging" not in left_out:
        report["judging"] = judging(arguments.rounds)
    if "pages" not in left_out:
        report["pages"] = pages.measure(arguments.requests, arguments.only, addresses())
    if "purge" not in left_out:
        report["purge"] = purging()
    report["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return report


def addresses() -> dict[str, list[str]]:
    """Name -> addresses that are asked for in turn. The cache of pages, where there is one, would measure itself: it is off."""
    from django.contrib.auth.models import User
    from django.urls import NoReverseMatch, reverse

    from syncs.models import Connection, Sync, Tag

    tag, _ = Tag.objects.get_or_create(name="bench")
    beside = list(Sync.objects.filter(name__startswith="Beside").order_by("pk"))
    tag.syncs.set(beside[::10])
    owner = User.objects.get(username="bench")
    Sync.objects.filter(pk__in=[sync.pk for sync in beside[::7]]).update(owner=owner)
    connection = Connection.objects.filter(role="destination").order_by("pk")[0]
    filled = list(Sync.objects.filter(name__startswith="Filled").order_by("pk").values_list("pk", flat=True)[:10])
    index = reverse("admin:index")
    periods = dashboard_periods()
    found = {f"dashboard, {name}": [f"{index}?period={name}"] for name in periods}
    found |= {
        "dashboard": [index],
        "dashboard, one tag": [f"{index}?tag={tag.name}&period={name}" for name in periods],
        "dashboard, one owner": [f"{index}?owner={owner.pk}"],
        "dashboard, one connection": [f"{index}?connection={connection.pk}&period={name}" for name in periods],
        "dashboard, wall": [f"{index}?wall=1"],
        "page of a sync": [reverse("admin:syncs_sync_page", args=[pk]) for pk in filled],
    }
    for name, route in (
        ("incidents", "monitoring_incident_changelist"), ("alert rules", "monitoring_alertrule_changelist"),
        ("retention", "monitoring_retentionrule_changelist"), ("purges", "monitoring_purge_changelist"),
    ):  # fmt: skip
        try:
            found[name] = [reverse(f"admin:{route}")]
        except NoReverseMatch:
            continue
    return found


def dashboard_periods() -> list[str]:
    from monitoring.services import spans

    return list(spans.SPANS)


# --- Judging


def judging(rounds: int) -> list[dict[str, Any]]:
    """A tick in which so many syncs were touched; medians of the rounds, most queries of any."""
    from monitoring.models import SyncWatch
    from monitoring.services import evaluation
    from syncs.models import Sync
    from syncs.services import touches

    ids = list(Sync.objects.active().order_by("-name").values_list("pk", flat=True))
    SyncWatch.objects.all().delete()
    results = [_timed(f"none judged yet, {evaluation.MOST} a tick", evaluation.judge_due, 1)]
    for _ in range(20):  # what is due beside, until nothing is
        if not evaluation.judge_due():
            break
    for count in (0, 1, 50):
        name = f"{count} of {len(ids)} changed" if count else "nothing changed"
        results.append(_timed(name, evaluation.judge_due, rounds, before=lambda n=count: touches.touch_many(ids[:n])))
    return results


def _timed(name: str, act: Callable[[], int], rounds: int, before: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    times, done = [], 0
    for _ in range(rounds):
        before()
        started = time.perf_counter()
        done = act()
        times.append((time.perf_counter() - started) * 1000)
    before()
    with CaptureQueriesContext(connection) as captured:
        act()
    result = {"what": name, "judged": done, "median_ms": round(statistics.median(times), 1), "max_ms": round(max(times), 1),
              "queries": len(captured)}  # fmt: skip
    sys.stderr.write(f"{result}\n")
    return result


# --- Purging


def purging() -> list[dict[str, Any]]:
    """A dry run of each kind, then what is old is deleted, with the longest batch."""
    from monitoring.choices import Retained
    from monitoring.services.retention import rules

    kept = rules.days()
    results = []
    for is_dry_run in (True, False):
        results += [_purge(kind, is_dry_run) for kind in Retained if kept[kind] is not None]
    return [one for one in results if one["rows"] or one["dry_run"]]


def _purge(kind: Any, is_dry_run: bool) -> dict[str, Any]:
    from monitoring.models import Purge
    from monitoring.services.retention import passes, work

    batches: list[float] = []
    batch = work._batch

    def timed(*values: Any) -> Any:
        began = time.perf_counter()
        ended = batch(*values)
        batches.append((time.perf_counter() - began) * 1000)
        return ended

    work._batch = timed
    try:
        purge = passes.request(kind, by=None, door="cli", is_dry_run=is_dry_run)
        started = time.perf_counter()
        work.advance(purge.pk, seconds=None)
        seconds = time.perf_counter() - started
    finally:
        work._batch = batch
    purge = Purge.objects.get(pk=purge.pk)
    result = {
        "kind": kind.value, "dry_run": is_dry_run, "rows": purge.deleted_count, "kept": purge.kept_count,
        "seconds": round(seconds, 2), "rows_per_second": round(purge.deleted_count / seconds), "batches": len(batches),
        "longest_batch_ms": round(max(batches)), "message": purge.message,
    }  # fmt: skip
    sys.stderr.write(f"{result}\n")
    return result


def as_text(report: dict[str, Any]) -> str:
    head = {name: value for name, value in report.items() if not isinstance(value, list)}
    lines = [", ".join(f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in head.items())]
    lines += [
        f"{row['what']:34}{row['median_ms']:>9} ms{row['queries']:>9} queries, {row['judged']} judged"
        for row in report.get("judging", ())
    ]
    for row in report.get("pages", ()):
        mark = "" if row["p95_ms"] < TARGET_MS else f"  above {TARGET_MS} ms: {row['slowest']}"
        lines.append(f"{row['page']:34}{row['p50_ms']:>9}{row['p95_ms']:>9}{row['queries']:>9}{mark}")
    for row in report.get("purge", ()):
        what = f"{'dry run' if row['dry_run'] else 'purge'} of {row['kind']}"
        ends = f"{row['rows']:>9,} rows {row['seconds']:>8} s, longest batch {row['longest_batch_ms']} ms {row['message']}"
        lines.append(f"{what:34}{ends}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
