"""The files of exports: written under another name, made visible whole, removed when their time is over."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from pathlib import Path
from typing import IO

from django.conf import settings

_ORPHAN_SECONDS = 6 * 3600  # a part that nobody has written to for so long is nobody's
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def folder() -> Path:
    """Made on first use, for the owner of the process alone: exports hold people's data."""
    place = Path(settings.RETL["EXPORT_DIR"])
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place


def days() -> int:
    """How long a file is kept."""
    kept: int = settings.RETL["EXPORT_DAYS"]
    return kept


def open_part(export_id: int, fence: int) -> tuple[Path, IO[bytes]]:
    """A new file of this attempt; those of earlier attempts go."""
    remove_parts(export_id)
    path = folder() / f"export-{export_id}-{fence}.part"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return path, os.fdopen(handle, "w+b")


def publish(part: Path, file: IO[bytes], *, export_id: int, ending: str) -> str:
    """Close the part, all of it on the disk, under a name that nobody can guess. Returns the name."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    name = f"export-{export_id}-{secrets.token_hex(8)}.{ending}"
    part.rename(part.with_name(name))
    return name


def put(name: str, raw: bytes) -> None:
    """A file of this content, readable for the owner of the process alone."""
    handle = os.open(folder() / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(raw)


def find(name: str) -> Path | None:
    """The path of a published file, if it is there."""
    path = folder() / Path(name).name
    return path if name and path.is_file() else None


def remove(name: str) -> None:
    if name:
        (folder() / Path(name).name).unlink(missing_ok=True)


def remove_parts(export_id: int) -> None:
    for path in folder().glob(f"export-{export_id}-*"):
        path.unlink(missing_ok=True)


def remove_orphans() -> None:
    """Parts that a killed worker left and no later attempt has cleared away, and imports that nobody confirmed."""
    place = Path(settings.RETL["EXPORT_DIR"])
    if not place.is_dir():
        return
    for path in (*place.glob("export-*.part"), *place.glob("import-*")):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ORPHAN_SECONDS:
                path.unlink(missing_ok=True)


def problem(error: OSError) -> str:
    """For people: what went wrong with the file, and what to do."""
    place = settings.RETL["EXPORT_DIR"]
    if error.errno in _FULL:
        return (
            f"The disk of the export folder ({place}) is full, so the file was taken back. Free some space, or choose fewer "
            "columns or a narrower filter, and export again."
        )
    return (
        f"The file could not be written into the export folder ({place}): {error.strerror or type(error).__name__}. "
        "Let an operator look at RETL_EXPORT_DIR, then export again."
    )
