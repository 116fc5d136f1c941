"""Until when something is muted: a span that a page offers, or a time that somebody writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils.dateparse import parse_datetime

from dlq.services.moves import ActRefusedError

SPANS: dict[str, tuple[str, timedelta]] = {
    "1h": ("1 hour", timedelta(hours=1)),
    "4h": ("4 hours", timedelta(hours=4)),
    "1d": ("1 day", timedelta(days=1)),
    "3d": ("3 days", timedelta(days=3)),
    "7d": ("7 days", timedelta(days=7)),
}
MOST = timedelta(days=30)


def end(text: str, now: datetime) -> datetime:
    """Raises ``ActRefusedError`` for what is no time, is over, or is more than 30 days away: a mute is no way to switch off."""
    text = text.strip()
    if text in SPANS:
        return now + SPANS[text][1]
    try:
        ends_at = parse_datetime(text)
    except ValueError:
        ends_at = None
    if ends_at is None:
        raise ActRefusedError("Until when? Choose a span, or give a time like 2026-11-24 18:00 (UTC).", field="until")
    if ends_at.tzinfo is None:
        ends_at = ends_at.replace(tzinfo=UTC)
    if ends_at <= now:
        raise ActRefusedError("That time is over already. Choose a later one.", field="until")
    if ends_at > now + MOST:
        raise ActRefusedError("At most 30 days: what is muted for longer is better switched off or changed.", field="until")
    return ends_at


def said(ends_at: datetime) -> str:
    return f"{ends_at.astimezone(UTC):%-d %b %H:%M} UTC"
