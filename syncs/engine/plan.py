"""What a run is asked to do, with every setting resolved. Plain values, fixed for the whole run."""

from __future__ import annotations

from dataclasses import dataclass, field

from syncs.choices import Detection, SyncMode
from syncs.engine.retry import RetryPolicy
from syncs.records import Operation

MODE_OPERATION = {
    SyncMode.INSERT: Operation.INSERT,
    SyncMode.UPDATE: Operation.UPDATE,
    SyncMode.UPSERT: Operation.UPSERT,
    SyncMode.MIRROR: Operation.UPSERT,
    SyncMode.DELETE: Operation.DELETE,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """``is_complete_read``: the run reads every row of the query (no limit, no chosen keys, no watermark).
    ``is_forced``: a reprocess; what the ledger holds back is sent all the same. ``is_resumed``: an earlier worker began it.
    ``key_fields``: destination fields that carry the key, for deletes of rows that vanished. ``has_jobs``: calls may answer
    with a job; at most ``open_jobs`` are open at once, since their rows stay in memory.
    """

    run_id: int
    sync_id: int
    key_columns: tuple[str, ...]
    mode: SyncMode = SyncMode.UPSERT
    detection: Detection = Detection.CHANGED_ROWS
    key_fields: tuple[str, ...] = ()
    operations: frozenset[Operation] = frozenset(Operation)  # those of the destination object
    idempotent: frozenset[Operation] = frozenset()
    batch_records: int = 100
    batch_bytes: int = 1_000_000
    record_bytes: int = 1_000_000
    concurrency: int = 4
    has_jobs: bool = False
    open_jobs: int = 10
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker_threshold: int = 5
    fail_on_mapping_error: bool = False
    is_forced: bool = False
    is_full: bool = False  # send rows although the ledger says they are unchanged
    is_complete_read: bool = True
    is_resumed: bool = False
    delete_guard_percent: int = 10
    delete_guard_rows: int = 1000
    approved_delete_count: int | None = None
    lease_margin_seconds: float = 5.0
    longest_wait_seconds: float = 600.0  # a longer wait gives the worker back

    @property
    def operation(self) -> Operation:
        return MODE_OPERATION[self.mode]
