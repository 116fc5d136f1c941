"""Requests a minute of each caller of the API, counted in the database that all web processes share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from syncs.models import ApiWindow

_COUNT = """
    INSERT INTO {table} (caller, minute, count) VALUES (%s, %s, 1)
    ON CONFLICT (caller) DO UPDATE SET
        count = CASE WHEN {table}.minute = excluded.minute THEN {table}.count + 1 ELSE 1 END,
        minute = excluded.minute
    RETURNING count
"""


@dataclass(frozen=True, slots=True)
class Allowance:
    """``remaining``: requests left in this minute; ``reset``: seconds until the next begins."""

    limit: int
    remaining: int
    reset: int
    is_exceeded: bool


def sweep(now: datetime) -> int:
    """Forget who has not called for an hour. Returns how many."""
    return ApiWindow.objects.filter(minute__lt=int(now.timestamp()) // 60 - 60).delete()[0]


def count(caller: str, *, limit: int, now: datetime) -> Allowance:
    """Count one request: a single statement, so that of two at the same moment both are counted."""
    seconds = int(now.timestamp())
    with connection.cursor() as cursor:
        cursor.execute(_COUNT.format(table=ApiWindow._meta.db_table), [caller[:64], seconds // 60])
        used = int(cursor.fetchone()[0])
    return Allowance(limit, max(0, limit - used), 60 - seconds % 60, used > limit)
