"""The demo's journey: countries, then airports, each by a run like any other; and its outcome in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db.models import Count

from dlq.models import DLQEntry
from syncs.choices import RUN_TERMINAL, Trigger
from syncs.errors import ERROR_TYPES, ErrorType
from syncs.models import Run, Sync
from syncs.services import following, runs


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts of one ended run. ``by_error_type``: this run's dead letters, most first."""

    run_id: int
    status: str
    read: int
    accepted: int
    unchanged: int
    skipped: int
    dead_lettered: int
    pending: int
    by_error_type: dict[str, int]
    seconds: float
    failure: str = ""

    @property
    def is_complete(self) -> bool:
        return self.status in ("succeeded", "partial")

    def as_json(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "accepted": self.accepted,
            "unchanged": self.unchanged,
            "skipped": self.skipped,
            "dead_lettered": self.dead_lettered,
            "by_error_type": self.by_error_type,
            "seconds": self.seconds,
            "pending": self.pending,
            "status": self.status,
            "run": self.run_id,
        }


def run_sync(sync: Sync, *, by: AbstractUser) -> Outcome:
    """Request a run and carry it out here; where a worker was quicker, wait for its end. Ctrl-C gives it back to the queue."""
    run = following.wait(runs.request(sync=sync, trigger=Trigger.MANUAL, by=by, detail="demo"), patience=0)
    if run.status not in RUN_TERMINAL:
        raise KeyboardInterrupt
    return outcome(run)


def outcome(run: Run) -> Outcome:
    entries = DLQEntry.objects.filter(run=run).order_by().values_list("error_type")
    counted = sorted(entries.annotate(number=Count("id")), key=lambda pair: (-pair[1], pair[0]))
    duration = run.duration()
    return Outcome(
        run_id=run.pk,
        status=run.status,
        read=run.read_count,
        accepted=run.accepted_count,
        unchanged=run.unchanged_count,
        skipped=run.skipped_count,
        dead_lettered=run.dead_lettered_count,
        pending=run.pending_count,
        by_error_type=dict(counted),
        seconds=round(duration.total_seconds(), 2) if duration else 0.0,
        failure=run.failure_message or run.reason,
    )


def report(sync: Sync, found: Outcome) -> str:
    """The outcome as a small table."""
    rate = f"   ({found.read / found.seconds:,.0f} rows/s)" if found.seconds else ""
    lines = [f"{sync.name}: run {found.run_id} {found.status} in {found.seconds:.1f} s{rate}"]
    counts = [("read", found.read), ("accepted", found.accepted), ("unchanged", found.unchanged), ("skipped", found.skipped)]
    counts.append(("dead-lettered", found.dead_lettered))
    if found.pending:
        counts.append(("pending", found.pending))
    lines += [f"  {name:<26}{count:>9,}" for name, count in counts]
    lines += [f"    {ERROR_TYPES[ErrorType(name)].label:<24}{count:>9,}" for name, count in found.by_error_type.items()]
    if found.failure and not found.is_complete:
        lines.append(f"  {found.failure}")
    return "\n".join(lines)
