"""Regular expressions written by people who set up connections, run over text written by the other side: both are bounded."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from syncs.destinations.expressions import ExpressionError, bounded

MAX_PATTERN = 300
MAX_TEXT = 1_000


@lru_cache(maxsize=512)
def compiled(pattern: str) -> Any:
    """Raises ``ExpressionError`` for what ``pattern_issue`` names."""
    return bounded(pattern, captures=True)


def search(pattern: str, text: str) -> Any:
    """A match as of ``re``, with its named groups, or None. In time that is linear in the text, whatever the pattern."""
    return compiled(pattern).search(text[:MAX_TEXT].encode("utf-8", "replace").decode())


def pattern_issue(pattern: str) -> str:
    """Why the pattern is refused, or an empty string."""
    if len(pattern) > MAX_PATTERN:
        return f"Is longer than {MAX_PATTERN} characters."
    try:
        compiled(pattern)
    except (ExpressionError, UnicodeEncodeError) as error:
        return str(error)
    return ""
