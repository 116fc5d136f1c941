"""Write syncs and connections as YAML, to be kept in git and applied elsewhere."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from syncs.errors import RedriveError
from syncs.models import Connection, Sync
from syncs.services import config_files
from syncs.services.config_files import Exported

FAILED_EXIT = 2


class Command(BaseCommand):
    help = "Writes syncs, and the connections they use, as YAML. Secrets are named, never written."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="Syncs, by their names.")
        parser.add_argument("--all", action="store_true", help="Every sync that is not archived, and every connection.")
        parser.add_argument(
            "--output",
            metavar="FILE|DIR",
            help="A file for all of it, or a folder (it exists, or ends with /) for one file each. Without it: to the screen.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["names"]) == bool(options["all"]):
            raise CommandError("Name the syncs to write, or say --all.", returncode=FAILED_EXIT)
        syncs = list(Sync.objects.active()) if options["all"] else [_find(name) for name in dict.fromkeys(options["names"])]
        connections = list(Connection.objects.all()) if options["all"] else config_files.used_by(syncs)
        try:
            found = config_files.export(syncs, connections)
            self._write(found, options["output"])
        except RedriveError as error:
            raise CommandError(error.message, returncode=FAILED_EXIT) from error
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.", returncode=FAILED_EXIT) from error

    def _write(self, found: list[Exported], output: str | None) -> None:
        if output is None:
            self.stdout.write(config_files.one_text(found), ending="")
            return
        target = Path(output)
        if not (target.is_dir() or output.endswith("/")):
            _put(target, config_files.one_text(found))
            self.stdout.write(f"{len(found)} documents written to {output}.")
            return
        written = sum(_put(target / one.path, one.text) for one in found)
        self.stdout.write(f"{written} of {len(found)} files in {output} written, {len(found) - written} were up to date.")


def _find(name: str) -> Sync:
    names = list(Sync.objects.active().values_list("name", flat=True))
    if name in names:
        return Sync.objects.get(name=name)
    if Sync.objects.filter(name=name).exists():
        raise CommandError(f"“{name}” is archived. Take it out of the archive to export it.", returncode=FAILED_EXIT)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f" Did you mean {', '.join(f'“{other}”' for other in near)}?" if near else ""
    raise CommandError(f"There is no sync “{name}”.{hint}", returncode=FAILED_EXIT)


def _put(path: Path, text: str) -> bool:
    """False: it held this already. A file of the same name is replaced whole or not at all."""
    data = text.encode()
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(data)
    beside.replace(path)
    return True
