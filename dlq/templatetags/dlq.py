"""``{% load dlq %}``: foreign text made harmless to look at."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Any

from django import template
from django.utils.dateparse import parse_datetime

from syncs.errors import ErrorType

register = template.Library()

_SHOWN = "\n\t \u200c\u200d"  # layout, and the joiners that scripts and emoji need
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")


@register.filter
def visible(value: Any, cap: int = 2_000) -> str:
    """Text with what the eye cannot see spelled out (``⟨U+202E⟩``), cut at ``cap`` characters with its true length named.

    A no-break space, a zero-width space or a direction mark is often why a destination refuses a value.
    """
    text = "" if value is None else str(value)
    cut = text[:cap]
    if not cut.isascii() or not cut.isprintable():
        cut = "".join(map(_spelled, cut))
    return f"{cut}… ({len(text):,} characters)" if len(text) > cap else cut


def _spelled(character: str) -> str:
    if character in _SHOWN or unicodedata.category(character) not in _INVISIBLE:
        return character
    return f"⟨U+{ord(character):04X}⟩"


@register.filter
def error_label(error_type: str) -> str:
    return ErrorType(error_type).info.label


@register.filter
def moment_of(text: Any) -> datetime | None:
    """The time in a step's attempt, which is stored as text; None where it is none."""
    try:
        moment = parse_datetime(str(text))
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
