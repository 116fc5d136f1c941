"""Regular expressions written by people who set up connections, run over text written by the other side: both are bounded."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

MAX_PATTERN = 300
MAX_TEXT = 1_000
MAX_REPEATS = 3
_MANY = 10  # more repetitions than this count as endless


@lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def search(pattern: str, text: str) -> re.Match[str] | None:
    return compiled(pattern).search(text[:MAX_TEXT])


def pattern_issue(pattern: str) -> str:
    """Why the pattern is refused, or an empty string. Some take hours on a hostile text: choices repeated without end."""
    if len(pattern) > MAX_PATTERN:
        return f"Is longer than {MAX_PATTERN} characters."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled(pattern)
            tree = re._parser.parse(pattern)  # type: ignore[attr-defined]
    except (re.error, RecursionError, OverflowError, Warning) as error:
        return f"Is not a valid regular expression: {error}."
    endless = [node for node in _nodes(tree) if _is_repeat(node) and node[1] > _MANY]
    if any(_varies(inner) for node in endless for inner in _nodes(node[2])):
        return "Repeats without end a part that can itself match in several ways, such as (a+)+ or (a|b)*. Simplify it."
    return f"Has more than {MAX_REPEATS} endless repetitions. Simplify it." if len(endless) > MAX_REPEATS else ""


def _nodes(node: Any) -> Iterator[Any]:
    """The node and all below it, as the parser of ``re`` makes them."""
    yield node
    if isinstance(node, (tuple, list)):
        children = node
    else:
        children = getattr(node, "data", ())
    for child in children:
        yield from _nodes(child)


def _is_repeat(node: Any) -> bool:
    """A repetition is (least, most, what)."""
    return isinstance(node, tuple) and len(node) == 3 and hasattr(node[2], "data") and isinstance(node[0], int)


def _varies(node: Any) -> bool:
    is_choice = isinstance(node, tuple) and len(node) == 2 and str(node[0]) == "BRANCH"
    return is_choice or (_is_repeat(node) and node[0] != node[1])
