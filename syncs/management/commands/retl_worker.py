from __future__ import annotations

import argparse
import logging
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from syncs.services import worker
from syncs.services.supervisor import Pace, Supervisor

logger = logging.getLogger("retl_worker")


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


class Command(BaseCommand):
    help = "Start the workers: they execute runs, start what is due, and rescue runs whose worker died. Stop with SIGTERM."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Do what is due and queued in this process, then exit.")
        parser.add_argument(
            "--workers", type=int, default=settings.Q_CLUSTER["workers"], help="Processes for long runs (REDRIVE_WORKERS)."
        )
        pace = Pace()
        parser.add_argument("--tick-seconds", type=_positive, default=pace.tick, help="Pause between two ticks.")
        parser.add_argument("--canary-seconds", type=_positive, default=pace.canary, help="Pause between two canaries.")
        parser.add_argument(
            "--canary-limit", type=_positive, default=pace.canary_limit, help="Silence after which a cluster is restarted."
        )
        parser.add_argument("--drain-seconds", type=_positive, default=pace.drain, help="Time runs get on SIGTERM.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            done = worker.until_idle()
            self._say(f"{done} {'run' if done == 1 else 'runs'} executed, nothing is left to do")
            return
        pace = Pace(options["tick_seconds"], options["canary_seconds"], options["canary_limit"], options["drain_seconds"])
        Supervisor(workers=max(1, options["workers"]), pace=pace, say=self._say).run()

    def _say(self, line: str) -> None:
        if settings.LOG_FORMAT == "json":
            logger.info("%s", line)
            return
        self.stdout.write(f"retl_worker: {line}")
        self.stdout.flush()
