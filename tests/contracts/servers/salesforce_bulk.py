"""Emulator of Salesforce's Bulk API 2.0 beside its REST API: jobs, uploads as CSV, results in an order of their own."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from tests.contracts.servers.base import fault_of
from tests.contracts.servers.salesforce import CODES, KEY, Salesforce
from tests.servers import Answer, Request


@dataclass
class _Job:
    """``looks``: how often its state is still asked before it ends."""

    rows: list[dict[str, str]] = field(default_factory=list)
    state: str = "Open"
    looks: int = 1
    written: list[dict[str, str]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)
    message: str = ""


@dataclass
class SalesforceBulk(Salesforce):
    """``columns``: names it knows; a job with another one fails as a whole. ``stops_after``: rows after which a job is aborted.
    ``forgets``: keys that stand in no list of results. ``is_gone``: jobs are deleted when they are asked after."""

    jobs: dict[str, _Job] = field(default_factory=dict)
    columns: tuple[str, ...] = (KEY, "email", "note", "Account.Key__c")
    stops_after: int = 1_000_000
    forgets: tuple[str, ...] = ()
    is_gone: bool = False
    wait: str = ""  # of a header Retry-After, which Salesforce does not send: it lets a test go on at once

    def answer(self, request: Request) -> Answer:
        parts = request.path.strip("/").split("/")[3:]
        if parts[:2] != ["jobs", "ingest"]:
            return super().answer(request)
        if request.method == "POST":
            return self._create(request)
        if self.is_gone or parts[2] not in self.jobs:
            return Answer.json([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}], 404)
        job = self.jobs[parts[2]]
        if request.method == "PUT":
            assert (parts[3], request.headers["content-type"], job.state) == ("batches", "text/csv", "Open")
            job.rows = list(csv.DictReader(io.StringIO(request.body.decode(), newline=""), strict=True))
            return Answer(201)
        if request.method == "PATCH":
            assert request.json() == {"state": "UploadComplete"}
            job.state = "UploadComplete"
            return self._told(parts[2])
        lists = {"successfulResults": job.written, "failedResults": job.failed, "unprocessedrecords": job.left}
        return self._asked(parts[2]) if len(parts) == 3 else _table(lists[parts[3]])

    def _create(self, request: Request) -> Answer:
        wanted = {
            "object": "Contact",
            "externalIdFieldName": KEY,
            "operation": "upsert",
            "contentType": "CSV",
            "lineEnding": "LF",
        }
        assert request.json() == wanted
        name = f"750{len(self.jobs)}"
        self.jobs[name] = _Job()
        return self._told(name)

    def _told(self, name: str) -> Answer:
        job = self.jobs[name]
        counts = {"numberRecordsProcessed": len(job.written) + len(job.failed), "numberRecordsFailed": len(job.failed)}
        message = {"errorMessage": job.message} if job.message else {}
        headers = {"Retry-After": self.wait} if self.wait else {}
        return Answer.json({"id": name, "state": job.state, **counts, **message}, headers=headers)

    def _asked(self, name: str) -> Answer:
        job = self.jobs[name]
        if job.state == "UploadComplete":
            job.state = "InProgress"
        elif job.state == "InProgress":
            job.looks -= 1
            if job.looks < 0:
                self._work(job)
        return self._told(name)

    def _work(self, job: _Job) -> None:
        unknown = [name for name in job.rows[0] if name not in self.columns]
        if unknown:
            job.state, job.left = "Failed", job.rows
            job.message = f"InvalidBatch : Field name not found : {unknown[0]}"
            return
        for row in job.rows[: self.stops_after]:
            self._take(job, row)
        job.left = job.rows[self.stops_after :]
        job.state = "Aborted" if job.left else "JobComplete"
        job.written.reverse()
        job.failed.reverse()

    def _take(self, job: _Job, row: dict[str, str]) -> None:
        record = {name: value for name, value in row.items() if value not in ("", "#N/A")}
        fault = fault_of(record)
        if fault:
            error = f"{CODES[fault.kind]}:{fault.message}:{fault.field} --"
            job.failed.append({"sf__Id": "", "sf__Error": error, **row})
        elif row[KEY] not in self.forgets:
            created = str(self.keep(row[KEY], record)).lower()
            job.written.append({"sf__Id": f"003{row[KEY]}", "sf__Created": created, **row})


def _table(rows: list[dict[str, Any]]) -> Answer:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["sf__Id", "sf__Error"], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return Answer(200, {"Content-Type": "text/csv"}, out.getvalue().encode())
