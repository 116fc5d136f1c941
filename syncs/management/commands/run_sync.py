from __future__ import annotations

import argparse
import difflib
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from syncs.choices import RUN_TERMINAL, Trigger
from syncs.errors import RedriveError
from syncs.models import Sync
from syncs.services import following, runs


def _limit(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


class Command(BaseCommand):
    help = "Request a run of a sync. With --wait: follow it; exit code 0 succeeded, 1 partial, 2 failed or cancelled."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", help="The sync's name, as the console shows it.")
        parser.add_argument("--full", action="store_true", help="Send every row again, changed or not.")
        parser.add_argument("--limit", type=_limit, help="Only the first N rows.")
        parser.add_argument("--keys", help="Only these row keys, joined by commas.")
        parser.add_argument("--wait", action="store_true", help="Follow the run to its end; executes it when no worker does.")

    def handle(self, *args: Any, **options: Any) -> None:
        sync = self._sync(options["name"])
        try:
            run = runs.request(
                sync=sync,
                trigger=Trigger.MANUAL,
                options=self._options(options),
                detail="run_sync",
                is_short=self._is_short(options),
            )
        except RedriveError as error:
            raise CommandError(error.message, returncode=following.FAILED_EXIT) from error
        self.stdout.write(f"Run {run.pk} of “{sync.name}” is queued.")
        if options["wait"]:
            ended = following.wait(run)
            if ended.status not in RUN_TERMINAL:
                self.stdout.write(f"Stopped: run {run.pk} is back in the queue, and the next worker goes on with it.")
            else:
                self.stdout.write(following.outcome(ended))
            sys.exit(following.exit_code(ended))

    def _sync(self, name: str) -> Sync:
        names = list(Sync.objects.active().values_list("name", flat=True))
        exact = [known for known in names if known == name] or [known for known in names if known.lower() == name.lower()]
        if len(exact) == 1:
            return Sync.objects.get(name=exact[0])
        if Sync.objects.filter(name__iexact=name, is_archived=True).exists():
            raise CommandError(f"“{name}” is archived and runs no more.", returncode=following.FAILED_EXIT)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]
        hint = f" Did you mean {', '.join(f'“{other}”' for other in near)}?" if near else " There is no sync yet."
        raise CommandError(f"There is no sync “{name}”.{hint}", returncode=following.FAILED_EXIT)

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        if options["full"]:
            chosen["full"] = True
        if options["limit"]:
            chosen["limit"] = options["limit"]
        if options["keys"] is not None:
            chosen["keys"] = [key.strip() for key in options["keys"].split(",") if key.strip()]
            if not chosen["keys"]:
                raise CommandError("--keys names no row key. Write --keys 17,18.", returncode=following.FAILED_EXIT)
        return chosen

    def _is_short(self, options: dict[str, Any]) -> bool:
        chosen = self._options(options)
        rows = len(chosen["keys"]) if "keys" in chosen else chosen.get("limit")
        return rows is not None and rows <= settings.RETL["SHORT_RUN_ROWS"]
