"""Emulators of APIs that take a batch in as a job, from the documented answers of three of them.

- ``JobStatus``: one call begins the job, the answer to the poll holds the results in order; jobs vanish (Zendesk:
  job statuses are kept for an hour).
- ``ImportErrors``: 202, a job with counts, and paged errors that echo the payload as sent (Klaviyo bulk import of profiles).
- ``Ingest``: create, upload of a CSV, the word to begin, and lists of results as CSV, in no order (Salesforce Bulk API 2.0).
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from tests.contracts.servers.base import ContractServer, fault_of
from tests.servers import Answer, Request


@dataclass
class JobServer(ContractServer):
    """``looks``: polls until a job is done. ``jobs``: name -> the records as sent. ``ends_as``: how jobs end; empty: well.
    ``kept``: jobs whose status is still told; None: all."""

    looks: int = 1
    ends_as: str = ""
    base: str = ""
    jobs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    forgets: bool = False

    def begin(self, records: list[dict[str, Any]]) -> str:
        name = f"job-{len(self.jobs) + 1}"
        self.jobs[name] = records
        self.asked[name] = 0
        return name

    def is_ready(self, name: str) -> bool:
        """Counts the look; the records are written when the job is done."""
        self.asked[name] += 1
        if self.asked[name] < self.looks:
            return False
        if name not in self.done:
            self.done.add(name)
            self.write(self.jobs[name])
        return True

    def flat(self, record: dict[str, Any]) -> dict[str, Any]:
        return record

    def write(self, records: list[dict[str, Any]]) -> None:
        for record in map(self.flat, records):
            if not self.ends_as and fault_of(record) is None:
                self.keep(record["external_id"], record)


@dataclass
class JobStatus(JobServer):
    def answer(self, request: Request) -> Answer:
        if request.method == "GET" and request.path == "/users/me.json":
            return Answer.json({"user": {}})
        if request.method == "POST":
            name = self.begin(request.json()["users"])
            url = f"{self.base}/job_statuses/{name}.json"
            return Answer.json({"job_status": {"id": name, "url": url, "status": "queued", "results": None}})
        name = request.path.removeprefix("/job_statuses/").removesuffix(".json")
        if self.forgets or name not in self.jobs:
            return Answer.json({"error": "RecordNotFound", "description": "Not found"}, 404)
        status = {"id": name, "status": "working", "results": None, "message": None}
        if self.is_ready(name):
            status["status"], status["message"] = self.ends_as or "completed", "Completed"
            status["results"] = [self.told(index, user) for index, user in enumerate(self.jobs[name])]
        return Answer.json({"job_status": status})

    def told(self, index: int, user: dict[str, Any]) -> dict[str, Any]:
        if fault := fault_of(user):
            return {"index": index, "status": "Failed", "error": fault.kind, "details": fault.message, "field": fault.field}
        return {"index": index, "id": 1000 + index, "status": "Updated", "external_id": user["external_id"]}


@dataclass
class ImportErrors(JobServer):
    page: int = 2

    def flat(self, record: dict[str, Any]) -> dict[str, Any]:
        attributes: dict[str, Any] = record["attributes"]
        return attributes

    def answer(self, request: Request) -> Answer:
        if request.path == "/accounts":
            return Answer.json({"data": []})
        if request.method == "POST":
            name = self.begin(request.json()["data"]["attributes"]["profiles"]["data"])
            return Answer.json(self.status(name, "queued"), 202)
        parts = request.path.split("/")
        name = parts[2]
        if self.forgets or name not in self.jobs:
            return Answer.json({"errors": [{"code": "not_found", "detail": "No such job."}]}, 404)
        if parts[-1] == "import-errors":
            return self.errors(name, int(request.query.get("page[cursor]", ["0"])[0]))
        is_ready = self.is_ready(name)
        return Answer.json(self.status(name, self.ends_as or "complete" if is_ready else "processing"))

    def faults(self, name: str) -> list[tuple[int, Any]]:
        return [(i, fault) for i, one in enumerate(self.jobs[name]) if (fault := fault_of(one["attributes"]))]

    def status(self, name: str, state: str) -> dict[str, Any]:
        total, failed = len(self.jobs[name]), len(self.faults(name))
        counts = {"total_count": total, "completed_count": total - failed, "failed_count": failed}
        return {"data": {"type": "profile-bulk-import-job", "id": name, "attributes": {"status": state, **counts}}}

    def errors(self, name: str, start: int) -> Answer:
        found = [
            {
                "type": "import-error",
                "attributes": {
                    "code": fault.kind,
                    "title": "Invalid input.",
                    "detail": fault.message,
                    "source": {"pointer": f"/data/attributes/profiles/data/{index}/attributes/{fault.field}"},
                    "original_payload": self.jobs[name][index]["attributes"],
                },
            }
            for index, fault in self.faults(name)
        ]
        more = start + self.page
        link = f"{self.base}/profile-bulk-import-jobs/{name}/import-errors?page[cursor]={more}"
        return Answer.json({"data": found[start:more], "links": {"next": link if more < len(found) else None}})


@dataclass
class Ingest(JobServer):
    """``unprocessed``: keys that the job left alone the first time. ``opened``: created, not begun."""

    opened: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploads: list[bytes] = field(default_factory=list)
    unprocessed: set[str] = field(default_factory=set)
    refuses_upload: int = 0

    def answer(self, request: Request) -> Answer:
        root, _, rest = request.path.removeprefix("/jobs/ingest").partition("/")
        name, _, what = rest.partition("/")
        assert root == ""
        if request.method == "POST":
            made = f"750-{len(self.opened) + 1}"
            self.opened[made] = request.json()
            return Answer.json({"id": made, "state": "Open", "contentUrl": f"jobs/ingest/{made}/batches"})
        if request.method == "PUT":
            assert request.headers["content-type"] == "text/csv"
            if self.refuses_upload:
                return Answer.json([{"errorCode": "TOO_LARGE", "message": "The upload is too large."}], self.refuses_upload)
            self.uploads.append(request.body)
            self.jobs[name] = list(csv.DictReader(io.StringIO(request.body.decode(), newline="")))
            self.asked[name] = 0
            return Answer(201)
        if request.method == "PATCH":
            assert request.json() == {"state": "UploadComplete"}
            return Answer.json({"id": name, "state": "UploadComplete"})
        if self.forgets or name not in self.jobs:
            return Answer.json([{"errorCode": "NOT_FOUND", "message": "gone"}], 404)
        if what:
            return self.table(name, what.strip("/"))
        state = (self.ends_as or "JobComplete") if self.is_ready(name) else "InProgress"
        return Answer.json({"id": name, "state": state, "errorMessage": "The object is locked." if self.ends_as else None})

    def flat(self, record: dict[str, Any]) -> dict[str, Any]:
        return {name: None if value == "#N/A" else value for name, value in record.items() if value}

    def write(self, records: list[dict[str, Any]]) -> None:
        for record in map(self.flat, records):
            if record["external_id"] not in self.unprocessed and fault_of(record) is None:
                self.keep(record["external_id"], record)

    def table(self, name: str, what: str) -> Answer:
        rows = self.jobs[name]
        tried = [row for row in rows if row["external_id"] not in self.unprocessed]
        told: list[dict[str, Any]] = []
        if what == "successfulResults":
            told = [
                {"sf__Created": "true", "sf__Id": f"003-{row['external_id']}", **row}
                for row in tried
                if not fault_of(self.flat(row))
            ]
        elif what == "failedResults":
            told = [
                {"sf__Error": f"{fault.kind.upper()}:{fault.message}:{fault.field} --", "sf__Id": "", **row}
                for row in tried
                if (fault := fault_of(self.flat(row)))
            ]
        else:
            told = [row for row in rows if row["external_id"] in self.unprocessed]
            self.unprocessed = set()
        out = io.StringIO()
        leading = {"successfulResults": ["sf__Created", "sf__Id"], "failedResults": ["sf__Error", "sf__Id"]}.get(what, [])
        writer = csv.DictWriter(out, [*leading, *(rows[0] if rows else [])], lineterminator="\n")
        writer.writeheader()
        writer.writerows(told[::-1])
        return Answer(200, {"Content-Type": "text/csv"}, out.getvalue().encode())
