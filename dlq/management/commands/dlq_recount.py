"""Compare every kept count with the dead letters themselves, and put right what disagrees."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection, transaction

from dlq import triggers
from dlq.services import groups, tally
from syncs.models import Sync


class Command(BaseCommand):
    help = "Compare the kept counts (error groups, tally) with the dead letters, and put right what disagrees."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="only say what is wrong; exit code 1 if anything is")

    def handle(self, *, check: bool, **_: Any) -> None:
        with transaction.atomic():
            wrong = self._tally() + self._groups()
            if check:
                transaction.set_rollback(True)
        if not wrong:
            self.stdout.write("All counts agree with the dead letters.")
        elif check:
            sys.exit(1)

    def _tally(self) -> int:
        are_missing = not triggers.are_there(connection)
        lines = tally.repair()
        for line in lines:
            self.stdout.write(str(line))
        if are_missing:
            self.stdout.write("The triggers of the tally were not there.")
        if lines:
            self.stdout.write(f"{len(lines):,} lines of the tally were wrong.")
        return len(lines) + are_missing

    def _groups(self) -> int:
        wrong = 0
        for sync in Sync.objects.order_by("name"):
            count = groups.recount(sync)
            if count:
                self.stdout.write(f"{sync.name}: the counters of {count:,} error groups were wrong.")
            wrong += count
        return wrong
