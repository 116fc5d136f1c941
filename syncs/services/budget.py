"""The request budget of a connection, shared by every run of every worker: a fixed window counted in one row."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from syncs.models import RateWindow


class Unlimited:
    def take(self, wanted: int) -> tuple[int, float]:
        return wanted, 0.0


class SharedBudget:
    """At most ``limit`` calls in each ``window_seconds`` over all runs that write through the connection."""

    def __init__(self, *, connection_id: int, limit: int, window_seconds: float) -> None:
        self._connection_id = connection_id
        self._limit = limit
        self._window = timedelta(seconds=window_seconds)

    def take(self, wanted: int) -> tuple[int, float]:
        """(calls granted, seconds until the window ends). The row lock makes two workers take turns."""
        with transaction.atomic():
            RateWindow.objects.get_or_create(
                connection_id=self._connection_id, defaults={"window_started_at": timezone.now(), "used_count": 0}
            )
            window = RateWindow.objects.select_for_update().get(connection_id=self._connection_id)
            now = timezone.now()
            if now >= window.window_started_at + self._window:
                window.window_started_at, window.used_count = now, 0
            granted = max(0, min(wanted, self._limit - window.used_count))
            RateWindow.objects.filter(connection_id=self._connection_id).update(
                window_started_at=window.window_started_at, used_count=window.used_count + granted
            )
        remaining = (window.window_started_at + self._window - now).total_seconds()
        return granted, max(0.01, remaining)
