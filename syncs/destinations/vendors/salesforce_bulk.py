"""Bulk API 2.0 beside the collections of Salesforce: large upserts become jobs that are asked after until they end.

Facts: developer.salesforce.com/docs/platform/api-asynch/guide/, its pages on creating a job, uploading its data, closing it,
its states, its failed and unprocessed results: CSV of what was sent with ``sf__Id`` and ``sf__Error``, in an order of its own;
``#N/A`` empties a field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from syncs.destinations.http_api.config import HttpConfig
from syncs.destinations.http_api.destination import HttpDestination
from syncs.destinations.vendors.base import VendorDestination
from syncs.records import NOT_ATTEMPTED, Batch, BatchResult, Job, Operation, RecordOutcome, Signal

MOST_RECORDS = 10_000  # Salesforce works a job off in batches of so many
PER_CALL = 200
_SUFFIX = " by Bulk API"
_JOB = "/jobs/ingest/{job.id}"


def described(name: str, key: str) -> tuple[str, dict[str, Any]]:
    """(a name of its own, the object's settings of the kind ``http``)."""
    upsert = {
        "path": "/jobs/ingest",
        "per_call": "batch",
        "body": {
            "kind": "constants",
            "constants": {
                "object": name,
                "externalIdFieldName": key,
                "operation": "upsert",
                "contentType": "CSV",
                "lineEnding": "LF",
            },
        },
        "key_field": key,
        "unique_keys_in_batch": True,
        "error": {"code": "[].errorCode", "message": "[].message"},
        "job": {
            "id": "id",
            "steps": [
                {"path": f"{_JOB}/batches", "method": "PUT", "body": {"kind": "csv", "null_text": "#N/A"}},
                {"path": _JOB, "method": "PATCH", "body": {"kind": "constants", "constants": {"state": "UploadComplete"}}},
            ],
            "poll": {"path": _JOB, "at_most_seconds": 86_400},
            "state": "state",
            "working": ["Open", "UploadComplete", "InProgress"],
            "done": ["JobComplete", "Aborted"],  # an aborted job has written a part: its lists say which
            "failed": ["Failed"],
            "failed_means": "refused",  # upserts: what it did write is written again
            "error": {"message": "errorMessage"},
            "reads": [
                {"name": "written", "path": f"{_JOB}/successfulResults/", "answers": "csv"},
                {"name": "failed", "path": f"{_JOB}/failedResults/", "answers": "csv", "unless_zero": "numberRecordsFailed"},
                {"name": "left", "path": f"{_JOB}/unprocessedrecords/", "answers": "csv"},
            ],
            "not_attempted": {"results": "left", "key": key},
        },
        "locator": {
            "kind": "key",
            "results": "written",
            "result_id": key,
            "errors": "failed",
            "key": key,
            "message": "sf__Error",
        },
        "id": "sf__Id",
        "detail": {"path": "sf__Created", "values": {"true": "created", "false": "updated"}},
    }
    limits = {"max_records": MOST_RECORDS, "max_bytes": 10_000_000, "max_answer_bytes": 20_000_000}
    return name + _SUFFIX, {"limits": limits, "operations": {"upsert": upsert}}


def rules(types: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """For ``sf__Error``, which reads ``CODE:text:Field,Field --``."""
    return [
        {"text": rf"^{code}:(?:.*:(?P<field>[\w.]+)[,\w. ]*--)?", "type": error_type}
        for error_type, codes in types.items()
        for code in codes
    ]


class SalesforceDestination(VendorDestination):
    """``above``: an upsert of more records is one job; fewer go out by collections, so many calls as it takes."""

    above = MOST_RECORDS

    def __init__(self, config: HttpConfig, object_name: str, **parts: Any) -> None:
        super().__init__(config, object_name, **parts)
        name = object_name + _SUFFIX
        self._bulk = HttpDestination(config, name, beside=self, **parts) if name in config.objects else None
        if self._bulk is not None:
            large = self._bulk.capabilities
            self.capabilities = replace(
                self.capabilities,
                max_records=large.max_records,
                max_bytes=large.max_bytes,
                has_jobs=True,
                max_open_jobs=large.max_open_jobs,
            )

    def write(self, batch: Batch) -> BatchResult:
        if self._bulk is not None and batch.operation is Operation.UPSERT and len(batch.records) > self.above:
            return self._bulk.write(batch)
        return super().write(batch) if len(batch.records) <= PER_CALL else self._in_several_calls(batch)

    def confirm(self, batch: Batch, job: Job) -> BatchResult:
        return super().confirm(batch, job) if self._bulk is None else self._bulk.confirm(batch, job)

    def _in_several_calls(self, batch: Batch) -> BatchResult:
        """One after the other, until Salesforce wants us to stop. What is not sent then counts as not attempted."""
        outcomes: list[RecordOutcome] = []
        result = BatchResult([])
        for start in range(0, len(batch.records), PER_CALL):
            part = batch.records[start : start + PER_CALL]
            result = super().write(replace(batch, records=part, idempotency_key=f"{batch.idempotency_key}-{start}"))
            if result.signal is not Signal.OK:
                break
            outcomes.extend(result.outcomes)
        if not outcomes:
            result.outcomes = [*result.outcomes, *[NOT_ATTEMPTED] * (len(batch.records) - len(result.outcomes))]
            return result
        if result.signal is Signal.UNKNOWN:  # the calls before are settled; of this one nobody knows
            outcomes.extend(result.outcomes)
        result.outcomes = [*outcomes, *[NOT_ATTEMPTED] * (len(batch.records) - len(outcomes))]
        result.signal, result.suspects = Signal.OK, ()
        return result
