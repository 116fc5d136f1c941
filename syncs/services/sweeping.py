"""Once an hour: what the API remembers for a while is forgotten."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.utils import timezone

from syncs.services import heartbeats, idempotency, rate_limits

logger = logging.getLogger(__name__)
EVERY = timedelta(hours=1)


def sweep_due() -> bool:
    """From a tick: answers of repeats after a day, and who called how often after an hour. Whether it was our turn."""
    if not heartbeats.take_turn(heartbeats.SWEEP, EVERY):
        return False
    now = timezone.now()
    answers, callers = idempotency.sweep(), rate_limits.sweep(now)
    logger.debug("Swept %s answers of repeats and %s callers.", answers, callers)
    return True
