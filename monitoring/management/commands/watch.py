from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error
from django.utils import timezone

from monitoring.services import silence_watch


class Command(BaseCommand):
    help = (
        "Look once, from outside, whether Redrive goes on: silent workers, runs that nobody takes. While no worker lives, "
        "judge the syncs and send what waits. For cron or a Kubernetes CronJob. Exit code 0: well, 1: not, 2: no database."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            seen = silence_watch.watch(timezone.now())
        except Error as error:
            self.stderr.write(f"watch: the database does not answer ({type(error).__name__}); nothing was looked at")
            sys.exit(2)
        for finding in seen.findings:
            self.stdout.write(f"watch: {finding.title}. {finding.text} {finding.advice}")
        if seen.took_over:
            self.stdout.write(f"watch: {seen.judged} syncs judged, {seen.sent} messages sent in place of the worker")
        if seen.findings:
            sys.exit(1)
        self.stdout.write("watch: all is well")
