"""``manage.py demo``: load real data, run its sync into the sandbox CRM, and serve the console."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = "Load the demo, run its syncs into the sandbox CRM, print the outcome, and serve the console with a worker."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="print the outcome and end; serve nothing")
        parser.add_argument("--json", action="store_true", help="with --once: one JSON object on standard output, nothing else")
        parser.add_argument("--port", type=int, default=8000, help="of the console; the next free one if it is taken")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("The demo makes a superuser and a practice API: it runs only with DEBUG=1, never in production.")
        if options["json"] and not options["once"]:
            raise CommandError("--json goes with --once.")
        # Only here, so that nothing of the demo is ever loaded by a console in production.
        from retl_project.demo.play import DemoError, play

        try:
            play(once=options["once"], as_json=options["json"], port=options["port"], out=self.stdout, log=self.stderr)
        except DemoError as error:
            raise CommandError(str(error)) from error
