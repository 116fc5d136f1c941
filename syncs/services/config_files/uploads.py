"""Files of an upload between the page that shows what they would change and the post that applies them: in the page itself."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence

from syncs.errors import ConfigError

MOST_BYTES = 200_000  # of all files together: they are checked while a person waits
MOST_FILES = 50
_LONGEST_NAME = 100
_LOST = "The files were lost on the way. Choose them again."

Files = Sequence[tuple[str, bytes]]


def refuse_large(files: Files) -> Files:
    """Raises ``ConfigError`` for none, too many, or too much of it."""
    if not files:
        raise ConfigError("Choose a YAML file.", field="file")
    if len(files) > MOST_FILES:
        raise ConfigError(f"{len(files)} files; {MOST_FILES} are the most at once. Use manage.py sync_apply.", field="file")
    size = sum(len(data) for _, data in files)
    if size > MOST_BYTES:
        message = f"The files have {size:,} bytes together; {MOST_BYTES:,} are the most here. Use manage.py sync_apply."
        raise ConfigError(message, field="file")
    return [(name[-_LONGEST_NAME:], data) for name, data in files]


def packed(files: Files) -> str:
    return json.dumps([[name, base64.b64encode(data).decode()] for name, data in files])


def unpacked(text: str) -> Files:
    """Raises ``ConfigError`` for what ``packed`` did not write."""
    try:
        found = [(str(name), base64.b64decode(data, validate=True)) for name, data in json.loads(text)]
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise ConfigError(_LOST, field="file") from error
    return refuse_large(found)
