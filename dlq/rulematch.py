"""Patterns of fingerprint rules: literal text, ``*`` for anything, and one ``{value}`` in a split. Plain Python.

Matching looks for the literal parts one after the other, each at its first place: linear in the message, whatever the pattern
is. People write no regular expressions, so none of theirs can take for ever.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from dlq.fingerprint import MASK, MAX_MESSAGE

ANYTHING, VALUE = "*", "{value}"
MAX_PATTERN = 500
MAX_VALUE = 80
_MAX_WILDCARDS = 20
_LEAST_TEXT = 3  # letters or digits that a pattern must name
_PIECES = re.compile(r"(\*|\{value\})")
_QUOTES = " \t\"'`“”«»‘’()[]{}<>,;:."
_TOKENS = re.compile(rf"{MASK}|\w+|[^\w\s]|\s+")


class PatternError(ValueError):
    """The pattern cannot be used. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """``value``: what ``{value}`` stands for, trimmed of quotes; empty where the pattern has none."""

    value: str = ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern. ``parts``: literal, wildcard, literal, ...; the first and the last are literals and may be empty."""

    text: str
    parts: tuple[str, ...]

    @property
    def has_value(self) -> bool:
        return VALUE in self.parts

    def match(self, message: str) -> Found | None:
        """Whether the whole ``message`` (as ``readable`` gives it) is described by the pattern. An empty pattern is any."""
        if not self.text:
            return Found()
        first, suffix = self.parts[0], self.parts[-1]
        if len(self.parts) == 1:
            return Found() if message == first else None
        if not message.startswith(first) or not message.endswith(suffix):
            return None
        at, end, value = len(first), len(message) - len(suffix), ""
        *inner, last = zip(self.parts[1::2], self.parts[2::2], strict=True)
        for wildcard, literal in inner:
            found = message.find(literal, at + (wildcard == VALUE), end)
            if found < 0:
                return None
            if wildcard == VALUE:
                value = message[at:found]
            at = found + len(literal)
        if end - at < (last[0] == VALUE):
            return None
        return Found(trimmed(message[at:end] if last[0] == VALUE else value))


def compile_pattern(text: str, *, is_split: bool) -> Pattern:
    """Raises ``PatternError``. An empty text is a pattern too, for a merge by error type, code or field alone."""
    if any(unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\r\n" for character in text):
        raise PatternError("The pattern holds a control character. Take it out; “*” stands for anything.")
    text = re.sub(r"\*+", ANYTHING, " ".join(text.split()))
    if len(text) > MAX_PATTERN:
        raise PatternError(f"The pattern has {len(text):,} characters; at most {MAX_PATTERN} fit. Put “*” for what differs.")
    parts = tuple(_PIECES.split(text))
    _check_wildcards(parts, is_split=is_split)
    literal = "".join(parts[::2])
    if text and sum(character.isalnum() for character in literal) < _LEAST_TEXT:
        raise PatternError(
            f"The pattern names fewer than {_LEAST_TEXT} letters or digits, so it would take in nearly everything. "
            "Write the words that the messages have in common."
        )
    return Pattern(text, parts)


def _check_wildcards(parts: Sequence[str], *, is_split: bool) -> None:
    values = parts.count(VALUE)
    if is_split and values != 1:
        raise PatternError("A split needs {value} once, where the text stands by which the dead letters are told apart.")
    if not is_split and values:
        raise PatternError("A merge has no {value}: it makes one group. Write “*” for a text that differs.")
    if len(parts) // 2 > _MAX_WILDCARDS:
        raise PatternError(
            f"The pattern has more than {_MAX_WILDCARDS} places that differ. Write a shorter one that ends in “*”."
        )
    for left, between, right in zip(parts[1::2], parts[2::2], parts[3::2], strict=False):
        if not between and VALUE in (left, right):
            raise PatternError("{value} stands directly beside “*”: nobody can say where it ends. Put the text between them.")


def readable(message: str) -> str:
    """The message as patterns see it, and as titles are made of it: its beginning, every run of blanks as one."""
    return " ".join(message[:MAX_MESSAGE].split())


def trimmed(value: str) -> str:
    """What ``{value}`` stands for, without quotes, brackets and punctuation around it; at most ``MAX_VALUE`` characters."""
    return " ".join(value.split()).strip(_QUOTES)[:MAX_VALUE].rstrip()


def from_title(title: str, *, value_at: int | None = None) -> str:
    """The pattern of a masked message: its masks become ``*``, the one with the number ``value_at`` becomes ``{value}``."""
    parts = title.replace(ANYTHING, MASK).replace(VALUE, MASK).split(MASK)
    made = parts[0]
    for number, part in enumerate(parts[1:]):
        made += (VALUE if number == value_at else ANYTHING) + part
    return made.strip()


def mask_count(title: str) -> int:
    return title.count(MASK)


def in_common(titles: Iterable[str]) -> str:
    """A pattern that describes all these masked messages: the words they share, in order, with ``*`` between them."""
    common: list[str] | None = None
    for title in titles:
        tokens = _TOKENS.findall(title.replace(ANYTHING, MASK))
        common = tokens if common is None else _shared(common, tokens)
    text = "".join(ANYTHING if token == MASK else token for token in common or ())
    return re.sub(r"\*[\s*]*\*", ANYTHING, text).strip()[:MAX_PATTERN]


def _shared(left: list[str], right: list[str]) -> list[str]:
    kept: list[str] = []
    left_at = right_at = 0
    for block in SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks():
        if block.a > left_at or block.b > right_at:
            kept.append(MASK)
        kept += left[block.a : block.a + block.size]
        left_at, right_at = block.a + block.size, block.b + block.size
    return kept
