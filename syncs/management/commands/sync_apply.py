"""Bring syncs and connections to what YAML files say: all of it, or nothing."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from syncs.errors import RedriveError
from syncs.services import config_files
from syncs.services.config_files import MOST_BYTES, Action, Change, Environment, Item, Plan

CHANGES_EXIT, FAILED_EXIT = 1, 2
_MOST_FILES = 1_000


class Command(BaseCommand):
    help = "Creates and changes connections and syncs as the files say, in one transaction. Applying again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE", help="YAML files, or folders with .yaml and .yml files.")
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="Say what would change and change nothing. Exit code 0: nothing would, 1: something would, 2: it is refused.",
        )
        parser.add_argument("--paused", action="store_true", help="New syncs begin paused.")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment(os.environ, is_any=True)
        plan = config_files.matched(_read(options["files"]), environment=environment, by=None)
        known = config_files.check(plan)
        if plan.problems:
            lines = [visible(str(problem)) for problem in plan.problems]
            raise CommandError("\n".join([*lines, "Nothing was applied."]), returncode=FAILED_EXIT)
        for line in _told(plan):
            self.stdout.write(line)
        if options["dry_run"]:
            sys.exit(0 if plan.is_empty else CHANGES_EXIT)
        try:
            config_files.apply(plan, known, environment=environment, by=None, door="cli", is_paused=options["paused"])
        except RedriveError as error:
            raise CommandError(visible(error.message), returncode=FAILED_EXIT) from error
        self.stdout.write("Nothing to change." if plan.is_empty else "Applied.")


def _read(names: list[str]) -> list[tuple[str, bytes]]:
    paths = [found for name in names for found in _files(Path(name))]
    if len(paths) > _MOST_FILES:
        raise CommandError(f"{len(paths):,} files; {_MOST_FILES:,} are the most at once.", returncode=FAILED_EXIT)
    return [(str(path), _bytes(path)) for path in dict.fromkeys(paths)]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.rglob("*") if one.suffix in (".yaml", ".yml") and one.is_file())
    if not found:
        raise CommandError(f"{path} has no .yaml or .yml file.", returncode=FAILED_EXIT)
    return found


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.", returncode=FAILED_EXIT) from error


def _told(plan: Plan) -> Iterator[str]:
    for item in sorted(plan.items, key=lambda item: list(Action).index(item.action)):
        yield f"{item.action:<10} {item.kind} “{visible(item.name)}”"
        for change in item.changes:
            yield from (f"    {visible(line)}" for line in _lines(item, change))
    counts = plan.counts
    yield f"{counts[Action.CREATE]} to create, {counts[Action.CHANGE]} to change, {counts[Action.UNCHANGED]} unchanged."


def _lines(item: Item, change: Change) -> Iterator[str]:
    if change.before is not None and change.after is not None and change.is_long:
        yield f"{change.path}:"
        pair = (change.before.splitlines(), change.after.splitlines())
        found = list(difflib.unified_diff(*pair, lineterm="", n=1))[2:]
        yield from (f"  {line}" for line in found if not line.startswith("@@"))
        return
    before, after = (None if text is None else _quoted(text) for text in (change.before, change.after))
    if item.action == Action.CREATE or before is None:
        yield f"{change.path}: {after}"
    else:
        yield f"{change.path}: {before} -> {'taken away' if after is None else after}"


def _quoted(text: str) -> str:
    first, _, rest = text.partition("\n")
    return f"{first[:160]} …" if rest or len(first) > 160 else (first or '""')


def visible(text: str) -> str:
    """What a terminal would act on instead of showing it, spelled out."""
    return "".join(one if one.isprintable() or one in " \n\t" else f"⟨U+{ord(one):04X}⟩" for one in text)
