"""The records of batches whose job is not settled, kept so that any worker can settle it with what was really sent.

Kept as compressed JSON lines, one a record: ``[key, payload hash, sent hash or null, payload, warehouse row]``, the last two as
JSON text.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from syncs.engine.hashing import row_json
from syncs.engine.ports import Send, StepUpdate
from syncs.models import JobBatch
from syncs.records import Operation, Record, RowValues

_FAST = 1  # compression level: a batch is written while rows wait


class JobBatches:
    """Of one run. ``write`` belongs into the recorder's transaction and may be repeated; ``written`` after its commit."""

    def __init__(self, *, sync_id: int, columns: Sequence[str]) -> None:
        self._sync_id = sync_id
        self._columns = columns
        self._kept: dict[int, set[str]] = {}  # step number -> idempotency keys

    def take_over(self, sends: Iterable[Send]) -> None:
        for send in sends:
            if send.job is not None:
                self._kept.setdefault(send.step_number, set()).add(send.idempotency_key)

    def write(self, updates: Sequence[StepUpdate]) -> None:
        """Keep the records of new jobs, forget those of jobs that ended."""
        if not self._kept and not any(update.has_jobs for update in updates):
            return
        gone: set[str] = set()
        for update in updates:
            kept = self._kept.get(update.number, set())
            jobs = {send.idempotency_key: send for send in update.sends if send.job is not None}
            gone |= kept - jobs.keys()
            for key in jobs.keys() - kept:
                packed = _packed(jobs[key].records, self._columns)
                JobBatch.objects.bulk_create(
                    [JobBatch(sync_id=self._sync_id, idempotency_key=key, records=packed)], ignore_conflicts=True
                )
        if gone:
            JobBatch.objects.filter(sync_id=self._sync_id, idempotency_key__in=gone).delete()

    def written(self, updates: Sequence[StepUpdate]) -> None:
        for update in updates:
            if update.has_jobs:
                self._kept[update.number] = {send.idempotency_key for send in update.sends if send.job is not None}
            elif self._kept:
                self._kept.pop(update.number, None)

    def read(self, sends: Iterable[Send]) -> None:
        """Give the sends their records back. One whose records are gone loses its job, and counts as a lost call."""
        for send in sends:
            if send.job is None:
                continue
            packed = JobBatch.objects.filter(sync_id=self._sync_id, idempotency_key=send.idempotency_key)
            found = packed.values_list("records", flat=True).first()
            if found is None:
                send.job = None
            else:
                send.records = list(_unpacked(bytes(found), send.operation, self._columns))

    def forget_others(self) -> None:
        """What no step names any more. Only for a run that took over everything there is."""
        known = {key for keys in self._kept.values() for key in keys}
        JobBatch.objects.filter(sync_id=self._sync_id).exclude(idempotency_key__in=known).delete()


def _packed(records: Sequence[Record], columns: Sequence[str]) -> bytes:
    lines = (
        orjson.dumps(
            [
                record.key,
                record.payload_hash,
                record.sent_hash,
                record.body.decode(),
                row_json(columns, record.row) if record.row else "",
            ],
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for record in records
    )
    packer = zlib.compressobj(_FAST)
    return b"".join([packer.compress(line) for line in lines] + [packer.flush()])


def _unpacked(packed: bytes, operation: Operation, columns: Sequence[str]) -> Iterator[Record]:
    for line in zlib.decompress(packed).splitlines():
        key, payload_hash, sent_hash, body, row = orjson.loads(line)
        payload = json.loads(body, parse_float=Decimal)
        yield Record(
            key,
            operation,
            payload,
            body.encode(),
            payload_hash,
            _row(json.loads(row, parse_float=Decimal), columns) if row else (),
            had_entry=True,
            sent_hash=sent_hash,
        )


def _row(named: Mapping[str, Any], columns: Sequence[str]) -> RowValues:
    """As read then, or nothing where the query has other columns now: values under wrong names would mislead."""
    return tuple(named.values()) if list(named) == list(columns) else ()
