"""Dead letters as a file: CSV, XLSX, JSON or JSON Lines. Memory does not grow with rows.

Small selections are written to a temporary file and downloaded at once; large ones are ``exports``, written in the background.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef
from django.http import FileResponse
from django.utils import timezone

from dlq.choices import EventKind
from dlq.models import DLQEntry, DLQEvent
from dlq.querysets import DLQEntryQuerySet
from dlq.services import export_rows, export_xlsx, moves
from dlq.services.export_plan import ExportFormat, Plan, all_columns
from dlq.services.export_rows import Layout, Note, Row
from dlq.services.export_text import csv_parts, guard, json_parts, jsonl_parts, unguard
from dlq.services.moves import Act

if TYPE_CHECKING:
    pass

__all__ = ["Download", "ExportFormat", "Plan", "Written", "download", "guard", "stream", "unguard", "write"]

_MEMORY = 5_000_000  # bytes of a download kept in memory; more go to a temporary file


@dataclass(frozen=True, slots=True)
class Written:
    """What a file holds: rows without the heading, bytes, SHA-256 in hexadecimal."""

    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Download:
    """A whole file at its beginning, ready to be sent."""

    file: IO[bytes]
    name: str
    format: ExportFormat
    written: Written


def stream(entries: models.QuerySet[DLQEntry], format: ExportFormat, *, plan: Plan | None = None) -> Iterator[bytes]:
    """CSV, JSON or JSON Lines in parts of some thousand rows, oldest entry first. Without a plan: all columns, masked."""
    chosen = moves.on_own_columns(entries)
    plan = plan or Plan(format, all_columns())
    if plan.is_flat:
        plan = export_rows.paths(chosen, plan)
    return _parts(plan, _rows(chosen, plan))


def write(
    file: IO[bytes], entries: models.QuerySet[DLQEntry], plan: Plan, *, note: Note | None = None, alive: Note | None = None
) -> Written:
    """Write the whole file; it must be seekable and readable. ``note`` gets the ids of each slice of rows before they are
    written, ``alive`` those of the first pass, which a flat export makes to find its columns. Either may raise to end it."""
    chosen = moves.on_own_columns(entries)
    if plan.is_flat:
        plan = export_rows.paths(chosen, plan, note=alive)
    count = 0

    def counted() -> Iterator[list[Row]]:
        nonlocal count
        for rows in _rows(chosen, plan, note=note):
            count += len(rows)
            yield rows

    if plan.format == ExportFormat.XLSX:
        export_xlsx.write(file, plan.names, counted())
    else:
        for part in _parts(plan, counted()):
            file.write(part)
    file.flush()
    return Written(count, file.tell(), digest(file))


def digest(file: IO[bytes]) -> str:
    """Of what is in the file, not of what was meant to be."""
    file.seek(0)
    found = hashlib.sha256()
    while part := file.read(1 << 20):
        found.update(part)
    return found.hexdigest()


def download(entries: models.QuerySet[DLQEntry], plan: Plan, *, note: Note | None = None) -> Download:
    """The file is whole before its first byte is sent. The caller closes it."""
    file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115
    try:
        written = write(file, entries, plan, note=note)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Download(file, file_name(plan.format), plan.format, written)


def note_exported(ids: Sequence[int], act: Act, *, unless_of: int | None = None) -> None:
    """One event for each entry. ``unless_of``: leave out those that have one of this export already."""
    entries = DLQEntry.objects.filter(pk__in=ids)
    if unless_of is not None:
        noted = DLQEvent.objects.filter(entry=OuterRef("pk"), kind=EventKind.EXPORTED, detail__export=unless_of)
        entries = entries.exclude(Exists(noted))
    moves.write_events(entries, kind=EventKind.EXPORTED, act=act, at=act.at)


def answer(file: IO[bytes], *, name: str, format: str) -> FileResponse:
    """A file as a download that no browser runs and no proxy keeps."""
    sent = FileResponse(file, as_attachment=True, filename=name, content_type=ExportFormat(format).content_type)
    sent["X-Content-Type-Options"] = "nosniff"
    sent["Cache-Control"] = "no-store"
    return sent


def file_name(format: str, at: datetime | None = None) -> str:
    return f"dead-letters-{at or timezone.now():%Y%m%d-%H%M%S}.{format}"


def stream_rows() -> int:
    """Up to so many entries are downloaded at once."""
    rows: int = settings.RETL["EXPORT_STREAM_ROWS"]
    return rows


def is_large(count: int) -> bool:
    return count > stream_rows()


def _rows(chosen: DLQEntryQuerySet, plan: Plan, *, note: Note | None = None) -> Iterator[list[Row]]:
    layout = Layout(plan)
    for rows in export_rows.read(chosen, layout.reads, note=note):
        yield [layout.row(row) for row in rows]


def _parts(plan: Plan, slices: Iterator[list[Row]]) -> Iterator[bytes]:
    writers: dict[ExportFormat, Callable[..., Iterator[bytes]]] = {
        ExportFormat.CSV: csv_parts,
        ExportFormat.JSON: json_parts,
        ExportFormat.JSONL: jsonl_parts,
    }
    return writers[plan.format](plan.names, slices)
