"""Regular expressions that people write, run over text that the other side wrote: in linear time, whatever either holds.

RE2 does not backtrack, so no expression can be catastrophic; what it lacks for that (look-around, back references) is refused
at save. The size of the compiled program and the length of the text are bounded as well: an expression costs at most some
hundredths of a second on the worst message. Plain Python.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2

MAX_LENGTH = 500  # characters of an expression
MAX_TEXT = 1_000  # characters of a message that are looked at; destinations' messages are cut there anyway
MAX_PROGRAM = 3_000  # instructions; .{0,300} alone takes 2,400
_MEMORY = 1 << 20  # bytes an expression may take
_OFTEN = re.compile(r"\{\d*,?\d{2,}\}")


class ExpressionError(ValueError):
    """The expression cannot be used. The text says why and what to do."""


def readable(message: str) -> str:
    """The message as expressions see it: its beginning, every run of blanks as one."""
    return " ".join(message[:MAX_TEXT].encode("utf-8", "replace").decode().split())


class Expression:
    """Looks for its text anywhere in a message, upper and lower case alike; ``.`` is any character."""

    def __init__(self, compiled: Any) -> None:
        self._search = compiled.search

    def fits(self, text: str) -> bool:
        """``text``: as ``readable`` gives it."""
        return self._search(text) is not None


@lru_cache(maxsize=256)
def compiled(text: str) -> Expression:
    """Raises ``ExpressionError``."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"It has {len(text):,} characters; at most {MAX_LENGTH} fit. Write .* for what differs.")
    if "\0" in text or not _is_encodable(text):
        raise ExpressionError("It holds a character that no message can hold (NUL, or half of a pair). Take it out.")
    found = bounded(text)
    if found.search("") is not None:
        raise ExpressionError(
            "It fits an empty message, and so every message. Write some of the words that the messages have in common; "
            "leave it empty where status or code say enough."
        )
    return Expression(found)


def bounded(text: str, *, captures: bool = False) -> Any:
    """The expression as RE2 compiles it, refused where its program is too big. ``captures``: its groups are wanted, and ``.``
    is no line break, as in Python. Raises ``ExpressionError``."""
    options = _options()
    options.never_capture, options.dot_nl = not captures, not captures
    try:
        found = re2.compile(text, options)
    except re2.error as error:
        raise ExpressionError(_said(error, text)) from None
    if found.programsize > MAX_PROGRAM:
        raise ExpressionError(_too_big(text))
    return found


def problem(text: str) -> str:
    """Why the expression is refused, or an empty text."""
    try:
        compiled(text)
    except ExpressionError as error:
        return str(error)
    return ""


def literal(text: str) -> str:
    """An expression for exactly this text, written as people would: only what has a meaning in expressions is escaped."""
    return re.sub(r"([\\.^$*+?()\[\]{}|])", r"\\\1", text)


def _options() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _MEMORY
    return options


def _said(error: Exception, text: str) -> str:
    raw = error.args[0] if error.args else ""
    said = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    if "too large" in said or "repetition size" in said:
        return _too_big(text)
    if "invalid perl operator" in said or re.search(r"invalid escape sequence: \\[1-9]", said):
        return f"Look-around, back references and the like are not to be had ({said}). Write the words themselves."
    return f"It is not a valid regular expression: {said}. To look for such a character itself, put \\ before it."


def _too_big(text: str) -> str:
    way_out = " Write .* instead of counting up to many." if _OFTEN.search(text) else ""
    return f"It would take too long on a long message: it stands for too many texts at once.{way_out} Simplify it."


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
