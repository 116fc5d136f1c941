"""How long the pages of the console take with millions of dead letters, and how many queries they make.

A throwaway PostgreSQL (or a SQLite file) is migrated and filled by ``fill_dlq``; then each page is asked for in this process,
through all of Django, as a logged-in superuser. ``--keep`` leaves the filled database in a folder, to measure again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tests.postgres import Server, _binaries

TARGET_MS = 150


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench pages")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--syncs", type=int, default=40)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--requests", type=int, default=40, help="per page, after two that are not counted")
    parser.add_argument("--keep", type=Path, help="folder of the filled database: made if it is not there, used again if it is")
    parser.add_argument("--only", default="", help="pages whose name holds this")
    parser.add_argument("--fill-only", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the server is stopped as well
    home = arguments.keep or Path(tempfile.mkdtemp(prefix="redrive-pages-", dir="/tmp"))
    home.mkdir(parents=True, exist_ok=True)
    with database(arguments.database, home, is_kept=arguments.keep is not None) as url:
        os.environ |= {"DATABASE_URL": url, "REDRIVE_VAR": str(home / "var"), "LOG_LEVEL": "WARNING", "DEBUG": "1"}
        seconds = prepare(arguments.entries, arguments.syncs)
        results = [] if arguments.fill_only else measure(arguments.requests, arguments.only)
    report = {"database": arguments.database, "entries": arguments.entries, "fill_seconds": seconds, "pages": results}
    sys.stdout.write(json.dumps(report, indent=1) + "\n" if arguments.json else as_table(report))


@contextmanager
def database(kind: str, home: Path, *, is_kept: bool) -> Iterator[str]:
    if kind == "sqlite":
        (home / "var").mkdir(exist_ok=True)
        yield f"sqlite:///{home / 'filled.sqlite3'}"
        return
    binaries = _binaries()
    if binaries is None:
        raise SystemExit("No PostgreSQL found. Install it, or use --database sqlite.")
    server = Server(binaries)
    if is_kept:
        server.home.rmdir()
        server.home = home
        if os.geteuid() == 0:
            os.chown(home, 65534, 65534)
    if not (server.home / "data").exists():
        server.initialise()
    server.start()
    try:
        import psycopg

        with psycopg.connect(f"{server.url}/postgres", autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'redrive'").fetchone():
                connection.execute("CREATE DATABASE redrive")
        yield f"{server.url}/redrive"
    finally:
        server.stop() if is_kept else server.remove()


def prepare(entries: int, syncs: int) -> float:
    """Migrate, and fill up to ``entries``. Returns the seconds that the filling took."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "retl_project.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from dlq.models import DLQEntry

    settings.DEBUG = False  # as served: no query log, no debug pages
    settings.ALLOWED_HOSTS = ["testserver"]
    call_command("migrate", verbosity=0)
    if not User.objects.filter(username="bench").exists():
        User.objects.create_superuser("bench")
    missing = entries - DLQEntry.objects.count()
    started = time.perf_counter()
    if missing > 0:
        call_command("fill_dlq", entries=missing, syncs=syncs, yes=True, stdout=sys.stderr)
    return time.perf_counter() - started


def pages() -> dict[str, list[str]]:
    """Name -> addresses that are asked for in turn, so that a page is not measured on one lucky value."""
    from django.urls import NoReverseMatch, reverse

    from dlq.models import DLQEntry, ErrorGroup
    from syncs.models import Sync

    every = "/admin/dlq/dlqentry/"
    open_ones = DLQEntry.objects.filter(status="open").order_by("-last_failed_at", "-id")
    thousandth = open_ones.values_list("last_failed_at", "pk")[50_000:50_001].first()
    sync_ids = list(Sync.objects.filter(name__startswith="Filled").values_list("pk", flat=True))
    groups = ErrorGroup.objects.order_by("-total_count")
    group_ids = [*groups.values_list("pk", flat=True)[:5], *groups.reverse().values_list("pk", flat=True)[:5]]
    keys = list(open_ones.values_list("row_key", flat=True)[:20_000:1_000])
    entries = list(open_ones.values_list("pk", flat=True)[:20_000:1_000])
    sources, targets = (list(Sync.objects.values_list(name, flat=True).distinct()) for name in ("source", "destination"))
    found = {
        "list: first page": [every],
        "list: all statuses": [f"{every}?status=any"],
        "list: one sync": [f"{every}?sync={pk}" for pk in sync_ids],
        "list: error type": [f"{every}?error_type={one}" for one in ("validation", "timeout", "too_large", "unknown_outcome")],
        "list: response code": [f"{every}?code={one}" for one in (400, 409, 413, 502, "none")],
        "list: error code": [f"{every}?error_code={one}" for one in ("INVALID_EMAIL", "PAYLOAD_TOO_LARGE", "NO_SUCH_CODE")],
        "list: connection": [f"{every}?connection={pk}" for pk in (*targets, *sources)],
        "list: last 24 hours": [f"{every}?failed=24h", f"{every}?failed=24h&status=any"],
        "list: a day in the past": [f"{every}?failed=between&from={_day(days)}&to={_day(days)}" for days in (3, 30, 60, 85)],
        "list: older than": [f"{every}?age={age}" for age in ("1d", "7d", "30d")],
        "list: error group": [f"{every}?group={pk}" for pk in group_ids],
        "list: row key": [f"{every}?key={key}" for key in keys],
        "list: text, key": [f"{every}?q={key}" for key in keys],
        "list: text, beginning of keys": [f"{every}?q={key[:-4]}" for key in keys],
        "list: text, groups": [f"{every}?q={text}" for text in ("allowed%20options", "larger%20than", "no%20such%20thing")],
        "list: text, in one sync": [f"{every}?q=segment%2012.&sync={pk}&failed=24h" for pk in sync_ids],
        "list: owner": [f"{every}?owner=me", f"{every}?owner=none", f"{every}?owner=me&status=any"],
        "list: attempts": [f"{every}?attempts={least}" for least in (2, 5, 9)],
        "list: row changed since": [f"{every}?row={state}" for state in ("changed", "gone", "same", "unknown")],
        "list: sync, type, code, time": [f"{every}?sync={pk}&error_type=validation&code=400&failed=7d" for pk in sync_ids],
        "list: nothing matches": [f"{every}?error_type=mapping&code=503", f"{every}?status=superseded&owner=me&attempts=900"],
        "list: discarded, rare type": [f"{every}?status=discarded&error_type=unknown_outcome"],
        "group list": ["/admin/dlq/errorgroup/", "/admin/dlq/errorgroup/?show=all"],
        "entry page": [f"{every}{pk}/change/" for pk in entries],
        "entry page in a filter": [f"{every}{pk}/change/?in=status%3Dopen%26error_type%3Dvalidation" for pk in entries],
    }
    if thousandth:
        at, pk = thousandth
        place = f"{at.isoformat().replace('+', '%2B')}_{pk}"
        found["list: page 1,000"] = [f"{every}?after={place}", f"{every}?status=any&after={place}"]
        found["list: back from page 1,000"] = [f"{every}?before={place}"]
    for name, route, ids in (
        ("group page", "admin:dlq_errorgroup_change", group_ids),
        ("operation list", "admin:dlq_bulkoperation_changelist", [None]),
    ):
        try:
            found[name] = [reverse(route, args=[pk] if pk else []) for pk in ids]
        except NoReverseMatch:
            continue
    return found


def _day(days: int) -> str:
    from datetime import timedelta

    from django.utils import timezone

    return (timezone.now() - timedelta(days=days)).date().isoformat()


def measure(requests: int, only: str, found: Mapping[str, list[str]] | None = None, *, key: str = "") -> list[dict[str, Any]]:
    """``found``: name -> addresses asked for in turn; without it, the pages of the dead letters. ``key``: of the API, to ask
    with; without it somebody who is signed in asks."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client(headers={"Authorization": f"Bearer {key}"} if key else {})
    if not key:
        client.force_login(User.objects.get(username="bench"))
    results = []
    for name, addresses in (pages() if found is None else found).items():
        if only not in name:
            continue
        queries, times, worst = 0, [], ""
        for address in addresses[:2] if len(addresses) > 2 else addresses * 2:
            answer = client.get(address)
            if answer.status_code != 200:
                raise SystemExit(f"{address} answers {answer.status_code}")
        for address in addresses:
            with CaptureQueriesContext(connection) as captured:
                client.get(address)
            queries = max(queries, len(captured))
        for address in islice(cycle(addresses), max(requests, len(addresses))):
            started = time.perf_counter()
            client.get(address)
            times.append((time.perf_counter() - started) * 1000)
            if times[-1] == max(times):
                worst = address
        cuts = statistics.quantiles(times, n=20, method="inclusive")
        results.append(
            {
                "page": name, "requests": len(times), "p50_ms": round(statistics.median(times), 1),
                "p95_ms": round(cuts[-1], 1), "max_ms": round(max(times), 1), "queries": queries, "slowest": worst,
            }
        )  # fmt: skip
        sys.stderr.write(f"{results[-1]}\n")
    return results


def as_table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['entries']:,} dead letters, {report['database']}",
        f"{'page':34}{'p50 ms':>9}{'p95 ms':>9}{'queries':>9}",
    ]
    for row in report["pages"]:
        mark = "" if row["p95_ms"] < TARGET_MS else f"  above {TARGET_MS} ms: {row['slowest']}"
        lines.append(f"{row['page']:34}{row['p50_ms']:>9}{row['p95_ms']:>9}{row['queries']:>9}{mark}")
    return "\n".join(lines) + "\n"
