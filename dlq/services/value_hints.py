"""Patterns in refused values, as sentences: "All 37 lack an @." Plain Python over a sample.

A hint is said of all values, or of most with the number named. It says what the values look like; what is wrong with them is
for a person to judge.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_LEAST = 2  # values that make a pattern
_MOST = 6  # hints that are shown
_SHARE = 0.8  # of the values: below that a pattern is none
_SMALL_SHARE = 0.05  # for what should never be there at all
_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([T ]\d{1,2}:\d{2}.*)?")
_DAY_FIRST = re.compile(r"\d{1,2}[-./]\d{1,2}[-./]\d{2,4}([T ].*)?")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)*")
_MARKUP = re.compile(r"<[a-zA-Z/!][^>]*>")
_PLACEHOLDERS = {
    "n/a",
    "na",
    "none",
    "null",
    "nan",
    "nil",
    "undefined",
    "unknown",
    "-",
    "--",
    "?",
    "tbd",
    "test",
    "xxx",
    "0",
    "#n/a",
}


@dataclass(frozen=True, slots=True)
class _Look:
    """``says`` follows the number of values: "All 37 ..."; ``one``: the same of one value."""

    says: str
    one: str
    holds: Callable[[str], bool]
    share: float = _SHARE


def _is_hidden(character: str) -> bool:
    return character not in "\n\t \u200c\u200d" and unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Zs")


# Of texts, the telling ones first.
_LOOKS = (
    _Look("hold an invisible character, such as a no-break space", "holds an invisible character, such as a no-break space",
          lambda text: any(map(_is_hidden, text)), _SMALL_SHARE),
    _Look("begin or end with a blank", "begins or ends with a blank", lambda text: text != text.strip(), _SMALL_SHARE),
    _Look("hold a line break", "holds a line break", lambda text: "\n" in text.strip(), _SMALL_SHARE),
    _Look("stand for nothing, such as “n/a”", "stands for nothing, such as “n/a”",
          lambda text: text.strip().casefold() in _PLACEHOLDERS, _SMALL_SHARE),
    _Look("hold a replacement character (�), as a wrong encoding leaves it",
          "holds a replacement character (�), as a wrong encoding leaves it", lambda text: "\ufffd" in text, _SMALL_SHARE),
    _Look("hold HTML", "holds HTML", lambda text: bool(_MARKUP.search(text))),
    _Look("look like a date with the day or month first", "looks like a date with the day or month first",
          lambda text: bool(_DAY_FIRST.fullmatch(text.strip()))),
    _Look("look like a date", "looks like a date", lambda text: bool(_DATE.fullmatch(text.strip()))),
    _Look("are numbers written as text", "is a number written as text", lambda text: bool(_NUMBER.fullmatch(text.strip()))),
    _Look("are written in capitals only", "is written in capitals only", lambda text: text.isupper() and len(text) > 3),
    _Look("hold a comma or semicolon, as several values in one", "holds a comma or semicolon, as several values in one",
          lambda text: "," in text or ";" in text),
)  # fmt: skip
_AT_TWICE = _Look("hold more than one @", "holds more than one @", lambda text: text.count("@") > 1)
_NO_AT = _Look("lack an @", "lacks an @", lambda text: "@" not in text)
_NO_DOT = _Look("have no dot after the @", "has no dot after the @", lambda text: "." not in text.rpartition("@")[2])
_LETTERS = _Look("hold letters", "holds letters", lambda text: any(map(str.isalpha, text)))
_NO_SCHEME = _Look("do not begin with http:// or https://", "does not begin with http:// or https://",
                   lambda text: not text.casefold().startswith(("http://", "https://")))  # fmt: skip
# For fields whose message or name tells what they should be.
_EXPECTED: tuple[tuple[re.Pattern[str], tuple[_Look, ...]], ...] = (
    (re.compile(r"e-?mail|@", re.IGNORECASE), (_NO_AT, _AT_TWICE, _NO_DOT)),
    (re.compile(r"phone|mobile|number|integer|decimal|numeric", re.IGNORECASE), (_LETTERS,)),
    (re.compile(r"\burl\b|website|web address|\buri\b", re.IGNORECASE), (_NO_SCHEME,)),
)


def hints(
    *,
    strings: Sequence[str],
    lengths: Sequence[int],
    numbers: Sequence[float],
    filled: int,
    empty: int,
    distinct: int,
    top: tuple[str, int] | None,
    about: str = "",
) -> list[str]:
    """Sentences, the most telling first. ``strings``: texts that are not empty, cut; ``lengths``: their true lengths.
    ``top``: the most frequent value, where it may be shown. ``about``: what error and field say, for what to look for."""
    found = [*_of_emptiness(filled, empty), *_of_sameness(filled, distinct, top)]
    found += [said for looks in _expected(about) for look in looks if (said := _said(look, strings, filled))]
    found += [said for look in _LOOKS if (said := _said(look, strings, filled))]
    found += [*_of_beginnings(strings, distinct, top is not None), *_of_lengths(lengths, filled), *_of_numbers(numbers, filled)]
    if distinct == filled > _LEAST:
        found.append(f"{_all(filled)} differ from each other.")
    return found[:_MOST]


def _expected(about: str) -> list[tuple[_Look, ...]]:
    return [looks for pattern, looks in _EXPECTED if pattern.search(about)]


def _count(part: int, whole: int, one: str, many: str) -> str:
    if part == whole:
        return f"The only value {one}." if whole == 1 else f"{_all(whole)} {many}."
    return f"{part:,} of {whole:,} {one if part == 1 else many}."


def _said(look: _Look, strings: Sequence[str], filled: int) -> str:
    part = sum(map(look.holds, strings))
    return _count(part, filled, look.one, look.says) if part and part >= look.share * filled else ""


def _of_emptiness(filled: int, empty: int) -> list[str]:
    if not empty:
        return []
    if not filled:
        return ["The only value is empty." if empty == 1 else f"All {empty:,} are empty or not there."]
    return [f"{empty:,} of {filled + empty:,} {'is' if empty == 1 else 'are'} empty or not there."]


def _of_sameness(filled: int, distinct: int, top: tuple[str, int] | None) -> list[str]:
    if filled < _LEAST:
        return []
    if distinct == 1:
        return [f"{_all(filled)} are the same value."]
    if top and top[1] >= filled / 2:
        return [f"{top[1]:,} of {filled:,} are the same value."]
    return []


def _of_lengths(lengths: Sequence[int], filled: int) -> list[str]:
    if len(lengths) < _LEAST or len(lengths) < filled * _SHARE:
        return []
    low, high = min(lengths), max(lengths)
    if low == high:
        return [f"{_all(len(lengths))} have {low:,} character{'' if low == 1 else 's'}."]
    return [f"The shortest has {low:,} character{'' if low == 1 else 's'}, the longest {high:,}."] if high > 40 else []


def _of_beginnings(strings: Sequence[str], distinct: int, may_show: bool) -> list[str]:
    if len(strings) < _LEAST or distinct < _LEAST or not may_show:
        return []
    start = _common_start(min(strings), max(strings)).strip()
    is_telling = len(start) > 1 or (start and not start.isalnum())
    return [f"{_all(len(strings))} begin with “{start[:40]}”."] if is_telling else []


def _common_start(left: str, right: str) -> str:
    length = next(
        (at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), min(len(left), len(right))
    )
    return left[:length]


def _of_numbers(numbers: Sequence[float], filled: int) -> list[str]:
    if len(numbers) < _LEAST or len(numbers) < filled * _SHARE:
        return []
    low, high = min(numbers), max(numbers)
    if high < 0:
        return [f"{_all(len(numbers))} are negative: from {low:,g} to {high:,g}."]
    return [f"{_all(len(numbers))} are numbers from {low:,g} to {high:,g}."]


def _all(count: int) -> str:
    return "Both" if count == 2 else f"All {count:,}"
