"""Times that lists are filtered by: a period up to now, or a range; the same rules for the console and the API."""

from __future__ import annotations

from datetime import datetime, timedelta

from syncs.errors import ConfigError

PRESETS: dict[str, tuple[str, timedelta]] = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
Bounds = tuple[datetime | None, datetime | None]


def bounds(since: str, start: datetime | None, end: datetime | None, *, now: datetime) -> Bounds:
    """(from, before), either may be open. Raises ``ConfigError`` for what is no period, a period and a range at once, or a
    range that ends before it starts; ``field`` is ``since`` or ``to``."""
    if since:
        if since not in PRESETS:
            raise ConfigError(f"there is no period “{since[:40]}”. Known: {', '.join(PRESETS)}.", field="since")
        if start or end:
            raise ConfigError("choose either a period or a range, not both.", field="since")
        return now - PRESETS[since][1], None
    if start and end and end <= start:
        raise ConfigError("the range ends before it starts.", field="to")
    return start, end
