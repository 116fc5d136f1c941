"""``Retry-After`` in both its forms."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_SECONDS = 3600.0
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?")


def parse_retry_after(value: str | None, *, now: datetime, max_seconds: float = MAX_WAIT_SECONDS) -> float | None:
    """Seconds to wait, 0 for a date that has passed, at most ``max_seconds``; None where the value says nothing.

    ``now`` is aware. Both ``120`` and ``Wed, 21 Oct 2026 07:28:00 GMT`` are read; some servers send fractions of a second.
    """
    text = (value or "").strip()
    if not text:
        return None
    if _SECONDS.fullmatch(text):
        return min(float(text), max_seconds)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), max_seconds)
