"""How the console shows numbers, times, durations and states. Each function returns text or safe HTML."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncs.engine.hashing import canonical_body

NOTHING = "–"


def number(value: float | None) -> str:
    """``549960`` -> ``549,960``."""
    return NOTHING if value is None else f"{value:,}"


def short_number(value: float) -> str:
    """For the axes of charts: ``1200`` -> ``1.2k``, ``7000000`` -> ``7M``."""
    for size, unit in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:.1f}".rstrip("0").rstrip(".") + unit
    return f"{value:g}"


def moment(value: datetime | None, *, seconds: bool = False) -> SafeString | str:
    """A ``<time>`` in UTC: ``23 Nov 07:19``; the year stands there where it is not this year's."""
    if value is None:
        return NOTHING
    value = value.astimezone(UTC)
    text = f"{value.day} {value:%b}" + (f" {value.year}" if value.year != timezone.now().year else "")
    text += f" {value:%H:%M:%S}" if seconds else f" {value:%H:%M}"
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>', f"{value:%Y-%m-%dT%H:%M:%SZ}", f"{value:%Y-%m-%d %H:%M:%S}", text
    )


def span(value: timedelta | float | None) -> str:
    """Seconds or a timedelta as people say it: ``0.4 s``, ``52 s``, ``8 min 46 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for size, unit, rest, rest_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            more = whole % size // rest
            return f"{whole // size} {unit}" + (f" {more} {rest_unit}" if more else "")
    return f"{whole} s"


def ago(value: datetime | None, now: datetime | None = None) -> str:
    """``4 min ago``, ``in 2 h``; one unit is enough."""
    if value is None:
        return NOTHING
    seconds = ((now or timezone.now()) - value).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= size:
            count = int(abs(seconds) // size)
            return f"{count} {unit} ago" if seconds > 0 else f"in {count} {unit}"
    return "just now" if seconds >= 0 else "in a moment"


def badge(status: str, label: str | None = None) -> SafeString:
    """The word of a status in its colour. ``label``: where the word differs from the value."""
    return format_html('<span class="badge badge-{}">{}</span>', status, label or str(status).replace("_", " ").capitalize())


def link(url: str, text: Any) -> SafeString | str:
    return format_html('<a href="{}">{}</a>', url, text) if url else str(text)


def exact_json(value: Any) -> str:
    """One line of JSON; ``Decimal`` as a number with all its digits."""
    try:
        return canonical_body(value).decode()
    except (UnicodeEncodeError, RecursionError):  # half of a surrogate pair, nesting without end
        return compact_json(value)


def compact_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
