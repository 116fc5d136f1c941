"""Counts of a run: as columns, and what the next worker of a run that several had in turn must not forget."""

from __future__ import annotations

from syncs.choices import SyncMode
from syncs.engine.ports import Counts
from syncs.models import Run


def count_columns(counts: Counts) -> dict[str, int]:
    """Run columns for the engine's totals; what is pending follows from them."""
    return {
        "read_count": counts.read,
        "vanished_count": counts.vanished,
        "accepted_count": counts.accepted,
        "created_count": counts.created,
        "updated_count": counts.updated,
        "deleted_count": counts.deleted,
        "unchanged_count": counts.unchanged,
        "skipped_count": counts.skipped,
        "dead_lettered_count": counts.dead_lettered,
        "request_count": counts.requests,
        "retry_count": counts.retries,
        "bytes_sent": counts.bytes_sent,
    }


def recorded_counts(run: Run) -> Counts:
    """All that the last commit says, for a run that ends without reading again."""
    return Counts(
        read=run.read_count,
        vanished=run.vanished_count,
        accepted=run.accepted_count,
        created=run.created_count,
        updated=run.updated_count,
        deleted=run.deleted_count,
        unchanged=run.unchanged_count,
        skipped=run.skipped_count,
        dead_lettered=run.dead_lettered_count,
        requests=run.request_count,
        retries=run.retry_count,
        bytes_sent=run.bytes_sent,
    )


def carried_counts(run: Run, mode: SyncMode) -> Counts:
    """What the next worker starts from. Rows are read again and credited by the ledger, so they start from none; rows that a
    mirror deleted are not met again and keep their counts, as do calls."""
    counts = Counts(
        created=run.created_count,
        updated=run.updated_count,
        deleted=run.deleted_count,
        requests=run.request_count,
        retries=run.retry_count,
        bytes_sent=run.bytes_sent,
    )
    if mode is SyncMode.MIRROR:
        counts.vanished = counts.accepted = run.deleted_count
    return counts
