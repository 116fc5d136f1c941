"""Rows that a reprocess sends as they are: the payload as stored or as corrected, or a delete by the key. Nothing is read and
nothing mapped; detection, batches and answers are those of every other row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal

from syncs.engine.detection import Verdict, judge
from syncs.engine.hashing import hash64
from syncs.engine.intake import Intake, vanished_records
from syncs.engine.plan import Plan
from syncs.engine.ports import Counts, Ledger, Ready, Rejected
from syncs.errors import ErrorType
from syncs.records import Record, RowError


class ReadyReader:
    """Turns ready rows into intakes, counting them as read."""

    def __init__(self, *, plan: Plan, chunks: Iterable[list[Ready]], ledger: Ledger, counts: Counts) -> None:
        self._plan = plan
        self._chunks = chunks
        self._ledger = ledger
        self._counts = counts

    def credit_this_run(self) -> None:
        """As ``Reader.credit_this_run``."""
        self._plan = replace(self._plan, is_resumed=True)

    def __iter__(self) -> Iterator[Intake]:
        for chunk in self._chunks:
            self._counts.read += len(chunk)
            yield self._taken(chunk)

    def _taken(self, chunk: list[Ready]) -> Intake:
        intake = Intake()
        known = self._ledger.lookup([item.key for item in chunk])
        for item in chunk:
            result = _record_of(self._plan, item)
            content = result.content_hash if isinstance(result, Rejected) else result.payload_hash
            verdict = judge(self._plan, known.get(item.key), content)
            if verdict is Verdict.CREDITED_ACCEPTED:
                self._counts.accepted += 1
            elif verdict is Verdict.CREDITED_DEAD or isinstance(result, Rejected):
                self._counts.dead_lettered += 1
                if verdict is not Verdict.CREDITED_DEAD and isinstance(result, Rejected):
                    intake.rejected.append(result)
            else:
                intake.records.append(result)
        return intake


def _record_of(plan: Plan, item: Ready) -> Record | Rejected:
    if item.operation not in plan.operations:
        text = (
            f"The destination object has no operation {item.operation.value} any more, by which this payload was sent. "
            "Reprocess the row of today instead, or discard it."
        )
        return _rejected(item, RowError(ErrorType.SCHEMA_DRIFT, text, code="no_operation"))
    if not item.body:
        return vanished_records(plan, [(item.key, None)])[0]
    try:
        payload = json.loads(item.body, parse_float=Decimal)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        return _rejected(item, RowError(ErrorType.MAPPING, "The payload is no JSON object that can be read.", code="not_json"))
    body = item.body.encode()
    sent = hash64(body)
    return Record(
        item.key,
        item.operation,
        payload,
        body,
        item.content_hash,
        had_entry=True,
        sent_hash=None if sent == item.content_hash else sent,
    )


def _rejected(item: Ready, error: RowError) -> Rejected:
    operation = item.operation
    body = item.body.encode()
    record = Record(item.key, operation, {}, body, item.content_hash, had_entry=True) if body else None
    return Rejected(item.key, (), error, item.content_hash, record, operation=operation, attempts=0)
