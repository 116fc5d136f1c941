"""Fill the database with made-up dead letters, to measure pages at the size of years."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from dlq.services import filling


class Command(BaseCommand):
    help = "Add made-up dead letters with syncs, runs, error groups and counts that agree. For measuring; never in production."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--entries", type=int, required=True, help="how many to add")
        parser.add_argument("--syncs", type=int, default=40)
        parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same entries, but for their times")
        parser.add_argument("--yes", action="store_true", help="also where DEBUG is off")

    def handle(self, *, entries: int, syncs: int, seed: int, yes: bool, **_: Any) -> None:
        if not settings.DEBUG and not yes:
            raise CommandError("DEBUG is off, so this may be a real console. Add --yes if made-up dead letters belong here.")
        if entries < 1 or not 1 <= syncs <= 1_000:
            raise CommandError("--entries is at least 1, --syncs 1 to 1,000.")
        started = time.monotonic()

        def said(done: int) -> None:
            rate = done / (time.monotonic() - started)
            self.stdout.write(f"{done:,} of {entries:,} dead letters, {rate:,.0f} a second")
            self.stdout.flush()

        filling.fill(entries=entries, syncs=syncs, seed=seed, said=said)
        refresh_statistics()
        self.stdout.write(f"{entries:,} dead letters in {time.monotonic() - started:,.1f} s.")


def refresh_statistics() -> None:
    """What the planner goes by; and on PostgreSQL the map that index-only scans need."""
    tables = "dlq_dlqentry, dlq_errorgroup, dlq_grouphour, dlq_entrytally, syncs_run"
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM (ANALYZE) {tables}" if connection.vendor == "postgresql" else "ANALYZE")
