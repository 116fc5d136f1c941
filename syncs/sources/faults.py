"""From a driver's error to a sentence: first line only, secrets masked, the place in the query where it is known."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any
from urllib.parse import quote, quote_plus

from syncs.errors import SourceError

MASK = "•••"
MAX_MESSAGE = 500
_USERINFO = re.compile(r"(\w+://[^\s:/@]*):[^\s@]+@")
_ASSIGNED = re.compile(r"(?i)\b(password|passwd|pwd|token|secret|private_key)(\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s,;&)]+)")


def redacted(text: str, secrets: Iterable[str]) -> str:
    """``text`` without the given secrets (also URL-encoded), without passwords in URLs and ``password=...`` pairs."""
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), quote_plus(secret)} if secret else ():
            if len(form) >= 4:
                text = text.replace(form, MASK)
            else:
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", MASK, text)
    return _ASSIGNED.sub(rf"\1\2{MASK}", _USERINFO.sub(rf"\1:{MASK}@", text))


def first_line(error: object, secrets: Iterable[str] = ()) -> str:
    """The first line that says something, redacted, at most 500 characters, ending in one full stop."""
    if isinstance(error, Exception) and len(error.args) == 2 and isinstance(error.args[0], int):
        error = error.args[1]  # (number, text), as MySQL's drivers have it
    lines = (line.strip() for line in str(error).splitlines())
    text = redacted(next((line for line in lines if line), type(error).__name__), secrets)
    text = re.sub(r"^(ERROR|FATAL|error):\s+", "", text)
    if len(text) > MAX_MESSAGE:
        text = text[: MAX_MESSAGE - 1] + "…"
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def place(sql: str, position: int) -> str:
    """“line 3, column 7” for a 1-based character position in the query; "" when it lies outside."""
    if not 1 <= position <= len(sql) + 1:
        return ""
    before = sql[: position - 1]
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


def query_refused(label: str, error: object, *, secrets: Iterable[str], where: str = "", code: str = "") -> SourceError:
    at = f" at {where}" if where else ""
    return SourceError(f"{label} refused the query{at}: {first_line(error, secrets)}", field="query", code=code)


def driver(module: str, *, extra: str, needed_for: str) -> Any:
    """The driver module. Raises ``SourceError`` naming the extra to install when it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise missing_driver(extra, needed_for, error) from None


def missing_driver(extra: str, needed_for: str, error: ImportError) -> SourceError:
    missing = f" (missing: {error.name})" if error.name else ""
    return SourceError(
        f"The driver for {needed_for} is not installed{missing}. Install it where the web and worker processes run: "
        f'pip install ".[{extra}]", then restart them.',
        field="kind",
    )
