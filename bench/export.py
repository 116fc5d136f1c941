"""How fast a background export is, beside PostgreSQL's own ``COPY (SELECT the same columns) TO STDOUT CSV`` in the same run,
and how much memory it takes at two sizes.

A throwaway PostgreSQL is migrated and filled by ``fill_dlq``. Each variant is written by the code of the worker in a fresh
process, with events, file and digest; COPY goes to a file as well.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.pages import database, prepare

VARIANTS = {
    "masked": {"format": "csv"},
    "raw": {"format": "csv", "is_raw": True},
    "masked flat": {"format": "csv", "is_flat": True},
    "raw jsonl": {"format": "jsonl", "is_raw": True},
}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench export")
    parser.add_argument("--entries", type=int, nargs="+", default=[100_000, 1_000_000], help="ascending")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help=f"one of {', '.join(VARIANTS)}")
    parser.add_argument("--keep", type=Path, help="folder of the filled database: made if it is not there, used again if it is")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the server is stopped as well
    home = arguments.keep or Path(tempfile.mkdtemp(prefix="redrive-export-", dir="/tmp"))
    home.mkdir(parents=True, exist_ok=True)
    results = []
    with database("postgresql", home, is_kept=arguments.keep is not None) as url:
        os.environ |= {"DATABASE_URL": url, "REDRIVE_VAR": str(home / "var"), "LOG_LEVEL": "WARNING", "DEBUG": "1"}
        for entries in sorted(arguments.entries):
            prepare(entries, 40)
            for variant in VARIANTS:
                if arguments.only in ("", variant):
                    rounds = [in_a_process(variant, entries) for _ in range(arguments.rounds)]
                    results.append(summed_up(variant, entries, rounds))
    report = {"rounds": arguments.rounds, "exports": results}
    sys.stdout.write(json.dumps(report, indent=1) + "\n" if arguments.json else as_table(report))


def in_a_process(variant: str, entries: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.export", variant, str(entries)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def summed_up(variant: str, entries: int, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    middle: dict[str, Any] = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    return {"variant": variant, "entries": entries, **middle, "ratios": sorted(one["ratio"] for one in rounds)}


def as_table(report: dict[str, Any]) -> str:
    lines = [
        f"{one['variant']:<12} {one['entries']:>10,} entries: {one['rows_per_second']:>8,.0f} rows/s, {one['ratio']:.2f} x COPY"
        f"({one['copy_rows_per_second']:,.0f} rows/s), peak {one['rss_mb']:.0f} MB (at start {one['start_mb']:.0f}), file "
        f"{one['megabytes']:,.0f} MB"
        for one in report["exports"]
    ]
    return "\n".join([*lines, ""])


def measure(variant: str, entries: int) -> dict[str, Any]:
    """In a process of its own: COPY, then the export, of all entries up to this number."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "retl_project.settings")
    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User

    from dlq.choices import Door, ExportStatus
    from dlq.models import DLQEntry
    from dlq.services import export_files, exports, snapshots
    from dlq.services.entry_filter import EntryFilter
    from dlq.services.export_plan import all_columns
    from dlq.services.snapshots import BulkKind

    settings.DEBUG = False  # as a worker runs: no log of queries
    user, _ = User.objects.get_or_create(username="bench", defaults={"is_superuser": True, "is_staff": True})
    assert DLQEntry.objects.order_by().count() == entries
    copied = copy_out()
    snapshot = snapshots.take(BulkKind.EXPORT, EntryFilter(statuses=()), user=user)
    made = exports.create(snapshot, columns=all_columns(), by=user, reason="bench", door=Door.CLI, **VARIANTS[variant])
    start = peak_mb()
    began = time.perf_counter()
    exports.work(made.pk)
    seconds = time.perf_counter() - began
    made.refresh_from_db()
    assert made.status == ExportStatus.READY, made.message
    assert made.row_count == entries
    export_files.remove(made.file_name)
    return {
        "rows_per_second": entries / seconds,
        "copy_rows_per_second": entries / copied,
        "ratio": copied / seconds,
        "rss_mb": peak_mb(),
        "start_mb": start,
        "megabytes": made.byte_count / 1e6,
    }


def copy_out() -> float:
    """Seconds x COPYwith the export's columns, joins included, into a file."""
    import psycopg
    from django.db import connection

    from dlq.models import DLQEntry
    from dlq.resources import columns

    rows = DLQEntry.objects.order_by("pk").values_list(*(attribute for attribute, _name in columns()))
    statement = f"COPY ({rows.query}) TO STDOUT (FORMAT csv, HEADER)"
    values = connection.settings_dict
    url = f"postgresql://{values['USER']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"
    with psycopg.connect(url) as plain, tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        with plain.cursor().copy(statement) as parts:  # type: ignore[arg-type]
            for part in parts:
                file.write(part)
        file.flush()
        return time.perf_counter() - began


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1], int(sys.argv[2]))) + "\n")
