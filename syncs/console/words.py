"""Settings of a sync in words."""

from __future__ import annotations

import re

from syncs.choices import ScheduleKind, Trigger
from syncs.models import Run, Sync

_DAYS = {"*": "daily", "1-5": "Monday to Friday", "0": "Sundays", "7": "Sundays", "6,0": "weekends", "0,6": "weekends"}
_DAYS |= {str(n): f"{day}s" for n, day in enumerate(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"), 1)}


def schedule(sync: Sync) -> str:
    """``every 15 min``, ``daily at 02:00 (Europe/Berlin)``; a cron expression that is not simple stands as it is."""
    if sync.schedule_kind == ScheduleKind.INTERVAL:
        minutes = sync.interval_minutes or 0
        if minutes % 1440 == 0 and minutes:
            return "every day" if minutes == 1440 else f"every {minutes // 1440} days"
        if minutes % 60 == 0 and minutes:
            return "hourly" if minutes == 60 else f"every {minutes // 60} h"
        return f"every {minutes} min"
    if sync.schedule_kind == ScheduleKind.CRON:
        return f"{_cron(sync.cron)} ({sync.timezone})" if sync.timezone != "UTC" else _cron(sync.cron)
    return "by hand"


def _cron(expression: str) -> str:
    fields = expression.split()
    if len(fields) == 5 and fields[2:4] == ["*", "*"]:
        minute, hour, _, _, days = fields
        at_minute = re.fullmatch(r"[0-5]?\d", minute)
        if at_minute and re.fullmatch(r"[01]?\d|2[0-3]", hour) and days in _DAYS:
            return f"{_DAYS[days]} at {int(hour):02d}:{int(minute):02d}"
        if at_minute and hour == "*" and days == "*":
            return f"hourly at :{int(minute):02d}"
        if (every := re.fullmatch(r"\*/(\d+)", minute)) and hour == "*" and days == "*":
            return f"every {every[1]} min"
    return f"cron {expression}"


def started_by(run: Run) -> str:
    """Who or what asked for the run: ``ana (manual)``, ``schedule``, ``bo (reprocess)``."""
    trigger = Trigger(run.trigger)
    word = "API" if trigger is Trigger.API else trigger.value
    return f"{run.requested_by} ({word})" if run.requested_by else word
