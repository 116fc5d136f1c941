"""Delete what is older than the retention rules say, here and now; or only count it."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat

from monitoring.choices import Retained
from monitoring.models import Purge
from monitoring.services.retention import passes, rules, work
from monitoring.services.retention.rules import RetentionRefusedError


class Command(BaseCommand):
    help = "Delete what is older than the retention rules say, in this process. With --dry-run: only count it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        names = [kind.value for kind in Retained]
        parser.add_argument(
            "kinds", nargs="*", metavar="kind", help=f"Of {', '.join(names)}. None: all that are not kept for ever."
        )
        parser.add_argument("--dry-run", action="store_true", help="Delete nothing; say what would be deleted.")
        parser.add_argument("--days", help="With --dry-run and one kind: as if this were its rule.")
        parser.add_argument("--rules", action="store_true", help="Only list how long each kind is kept.")

    def handle(self, *, kinds: list[str], dry_run: bool, days: str | None, **options: Any) -> None:
        chosen = [self._kind(text) for text in kinds]
        if options["rules"]:
            return self._list(chosen or list(Retained))
        number = self._days(chosen, days, is_dry_run=dry_run)
        failed = [kind for kind in chosen or self._all() if not self._purge(kind, is_dry_run=dry_run, days=number)]
        if failed:
            raise CommandError("Not everything was purged; see above.")
        return None

    def _kind(self, text: str) -> Retained:
        try:
            return Retained(text)
        except ValueError:
            raise CommandError(
                f"There is no kind “{text}”. Choose among {', '.join(kind.value for kind in Retained)}."
            ) from None

    def _all(self) -> list[Retained]:
        return [kind for kind, kept in rules.days().items() if kept is not None]

    def _days(self, chosen: list[Retained], text: str | None, *, is_dry_run: bool) -> int | None:
        if text is None:
            return None
        if not is_dry_run or len(chosen) != 1:
            raise CommandError(
                "--days goes with --dry-run and exactly one kind. What is deleted follows the rule: change it on its page."
            )
        try:
            return rules.read(chosen[0], text)
        except RetentionRefusedError as refusal:
            raise CommandError(refusal.message) from None

    def _list(self, kinds: list[Retained]) -> None:
        kept = rules.days()
        for kind in kinds:
            self.stdout.write(f"{kind.value:20} {rules.in_words(kept[kind]):>10}  {rules.name(kind)}")

    def _purge(self, kind: Retained, *, is_dry_run: bool, days: int | None) -> bool:
        """False: it did not come to its end; the reason is written."""
        started = time.monotonic()
        try:
            purge = passes.request(kind, by=None, door="cli", is_dry_run=is_dry_run, days=days)
        except RetentionRefusedError as refusal:
            self.stderr.write(refusal.message)
            return False
        work.advance(purge.pk, seconds=None)
        purge.refresh_from_db()
        self.stdout.write(f"{_told(purge)} {time.monotonic() - started:.1f} s.")
        if purge.message:
            self.stderr.write(purge.message)
        return purge.is_over and not purge.message


def _told(purge: Purge) -> str:
    done = "would be deleted" if purge.is_dry_run else "deleted"
    size = f", about {filesizeformat(purge.bytes_freed)}" if purge.bytes_freed else ""
    kept = f"; {purge.kept_count:,} as old are still needed" if purge.kept_count else ""
    return f"{rules.name(Retained(purge.kind))}, before {purge.before:%Y-%m-%d}: {purge.deleted_count:,} {done}{size}{kept}."
