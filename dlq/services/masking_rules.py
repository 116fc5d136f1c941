"""Which fields hold values that are masked, by their names; and what a masked value looks like.

A mask is made of the value alone: equal values have equal masks, in every file, and a mask always holds ``***``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

HIDDEN = "***"
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_SECRET_WORDS = ("card", "cvc", "cvv", "password", "passwd", "pin", "secret", "ssn", "token", "key")
_CONTAINED = 5  # a pattern of at least so many letters is also found inside a name without word boundaries: ``homephone``
_CACHE = 20_000
_NO_DIGIT = re.compile(r"[^0-9]+")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_PHONE = re.compile(r"\+?[0-9\s().\/-]{7,30}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")


def words(name: str) -> tuple[str, ...]:
    """``billingStreet_2`` -> ("billing", "street", "2")."""
    return tuple(word.lower() for word in _WORD.findall(name[:500]))


class Names:
    """``patterns``: words that a field's name holds in this order (``first name`` finds ``FirstName`` and ``main_first_name``);
    with ``=`` before it the whole name must be these words.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._exact = {words(pattern) for pattern in patterns if pattern.startswith("=")}
        self._within = {found for pattern in patterns if not pattern.startswith("=") and (found := words(pattern))}
        self._compact = {"".join(pattern) for pattern in self._within}
        self._longest = max((len(pattern) for pattern in self._within), default=0)
        self._known: dict[tuple[str, str], bool] = {}

    def hides(self, name: str, parent: str = "") -> bool:
        """Whether a field of this name (in an object of the name ``parent``) is masked."""
        answer = self._known.get((parent, name))
        if answer is None:
            if len(self._known) >= _CACHE:
                self._known.clear()
            answer = self._known[parent, name] = self._decide(name, parent)
        return answer

    def _decide(self, name: str, parent: str) -> bool:
        own = words(name)
        if own in self._exact or self._finds(own):
            return True
        compact = "".join(own)
        if compact in self._compact or any(len(one) >= _CONTAINED and one in compact for one in self._compact):
            return True
        return bool(parent) and self._finds((*words(parent)[-2:], *own))  # {"name": {"first": ...}}

    def _finds(self, found: tuple[str, ...]) -> bool:
        for size in range(1, min(self._longest, len(found)) + 1):
            if any(found[start : start + size] in self._within for start in range(len(found) - size + 1)):
                return True
        return False


@lru_cache(maxsize=_CACHE)
def is_secret(name: str) -> bool:
    """A field whose values show nothing of themselves, not even their shape."""
    return any(word in _SECRET_WORDS for word in words(name))


def shape(value: str) -> str:
    """``j***@e***.com``, ``+49*****12``, ``DE*****34``, or ``***``."""
    text = value.strip()[:400]
    if "@" in text and _EMAIL.fullmatch(text):
        return email(text)
    if _PHONE.fullmatch(text) and len(digits := _NO_DIGIT.sub("", text)) >= 7:
        start = text[:3] if text.startswith("+") and text[1:3].isdigit() else ""
        return f"{start}*****{digits[-2:]}"
    if _IBAN.fullmatch(text):
        return f"{text[:2]}*****{text[-2:]}"
    return HIDDEN


def email(text: str) -> str:
    local, _, domain = text.rpartition("@")
    name, dot, top = domain.rpartition(".")
    ending = f".{top}" if dot and top.isascii() and top.isalpha() and len(top) <= 10 else ""
    return f"{_first(local)}***@{_first(name if ending else domain)}***{ending}"


def _first(text: str) -> str:
    return text[0].lower() if text and text[0].isascii() and text[0].isalnum() else ""
