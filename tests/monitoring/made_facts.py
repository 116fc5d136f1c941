"""Facts for tests of judgements: plain values, no database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring.judging.facts import ConnectionFact, Facts, RunFact

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)


def connection(pk: int, role: str, name: str, **values: Any) -> ConnectionFact:
    made = {"state": "ok", "state_message": "", "credential_expires_at": None, **values}
    return ConnectionFact(id=pk, name=name, role=role, **made)


SOURCE = connection(1, "source", "Warehouse")
DESTINATION = connection(2, "destination", "CRM")


def run(pk: int, status: str = "succeeded", hours_ago: float = 1, *, minutes: float = 5, **values: Any) -> RunFact:
    ended = NOW - timedelta(hours=hours_ago)
    counts = {"read": 1_000, "accepted": 1_000 - values.get("dead_lettered", 0)} if status != "failed" else {}
    return RunFact(
        **{
            "id": pk,
            "status": status,
            "is_regular": True,
            "queued_at": ended - timedelta(minutes=minutes),
            "started_at": ended - timedelta(minutes=minutes),
            "finished_at": ended,
            **counts,
            **values,
        }
    )


def runs(*statuses: str, every: float = 1, **values: Any) -> tuple[RunFact, ...]:
    """Newest first, one every so many hours."""
    count = len(statuses)
    return tuple(run(count - n, status, (n + 1) * every, **values) for n, status in enumerate(statuses))


def facts(**values: Any) -> Facts:
    return Facts(
        **{
            "sync_id": 12,
            "name": "Contacts",
            "now": NOW,
            "created_at": NOW - timedelta(days=90),
            "source": SOURCE,
            "destination": DESTINATION,
            "status": "healthy",
            "has_worked": True,
            **values,
        }
    )
